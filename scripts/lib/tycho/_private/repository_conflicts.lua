--- What a database says about a violated constraint, in the words of the model and the application.
---
--- Databases name what was violated each in its own way: SQLite by columns, "users.email";
--- PostgreSQL by the constraint, "users_email_key"; MySQL by the index, perhaps with the table
--- before it.

local errors = require "tycho.errors"
local names = require "tycho._private.model_names"

local conflicts = {}

local RESERVED = { kind = true, message = true, name = true, public = true, code = true,
  status = true, detail = true }

-- "users.team_id, users.name": only where all of it are columns of the table.
local function columns_in(described, constraint)
  local found = {}
  for part in (constraint .. ","):gmatch("%s*([^,]*),") do
    local table_name, column = part:match("^([%w_]+)%.([%w_]+)$")
    if table_name ~= described.name or not described.by_name[column] then
      return nil
    end
    found[#found + 1] = column
  end
  return found
end

local function find(list, name)
  for _, each in ipairs(list) do
    if each.name == name then
      return each.columns
    end
  end
end

local function find_reference(described, name)
  for _, column in ipairs(described.columns) do
    if column.references and names.reference(described.name, column.name) == name then
      return { column.name }
    end
  end
end

local function has_check(column)
  return column.check ~= nil or column.kind == "enum"
end

-- The column that has this check of its own.
local function column_of_check(described, constraint)
  for _, column in ipairs(described.columns) do
    local name = column.name
    if has_check(column) and (constraint == names.check(described.name, name)
        or constraint == names.check(described.name, name .. "_value")) then
      return column
    end
  end
end

-- Under the name of a column that is unique or a reference, its check would be taken for that.
local function is_key(column)
  return column.unique or column.primary or column.references ~= nil
end

---Columns that a constraint is about, or nil.
---@param described tycho.model.Table
---@param constraint string?
---@return string[]? columns
function conflicts.columns(described, constraint)
  if not constraint or constraint == "" then
    return nil
  end
  local short = constraint:match("^[%w_]+%.([%w_]+)$") or constraint
  if short == "PRIMARY" or short == names.primary(described.name) then
    return described.primary
  end
  local checked = column_of_check(described, short)
  return find(described.uniques, short) or find(described.indexes, short)
    or columns_in(described, constraint) or find_reference(described, short)
    or checked and { checked.name } or nil
end

-- The model's own name of a check.
local function check_of(described, constraint)
  for _, check in ipairs(described.checks) do
    if constraint == check.name or constraint == names.check(described.name, check.name) then
      return check.name
    end
  end
end

local function is_reference(err)
  local constraint = err.constraint or ""
  return err.detail == "SQLITE_CONSTRAINT_FOREIGNKEY" or err.detail == "23503"
    or constraint:find("_fkey$") ~= nil
end

local function fields_of(err, row)
  local fields = { cause = err.message, columns = err.columns, model = err.model }
  for name, value in pairs(row or {}) do
    if not RESERVED[name] and type(value) ~= "userdata" then
      fields[name] = value
    end
  end
  return fields
end

local function wanted(described, on_conflict, err)
  local columns = err.columns
  local checked = err.constraint and column_of_check(described, err.constraint)
  return err.constraint and on_conflict[err.constraint]
    or columns and not (checked and is_key(checked)) and on_conflict[table.concat(columns, ",")]
    or err.constraint and on_conflict[check_of(described, err.constraint) or false]
    or is_reference(err) and on_conflict.foreign_key
end

---Raises what stands for the error: the application's, if it named one, else the error itself,
---which then says which model and columns it is about.
---@param described tycho.model.Table
---@param on_conflict table<string, string>
---@param err any
---@param row? table<string, any> what was to be written
function conflicts.raise(described, on_conflict, err, row)
  if not errors.is(err, "conflict") or err.model then
    error(err, 0)
  end
  err.model = described.name
  err.columns = err.columns or conflicts.columns(described, err.constraint)
  local name = wanted(described, on_conflict, err)
  if name then
    errors.raise(name, fields_of(err, row))
  end
  error(err, 0)
end

local function known_keys(described)
  local known = { foreign_key = true }
  for _, column in ipairs(described.columns) do
    known[column.name] = is_key(column) or has_check(column)
    if has_check(column) then
      known[names.check(described.name, column.name)] = true
    end
    if column.references then
      known[names.reference(described.name, column.name)] = true
    end
  end
  known[table.concat(described.primary, ",")] = true
  known[names.primary(described.name)] = true
  for _, list in ipairs { described.uniques, described.indexes } do
    for _, each in ipairs(list) do
      known[each.name], known[table.concat(each.columns, ",")] = true, true
    end
  end
  for _, check in ipairs(described.checks) do
    known[check.name], known[names.check(described.name, check.name)] = true, true
  end
  return known
end

conflicts.known_keys = known_keys

return conflicts
