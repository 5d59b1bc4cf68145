--- Values that say what they are: bytes, JSON, arrays and moments, as parameters of statements.

local blame = require "tycho._private.blame"
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
  if type(bytes) ~= "string" then
    blame("db.blob: expected a string, not a %s", type(bytes))
  end
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

local function of_string(text)
  return '"' .. text:gsub('[\\"]', "\\%0") .. '"'
end

local of_type = {
  string = of_string,
  boolean = function(value) return value and "t" or "f" end,
  number = of_number,
  cdata = int64.format,
}

-- What says itself what it is, as an element, and as what JSON has for it.
local typed = {
  blob = {
    text = function(value)
      return '"\\\\x' .. value[1]:gsub(".", function(byte)
        return ("%02x"):format(byte:byte())
      end) .. '"'
    end,
    plain = function() error("JSON has no bytes", 0) end,
  },
  json = {
    text = function(value) return of_string(value[1]) end,
    plain = function(value) return json.decode(value[1]) end,
  },
  array = {
    text = function(value) return value[1] end,
    plain = function(value) return json.decode(value[2]) end,
  },
  timestamp = {
    text = function(value) return of_string(value[1]) end,
    plain = function(value) return value[1] end,
  },
}

local function typed_of(value)
  local meta = getmetatable(value)
  return type(meta) == "string" and typed[meta:match "^tycho%.db%.(%l+)$"] or nil
end

-- An element in PostgreSQL's text form (manual, 8.15.6).
local function add_element(out, value, depth)
  local kind = type(value)
  local own = kind == "table" and typed_of(value)
  if own then
    out[#out + 1] = own.text(value)
  elseif value == core.null then
    out[#out + 1] = "NULL"
  elseif value == nil then
    error("db.array: nil is no element; NULL is db.null", 0)
  elseif kind == "table" then
    add_array(out, value, depth + 1)
  elseif of_type[kind] then
    out[#out + 1] = of_type[kind](value)
  else
    error(("db.array: a %s is no element"):format(kind), 0)
  end
end

-- The same list, of what JSON knows.
local function plain(list)
  local copy = json.array {}
  for i = 1, #list do
    local value = list[i]
    local own = type(value) == "table" and typed_of(value)
    if own then
      copy[i] = own.plain(value)
    else
      copy[i] = type(value) == "table" and plain(value) or value
    end
  end
  return copy
end

-- Up to the last element, whatever is missing on the way there.
local function length_of(list)
  local length = 0
  for key in pairs(list) do
    if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then
      error("db.array: what is no list is an element only as db.json", 0)
    end
    length = math.max(length, key)
  end
  return length
end

function add_array(out, list, depth)
  if depth > DEPTH_MAX then
    error(("db.array: more than %d levels"):format(DEPTH_MAX), 0)
  end
  local length = length_of(list)
  out[#out + 1] = "{"
  for i = 1, length do
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
    blame("db.array: expected a table, not a %s", type(list))
  end
  local out = {}
  local ok, err = pcall(add_array, out, list, 1)
  if not ok then
    blame(err)
  end
  -- Infinity and bytes are elements, but not of JSON: databases that need that refuse them.
  local is_json, text = pcall(function() return json.encode(plain(list)) end)
  return core.typed("array", table.concat(out), is_json and text or nil)
end

---A moment to be stored as such.
---@param value string|number RFC 3339, or seconds since 1970
---@return tycho.db.Timestamp
function values.timestamp(value)
  local kind = type(value)
  local text = moment.canonical(value)
  if not text then
    blame("db.timestamp: %s is no moment: expected RFC 3339, or seconds since 1970",
      kind == "string" and ("%q"):format(value) or "a " .. kind)
  end
  return core.typed("timestamp", text)
end

return values
