--- What goes into a table: values in their canonical form, all faults of a row at once.
---
--- A row on its way in has `json.null` where a column shall be NULL; a column that is absent is
--- left to the database (a key that it counts up, a default that is SQL).

local blame = require "tycho._private.blame"
local columns = require "tycho._private.model_columns"
local faults = require "tycho._private.faults"
local json = require "tycho.json"
local model_schema = require "tycho._private.model_schema"
local node = require "tycho._private.node"
local options = require "tycho.options"
local schema = require "tycho.schema"
local suggest = require "tycho._private.suggest"
local uuid = require "tycho.uuid"
local values = require "tycho._private.model_values"

local null = json.null

local rows = {}

-- Bounds and lists of values; the other kinds are nothing but their form.
local CHECKED = {
  integer = true, smallint = true, real = true, decimal = true, text = true, enum = true,
}
local checks = setmetatable({}, { __mode = "k" })

local function check_of(column)
  local check = checks[column]
  if not check then
    check = CHECKED[column.kind] and model_schema.of(column).check or function() end
    checks[column] = check
  end
  return check
end

local function convert(column, value, list)
  local count = #list
  local written, rule, words = values.write[column.kind](value, column)
  if written == nil then
    faults.add(list, rule, words or column)
  else
    check_of(column)(written, list, node.ANSWER)
  end
  if #list > count then
    faults.inside(list, count, column.name)
  end
  return written
end

local function fail(described, list)
  local err = schema.error(list)
  err.model = described.name
  error(err, 0)
end

---One value of a column, for a comparison; raises `invalid` if it is none.
function rows.value(described, column, value)
  if value == null then
    return value
  end
  local written, rule, words = values.write[column.kind](value, column)
  if written == nil then
    local list = {}
    faults.add(list, rule, words or column)
    faults.inside(list, 0, column.name)
    fail(described, list)
  end
  return written
end

---@return tycho.model.Column
function rows.column(described, name)
  local column = described.by_name[name]
  if not column then
    blame("%s has no column %q%s", described.name, tostring(name),
      suggest(name, described.by_name))
  end
  return column
end

local PARTS = {
  contains = true, starts_with = true, ends_with = true,
  icontains = true, istarts_with = true, iends_with = true,
}

-- Of a structure one can ask only whether there is one.
local function asks_for_null(op, value)
  return op == "is_null" or (op == "eq" or op == "ne") and value == null
end

---A column that can be compared in this way.
---@return tycho.model.Column
function rows.comparable(described, name, op, value)
  local column = rows.column(described, name)
  local kind = column.kind
  if PARTS[op] and kind ~= "text" and kind ~= "enum" then
    blame("%s: %s is for text, not for the kind %s", name, op, kind)
  elseif PARTS[op] then
    rows.value(described, column, value)
  elseif (kind == "json" or kind == "array") and not asks_for_null(op, value) then
    blame("%s: the kind %s cannot be compared", name, kind)
  end
  return column
end

local function check_names(described, given)
  if type(given) ~= "table" then
    blame("%s: a table of values is wanted, not a %s", described.name, type(given))
  end
  for name in pairs(given) do
    rows.column(described, name)
  end
end

local function required(list, column)
  local count = #list
  faults.add(list, "required")
  faults.inside(list, count, column.name)
end

-- What a column gets that was not given: a value, NULL, or (nil) what the database has for it.
local function value_of_absent(column, now, list)
  if column.role == "created" or column.role == "updated" then
    return now
  elseif column.identity or columns.is_sql(column.default) then
    return nil
  elseif column.default ~= nil then
    return values.copy(column.default)
  elseif column.primary and column.kind == "uuid" then
    return uuid.v7()
  elseif column.null then
    return null
  end
  required(list, column)
end

---A row to insert, from what was given of it.
---@param described tycho.model.Table
---@param given table<string, any>
---@return table<string, any> row
function rows.insertion(described, given)
  check_names(described, given)
  local row, list, now = {}, {}, values.now()
  for _, column in ipairs(described.columns) do
    local value = given[column.name]
    if value == nil then
      row[column.name] = value_of_absent(column, now, list)
    elseif value ~= null then
      row[column.name] = convert(column, value, list)
    elseif column.null then
      row[column.name] = null
    else
      required(list, column)
    end
  end
  if list[1] then
    fail(described, list)
  end
  return row
end

local function is_same(old, new)
  if new == null then
    return old == nil or old == null
  end
  return old ~= nil and values.equal(old, new)
end

local Increment = {}

