--- Resource limits: of a program from its start, or of one that runs.

local process = require "tycho.process"

local limits = {}

---@class blackbox.Limits by the names that prlimit(1) has
---@field nofile? integer descriptors
---@field as? integer bytes of address space
---@field fsize? integer bytes of a file
---@field core? integer bytes

local function words(wanted, format)
  local list = { "prlimit" }
  for name, value in pairs(wanted) do
    list[#list + 1] = (format:gsub("NAME", name):gsub("VALUE", value))
  end
  return list
end

---Words to start a program with: `server.start { prefix = limits.prefix { nofile = 128 } }`.
---@param wanted blackbox.Limits
---@return string[]
function limits.prefix(wanted)
  local list = words(wanted, "--NAME=VALUE:VALUE")
  list[#list + 1] = "--"
  return list
end

---Changes soft limits of a process that runs, which can be raised again.
---
---```lua
---limits.set(s:workers()[1], { nofile = 64 })
---```
---@async
---@param pid integer
---@param wanted blackbox.Limits
function limits.set(pid, wanted)
  local list = words(wanted, "--NAME=VALUE:")
  list[#list + 1] = "--pid=" .. pid
  local exit, _, err = process.run { args = list }
  if exit.code ~= 0 then
    error("prlimit: " .. err, 2)
  end
end

return limits
