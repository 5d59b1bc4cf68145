--- Lua patterns in schemas: only those whose cost is bounded, and what they are in JSON Schema.
---
--- A pattern describes the whole string. Backtracking over more than two unbounded repetitions, or
--- over dozens of optional items, could take minutes on hostile input, and `%b`, `%f` and captures
--- have no counterpart in the regular expressions of JSON Schema: these are refused where the
--- schema is written.
local UNBOUNDED_MAX, OPTIONAL_MAX = 2, 12

-- Lua class -> the inside of a bracket expression of ECMA-262.
local CLASSES = {
  a = "A-Za-z", d = "0-9", l = "a-z", u = "A-Z", w = "A-Za-z0-9", x = "A-Fa-f0-9",
  s = "\\t-\\r ", c = "\\x00-\\x1f\\x7f", p = "!-\\/:-@\\[-`{-~", z = "\\x00",
}
local REPETITIONS = { ["*"] = "*", ["+"] = "+", ["-"] = "*?", ["?"] = "?" }

local function literal(char)
  return (char:gsub("[%^$\\.*+?()%[%]{}|/%-]", "\\%0"))
end

-- After a `%`: returns the item, or nil and what is wrong.
local function escaped(char, inside)
  if char == "" then
    return nil, "a % without a character behind it"
  elseif not char:find("%a") then
    return not char:find("%d") and literal(char) or nil, "%" .. char
  end
  local class = CLASSES[char:lower()]
  if not class or (inside and char:find("%u")) then
    return nil, "%" .. char
  end
  if inside then
    return class
  end
  return (char:find("%u") and "[^" or "[") .. class .. "]"
end

-- A set that begins at `i` (its bracket): returns the item and where it ends, or nil and a fault.
local function set_at(pattern, i)
  local out, at = "[", i + 1
  if pattern:sub(at, at) == "^" then
    out, at = "[^", at + 1
  end
  local first = true
  while first or pattern:sub(at, at) ~= "]" do
    local char = pattern:sub(at, at)
    if char == "" then
      return nil, "a [ without ]"
    elseif char == "%" then
      local item, fault = escaped(pattern:sub(at + 1, at + 1), true)
      if not item then
        return nil, fault .. " in a set"
      end
      out, at = out .. item, at + 2
    elseif pattern:sub(at + 1, at + 1) == "-" and pattern:sub(at + 2, at + 2):find("[^%]]") then
      out, at = out .. literal(char) .. "-" .. literal(pattern:sub(at + 2, at + 2)), at + 3
    else
      out, at = out .. literal(char), at + 1
    end
    first = false
  end
  return out .. "]", at
end

-- One item at `i`: returns what it is in ECMA-262 and its last position, or nil and a fault.
local function item_at(pattern, i)
  local char = pattern:sub(i, i)
  if char == "%" then
    local item, fault = escaped(pattern:sub(i + 1, i + 1), false)
    return item, item and i + 1 or fault
  elseif char == "[" then
    return set_at(pattern, i)
  elseif char == "(" or char == ")" then
    return nil, "captures"
  elseif char == "." then
    return "[\\s\\S]", i
  elseif char:byte() >= 0x80 then
    return nil, "characters beyond ASCII"
  end
  return literal(char), i
end

-- A `$` behind an escape, which `%%` is none, means itself.
local function without_anchors(pattern)
  local body = pattern:gsub("^%^", "")
  local escapes = body:match("(%%*)%$$")
  return escapes and #escapes % 2 == 0 and body:sub(1, -2) or body
end

---@param pattern string a Lua pattern for the whole string; `^` and `$` may be left out
---@return string? anchored the Lua pattern to use; nil if it is refused
---@return string regex for JSON Schema, or what is refused
return function(pattern)
  local body = without_anchors(pattern)
  local regex, unbounded, optional, i = "", 0, 0, 1
  while i <= #body do
    local item, last = item_at(body, i)
    if not item then
      return nil, last
    end
    local repetition = REPETITIONS[body:sub(last + 1, last + 1)]
    if repetition then
      last = last + 1
      if repetition == "?" then
        optional = optional + 1
      else
        unbounded = unbounded + 1
      end
    end
    regex = regex .. item .. (repetition or "")
    i = last + 1
  end
  if unbounded > UNBOUNDED_MAX then
    return nil, "more than two unbounded repetitions (*, +, -)"
  elseif optional > OPTIONAL_MAX then
    return nil, "more than twelve optional items (?)"
  end
  return "^" .. body .. "$", "^" .. regex .. "$"
end
