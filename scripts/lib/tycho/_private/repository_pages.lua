--- Orders and pages of lists.
---
--- Every order ends with the primary key, so that no two rows are equal in it, and NULL is less
--- than everything, on every database. A cursor holds the place of the last row in that order: what
--- is inserted or deleted meanwhile neither repeats rows nor hides them.

local blame = require "tycho._private.blame"
local crypto = require "tycho.crypto"
local errors = require "tycho.errors"
local is_list = require "tycho._private.is_list"
local json = require "tycho.json"
local rows = require "tycho._private.repository_rows"

local null = json.null

local pages = {}

local UNSORTED = { json = true, array = true, bytes = true }

local function term_of(described, text)
  if type(text) ~= "string" then
    blame("order: the name of a column is wanted, not a %s", type(text))
  end
  local minus, name = text:match("^(%-?)(.*)$")
  local column = rows.column(described, name)
  if UNSORTED[column.kind] then
    blame("order: %s is of the kind %s, which has no order", name, column.kind)
  end
  return { column = column, name = name, descending = minus == "-" }
end

local function default_order(described)
  return described.created and { "-" .. described.created } or {}
end

---An order as a list of `{ column, name, descending }`.
---@param described tycho.model.Table
---@param given? string|string[] names, downwards with a `-` before them
---@return table[] order
function pages.order(described, given)
  if type(given) == "string" then
    given = { given }
  elseif given ~= nil and (type(given) ~= "table" or not is_list(given)) then
    blame("order: a list of columns is wanted, each with a - before it or not")
  end
  local order, seen = {}, {}
  for _, text in ipairs(given or default_order(described)) do
    local term = term_of(described, text)
    if not seen[term.name] then
      seen[term.name] = true
      order[#order + 1] = term
    end
  end
  local descending = #order > 0 and order[#order].descending
  for _, name in ipairs(described.primary) do
    if not seen[name] then
      order[#order + 1] = {
        column = described.by_name[name], name = name, descending = descending,
      }
    end
  end
  return order
end

-- Says what a cursor is for: with another order it means nothing.
local function signature(described, order)
  local parts = { described.name }
  for i, term in ipairs(order) do
    parts[i + 1] = (term.descending and "-" or "") .. term.name
  end
  return table.concat(parts, ",")
end

---The place of a row, as text that means nothing to anybody else.
function pages.cursor(described, order, row)
  local place = json.array { signature(described, order) }
  for i, term in ipairs(order) do
    local value = row[term.name]
    place[i + 1] = value == nil and null or value
  end
  return crypto.base64url(json.encode(place))
end

local function refuse()
  error(errors.new("invalid", "the cursor is not one of ours", {
    msg = { en = "the cursor is not one of ours", zh = "分页游标无效" }, detail = "CURSOR",
  }), 0)
end

local function value_at(described, term, value)
  local ok, written = pcall(rows.value, described, term.column, value)
  if not ok or (written == null and not term.column.null) then
    refuse()
  end
  return written
end

-- The values that a cursor holds; whatever else a client may have sent is refused.
local function read(described, order, cursor)
  local ok, place = pcall(function()
    return json.decode(crypto.from_base64url(cursor))
  end)
  if not ok or type(place) ~= "table" or #place ~= #order + 1
    or place[1] ~= signature(described, order) then
    refuse()
  end
  local at = {}
  for i, term in ipairs(order) do
    at[i] = { value = value_at(described, term, place[i + 1]) }
  end
  return at
end

local function same(term, value)
  return { column = term.name, op = "eq", value = value, is_ordered = true }
end

-- What comes behind a value of one column; nil: nothing does.
local function beyond(term, value)
  if value == null then
    return not term.descending and { column = term.name, op = "ne", value = null } or nil
  end
  local further = { column = term.name, op = term.descending and "lt" or "gt", value = value }
  if term.descending and term.column.null then
    return { join = "or", further, same(term, null) }
  end
  return further
end

-- The first column alone, so that an index finds the beginning.
local function bound(term, value)
  if value == null or (term.descending and term.column.null) then
    return nil
  end
  return { column = term.name, op = term.descending and "le" or "ge", value = value }
end

---The filter's tree of what comes behind a cursor.
---@param described tycho.model.Table
---@param order table[]
---@param cursor string
---@return table tree
function pages.after(described, order, cursor)
  if type(cursor) ~= "string" then
    refuse()
  end
  local at = read(described, order, cursor)
  local any = { join = "or" }
  for i, term in ipairs(order) do
    local all = { join = "and" }
    for j = 1, i - 1 do
      all[j] = same(order[j], at[j].value)
    end
    all[i] = beyond(term, at[i].value)
    any[#any + 1] = all[i] and all or nil
  end
  local tree = { join = "and" }
  tree[1] = bound(order[1], at[1].value)
  tree[#tree + 1] = any
  return tree
end

return pages
