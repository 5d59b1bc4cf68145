--- What holds for the rows of a table in memory: what is unique, and what refers to what.
---
--- Of columns and `lower(column)`, also where a column `is null` or `is not null`; other SQL is the
--- database's.

local columns = require "tycho._private.model_columns"
local errors = require "tycho.errors"
local names = require "tycho._private.model_names"
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

local function add_rule(list, name, column_names, where)
  local parts, applies = parts_of(column_names), condition_of(where)
  if parts and applies then
    list[#list + 1] = { name = name, parts = parts, applies = applies, columns = column_names }
  end
end

---@param described tycho.model.Table
---@return table[] rules of what is unique
function rules.of(described)
  local list = {}
  add_rule(list, names.primary(described.name), described.primary)
  for _, unique in ipairs(described.uniques) do
    add_rule(list, unique.name, unique.columns)
  end
  for _, index in ipairs(described.indexes) do
    if index.unique then
      add_rule(list, index.name, index.columns, index.where)
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
    if storage and value ~= nil and not storage:has(to.column, value) then
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
      and reference.storage:has(reference.column.name, value) then
      refuse(reference)
    end
  end
end

---Raises what the row would violate. `itself` is what it was before.
function rules.check(self, row, itself)
  for _, rule in ipairs(self.rules) do
    for _, other in ipairs(self.rows) do
      if other ~= itself and rules.collides(rule, row, other) then
        fail(self, rule.name, "UNIQUE", rule.columns)
      end
    end
  end
  check_references(self, row)
  if itself then
    check_referrers(self, row, itself)
  end
end

-- Rows that refer to one that is to go: gone too, or without it, or in the way.
local function release(reference, row)
  local column, to = reference.column, reference.column.references
  local storage, value = reference.storage, row[to.column]
  if value == nil or not storage:has(column.name, value) then
    return
  end
  if to.on_delete == "cascade" then
    storage:delete { join = "and", { column = column.name, op = "eq", value = value } }
  elseif to.on_delete == "set_null" then
    storage:let_go(column.name, value)
  else
    refuse(reference)
  end
end

---Does to those that refer to the row what their models say, or raises.
function rules.release(self, row)
  for _, reference in ipairs(self.referrers) do
    release(reference, row)
  end
end

---The rule that columns are the same.
---@param list string[]
function rules.same(list)
  return { parts = parts_of(list), applies = function() return true end }
end

return rules
