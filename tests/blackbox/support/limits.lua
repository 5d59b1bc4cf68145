--- Resource limits: of a program from its start, or of one that runs.

local process = require "tycho.process"

local limits = {}

---@class blackbox.Limits by the names of prlimit(1); each soft and hard at once
---@field nofile? integer descriptors
---@field as? integer bytes of address space
---@field fsize? integer bytes of a file
---@field core? integer bytes

local function words(wanted)
  local list = { "prlimit" }
  for name, value in pairs(wanted) do
    list[#list + 1] = ("--%s=%s"):format(name, value)
  end
  return list
end

---Words to start a program with: `server.start { prefix = limits.prefix { nofile = 128 } }`.
---@param wanted blackbox.Limits
---@return string[]
function limits.prefix(wanted)
  local list = words(wanted)
  list[#list + 1] = "--"
  return list
end

---Changes limits of a process that runs.
---
---```lua
---limits.set(s:workers()[1], { nofile = 64 })
---```
---@async
---@param pid integer
---@param wanted blackbox.Limits
function limits.set(pid, wanted)
  local list = words(wanted)
  list[#list + 1] = "--pid=" .. pid
  local exit, _, err = process.run { args = list }
  if exit.code ~= 0 then
    error("prlimit: " .. err, 2)
  end
end

return limits
