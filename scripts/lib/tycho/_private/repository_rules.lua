--- What holds for the rows of a table in memory: what is unique, and what refers to what.
---
--- Of columns and `lower(column)`, also where a column `is null` or `is not null`; other SQL is the
--- database's.

local columns = require "tycho._private.model_columns"
local errors = require "tycho.errors"
local int64 = require "tycho.int64"
local names = require "tycho._private.model_names"
local number = require "tycho._private.number"
local options = require "tycho.options"
local values = require "tycho._private.model_values"

local rules = {}

-- Uniqueness: what is compared, and which rows it is about.
local function part_of(text)
  local lower = text:match("^lower%(([%w_]+)%)$")
  if lower or columns.is_name(text) then
    return { name = lower or text, lower = lower ~= nil }
  end
end

local function parts_of(list)
  local parts = {}
  for i, text in ipairs(list) do
    parts[i] = part_of(text)
  end
  return #parts == #list and parts or nil
end

local function condition_of(where)
  if not where then
    return function() return true end
  end
  local name, negated = where:lower():match("^%s*\"?([%w_]+)\"?%s+is%s+(n?o?t?%s*)null%s*$")
  if not name then
    return nil
  end
  local wants_null = not negated:find("not", 1, true)
  return function(row)
    return (row[name] == nil) == wants_null
  end
end

-- Structures are compared, all else is looked up.
local function is_plain(described, parts)
  for _, part in ipairs(parts) do
    local column = described.by_name[part.name]
    if column and (column.kind == "json" or column.kind == "array") then
      return false
    end
  end
  return true
end

local function add_rule(list, described, name, column_names, where)
  local parts, applies = parts_of(column_names), condition_of(where)
  if parts and applies then
    list[#list + 1] = {
      name = name, parts = parts, applies = applies, columns = column_names,
      is_plain = is_plain(described, parts), is_partial = where ~= nil,
    }
  end
end

---@param described tycho.model.Table
---@return table[] rules of what is unique
function rules.of(described)
  local list = {}
  add_rule(list, described, names.primary(described.name), described.primary)
  for _, unique in ipairs(described.uniques) do
    add_rule(list, described, unique.name, unique.columns)
  end
  for _, index in ipairs(described.indexes) do
    if index.unique then
      add_rule(list, described, index.name, index.columns, index.where)
    end
  end
  return list
end

local function value_of(row, part)
  local value = row[part.name]
  return part.lower and value and value:lower() or value
end

---Are two rows the same for a rule? As in SQL: where one of the values is NULL, nothing is.
function rules.collides(rule, row, other)
  if not rule.applies(row) or not rule.applies(other) then
    return false
  end
  for _, part in ipairs(rule.parts) do
    local mine, its = value_of(row, part), value_of(other, part)
    if mine == nil or its == nil or not values.equal(mine, its) then
      return false
    end
  end
  return true
end

local function text_of(value)
  local integer = type(value) ~= "string" and type(value) ~= "boolean" and number.integer(value)
  if integer then
    return int64.format(integer)
  end
  return type(value) == "number" and ("%.17g"):format(value) or tostring(value)
end

-- What no two rows may have the same of; nil where a row is the same as none.
local function key_of(rule, row)
  if not rule.applies(row) then
    return nil
  end
  local texts = {}
  for i, part in ipairs(rule.parts) do
    local value = value_of(row, part)
    if value == nil then
      return nil
    end
    local text = text_of(value)
    texts[i] = #text .. ":" .. text
  end
  return table.concat(texts)
end

local function note(self, row, entry)
  for rule, by_key in pairs(self.keys) do
    local key = key_of(rule, row)
    if key then
      by_key[key] = entry
    end
  end
end

---Remembers the keys of a row that is there from now on.
function rules.add(self, row)
  note(self, row, row)
end

---Forgets the keys of a row that is there no more.
function rules.remove(self, row)
  note(self, row, nil)
end

local function keys_of(self, rule)
  local by_key = self.keys[rule]
  if not by_key then
    by_key = {}
    for _, row in ipairs(self.rows) do
      local key = key_of(rule, row)
      if key then
        by_key[key] = row
      end
    end
    self.keys[rule] = by_key
  end
  return by_key
end

local function find_compared(self, rule, row, itself)
  for _, other in ipairs(self.rows) do
    if other ~= itself and rules.collides(rule, row, other) then
      return other
    end
  end
end

-- Another row that is the same for the rule.
local function find(self, rule, row, itself)
  if not rule.is_plain then
    return find_compared(self, rule, row, itself)
  end
  local key = key_of(rule, row)
  local other = key and keys_of(self, rule)[key]
  return other ~= itself and other or nil
end

local function fail(self, constraint, what, column_names)
  error(errors.new("conflict", ("memory: %s constraint failed: %s"):format(what, constraint), {
    constraint = constraint, table = self.described.name, columns = column_names, public = false,
    detail = what == "FOREIGN KEY" and "23503" or "23505",
  }), 0)
end

local function check_references(self, row)
  for _, column in ipairs(self.described.columns) do
    local to = column.references
    local storage = to and self.references[to.table]
    local value = row[column.name]
    local is_itself = storage == self and value ~= nil and row[to.column] ~= nil
      and values.equal(value, row[to.column])
    if storage and value ~= nil and not is_itself and not storage:has(to.column, value) then
      fail(self, names.reference(self.described.name, column.name), "FOREIGN KEY", { column.name })
    end
  end
end

local function refuse(reference)
  local described, name = reference.storage.described, reference.column.name
  fail({ described = described }, names.reference(described.name, name), "FOREIGN KEY", { name })
end

-- What others refer to stays as it is.
local function check_referrers(self, row, itself)
  for _, reference in ipairs(self.referrers) do
    local column = reference.column.references.column
    local value = itself[column]
    if value ~= nil and (row[column] == nil or not values.equal(value, row[column]))
      and reference.storage:refers(reference.column.name, value, { [itself] = true }) then
      refuse(reference)
    end
  end
end

---Raises what the row would violate. `itself` is what it was before.
function rules.check(self, row, itself)
  for _, rule in ipairs(self.rules) do
    if find(self, rule, row, itself) then
      fail(self, rule.name, "UNIQUE", rule.columns)
    end
  end
  check_references(self, row)
  if itself then
    check_referrers(self, row, itself)
  end
end

-- Rows that refer to one that is to go: gone too, or without it, or in the way.
local function release(reference, row, going)
  local column, to = reference.column, reference.column.references
  local storage, value = reference.storage, row[to.column]
  if value == nil or not storage:refers(column.name, value, going) then
    return
  end
  if to.on_delete == "cascade" then
    storage:delete({ join = "and", { column = column.name, op = "eq", value = value } }, going)
  elseif to.on_delete == "set_null" then
    storage:let_go(column.name, value, going)
  else
    refuse(reference)
  end
end

---Does to those that refer to the row what their models say, or raises.
---@param going table<table, true> rows that are being deleted
function rules.release(self, row, going)
  for _, reference in ipairs(self.referrers) do
    release(reference, row, going)
  end
end

local function is_of(rule, column_names)
  if rule.is_partial or #rule.columns ~= #column_names then
    return false
  end
  local set = options.set(column_names)
  for _, part in ipairs(rule.parts) do
    if part.lower or not set[part.name] then
      return false
    end
  end
  return true
end

---The row that has the same values in unique columns, or nil.
---@param column_names string[]
---@param row table<string, any>
---@return table<string, any>?
function rules.same(self, column_names, row)
  for _, rule in ipairs(self.rules) do
    if is_of(rule, column_names) then
      return (find(self, rule, row))
    end
  end
end

return rules
