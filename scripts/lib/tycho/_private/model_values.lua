--- The values of columns: one canonical form for each kind, whichever database keeps them.
---
--- Three conversions. `write` takes what a script gives (a moment as seconds, capitals in a UUID)
--- to the canonical form, or says what is wrong with it. `param` wraps that for `tycho.db`, where a
--- plain value would not do. `read` takes what a database returns to the canonical form.

local database = require "tycho.db"
local formats = require "tycho._private.formats"
local int64 = require "tycho.int64"
local json = require "tycho.json"
local moment = require "tycho._private.moment"
local number = require "tycho._private.number"
local time = require "tycho.time"
local utf8 = require "tycho._private.utf8"

local values = {}

local write, read, param = {}, {}, {}

-- Moments ---------------------------------------------------------------------------------

function write.timestamp(value)
  local text = moment.canonical(value)
  if not text then
    return nil, "date-time"
  end
  return text
end

function read.timestamp(value)
  if type(value) == "string" and #value == 27 and value:byte(27) == 90 then
    return value
  end
  return write.timestamp(value) or value
end

---The moment now, as a column of timestamps has it.
function values.now()
  return (moment.canonical(time.now()))
end

-- Numbers ---------------------------------------------------------------------------------

function write.integer(value)
  local integer, out_of_range = number.integer(value)
  if integer == nil then
    return nil, out_of_range and "range" or "integer"
  end
  return integer
end

write.smallint = write.integer

function write.real(value)
  if type(value) == "cdata" and number.integer(value) then
    value = tonumber(value)
  end
  if type(value) ~= "number" or value - value ~= 0 then
    return nil, "number"
  end
  return value
end

function read.real(value)
  return tonumber(value) or value
end

-- A scale of two makes "12.3" to "12.30", and refuses "12.345"; without one, zeros at the end go.
local function scaled(sign, whole, fraction, scale)
  whole, fraction = whole == "" and "0" or whole, fraction:gsub("0+$", "")
  if scale then
    if #fraction > scale then
      return nil, "scale"
    end
    fraction = fraction .. ("0"):rep(scale - #fraction)
  end
  if not (whole .. fraction):find("[1-9]") then
    sign = ""
  end
  return sign .. whole .. (fraction ~= "" and "." .. fraction or "")
end

function write.decimal(value, column)
  if type(value) == "number" or type(value) == "cdata" then
    local integer = number.integer(value)
    value = integer and int64.format(integer)
  end
  if type(value) ~= "string" then
    return nil, "decimal"
  end
  local sign, whole, fraction = number.parse_decimal(value)
  if not sign then
    return nil, "decimal"
  end
  return scaled(sign, whole, fraction, column.scale)
end

-- SQLite has no decimals of its own, and gives a number for a column that was made for them.
function read.decimal(value, column)
  if type(value) == "number" then
    value = column.scale and ("%%.%df"):format(column.scale):format(value)
      or ("%.14g"):format(value)
  end
  return write.decimal(value, column) or value
end

-- Text and bytes --------------------------------------------------------------------------

-- PostgreSQL has no text with a zero byte, so none has.
function write.text(value)
  if type(value) ~= "string" then
    return nil, "string"
  elseif not utf8.length(value) then
    return nil, "utf8"
  elseif value:find("\0", 1, true) then
    return nil, "pattern"
  end
  return value
end

write.enum = write.text

function write.bytes(value, column)
  if type(value) ~= "string" then
    return nil, "string"
  elseif column.max and #value > column.max then
    return nil, "length_max"
  end
  return value
end

param.bytes = database.blob

function write.uuid(value)
  if type(value) ~= "string" or not formats.uuid(value) then
    return nil, "uuid"
  end
  return value:lower()
end

read.uuid = function(value)
  return type(value) == "string" and value:lower() or value
end

function write.date(value)
  if type(value) ~= "string" or not formats.date(value) then
    return nil, "date"
  end
  return value
end

function write.boolean(value)
  if type(value) ~= "boolean" then
    return nil, "boolean"
  end
  return value
end

function read.boolean(value)
  if type(value) == "number" then
    return value ~= 0
  end
  return value
end

-- Structures ------------------------------------------------------------------------------

-- A copy, and so that of a caller who changes its own later; what JSON cannot hold is found here.
function write.json(value)
  local ok, text = pcall(json.encode, value)
  if not ok then
    return nil, "object"
  end
  return json.decode(text)
end

local function element_of(column)
  return { kind = column.of, name = column.name }
end

function write.array(value, column)
  if type(value) ~= "table" then
    return nil, "array"
  end
  local list, element = json.array {}, element_of(column)
  local convert = write[column.of]
  for i = 1, #value do
    if value[i] == json.null then
      list[i] = json.null
    else
      local item, fault = convert(value[i], element)
      if item == nil then
        return nil, fault
      end
      list[i] = item
    end
  end
  for key in pairs(value) do
    if list[key] == nil then
      return nil, "array"
    end
  end
  if column.max and #list > column.max then
    return nil, "items_max"
  end
  return list
end

function read.array(value, column)
  if type(value) == "string" then
    value = json.decode(value)
  end
  local convert = read[column.of]
  if convert and type(value) == "table" then
    local element = element_of(column)
    for i = 1, #value do
      value[i] = value[i] == json.null and value[i] or convert(value[i], element)
    end
  end
  return json.array(value)
end

param.timestamp, param.json, param.array = database.timestamp, database.json, database.array

values.write, values.read, values.param = write, read, param

-- Comparing -------------------------------------------------------------------------------

---Are two canonical values the same?
function values.equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not values.equal(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

---Orders two canonical values of a kind.
---@return integer order -1, 0 or 1
function values.compare(kind, a, b)
  if kind == "decimal" then
    return number.compare_decimals(a, b)
  elseif kind == "boolean" then
    a, b = a and 1 or 0, b and 1 or 0
  end
  return a == b and 0 or (a < b and -1 or 1)
end

---A copy that shares nothing.
function values.copy(value)
  if type(value) ~= "table" then
    return value
  end
  local copy = setmetatable({}, getmetatable(value))
  for key, item in pairs(value) do
    copy[key] = values.copy(item)
  end
  return copy
end

return values
