--- Results that do not fit into memory, and bulk data: read and written piece by piece.

local blame = require "tycho._private.blame"
local core = require "tycho.core.db"
local check = require("tycho.errors").check

local pieces = {}

local ROWS = 256 -- of one piece: a few round trips for a thousand rows, some KiB of memory

local next_number = 0

-- Cursors of one transaction have different numbers, also when they are nested.
local function new_number()
  next_number = next_number % 1000000 + 1
  return next_number
end

local function read_all(handle, number, fn)
  local count = 0
  while true do
    local rows = check(core.fetch(handle, number, ROWS))
    for _, row in ipairs(rows) do
      count = count + 1
      if fn(row) == false then
        return count
      end
    end
    if #rows < ROWS then
      return count
    end
  end
end

---Calls `fn(row)` for each row of a query, until it returns false. The last argument is `fn`.
---@async
---@param handle userdata a transaction's
---@param sql string
---@param ... any values, then the function
---@return integer count of rows that `fn` saw
function pieces.each(handle, sql, ...)
  local count = select("#", ...)
  local fn = select(count, ...)
  local values = { ... }
  local number = new_number()
  check(core.open(handle, number, sql, unpack(values, 1, count - 1)))
  local ok, result = pcall(read_all, handle, number, fn)
  if not ok then
    pcall(core.shut, handle, number) -- the transaction may be over; what was raised says why
    error(result, 0)
  end
  check(core.shut(handle, number))
  return result
end

-- A source is a text, a list of texts, or a function that returns the next one, nil at the end.
local function reader_of(source)
  if type(source) == "function" then
    return source
  elseif type(source) == "string" then
    source = { source }
  elseif type(source) ~= "table" then
    blame("copy_in: expected a string, a list or a function, not a %s", type(source))
  end
  local i, length = 0, table.maxn(source)
  return function()
    i = i + 1
    if i <= length then
      return source[i] or false -- a gap is not the end
    end
  end
end

---@async
---@param handle userdata a transaction's
---@param sql string COPY ... FROM STDIN
---@param source string|string[]|fun(): string?
---@return integer rows
function pieces.copy_in(handle, sql, source)
  local read = reader_of(source)
  check(core.copy(handle, "in", sql))
  for text in read do
    if type(text) ~= "string" then
      blame("copy_in: what is copied is texts, not a %s", type(text))
    end
    check(core.copy(handle, "put", text))
  end
  return check(core.copy(handle, "end"))
end

---@async
---@param handle userdata a transaction's
---@param sql string COPY ... TO STDOUT
---@param fn fun(text: string) gets the pieces
function pieces.copy_out(handle, sql, fn)
  if type(fn) ~= "function" then
    blame("copy_out: expected a function that gets texts, not a %s", type(fn))
  end
  check(core.copy(handle, "out", sql))
  while true do
    local text, err = core.copy(handle, "get")
    if err then
      error(err, 0)
    elseif not text then
      return
    end
    fn(text)
  end
end

return pieces
