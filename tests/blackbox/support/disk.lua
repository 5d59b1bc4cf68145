--- A small disk of its own, to fill up: a tmpfs.

local fs = require "tycho.fs"
local process = require "tycho.process"
local tycho = require "tycho"

local disk = {}

---@class blackbox.Disk
---@field path string
local Disk = {}
Disk.__index = Disk

local live = {}
local STEP = 64 * 1024

local function run(...)
  local exit, out, err = tycho.try(process.run, { args = { ... } })
  if not exit then
    return false, out.message -- not installed
  end
  return exit.code == 0, (err:gsub("%s+$", ""))
end

---Makes one; `disk.clean_up` takes it away.
---
---```lua
---local d, why = disk.new "2m"
---if not d then
---  return pending(why)
---end
---```
---@async
---@param size string as tmpfs takes it: "512k", "2m"
---@return blackbox.Disk?
---@return string? why there cannot be one here
function disk.new(size)
  local path = os.tmpname()
  os.remove(path)
  path = path:gsub("/lua_", "/tycho-disk-")
  fs.mkdir(path)
  local ok, err = run("mount", "-t", "tmpfs", "-o", "size=" .. size, "tmpfs", path)
  if not ok then
    fs.remove(path, { recursive = true })
    return nil, "a tmpfs cannot be mounted here: " .. err
  end
  local self = setmetatable({ path = path, filler = path .. "/.filler" }, Disk)
  live[#live + 1] = self
  return self
end

local function add(path, bytes)
  local file = assert(io.open(path, "ab"))
  file:setvbuf "no"
  local ok = file:write(bytes)
  file:close()
  return ok
end

---Leaves no byte free.
function Disk:fill()
  local step = STEP
  while step >= 1 do
    if not add(self.filler, ("x"):rep(step)) then
      step = math.floor(step / 2)
    end
  end
end

---Gives the space back that `fill` took.
---@async
function Disk:free()
  tycho.try(fs.remove, self.filler)
end

---Takes all of them away: `after_each(disk.clean_up)`, after the servers that use them.
---@async
function disk.clean_up()
  local all = live
  live = {}
  for _, self in ipairs(all) do
    run("umount", "-l", self.path)
    fs.remove(self.path, { recursive = true })
  end
end

return disk
