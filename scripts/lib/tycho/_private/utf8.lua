--- Text in UTF-8: is it, and how many characters are there?

local byte, find = string.byte, string.find

-- For each first byte: how many bytes the character has, and what the second may be (RFC 3629).
local SIZE, LOW, HIGH = {}, {}, {}

local function define(first, last, size, low, high)
  for b = first, last do
    SIZE[b], LOW[b], HIGH[b] = size, low or 0x80, high or 0xBF
  end
end

define(0xC2, 0xDF, 2)
define(0xE0, 0xE0, 3, 0xA0)
define(0xE1, 0xEC, 3)
define(0xED, 0xED, 3, 0x80, 0x9F)
define(0xEE, 0xEF, 3)
define(0xF0, 0xF0, 4, 0x90)
define(0xF1, 0xF3, 4)
define(0xF4, 0xF4, 4, 0x80, 0x8F)

-- How many bytes the character at `i` has; nil if there is none.
local function size_at(text, i, first)
  local size = SIZE[first]
  local second = size and byte(text, i + 1)
  if not second or second < LOW[first] or second > HIGH[first] then
    return nil
  end
  for k = i + 2, i + size - 1 do
    local b = byte(text, k)
    if not b or b < 0x80 or b > 0xBF then
      return nil
    end
  end
  return size
end

local utf8 = {}

---@param text string
---@return integer? characters nil if `text` is not UTF-8
function utf8.length(text)
  if not find(text, "[\128-\255]") then
    return #text
  end
  local i, count = 1, 0
  while i <= #text do
    local first = byte(text, i)
    local size = first < 0x80 and 1 or size_at(text, i, first)
    if not size then
      return nil
    end
    i, count = i + size, count + 1
  end
  return count
end

return utf8
