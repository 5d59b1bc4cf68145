--- JSON, exactly: what came in can go out again.
---
--- Reading accepts RFC 8259 and nothing else, within limits: 128 levels, 1000 names in an object.
--- `null` is `json.null`, so that it is not lost in a table. An empty array stays an array.
--- Integers of up to 64 bits keep their value: beyond 2^53 they are boxed (`tycho.int64`); larger
--- ones are refused, never rounded, and so are fractions that rounding would make whole numbers.
--- Names keep no order.
---
--- A table is written as an array if it has an element 1 or was marked with `json.array`, else as
--- an object, whose integer keys become strings. What JSON has no form for is an error that says
--- where it is: functions, arrays with holes, NaN, strings that are not UTF-8, circles, more than
--- 64 MiB.

local core = require "tycho.core.json"
local options = require "tycho.options"

local json = {}

local ARRAY = core.ARRAY
local KNOWN = options.set { "depth", "keys", "repeats" }
local REPEATS = { last = false, error = true }

local core_decode, core_encode = core.decode, core.encode

---What `null` becomes, and what is written as `null`. It is true in conditions: compare with `==`.
---
---```lua
---local nickname = body.nickname ~= json.null and body.nickname or nil
---```
---@type lightuserdata
json.null = core.null

---Marks a table as an array, so that it is written as `[]` when it is empty. Returns it.
---
---```lua
---return { items = json.array(rows) }
---```
---@generic T: table
---@param t? T a new table by default
---@return T
function json.array(t)
  if t == nil then
    t = {}
  elseif type(t) ~= "table" then
    error("json.array: expected a table, not a " .. type(t), 2)
  end
  return setmetatable(t, ARRAY)
end

---Is the table marked as an array, by `json.array` or because it was read from `[]`?
---
---```lua
---if json.is_array(body.tags) then ... end
---```
---@param value any
---@return boolean
function json.is_array(value)
  return type(value) == "table" and getmetatable(value) == ARRAY
end

---The value as JSON, without spaces. Raises an error of kind "internal" when it has no such form.
---
---```lua
---local text = json.encode { id = 1, tags = json.array {} } -- {"id":1,"tags":[]}
---```
---@param value any
---@return string text
function json.encode(value)
  local text, err = core_encode(value)
  if err then
    err.message = "this cannot be JSON: " .. err.message
    error(err, 0)
  end
  return text
end

---@class tycho.json.Options
---@field depth? integer levels of nesting, at most 128, which is the default
---@field keys? integer names in one object; 1000 by default
---@field repeats? "last"|"error" what a name does that comes twice in an object; "last" by default

local function decode_with(text, opts)
  options.check(opts, KNOWN, 4)
  local repeats = REPEATS[opts.repeats or "last"]
  if repeats == nil then
    error('json.decode: repeats is "last" or "error"', 3)
  end
  return core_decode(text, opts.depth, opts.keys, repeats)
end

---The value of a JSON text. Raises an error of kind "invalid" that says where the fault is.
---
---```lua
---local order = json.decode '{"amount": 9007199254740993, "note": null}'
---```
---@param text string
---@param opts? tycho.json.Options
---@return any value
function json.decode(text, opts)
  local value, err
  if opts == nil then
    value, err = core_decode(text)
  else
    value, err = decode_with(text, opts)
  end
  if err then
    error(err, 0)
  end
  return value
end

return json
