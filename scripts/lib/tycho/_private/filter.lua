--- Filters: which rows are meant, as a tree, before it is SQL or is asked of rows in memory.
---
--- A filter is a table. `{ state = "PAID", amount__ge = 100 }`: all of it must hold. Keys are
--- columns, with an operator behind `__`; positional members are filters in it, SQL, or the groups
--- `any_of`, `all_of`, `none_of`. What is nil is not there, so an option that was not given filters
--- nothing.

local blame = require "tycho._private.blame"
local is_list = require "tycho._private.is_list"
local json = require "tycho.json"
local suggest = require "tycho._private.suggest"

local filter = {}

local Group, Raw, Column = {}, {}, {}

---What may stand behind `__`.
filter.OPERATORS = {
  eq = "=", ne = "<>", lt = "<", le = "<=", gt = ">", ge = ">=",
  ["in"] = true, not_in = true, between = true, is_null = true,
  contains = true, starts_with = true, ends_with = true,
  icontains = true, istarts_with = true, iends_with = true,
}
local OPERATORS = filter.OPERATORS
local null = json.null
local ARRAY = getmetatable(json.array())

---@class tycho.query.Raw SQL as it is, with placeholders of its own

---@return tycho.query.Raw
function filter.raw(text, ...)
  return setmetatable({ text = text, n = select("#", ...), ... }, Raw)
end

---@return boolean
function filter.is_raw(value)
  return getmetatable(value) == Raw
end

function filter.column(name)
  return setmetatable({ name = name }, Column)
end

function filter.is_column(value)
  return getmetatable(value) == Column
end

function filter.group(join, negated, parts)
  if type(parts) ~= "table" then
    blame("a filter is a table, not a %s", type(parts))
  end
  return setmetatable({ join = join, negated = negated, parts = parts }, Group)
end

---@return boolean
function filter.is_filter(value)
  return type(value) == "table" and getmetatable(value) ~= Column
end

---Is it a query? Not what only says so: a client could have sent it.
---@return boolean
function filter.is_query(value)
  return type(value) == "table" and rawget(value, "is_query") == nil and value.is_query == true
end

local is_builder = filter.is_query

-- A table that is none is never a condition: a client could have sent it.
local function looks_like_list(value)
  return value[1] ~= nil or next(value) == nil
end

-- One value, and no list: also what another module has wrapped.
local function is_single(value)
  if type(value) ~= "table" then
    return true
  end
  local meta = getmetatable(value)
  return meta ~= nil and meta ~= ARRAY and not is_builder(value)
end

-- What stands behind a nil in a list would be lost, and nobody would know.
local function check_list(column, op, value)
  if type(value) ~= "table" then
    blame("%s: %s wants a list, not a %s", column, op, type(value))
  elseif not is_builder(value) and not is_list(value) then
    blame("%s: %s wants a list of values without gaps", column, op)
  end
end

local function check_string(column, op, value)
  if type(value) ~= "string" then
    blame("%s: %s wants a string, not a %s", column, op, type(value))
  end
end

local function check_value(column, op, value)
  if not is_single(value) and not is_builder(value) then
    blame("%s: %s wants a value, not a list", column, op)
  elseif value == null and op ~= "eq" and op ~= "ne" then
    blame("%s: nothing is %s NULL", column, OPERATORS[op])
  end
end

local CHECKS = { ["in"] = check_list, not_in = check_list }

function CHECKS.between(column, _, value)
  if type(value) ~= "table" or value[1] == nil or value[2] == nil then
    blame("%s: between wants two values", column)
  elseif value[1] == null or value[2] == null then
    blame("%s: nothing is between NULL and anything", column)
  end
end

function CHECKS.is_null(column, _, value)
  if type(value) ~= "boolean" then
    blame("%s: is_null is true or false", column)
  end
end

for op, sql in pairs(OPERATORS) do
  CHECKS[op] = CHECKS[op] or (sql == true and check_string or check_value)
end

local function leaf(column, op, value)
  CHECKS[op](column, op, value)
  return { column = column, op = op, value = value }
end

local function check_operator(column, op)
  if not OPERATORS[op] then
    blame("%s: unknown operator %q%s", column, tostring(op), suggest(op, OPERATORS))
  end
end

local function add_named(nodes, key, value)
  local column, op = key:match("^(.+)__([%l_]+)$")
  if column then
    check_operator(column, op)
    nodes[#nodes + 1] = leaf(column, op, value)
  elseif is_single(value) then
    nodes[#nodes + 1] = leaf(key, "eq", value)
  elseif is_builder(value) or looks_like_list(value) then
    nodes[#nodes + 1] = leaf(key, "in", value)
  else
    blame("%s: a value or a list is wanted; operators stand behind the name (%s__ge)", key, key)
  end
end

local parse

local function add_positional(nodes, value)
  local kind = getmetatable(value)
  if kind == Raw then
    nodes[#nodes + 1] = { raw = value }
    return
  elseif type(value) ~= "table" then
    blame("a filter is a table, not a %s", type(value))
  end
  local node
  if kind == Group then
    node = parse(value.parts, value.join)
    node.negated = value.negated
  else
    node = parse(value, "and")
  end
  if #node > 0 then
    nodes[#nodes + 1] = node
  end
end

-- In an order of its own, so that the same filter is the same statement.
local function sorted_keys(parts)
  local named, positions = {}, {}
  for key in pairs(parts) do
    if type(key) == "string" then
      named[#named + 1] = key
    elseif type(key) == "number" then
      positions[#positions + 1] = key
    else
      blame("a filter's key is the name of a column, not a %s", type(key))
    end
  end
  table.sort(named)
  table.sort(positions)
  return named, positions
end

function parse(parts, join)
  local nodes = { join = join }
  local named, positions = sorted_keys(parts)
  for _, key in ipairs(named) do
    add_named(nodes, key, parts[key])
  end
  for _, position in ipairs(positions) do
    add_positional(nodes, parts[position])
  end
  return nodes
end

---The tree of a filter. Its nodes are groups `{ join = "and"|"or", negated?, ... }`, comparisons
---`{ column, op, value }`, and SQL `{ raw }`; an empty group is everything.
---@param given table?
---@return table tree
function filter.parse(given)
  local nodes = { join = "and" }
  if given ~= nil then
    add_positional(nodes, given)
  end
  return nodes
end

return filter
