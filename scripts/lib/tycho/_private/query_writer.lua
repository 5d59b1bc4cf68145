--- One statement in the making: its text, and the values that go beside it.

local blame = require "tycho._private.blame"
local database = require "tycho.db"

---@class tycho.query.Writer
---@field dialect table
---@field params any[] with their number in `n`
local Writer = {}
Writer.__index = Writer

-- A function of Lua takes no more arguments than about 8000; databases take 32766 and more.
local PARAMS_MAX = 7000

local quoted = {} -- names are few, and come again

local function quote(name)
  if type(name) ~= "string" or #name > 200 then
    return nil
  end
  local parts = {}
  for part in (name .. "."):gmatch("([^.]*)%.") do
    if part == "*" then
      parts[#parts + 1] = part
    elseif #part <= 63 and part:find("^[%a_][%w_]*$") then
      parts[#parts + 1] = '"' .. part .. '"'
    else
      return nil
    end
  end
  return table.concat(parts, ".")
end

---A name, quoted: `users`, `users.email`, `u.*`. Anything else is refused: no text from outside
---becomes SQL.
---@param name string
---@return string sql
function Writer:name(name) -- luacheck: ignore self
  local sql = quoted[name]
  if not sql then
    sql = quote(name)
    if not sql then
      blame("%q is no name of a table or column", tostring(name))
    end
    quoted[name] = sql
  end
  return sql
end

---A name that may have another behind it: `users as u`.
---@param text string
---@return string sql
function Writer:aliased(text)
  local name, alias = tostring(text):match("^(%S+)%s+[aA][sS]%s+([%w_]+)$")
  if name then
    return ("%s as %s"):format(self:name(name), self:name(alias))
  end
  return (self:name(text))
end

---What stands for a column in a comparison; a repository has more to say here.
function Writer:column(name)
  return (self:name(name))
end

---A column in the place of a value.
function Writer:other(name)
  return (self:name(name))
end

---A placeholder for a value.
---@param value any
---@return string sql
function Writer:param(value)
  local params = self.params
  local n = params.n + 1
  if n > PARAMS_MAX then
    blame("one statement has room for %d values: do it in parts", PARAMS_MAX)
  end
  params.n = n
  params[n] = value == nil and database.null or value
  return "$" .. n
end

---A placeholder for a value that belongs to a column.
function Writer:value(_, value)
  return (self:param(value))
end

local ENDS = { ["'"] = "'", ['"'] = '"', ["`"] = "`", ["--"] = "\n", ["/*"] = "*/" }

-- Where the next string, quoted name or comment begins and ends; nil: there is none.
local function find_opaque(text, position)
  local start = position
  while true do
    start = text:find("['\"`%-/]", start)
    if not start then
      return nil
    end
    local opening = ENDS[text:sub(start, start)] and text:sub(start, start)
      or text:sub(start, start + 1)
    if ENDS[opening] then
      return start, select(2, text:find(ENDS[opening], start + #opening, true)) or #text
    end
    start = start + 1
  end
end

-- The placeholders of a text, outside of its strings, quoted names and comments.
local function replace_placeholders(text, with)
  local out, position = {}, 1
  while true do
    local start, finish = find_opaque(text, position)
    out[#out + 1] = text:sub(position, (start or 0) - 1):gsub("%$(%d+)", with)
    if not start then
      break
    end
    out[#out + 1] = text:sub(start, finish)
    position = finish + 1
  end
  return table.concat(out)
end

---SQL as it is; its placeholders get the numbers that they have in this statement.
---@param raw tycho.query.Raw
---@return string sql
function Writer:raw(raw)
  local placed = {}
  return (replace_placeholders(raw.text, function(digits)
    local n = tonumber(digits)
    if n < 1 or n > raw.n then
      blame("query.sql: $%d is used, and there are %d values", n, raw.n)
    end
    placed[n] = placed[n] or self:param(raw[n])
    return placed[n]
  end))
end

local writers = {}

---@param dialect table
---@param class? table of a writer that knows more
---@return tycho.query.Writer
function writers.new(dialect, class)
  return setmetatable({ dialect = dialect, params = { n = 0 } }, class or Writer)
end

---A class of writers that differ in some methods.
function writers.derive()
  local class = setmetatable({}, Writer)
  class.__index = class
  return class
end

local dialects = {}

---@param name string as `db.system()` says it
function writers.dialect(name)
  if not dialects[name] then
    dialects[name] = require("tycho._private.dialect." .. name)
  end
  return dialects[name]
end

---The name of the dialect of a database.
---@param db tycho.db.Database
function writers.system(db)
  return db.system and db.system() or "sqlite"
end

return writers
