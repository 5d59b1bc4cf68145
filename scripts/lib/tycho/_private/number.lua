--- Numbers as text, exactly: integers of 64 bits and decimals of any length.

local ffi = require "ffi"
local int64 = require "tycho.int64"

local signed, unsigned = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local EXACT = 2 ^ 53
local INT64_MAX = 0x7fffffffffffffffLL

local number = {}

---An integer that Lua can hold exactly: a number up to 2^53, else a boxed int64_t.
---@param value any
---@return number|ffi.cdata*|nil integer nil if it is no integer
---@return boolean? out_of_range it is one, but does not fit into 64 bits
function number.integer(value)
  if type(value) == "number" then
    if value % 1 ~= 0 then -- also NaN and the infinities
      return nil
    elseif value > EXACT or value < -EXACT then
      return nil, true -- no double beyond is known to be exact
    end
    return value + 0 -- not -0
  elseif type(value) ~= "cdata" then
    return nil
  elseif ffi.istype(signed, value) then
    return value
  elseif ffi.istype(unsigned, value) then
    if value > ffi.cast(unsigned, INT64_MAX) then
      return nil, true
    end
    return ffi.cast(signed, value)
  end
end

---Reads plain decimal digits with an optional minus; nothing else ("1e2", "+1", " 1", "٣").
---@param text string
---@return number|ffi.cdata*|nil integer nil if it is no integer
---@return boolean? out_of_range
function number.parse_integer(text)
  if not text:find("^%-?%d+$") then
    return nil
  end
  local value = int64.parse(text)
  return value, value == nil
end

---Splits a decimal such as "-12.30"; nil if the text is none. Neither exponents nor a bare point.
---@param text string
---@return string? sign "-" or ""
---@return string? whole without leading zeros, "" for 0
---@return string? fraction
function number.parse_decimal(text)
  local sign, whole, fraction = text:match("^(%-?)(%d+)%.?(%d*)$")
  if not whole or (fraction == "" and text:sub(-1) == ".") or whole:find("^0%d") then
    return nil
  end
  return sign, whole == "0" and "" or whole, fraction
end

local function compare_magnitudes(whole_a, fraction_a, whole_b, fraction_b)
  if #whole_a ~= #whole_b then
    return #whole_a < #whole_b and -1 or 1
  end
  local width = math.max(#fraction_a, #fraction_b)
  local a = whole_a .. fraction_a .. ("0"):rep(width - #fraction_a)
  local b = whole_b .. fraction_b .. ("0"):rep(width - #fraction_b)
  return a == b and 0 or (a < b and -1 or 1)
end

---Compares two decimals without a rounding.
---@param a string
---@param b string
---@return integer order -1, 0 or 1
function number.compare_decimals(a, b)
  local sign_a, whole_a, fraction_a = number.parse_decimal(a)
  local sign_b, whole_b, fraction_b = number.parse_decimal(b)
  if not (whole_a .. fraction_a):find("[1-9]") then
    sign_a = "" -- -0.00
  end
  if not (whole_b .. fraction_b):find("[1-9]") then
    sign_b = ""
  end
  if sign_a ~= sign_b then
    return sign_a == "-" and -1 or 1
  end
  local order = compare_magnitudes(whole_a, fraction_a, whole_b, fraction_b)
  return sign_a == "-" and -order or order
end

return number
