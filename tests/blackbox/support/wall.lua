--- A wall clock that can be set wrong for one server, by libfaketime: only the wall clock, the
--- monotonic one stays as it is, as on a machine whose clock is stepped.

local fs = require "tycho.fs"

local wall = {}

local PATHS = {
  "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
  "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
  "/usr/lib/faketime/libfaketimeMT.so.1",
}

---@class blackbox.Wall
---@field env table<string, string> for `server.start`
local Wall = {}
Wall.__index = Wall

---Makes one. A step is seen within a second.
---
---```lua
---local w, why = wall.new()
---if not w then
---  return pending(why)
---end
---local s = server.start { env = w.env }
---w:step(3600)
---```
---@async
---@return blackbox.Wall?
---@return string? why there cannot be one here
function wall.new()
  local library
  for _, path in ipairs(PATHS) do
    library = library or fs.exists(path) and path
  end
  if not library then
    return nil, "libfaketime is not installed"
  end
  local self = setmetatable({ file = os.tmpname() }, Wall)
  self.env = {
    LD_PRELOAD = library, FAKETIME_TIMESTAMP_FILE = self.file, FAKETIME_CACHE_DURATION = "1",
    FAKETIME_DONT_FAKE_MONOTONIC = "1", DONT_FAKE_MONOTONIC = "1", NO_FAKE_STAT = "1",
  }
  self:step(0)
  return self
end

---The server's clock is so many seconds off from now on, all at once.
---@async
---@param seconds integer
function Wall:step(seconds)
  fs.write(self.file .. ".new", ("%+d\n"):format(seconds))
  assert(os.rename(self.file .. ".new", self.file)) -- never half of it
end

---Removes what `new` made.
function Wall:close()
  os.remove(self.file)
end

return wall
