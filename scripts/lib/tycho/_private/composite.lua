--- Schemas made of schemas: objects, arrays, maps, unions.

local faults = require "tycho._private.faults"
local json = require "tycho.json"
local node = require "tycho._private.node"
local options = require "tycho.options"

local add, inside, define = faults.add, faults.inside, node.define
local TEXT, ANSWER = node.TEXT, node.ANSWER
local ARRAY = getmetatable(json.array {})

local composite = {}

-- In JSON an array is marked as one, empty or not; elsewhere an empty table may be meant.
local function is_array(value, mode)
  if type(value) ~= "table" then
    return false
  elseif getmetatable(value) == ARRAY then
    return true
  elseif mode == node.JSON and next(value) == nil then
    return false
  end
  local count = 0
  for key in pairs(value) do
    count = count + 1
    if type(key) ~= "number" then
      return false
    end
  end
  return count == #value
end

local function is_object(value)
  return type(value) == "table" and getmetatable(value) ~= ARRAY and value[1] == nil
end

local function copy_of(default)
  if type(default) ~= "table" then
    return default
  end
  local copy = setmetatable({}, getmetatable(default))
  for key, value in pairs(default) do
    copy[key] = copy_of(value)
  end
  return copy
end

local function sorted_keys(map)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

local function absent(field, name, list, mode)
  if field.default ~= nil then
    return copy_of(field.default)
  elseif field.nullable and mode == ANSWER then
    return json.null
  elseif not field.optional then
    local count = #list
    add(list, "required")
    inside(list, count, name)
  end
end

-- What stands in `value` without being declared: refused, or let through.
local function check_rest(value, result, fields, open, list)
  if open then
    for name, member in pairs(value) do
      if fields[name] == nil then
        result[name] = member
      end
    end
    return
  end
  for _, name in ipairs(sorted_keys(value)) do
    if fields[name] == nil then
      local count = #list
      add(list, "unknown")
      inside(list, count, name)
    end
  end
end

local OBJECT = node.options {}

local function object(fields, o, open)
  local names = sorted_keys(fields)

  local function check(value, list, mode)
    if not is_object(value) then
      add(list, "object")
      return value
    end
    local result, seen = {}, 0
    for _, name in ipairs(names) do
      local member, field = value[name], fields[name]
      if member == nil then
        result[name] = absent(field, name, list, mode)
      else
        seen = seen + 1
        local count = #list
        result[name] = field.check(member, list, mode)
        if #list > count then
          inside(list, count, name)
        end
      end
    end
    if mode ~= ANSWER or open then
      for _ in pairs(value) do
        seen = seen - 1
      end
      if seen < 0 then
        check_rest(value, result, fields, open, list)
      end
    end
    return result
  end

  return (define("object", o, check, {
    fields = fields, names = names, is_open = open,
    reopen = function() return object(fields, o, true) end,
  }, 4))
end

---An object with these members. Others are refused, unless it is `:open()`.
---
---```lua
---s.object { email = s.string { format = "email" }, nickname = s.optional(s.string { max = 32 }) }
---```
---@param fields table<string, tycho.schema.Schema>
---@param opts? tycho.schema.Options
---@return tycho.schema.Schema
function composite.object(fields, opts)
  local o = options.check(opts, OBJECT)
  if type(fields) ~= "table" then
    error("s.object: a table of schemas is wanted", 2)
  end
  for name, field in pairs(fields) do
    if type(name) ~= "string" then
      error("s.object: names of members are strings", 2)
    end
    node.check(field, "s.object: " .. name)
  end
  return (object(fields, o, false))
end

---@class tycho.schema.ArrayOptions: tycho.schema.Options
---@field min? integer items
---@field max? integer items
---@field unique? boolean no value twice; for arrays of text, numbers and booleans

local ARRAY_OPTIONS = node.options { "min", "max", "unique" }

local function check_unique(items, list)
  local seen = {}
  for _, item in ipairs(items) do
    local key = type(item) .. tostring(item)
    if type(item) ~= "table" and seen[key] then
      add(list, "unique")
      return
    end
    seen[key] = true
  end
end

---A list of values of one kind. In a query, a name that is repeated.
---
---```lua
---s.array(s.string { max = 20 }, { max = 10, unique = true })
---```
---@param of tycho.schema.Schema
---@param opts? tycho.schema.ArrayOptions
---@return tycho.schema.Schema
function composite.array(of, opts)
  node.check(of, "s.array")
  local o = options.check(opts, ARRAY_OPTIONS)

  local function check(value, list, mode)
    if mode == TEXT and type(value) == "string" then
      value = { value }
    end
    if not is_array(value, mode) then
      add(list, "array")
      return value
    elseif o.min and #value < o.min then
      add(list, "items_min", o)
    elseif o.max and #value > o.max then
      add(list, "items_max", o)
      return value
    end
    local result = json.array {}
    for i = 1, #value do
      local count = #list
      result[i] = of.check(value[i], list, mode)
      if #list > count then
        inside(list, count, i - 1)
      end
      if #list >= faults.MAX then
        break
      end
    end
    if o.unique then
      check_unique(result, list)
    end
    return result
  end
  return (define("array", o, check, { of = of }))
end

local MAP = node.options { "max" }

---An object whose members have any names and values of one kind.
---
---```lua
---s.map(s.integer { min = 0 }, { max = 50 })
---```
---@param of tycho.schema.Schema
---@param opts? { max?: integer }
---@return tycho.schema.Schema
function composite.map(of, opts)
  node.check(of, "s.map")
  local o = options.check(opts, MAP)
  local max = o.max or 1000

  local function check(value, list, mode)
    if not is_object(value) then
      add(list, "object")
      return value
    end
    local names = sorted_keys(value)
    if #names > max then
      add(list, "items_max", { max = max })
      return value
    end
    local result = {}
    for _, name in ipairs(names) do
      local count = #list
      result[name] = of.check(value[name], list, mode)
      inside(list, count, name)
    end
    return result
  end
  return (define("map", o, check, { of = of, max = max }))
end

---The first of these schemas that fits.
---
---```lua
---s.union { s.integer(), s.enum { "all" } }
---```
---@param alternatives tycho.schema.Schema[]
---@param opts? tycho.schema.Options
---@return tycho.schema.Schema
function composite.union(alternatives, opts)
  local o = options.check(opts, OBJECT)
  for _, alternative in ipairs(alternatives) do
    node.check(alternative, "s.union")
  end

  local function check(value, list, mode)
    for _, alternative in ipairs(alternatives) do
      local own = {}
      local result = alternative.check(value, own, mode)
      if not own[1] then
        return result
      end
    end
    add(list, "union")
    return value
  end
  return (define("union", o, check, { alternatives = alternatives }))
end

return composite
