--- A model out of its parts: columns by name, keys, indexes and checks, each checked.

local columns = require "tycho._private.model_columns"
local model_schema = require "tycho._private.model_schema"
local names = require "tycho._private.model_names"
local node = require "tycho._private.node"
local options = require "tycho.options"
local registry = require "tycho._private.model_registry"
local suggest = require "tycho._private.suggest"
local values = require "tycho._private.model_values"

local definition = {}

local FIELDS = options.set { "indexes", "checks", "database" }
local INDEX = options.set { "name", "unique", "where" }
local ROLES = { created = "created", updated = "updated", deleted = "soft_delete",
  version = "version" }

local function fail(level, described, text, ...)
  error(("model %q: %s"):format(described.name, text:format(...)), level + 1)
end

-- A default that is a value has the form that a value of the column has.
local function check_default(described, column, level)
  local default = column.default
  if default == nil or columns.is_sql(default) then
    return
  end
  local value, list = values.write[column.kind](default, column), {}
  local of_column = model_schema.of(column)
  if value ~= nil and of_column then
    of_column.check(value, list, node.ANSWER)
  end
  if value == nil or list[1] then
    fail(level + 1, described, "the default of %q is none of its values", column.name)
  end
  column.default = value
end

local function add_column(described, column, level)
  local twin = described.by_name[column.name]
  if twin then
    fail(level + 1, described, "there are two columns %q", column.name)
  end
  check_default(described, column, level + 1)
  described.columns[#described.columns + 1] = column
  described.by_name[column.name] = column
  if column.primary then
    described.primary[#described.primary + 1] = column.name
  end
  if column.unique then
    described.uniques[#described.uniques + 1] = {
      name = names.unique(described.name, { column.name }), columns = { column.name },
    }
  end
  local role = ROLES[column.role]
  if role then
    if described[role] then
      fail(level + 1, described, "%q and %q are for the same", described[role], column.name)
    end
    described[role] = column.name
  end
end

-- A part is a column, or a list of them.
local function add_part(described, part, index, level)
  if columns.is_column(part) then
    add_column(described, part, level + 1)
    return
  elseif type(part) ~= "table" or not columns.is_column(part[1]) then
    fail(level + 1, described, "number %d is no column but a %s", index, type(part))
  end
  for _, column in ipairs(part) do
    add_column(described, column, level + 1)
  end
end

local function check_fields(described, parts, level)
  local count = 0
  for key in pairs(parts) do
    if type(key) == "number" then
      count = count + 1
    elseif not FIELDS[key] then
      fail(level + 1, described, "unknown field %q%s", tostring(key), suggest(key, FIELDS))
    end
  end
  if count == 0 then
    fail(level + 1, described, "it has no columns")
  end
  for i = 1, count do
    if parts[i] == nil then
      fail(level + 1, described, "number %d of its columns is nil", i)
    end
  end
end

local function check_index(described, parts, level)
  if type(parts) ~= "table" or type(parts[1]) ~= "string" then
    fail(level + 1, described, "an index is a list of columns")
  elseif parts.name ~= nil and not columns.is_name(parts.name) then
    fail(level + 1, described, "%s is no name of an index", tostring(parts.name))
  end
  for key in pairs(parts) do
    if type(key) ~= "number" and not INDEX[key] then
      fail(level + 1, described, 'an index has no option "%s"%s', tostring(key),
        suggest(key, INDEX))
    end
  end
end

-- Names of columns, or SQL; true if there is any SQL.
local function add_index_columns(described, parts, list, level)
  local has_sql = false
  for i, part in ipairs(parts) do
    if not columns.is_name(part) then
      has_sql = true
    elseif not described.by_name[part] then
      fail(level + 1, described, "an index is of %q, and there is no such column%s", part,
        suggest(part, described.by_name))
    end
    list[i] = part
  end
  return has_sql
end

-- An index of columns is named after them; SQL has to be given a name.
local function add_index(described, parts, level)
  check_index(described, parts, level + 1)
  local list = {}
  local has_sql = add_index_columns(described, parts, list, level + 1)
  if has_sql and not parts.name then
    fail(level + 1, described, "the index of %s needs a name", table.concat(list, ", "))
  end
  local unique = parts.unique == true
  local name = parts.name or (unique and names.unique or names.index)(described.name, list)
  for _, other in ipairs(described.indexes) do
    if other.name == name then
      fail(level + 1, described, "there are two indexes %q", name)
    end
  end
  described.indexes[#described.indexes + 1] = {
    name = name, columns = list, unique = unique, where = parts.where,
  }
end

local function add_checks(described, checks, level)
  local sorted = {}
  for name, sql in pairs(checks or {}) do
    if not columns.is_name(name) or type(sql) ~= "string" then
      fail(level + 1, described, "checks are SQL by name")
    end
    sorted[#sorted + 1] = name
  end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    described.checks[#described.checks + 1] = { name = name, sql = checks[name] }
  end
end

local function check_key(described, level)
  if #described.primary == 0 then
    fail(level + 1, described, "it has no primary key: model.id(), or a column with primary = true")
  end
  for _, name in ipairs(described.primary) do
    if described.by_name[name].identity and #described.primary > 1 then
      fail(level + 1, described, "%q is counted up, and cannot be part of a key", name)
    end
  end
end

local function check_name(name, level)
  if not columns.is_name(name) then
    error(("model: %s is no name of a table"):format(tostring(name)), level + 1)
  end
  local twin = registry.by_table[name]
  if twin then
    error(("model %q: there is one already, at %s"):format(name, twin.where), level + 1)
  end
end

---@param name string
---@param parts table
---@param level integer whose fault it is, as for `error()` in the caller
---@return tycho.model.Table
function definition.new(name, parts, level)
  check_name(name, level + 1)
  if type(parts) ~= "table" then
    error(("model %q: a list of columns is wanted"):format(name), level + 1)
  end
  local described = {
    name = name, database = parts.database or "default", columns = {}, by_name = {},
    primary = {}, uniques = {}, indexes = {}, checks = {},
  }
  check_fields(described, parts, level + 1)
  for i, part in ipairs(parts) do
    add_part(described, part, i, level + 1)
  end
  for _, index in ipairs(parts.indexes or {}) do
    add_index(described, index, level + 1)
  end
  add_checks(described, parts.checks, level + 1)
  check_key(described, level + 1)
  return described
end

return definition
