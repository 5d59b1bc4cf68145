--- Statements of a file of SQL, one by one, each with its line.
---
--- Semicolons inside of quotes, comments and PostgreSQL's `$tag$` bodies end nothing. MySQL's
--- triggers and procedures have semicolons inside, so files for it may change the delimiter, as its
--- own client has it: `delimiter //`.

---@class tycho.migration.Statement
---@field text string
---@field line integer where it starts

local Reader = {}
Reader.__index = Reader

-- The position behind a string that ends in `quote`, doubled inside.
local function skip_quoted(text, at, quote, has_escapes)
  local stop = has_escapes and "[\\" .. quote .. "]" or quote
  while true do
    local found = text:find(stop, at)
    if not found then
      return #text + 1
    elseif text:sub(found, found) == "\\" then
      at = found + 2
    elseif text:sub(found + 1, found + 1) == quote then
      at = found + 2
    else
      return found + 1
    end
  end
end

local function skip_line(text, at)
  return (text:find("\n", at, true) or #text) + 1
end

-- Block comments nest in PostgreSQL.
local function skip_block(text, at, nests)
  local depth = 1
  while depth > 0 do
    local found = text:find("[/*][/*]", at)
    if not found then
      return #text + 1
    end
    local pair = text:sub(found, found + 1)
    at = found + 1
    if pair == "*/" then
      depth, at = depth - 1, found + 2
    elseif pair == "/*" and nests then
      depth, at = depth + 1, found + 2
    end
  end
  return at
end

-- PostgreSQL's E'it\'s'. In MySQL's sessions here a backslash is no more than that.
function Reader:skip_string(at)
  local prefix = self.text:sub(at - 1, at - 1)
  local is_escaped = self.system == "postgresql" and prefix:lower() == "e"
    and not self.text:sub(at - 2, at - 2):find("[%w_]")
  return skip_quoted(self.text, at + 1, "'", is_escaped)
end

local SKIP = {
  ["'"] = Reader.skip_string,
  ['"'] = function(self, at)
    return skip_quoted(self.text, at + 1, '"', false)
  end,
  ["`"] = function(self, at)
    return skip_quoted(self.text, at + 1, "`", false)
  end,
  ["-"] = function(self, at)
    return self.text:sub(at, at + 1) == "--" and skip_line(self.text, at) or at + 1
  end,
  ["#"] = function(self, at)
    return self.system == "mysql" and skip_line(self.text, at) or at + 1
  end,
  ["/"] = function(self, at)
    return self.text:sub(at, at + 1) == "/*"
      and skip_block(self.text, at + 2, self.system == "postgresql") or at + 1
  end,
  ["$"] = function(self, at)
    local tag = self.text:match("^%$[%a_]?[%w_]*%$", at)
    if self.system ~= "postgresql" or not tag or self.text:sub(at - 1, at - 1):find("[%w_]") then
      return at + 1
    end
    local _, stop = self.text:find(tag, at + #tag, true)
    return (stop or #self.text) + 1
  end,
}

-- The position of what runs next: behind blanks and comments; nil at the end.
function Reader:skip_blank(at)
  while true do
    at = self.text:find("%S", at)
    local pair = at and self.text:sub(at, at + 1)
    local is_comment = pair == "--" or pair == "/*" and self.text:sub(at + 2, at + 2) ~= "!"
      or self.system == "mysql" and pair and pair:sub(1, 1) == "#"
    if not is_comment then
      return at -- what stands in MySQL's /*! runs
    end
    at = SKIP[pair:sub(1, 1)](self, at)
  end
end

-- "delimiter //": the position behind its line.
function Reader:take_delimiter(at)
  local word, value, stop = self.text:match("^(%a+)[ \t]+(%S+)[^\n]*()", at)
  if self.system == "mysql" and word and word:lower() == "delimiter" then
    self.delimiter = value
    return stop
  end
end

-- The position of the delimiter that ends the statement, or that behind the text.
function Reader:find_end(at)
  while at <= #self.text do
    if self.text:sub(at, at + #self.delimiter - 1) == self.delimiter then
      return at
    end
    local skip = SKIP[self.text:sub(at, at)]
    at = skip and skip(self, at) or self.text:find("%p", at + 1) or #self.text + 1
  end
  return #self.text + 1
end

function Reader:line_at(at)
  local _, count = self.text:sub(self.counted_to, at - 1):gsub("\n", "")
  self.line, self.counted_to = self.line + count, at
  return self.line
end

function Reader:run()
  local list, at = {}, self:skip_blank(1)
  while at do
    local behind = self:take_delimiter(at)
    if not behind then
      local stop = self:find_end(at)
      if stop > at then
        local text = self.text:sub(at, stop - 1):gsub("%s+$", "")
        list[#list + 1] = { text = text, line = self:line_at(at) }
      end
      behind = stop + #self.delimiter
    end
    at = self:skip_blank(behind)
  end
  return list
end

---@param text string
---@param system string
---@return tycho.migration.Statement[]
return function(text, system)
  return setmetatable({
    text = text, system = system, delimiter = ";", line = 1, counted_to = 1,
  }, Reader):run()
end
