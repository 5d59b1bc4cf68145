--- One schema: its options and the closure that checks a value.
---
--- `check(value, list, mode)` adds what is wrong to `list` and returns the value to go on with.

local json = require "tycho.json"
local options = require "tycho.options"

local node = {
  JSON = 1,   -- values have their types already
  TEXT = 2,   -- values are text and are converted
  ANSWER = 3, -- ours on the way out: what is not declared is left out
}

local COMMON = { "description", "title", "example", "default" }

local Schema = {}
Schema.__index = Schema

---What every schema may have, and `names`.
function node.options(names)
  local all = { unpack(COMMON) }
  for _, name in ipairs(names) do
    all[#all + 1] = name
  end
  return options.set(all)
end

---Raises, blaming the caller's caller, unless `value` is a schema.
function node.check(value, where)
  if getmetatable(value) ~= Schema then
    error(("%s: a schema is wanted, not a %s"):format(where, type(value)), 3)
  end
end

---@return boolean
function node.is(value)
  return getmetatable(value) == Schema
end

-- Decimals have text for bounds, and check it themselves.
local function check_bounds(kind, o, level)
  if kind == "decimal" then
    return
  end
  for _, name in ipairs { "min", "max" } do
    local bound = o[name]
    if bound ~= nil and type(bound) ~= "number" and type(bound) ~= "cdata" then
      error(("s.%s: %s is a number, not a %s"):format(kind, name, type(bound)), level)
    end
  end
  if o.min and o.max and o.min > o.max then
    error(("s.%s: min is above max"):format(kind), level)
  end
end

---@param kind string
---@param o table the options given
---@param check function
---@param more? table further fields
---@param level? integer whose fault a wrong bound or default is
function node.define(kind, o, check, more, level)
  local made = setmetatable({ kind = kind, opts = o, check = check, default = o.default }, Schema)
  for name, value in pairs(more or {}) do
    made[name] = value
  end
  check_bounds(kind, o, (level or 3) + 1)
  if o.default ~= nil then
    made.optional = true
    local default, list = node.run(made, o.default, node.ANSWER)
    made.default = default
    if list then
      error(("s.%s: the default is none of its values"):format(kind), level or 3)
    end
  end
  return made
end

---A copy with other fields.
function node.derive(from, changes)
  local made = {}
  for name, value in pairs(from) do
    made[name] = value
  end
  for name, value in pairs(changes) do
    made[name] = value
  end
  return setmetatable(made, Schema)
end

function node.nullable(inner)
  local check, null = inner.check, json.null
  return node.derive(inner, {
    nullable = true,
    check = function(value, list, mode)
      if value == null then
        return value
      end
      return check(value, list, mode)
    end,
  })
end

---Checks a whole value.
---@return any value
---@return tycho.schema.Fault[]? faults nil if there are none
function node.run(what, value, mode)
  local list = {}
  if value == nil then
    if what.default ~= nil then
      return what.default
    elseif not what.optional then
      list[1] = { rule = "required", pointer = "" }
    end
  else
    value = what.check(value, list, mode)
  end
  return value, list[1] and list or nil
end

---Objects only: lets members through that are not declared.
---
---```lua
---s.object({ id = s.integer() }):open()
---```
function Schema:open()
  if self.kind ~= "object" then
    error("open() is for s.object", 2)
  end
  return self.reopen()
end

return node
