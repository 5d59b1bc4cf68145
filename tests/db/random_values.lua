--- Values at random, of every kind that databases keep: what is given, and what must come back.

local bit = require "bit"
local ffi = require "ffi"
local int64 = require "tycho.int64"
local json = require "tycho.json"
local seed = require "tests.support.seed"

local random = {}

---With which it all can be had again: TYCHO_TEST_SEED.
random.seed = seed()
math.randomseed(random.seed)

local function digits(count)
  local out = {}
  for i = 1, count do
    out[i] = math.random(0, 9)
  end
  return table.concat(out)
end

local double = ffi.new "union { double number; uint32_t half[2]; }"

---Any double but those that are no numbers: all magnitudes are as likely.
---@return number
function random.double()
  local high
  repeat -- LuaJIT takes the bits of some that are no numbers for other values: they are not read
    high = math.random(0, 0xffff)
  until bit.band(high, 0x7ff0) ~= 0x7ff0
  double.half[0] = math.random(0, 0xffff) * 0x10000 + math.random(0, 0xffff)
  double.half[1] = high * 0x10000 + math.random(0, 0xffff)
  return double.number
end

---Any integer of 64 bits, as likely a small one as a large one; sometimes one of the borders.
---@return number|ffi.cdata*
function random.integer()
  if math.random(1, 10) == 1 then
    local borders = { "9223372036854775807", "-9223372036854775808", "9007199254740993", "0", "-1" }
    return int64.parse(borders[math.random(1, #borders)])
  end
  local value = ffi.cast("int64_t", math.random(0, 0xffffff))
  for _ = 1, 2 do
    value = bit.bor(bit.lshift(value, 24), ffi.cast("int64_t", math.random(0, 0xffffff)))
  end
  value = bit.arshift(value, math.random(0, 63))
  return int64.parse(tostring(math.random() < 0.5 and value or -value):match "^-?%d+")
end

local RANGES = { { 1, 0x7f }, { 0x80, 0x7ff }, { 0x800, 0xd7ff }, { 0xe000, 0xffff },
                 { 0x10000, 0x10ffff } }

-- One character, of a length in bytes that is as likely as any.
local function character()
  local range = RANGES[math.random(1, #RANGES)]
  local code = math.random(range[1], range[2])
  local tail = {}
  if code < 0x80 then
    return string.char(code)
  end
  local first = 0x3f
  repeat
    table.insert(tail, 1, string.char(0x80 + code % 64))
    code = math.floor(code / 64)
    first = math.floor(first / 2)
  until code <= first
  return string.char((0xff - first * 2 - 1) % 256 + code) .. table.concat(tail)
end

local SPECIAL = { "'", '"', "\\", "`", "$1", "%s", "{", "}", ",", "NULL", "\\N", "\\.", "\n", "--",
                  " ", "\226\128\174", "\239\187\191" }

---Any text: all planes of Unicode, and what means something somewhere.
---@return string
function random.text()
  local out = {}
  for i = 1, math.random(0, 40) do
    out[i] = math.random() < 0.3 and SPECIAL[math.random(1, #SPECIAL)] or character()
  end
  return table.concat(out)
end

---@return string
function random.bytes()
  local out = {}
  for i = 1, math.random(0, 100) do
    out[i] = string.char(math.random(0, 255))
  end
  return table.concat(out)
end

---A decimal that numeric(40, 10) keeps, as it comes back from there.
---@return string
function random.decimal()
  local whole = digits(math.random(1, 30)):gsub("^0+(%d)", "%1")
  local text = whole .. "." .. digits(10)
  return math.random() < 0.5 and text:find "[1-9]" and "-" .. text or text
end

local function days_of(year, month)
  local days = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return month == 2 and leap and 29 or days[month]
end

---A day that all databases know: of the years 1000 to 9999.
---@return string
function random.date()
  local year, month = math.random(1000, 9999), math.random(1, 12)
  return ("%04d-%02d-%02d"):format(year, month, math.random(1, days_of(year, month)))
end

---@return string
function random.timestamp()
  return ("%sT%02d:%02d:%02d.%06dZ"):format(random.date(), math.random(0, 23), math.random(0, 59),
    math.random(0, 59), math.random(0, 999999))
end

---@return string
function random.uuid()
  return (("xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx"):gsub("x", function()
    return ("%x"):format(math.random(0, 15))
  end))
end

-- No NUL: PostgreSQL's jsonb has no place for it. And no larger numbers: jsonb writes all digits of
-- them, and an integer of more than 64 bits is none here.
local SCALARS = {
  random.text, random.integer, function() return math.random() < 0.5 end,
  function() return json.null end, function() return math.random(-1000, 1000) / 8 end,
  function() return (math.random() - 0.5) * 10 ^ math.random(-15, 15) end,
}

---A document, with objects and lists in it, also empty ones.
---@param depth? integer
---@return any
function random.document(depth)
  depth = depth or 4
  local kind = depth == 0 and 1 or math.random(1, 3)
  if kind == 1 then
    return SCALARS[math.random(1, #SCALARS)]()
  end
  local out = kind == 2 and json.array {} or {}
  for i = 1, math.random(0, 5) do
    out[kind == 2 and i or "k" .. random.text()] = random.document(depth - 1)
  end
  return out
end

local function same_tables(given, found, path)
  for key, value in pairs(given) do
    local why = random.difference(value, found[key], path .. "/" .. tostring(key))
    if why then
      return why
    end
  end
  for key in pairs(found) do
    if given[key] == nil then
      return ("%s/%s is too much"):format(path, tostring(key))
    end
  end
end

---What differs; nil: nothing. Numbers are the same only if every bit is; NaN is like itself.
---@param path? string
---@return string?
function random.difference(given, found, path)
  path = path or ""
  if type(given) == "table" and type(found) == "table" then
    if json.is_array(given) and not json.is_array(found) and #given == 0 then
      return path .. " is no list any more"
    end
    return same_tables(given, found, path)
  elseif given == found or (given ~= given and found ~= found) then
    return nil
  end
  return ("%s: gave %s (%s), got %s (%s)"):format(path, tostring(given), type(given),
    tostring(found), type(found))
end

return random
