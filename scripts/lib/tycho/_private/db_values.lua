--- Values that say what they are: bytes, JSON, arrays and moments, as parameters of statements.

local core = require "tycho.core.db"
local int64 = require "tycho.int64"
local json = require "tycho.json"
local moment = require "tycho._private.moment"

local values = {}

local DEPTH_MAX = 6 -- PostgreSQL's own

---Bytes to be stored as they are, with any content; they come back as a string.
---@param bytes string
---@return tycho.db.Blob
function values.blob(bytes)
  return core.typed("blob", bytes)
end

---A value to be stored as JSON.
---@param value any
---@return tycho.db.Json
function values.json(value)
  return core.typed("json", json.encode(value))
end

local add_array

local function of_number(number)
  if number % 1 == 0 then
    return ("%.0f"):format(number)
  elseif number ~= number then
    return "NaN"
  elseif number == math.huge or number == -math.huge then
    return number > 0 and "Infinity" or "-Infinity"
  end
  return ("%.17g"):format(number)
end

local of_type = {
  ["nil"] = function() return "NULL" end,
  userdata = function() return "NULL" end, -- db.null
  string = function(text) return '"' .. text:gsub('[\\"]', "\\%0") .. '"' end,
  boolean = function(value) return value and "t" or "f" end,
  number = of_number,
  cdata = int64.format,
}

-- An element in PostgreSQL's text form (manual, 8.15.6).
local function add_element(out, value, depth)
  local kind = type(value)
  if kind == "table" then
    add_array(out, value, depth + 1)
  elseif of_type[kind] then
    out[#out + 1] = of_type[kind](value)
  else
    error(("db.array: a %s is no element"):format(kind), 0)
  end
end

function add_array(out, list, depth)
  if depth > DEPTH_MAX then
    error(("db.array: more than %d levels"):format(DEPTH_MAX), 0)
  end
  out[#out + 1] = "{"
  for i = 1, #list do
    if i > 1 then
      out[#out + 1] = ","
    end
    add_element(out, list[i], depth)
  end
  out[#out + 1] = "}"
end

---A list to be stored as an array; where the database has none, as JSON.
---@param list any[]
---@return tycho.db.Array
function values.array(list)
  if type(list) ~= "table" then
    error(("db.array: expected a table, not a %s"):format(type(list)), 2)
  end
  local out = {}
  local ok, err = pcall(add_array, out, list, 1)
  if not ok then
    error(err, 2)
  end
  -- Infinity is an element, but not of JSON: databases that need that refuse it.
  local is_json, text = pcall(json.encode, #list == 0 and json.array {} or list)
  return core.typed("array", table.concat(out), is_json and text or nil)
end

---A moment to be stored as such.
---@param value string|number RFC 3339, or seconds since 1970
---@return tycho.db.Timestamp
function values.timestamp(value)
  local kind = type(value)
  local text = moment.canonical(value)
  if not text then
    error(("db.timestamp: %s is no moment: expected RFC 3339, or seconds since 1970")
      :format(kind == "string" and ("%q"):format(value) or "a " .. kind), 2)
  end
  return core.typed("timestamp", text)
end

return values