local NUMBERS = { integer = true, smallint = true, real = true }

function rows.increment(by)
  return setmetatable({ by = by }, Increment)
end

---@return boolean
function rows.is_increment(value)
  return getmetatable(value) == Increment
end

-- Bounds are for the sum, which only the database knows.
local function convert_increment(column, value, list)
  if not NUMBERS[column.kind] then
    blame("%s is of the kind %s, and cannot be counted up", column.name, column.kind)
  end
  local by, rule = values.write[column.kind](value.by, column)
  if by == nil then
    local count = #list
    faults.add(list, rule, column)
    faults.inside(list, count, column.name)
  end
  return rows.increment(by)
end

-- One changed value; nil if it is the same already.
local function changed(column, value, old, has_old, list)
  if rows.is_increment(value) then
    return convert_increment(column, value, list)
  end
  local written = value
  if value ~= null then
    written = convert(column, value, list)
  end
  -- A table that was taken out of the entity may have been changed in it.
  local is_from_it = type(value) == "table" and rawequal(old, value)
  if has_old and not is_from_it and is_same(old, written) then
    return nil
  end
  return written
end

---What changes, without what is the same already in the entity, as far as that is known.
---@param described tycho.model.Table
---@param given table<string, any>
---@param entity? table<string, any>
---@return table<string, any> changes
function rows.changes(described, given, entity)
  check_names(described, given)
  if entity and rawequal(given, entity) then
    blame("%s: the changes are the entity itself: name what changes in a table of their own",
      described.name)
  end
  local changes, list = {}, {}
  for _, column in ipairs(described.columns) do
    local name = column.name
    local value = given[name]
    if value == null and not column.null then
      required(list, column)
    elseif value ~= nil and column.role ~= "version" then
      changes[name] = changed(column, value, entity and entity[name], entity ~= nil, list)
    end
  end
  if list[1] then
    fail(described, list)
  end
  return changes
end

-- The same columns, in any order?
local function same_columns(a, b)
  local set = options.set(a)
  for _, name in ipairs(b) do
    if not set[name] then
      return false
    end
  end
  return #a == #b
end

---Column lists of which no two rows have the same values: the key first.
---@param described tycho.model.Table
---@return string[][]
function rows.unique_lists(described)
  local lists = { described.primary }
  for _, unique in ipairs(described.uniques) do
    lists[#lists + 1] = unique.columns
  end
  for _, index in ipairs(described.indexes) do
    if index.unique and not index.where then
      lists[#lists + 1] = index.columns
    end
  end
  return lists
end

---Raises unless these columns are unique together.
---@param described tycho.model.Table
---@param by string[]
function rows.check_unique(described, by)
  for _, name in ipairs(by) do
    rows.column(described, name)
  end
  for _, list in ipairs(rows.unique_lists(described)) do
    if same_columns(list, by) then
      return
    end
  end
  blame("%s: %s is not unique in the model", described.name, table.concat(by, ", "))
end

---Can a row be in conflict with others only in these columns?
---@param described tycho.model.Table
---@param row table<string, any>
---@param by string[]
---@return boolean
function rows.is_only_conflict(described, row, by)
  local key = described.by_name[described.primary[1]]
  local has_new_key = row[key.name] == nil or key.kind == "uuid"
  for i, list in ipairs(rows.unique_lists(described)) do
    if not same_columns(list, by) and not (i == 1 and has_new_key) then
      return false
    end
  end
  for _, index in ipairs(described.indexes) do
    if index.unique and index.where then
      return false
    end
  end
  return true
end

---The values of a primary key, from one of these: the value, where the key is one column; a table
---that has the key's columns, such as an entity.
---@param described tycho.model.Table
---@param given any
---@return table<string, any> key by column
---@return boolean is_entity there is more in it than the key
function rows.key(described, given)
  local primary, key = described.primary, {}
  if type(given) ~= "table" then
    if #primary > 1 then
      blame("%s: the key is a table with %s", described.name, table.concat(primary, ", "))
    elseif given == nil or given == null then
      blame("%s: a key is wanted, not nil", described.name)
    end
    key[primary[1]] = rows.value(described, described.by_name[primary[1]], given)
    return key, false
  end
  for _, name in ipairs(primary) do
    if given[name] == nil then
      blame("%s: %s is missing in the key", described.name, name)
    end
    key[name] = rows.value(described, described.by_name[name], given[name])
  end
  local is_entity = false
  for name in pairs(given) do
    is_entity = is_entity or key[name] == nil
  end
  return key, is_entity
end

return rows
