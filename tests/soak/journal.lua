--- The server's log during the soak: turned over again and again, and read for what should not
--- be in it. Most of it is the access log, so it is read with grep.

local clock = require "tests.blackbox.support.clock"
local fs = require "tycho.fs"
local process = require "tycho.process"

local Journal = {}
Journal.__index = Journal

-- Complaints that the soak's own faults explain.
local EXPECTED = {
  "on purpose", "/soak/odd", "/soak/spin", "a table was raised", "was killed by signal 9",
  "no ink in the printer", "the next reload loads what is on disk", "it died while loading it",
  "app.auth.secret is not set", "took [0-9.]+ ms: ", '"module":"reload"', '"module":"guard"',
}

---@param s blackbox.Server
---@return table journal
local function new(s)
  return setmetatable({ server = s, faults = {}, turns = 0, access = 0 }, Journal)
end

local function grep(...)
  local exit, out, err = process.run({ args = { "grep", ... } }, 60)
  assert(exit.code <= 1, err)
  return out
end

---Reads a file of the log that nobody writes to any more, and removes it.
---@async
---@param path string
function Journal:read(path)
  local torn = tonumber(grep("-cvE", [[^\{.*\}$]], path))
  if torn > 0 then
    self.faults[#self.faults + 1] = ("%d lines of the log are no objects"):format(torn)
  end
  self.access = self.access + tonumber(grep("-cF", '"module":"access"', path))
  local complaints = path .. ".complaints"
  fs.write(complaints, grep("-E", '"level":"(error|warn)"', path))
  for line in grep("-vE", table.concat(EXPECTED, "|"), complaints):gmatch "[^\n]+" do
    self.faults[#self.faults + 1] = "in the log: " .. line:sub(1, 500)
  end
  fs.remove(complaints)
  fs.remove(path)
end

---Turns the log over with SIGUSR1; reads what was turned over the time before, for which every
---process has let go of the file.
---@async
function Journal:turn()
  local path = self.server.folder .. "/tycho.log"
  local aside = ("%s.%d"):format(path, self.turns)
  assert(os.rename(path, aside))
  self.server:signal "USR1"
  clock.eventually(function() return fs.exists(path) end, 5, "a new log")
  if self.aside then
    self:read(self.aside)
  end
  self.aside, self.turns = aside, self.turns + 1
end

---Reads all that is left; once the server has ended.
---@async
function Journal:finish()
  if self.aside then
    self:read(self.aside)
  end
  self:read(self.server.folder .. "/tycho.log")
end

return { new = new }
