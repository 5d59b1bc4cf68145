--- SQL, word by word: for comparing expressions that differ in nothing but how they are written,
--- and for reading what a database gives back of its own tables.

local tokens = {}

---@class tycho.schema_sync.Token
---@field kind "word"|"name"|"string"|"number"|"sign"
---@field text string words and names without quotes; words in lower case
---@field from integer
---@field to integer

-- The position of the quote that ends it. A backslash may take the next one along: so
-- MySQL writes them, whatever it reads.
local function quoted(text, at, quote, has_escapes)
  local from, stop = at + 1, has_escapes and "[\\" .. quote .. "]" or quote
  while true do
    local found = text:find(stop, from)
    if not found then
      return #text
    elseif text:sub(found, found) == quote and text:sub(found + 1, found + 1) ~= quote then
      return found
    end
    from = found + 2
  end
end

local function unquote(text, quote)
  return (text:sub(2, -2):gsub(quote .. quote, quote))
end

local SIGNS = { ["<"] = "^<[=>]?", [">"] = "^>=?", ["!"] = "^!=?", ["|"] = "^||?", [":"] = "^::?",
  ["="] = "^==?" }

local function read(text, at, has_escapes)
  local char = text:sub(at, at)
  if char == "'" then
    local to = quoted(text, at, "'", has_escapes)
    return "string", text:sub(at, to), to
  elseif char == '"' or char == "`" then
    local to = quoted(text, at, char)
    return "name", unquote(text:sub(at, to), char), to
  elseif char == "[" and text:find("^%[[%a_][^%]]*%]", at) then
    local to = text:find("]", at, true)
    return "name", text:sub(at + 1, to - 1), to
  elseif char:find("[%a_]") then
    local to = select(2, text:find("^[%w_$]+", at))
    return "word", text:sub(at, to):lower(), to
  elseif char:find("%d") then
    local to = select(2, text:find("^[%w.]+", at))
    return "number", text:sub(at, to), to
  end
  local to = SIGNS[char] and select(2, text:find(SIGNS[char], at)) or at
  return "sign", text:sub(at, to), to
end

-- The position of what is neither blank nor comment.
local function skip(text, at)
  while true do
    at = text:find("%S", at)
    local pair = at and text:sub(at, at + 1)
    if pair == "--" then
      at = text:find("\n", at, true) or #text + 1
    elseif pair == "/*" then
      at = (select(2, text:find("*/", at + 2, true)) or #text) + 1
    else
      return at
    end
  end
end

---@param text string
---@param has_escapes? boolean a backslash in a string means something: MySQL
---@return tycho.schema_sync.Token[]
function tokens.of(text, has_escapes)
  local list, at = {}, skip(text, 1)
  while at do
    local kind, word, to = read(text, at, has_escapes)
    list[#list + 1] = { kind = kind, text = word, from = at, to = to }
    at = skip(text, to + 1)
  end
  return list
end

---Does the token open or close a bracket? 1, -1 or 0.
---@param token tycho.schema_sync.Token
---@return integer
function tokens.depth(token)
  if token.kind ~= "sign" then
    return 0
  end
  return token.text == "(" and 1 or token.text == ")" and -1 or 0
end

-- Is all of it in one pair of brackets?
local function is_wrapped(list)
  if not list[2] or tokens.depth(list[1]) ~= 1 then
    return false
  end
  local depth = 0
  for i, token in ipairs(list) do
    depth = depth + tokens.depth(token)
    if depth == 0 and i < #list then
      return false
    end
  end
  return true
end

local SAME = { ["true"] = "1", ["false"] = "0", ["=="] = "=", ["!="] = "<>" }

---One way of writing it: no comments, one blank between words, no quotes around plain names, no
---brackets around the whole.
---@param text string
---@param has_escapes? boolean as for `tokens.of`
---@return string
function tokens.normal(text, has_escapes)
  local list = tokens.of(text, has_escapes)
  while is_wrapped(list) do
    table.remove(list)
    table.remove(list, 1)
  end
  local words = {}
  for i, token in ipairs(list) do
    local plain = token.kind == "name" and token.text:lower() or token.text
    words[i] = token.kind ~= "string" and SAME[plain] or plain
  end
  return table.concat(words, " ")
end

---The parts between commas that are in no brackets, each a list of tokens.
---@param list tycho.schema_sync.Token[]
---@param from integer
---@param to integer
---@return tycho.schema_sync.Token[][]
function tokens.split(list, from, to)
  local parts, part, depth = {}, {}, 0
  for i = from, to do
    local token = list[i]
    depth = depth + tokens.depth(token)
    if depth == 0 and token.kind == "sign" and token.text == "," then
      parts[#parts + 1], part = part, {}
    else
      part[#part + 1] = token
    end
  end
  parts[#parts + 1] = part
  return parts
end

---The number of the token that closes the bracket at `open`.
---@param list tycho.schema_sync.Token[]
---@param open integer
---@return integer
function tokens.close(list, open)
  local depth = 0
  for i = open, #list do
    depth = depth + tokens.depth(list[i])
    if depth == 0 then
      return i
    end
  end
  return #list
end

---The text between two tokens of it, both included; empty if there are none.
---@param text string
---@param list tycho.schema_sync.Token[]
---@param from integer
---@param to integer
---@return string
function tokens.text(text, list, from, to)
  if from > to then
    return ""
  end
  return text:sub(list[from].from, list[to].to)
end

return tokens
