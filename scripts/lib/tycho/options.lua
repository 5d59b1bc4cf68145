--- Option tables: a misspelt option is an error, not a silent default.

local suggest = require "tycho._private.suggest"

local options = {}

local NONE = {}

---Names the options that a function knows; made once, beside the function.
---
---```lua
---local KNOWN = options.set { "timeout", "family" }
---```
---@param names string[]
---@return table<string, true>
function options.set(names)
  local set = {}
  for _, name in ipairs(names) do
    set[name] = true
  end
  return set
end

---Returns `opts`, or an empty table; raises in the caller's caller on an unknown name.
---
---```lua
---opts = options.check(opts, KNOWN)
---```
---@generic T: table
---@param opts? T
---@param known table<string, true>
---@param level? integer whose fault it is, as for `error()`; by default the caller's caller
---@return T
function options.check(opts, known, level)
  if opts == nil then
    return NONE
  end
  level = level or 3
  if type(opts) ~= "table" then
    error(("options are a table, not a %s"):format(type(opts)), level)
  end
  for name in pairs(opts) do
    if not known[name] then
      error(('unknown option "%s"%s'):format(tostring(name), suggest(name, known)), level)
    end
  end
  return opts
end

return options
