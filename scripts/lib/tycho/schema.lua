--- Schemas: what a value must look like, checked before any of the application's code sees it.
---
--- A schema is made once, while the script loads, and compiled to closures. A check reports all
--- faults at once, each with a JSON Pointer. Values from a query or path are text and are
--- converted; JSON is taken as it is: "1" is no integer. Members that are not declared are refused,
--- so that nobody sets a field that was not meant for them. An answer goes through the same schema:
--- undeclared members are left out of it. Lengths count characters; text that is not UTF-8 is
--- refused.

local errors = require "tycho.errors"
local faults = require "tycho._private.faults"
local formats = require "tycho._private.formats"
local jsonschema = require "tycho._private.jsonschema"
local node = require "tycho._private.node"
local number = require "tycho._private.number"
local options = require "tycho.options"
local pattern = require "tycho._private.pattern"
local utf8 = require "tycho._private.utf8"

local add, define, TEXT = faults.add, node.define, node.TEXT

local schema = {}

---@class tycho.schema.Options what every schema may have
---@field description? string
---@field title? string
---@field example? any
---@field default? any for a member that is missing; makes it optional

---@class tycho.schema.Schema
---@field kind string

---@class tycho.schema.StringOptions: tycho.schema.Options
---@field min? integer characters
---@field max? integer characters
---@field pattern? string a Lua pattern for the whole string, at most two unbounded repetitions
---@field format? "email"|"uuid"|"date"|"date-time"|"uri"

local STRING = node.options { "min", "max", "pattern", "format" }
local PATTERN_BYTES_MAX = 8192

local function check_string_options(o)
  local anchored, regex
  if o.format and not formats[o.format] then
    error(("s.string: unknown format %q"):format(tostring(o.format)), 3)
  end
  if o.pattern then
    anchored, regex = pattern(o.pattern)
    if not anchored then
      error(("s.string: the pattern has %s, which a schema may not"):format(regex), 3)
    end
  end
  return anchored, regex
end

---Text.
---
---```lua
---s.string { min = 1, max = 64 }
---s.string { format = "email", max = 254 }
---s.string { pattern = "[A-Z]+%d+" }
---```
---@param opts? tycho.schema.StringOptions
---@return tycho.schema.Schema
function schema.string(opts)
  local o = options.check(opts, STRING)
  local anchored, regex = check_string_options(o)
  local min, max, is_format = o.min, o.max, formats[o.format]
  local bytes_max = math.min(max and max * 4 or math.huge, anchored and PATTERN_BYTES_MAX
    or math.huge)

  local function length_fault(value)
    local length = #value <= bytes_max and utf8.length(value)
    if length == nil then
      return "utf8"
    elseif not length or (max and length > max) then
      return "length_max"
    elseif min and length < min then
      return min == 1 and "empty" or "length_min"
    end
  end

  local function fault_of(value)
    local fault = length_fault(value)
    if fault then
      return fault
    elseif anchored and not value:find(anchored) then
      return "pattern"
    elseif is_format and not is_format(value) then
      return o.format
    end
  end

  local values = { min = min, max = max or PATTERN_BYTES_MAX }
  local function check(value, list)
    if type(value) ~= "string" then
      add(list, "string")
      return value
    end
    local fault = fault_of(value)
    if fault then
      add(list, fault, values)
    end
    return value
  end
  return (define("string", o, check, { regex = regex }))
end

---@class tycho.schema.NumberOptions: tycho.schema.Options
---@field min? number
---@field max? number

local NUMBER = node.options { "min", "max" }

local function check_range(value, o, list)
  if o.min and value < o.min then
    add(list, "min", o)
  elseif o.max and value > o.max then
    add(list, "max", o)
  end
end

---A whole number. Beyond 2^53 it is exact, a boxed `int64_t`.
---
---```lua
---s.integer { min = 1, max = 100, default = 20 }
---```
---@param opts? tycho.schema.NumberOptions
---@return tycho.schema.Schema
function schema.integer(opts)
  local o = options.check(opts, NUMBER)
  local function check(value, list, mode)
    local read = number.integer
    if mode == TEXT and type(value) == "string" then
      read = number.parse_integer
    end
    local integer, out_of_range = read(value)
    if integer == nil then
      add(list, out_of_range and "range" or "integer")
      return value
    end
    check_range(integer, o, list)
    return integer
  end
  return (define("integer", o, check))
end

---A finite number. Not for money: that is an integer of its smallest unit, or `s.decimal`.
---
---```lua
---s.number { min = -90, max = 90, description = "latitude" }
---```
---@param opts? tycho.schema.NumberOptions
---@return tycho.schema.Schema
function schema.number(opts)
  local o = options.check(opts, NUMBER)
  local function check(value, list, mode)
    if mode == TEXT and type(value) == "string" and value:find("^%-?%d+%.?%d*$") then
      value = tonumber(value)
    end
    local plain = value
    if type(value) == "cdata" then
      plain = number.integer(value) and tonumber(value)
    end
    if type(plain) ~= "number" or plain - plain ~= 0 then
      add(list, "number")
    else
      check_range(plain, o, list)
    end
    return value
  end
  return (define("number", o, check))
end

---@class tycho.schema.DecimalOptions: tycho.schema.Options
---@field scale? integer digits after the point, at most
---@field digits? integer digits in all, at most (38)
---@field min? string
---@field max? string

local DECIMAL = node.options { "scale", "digits", "min", "max" }

---A decimal number as a string, exact: JSON numbers are refused, because on their way they
---become binary fractions.
---
---```lua
---s.decimal { scale = 2, min = "0.01" } -- "12.34"
---```
---@param opts? tycho.schema.DecimalOptions
---@return tycho.schema.Schema
function schema.decimal(opts)
  local o = options.check(opts, DECIMAL)
  local digits_max = o.digits or 38
  for _, name in ipairs { "min", "max" } do
    if o[name] and not (type(o[name]) == "string" and number.parse_decimal(o[name])) then
      error(("s.decimal: %s is a decimal number as a string"):format(name), 2)
    end
  end

  local function fault_of(value)
    local sign, whole, fraction = number.parse_decimal(value)
    if not sign then
      return "decimal"
    elseif #whole + #fraction > digits_max then
      return "digits"
    elseif o.scale and #fraction > o.scale then
      return "scale"
    elseif o.min and number.compare_decimals(value, o.min) < 0 then
      return "min"
    elseif o.max and number.compare_decimals(value, o.max) > 0 then
      return "max"
    end
  end

  local values = { scale = o.scale, digits = digits_max, min = o.min, max = o.max }
  local function check(value, list)
    local fault = type(value) ~= "string" and "decimal" or fault_of(value)
    if fault then
      add(list, fault, values)
    end
    return value
  end
  return (define("decimal", o, check))
end

local BOOLEAN = node.options {}
local TRUTH = { ["true"] = true, ["1"] = true, ["false"] = false, ["0"] = false }

---True or false; in a query also 1 or 0.
---
---```lua
---s.boolean { default = false }
---```
---@param opts? tycho.schema.Options
---@return tycho.schema.Schema
function schema.boolean(opts)
  local o = options.check(opts, BOOLEAN)
  local function check(value, list, mode)
    if mode == TEXT and TRUTH[value] ~= nil then
      value = TRUTH[value]
    end
    if type(value) ~= "boolean" then
      add(list, "boolean")
    end
    return value
  end
  return (define("boolean", o, check))
end

---One of these values.
---
---```lua
---s.enum { "CNY", "USD" }
---s.enum({ "asc", "desc" }, { default = "asc" })
---```
---@param values (string|number|boolean)[]
---@param opts? tycho.schema.Options
---@return tycho.schema.Schema
function schema.enum(values, opts)
  local o = options.check(opts, BOOLEAN)
  local known, by_text, names = {}, {}, {}
  for i, value in ipairs(values) do
    known[value], by_text[tostring(value)], names[i] = true, value, tostring(value)
  end
  if #names == 0 then
    error("s.enum: a list of values is wanted", 2)
  end
  local words = { values = table.concat(names, ", ") }

  local function check(value, list, mode)
    if mode == TEXT and by_text[value] ~= nil then
      return by_text[value]
    end
    if value ~= value or not known[value] then
      add(list, "enum", words)
    end
    return value
  end
  return (define("enum", o, check, { values = values }))
end

---Anything at all.
---
---```lua
---s.object { payload = s.any() }
---```
---@param opts? tycho.schema.Options
---@return tycho.schema.Schema
function schema.any(opts)
  return (define("any", options.check(opts, BOOLEAN), function(value) return value end))
end

---The same schema for a member that may be left out.
---
---```lua
---s.object { note = s.optional(s.string { max = 200 }) }
---```
---@param inner tycho.schema.Schema
---@return tycho.schema.Schema
function schema.optional(inner)
  node.check(inner, "s.optional")
  return node.derive(inner, { optional = true })
end

---The same schema for a value that may be null; it is then `json.null`, not nil.
---
---```lua
---s.object { paid_at = s.nullable(s.string { format = "date-time" }) }
---```
---@param inner tycho.schema.Schema
---@return tycho.schema.Schema
function schema.nullable(inner)
  node.check(inner, "s.nullable")
  return node.nullable(inner)
end

---Checks a value that was JSON; raises an error of kind `invalid` that lists all faults in
---`errors`. Arrays are marked as such (`json.array`), as those from `json.decode` are.
---
---```lua
---local settings = s.check(Settings, json.decode(text))
---```
---@param what tycho.schema.Schema
---@param value any
---@return any value with defaults filled in
function schema.check(what, value)
  node.check(what, "s.check")
  local checked, list = node.run(what, value, node.JSON)
  if list then
    error(schema.error(list), 0)
  end
  return checked
end

-- RFC 6901, section 6: a pointer as the fragment of an address.
local function fragment(pointer)
  return "#" .. pointer:gsub("[^%w%-._~!$&'()*+,;=:@/?]", function(char)
    return ("%%%02X"):format(char:byte())
  end)
end

---The error that stands for a list of faults.
---@package
---@param list tycho.schema.Fault[]
---@return tycho.errors.Error
function schema.error(list)
  local described = {}
  for i, fault in ipairs(list) do
    described[i] = { pointer = fragment(fault.pointer), detail = faults.text(fault),
      fault = fault, location = fault.location }
  end
  local first = described[1]
  return errors.new("invalid", ("%s %s"):format(first.pointer, first.detail), {
    msg = { en = "some values are not valid", zh = "部分参数无效" }, errors = described,
  })
end

---The schema as JSON Schema, draft 2020-12.
---
---```lua
---json.encode(s.json_schema(NewOrder))
---```
---@param what tycho.schema.Schema
---@return table
function schema.json_schema(what)
  node.check(what, "s.json_schema")
  return jsonschema(what)
end

for name, constructor in pairs(require "tycho._private.composite") do
  schema[name] = constructor
end

return schema
