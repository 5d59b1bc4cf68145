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

-- A fault of a column is where the column is written.
local function fail(column, described, text, ...)
  error(("%s: model %q: %s"):format(column and column.where or described.where, described.name,
    text:format(...)), 0)
end

-- A default that is a value has the form that a value of the column has.
local function check_default(described, column)
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
    fail(column, described, "the default of %q is none of its values", column.name)
  end
  column.default = value
end

local function add_column(described, column)
  local twin = described.by_name[column.name]
  if twin then
    fail(column, described, "there are two columns %q", column.name)
  end
  check_default(described, column)
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
      fail(column, described, "%q and %q are for the same", described[role], column.name)
    end
    described[role] = column.name
  end
end

-- A part is a column, or a list of them.
local function add_part(described, part, index)
  if columns.is_column(part) then
    add_column(described, part)
    return
  elseif type(part) ~= "table" or not columns.is_column(part[1]) then
    fail(nil, described, "number %d is no column but a %s", index, type(part))
  end
  for _, column in ipairs(part) do
    add_column(described, column)
  end
end

local function check_fields(described, parts)
  local count = 0
  for key in pairs(parts) do
    if type(key) == "number" then
      count = count + 1
    elseif not FIELDS[key] then
      fail(nil, described, "unknown field %q%s", tostring(key), suggest(key, FIELDS))
    end
  end
  if count == 0 then
    fail(nil, described, "it has no columns")
  end
  for i = 1, count do
    if parts[i] == nil then
      fail(nil, described, "number %d of its columns is nil", i)
    end
  end
end

local function check_index(described, parts)
  if type(parts) ~= "table" or type(parts[1]) ~= "string" then
    fail(nil, described, "an index is a list of columns")
  elseif parts.name ~= nil and not columns.is_name(parts.name) then
    fail(nil, described, "%s is no name of an index", tostring(parts.name))
  end
  for key in pairs(parts) do
    if type(key) ~= "number" and not INDEX[key] then
      fail(nil, described, 'an index has no option "%s"%s', tostring(key),
        suggest(key, INDEX))
    end
  end
end

-- Names of columns, or SQL; true if there is any SQL.
local function add_index_columns(described, parts, list)
  local has_sql = false
  for i, part in ipairs(parts) do
    if not columns.is_name(part) then
      has_sql = true
    elseif not described.by_name[part] then
      fail(nil, described, "an index is of %q, and there is no such column%s", part,
        suggest(part, described.by_name))
    end
    list[i] = part
  end
  return has_sql
end

-- An index of columns is named after them; SQL has to be given a name.
local function add_index(described, parts)
  check_index(described, parts)
  local list = {}
  local has_sql = add_index_columns(described, parts, list)
  if has_sql and not parts.name then
    fail(nil, described, "the index of %s needs a name", table.concat(list, ", "))
  end
  local unique = parts.unique == true
  local name = parts.name or (unique and names.unique or names.index)(described.name, list)
  for _, others in ipairs { described.uniques, described.indexes } do
    for _, other in ipairs(others) do
      if other.name == name then
        fail(nil, described, "there are two indexes %q", name)
      end
    end
  end
  described.indexes[#described.indexes + 1] = {
    name = name, columns = list, unique = unique, where = parts.where,
  }
end

local function add_checks(described, checks)
  local sorted = {}
  for name, sql in pairs(checks or {}) do
    if not columns.is_name(name) or type(sql) ~= "string" then
      fail(nil, described, "checks are SQL by name")
    end
    local column = described.by_name[name]
    if column and (column.check or column.kind == "enum") then
      fail(column, described, "the check %q has the name of that which %q has itself", name, name)
    end
    sorted[#sorted + 1] = name
  end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    described.checks[#described.checks + 1] = { name = name, sql = checks[name] }
  end
end

local function check_key(described)
  if #described.primary == 0 then
    fail(nil, described, "it has no primary key: model.id(), or a column with primary = true")
  end
  for _, name in ipairs(described.primary) do
    if described.by_name[name].identity and #described.primary > 1 then
      fail(nil, described, "%q is counted up, and cannot be part of a key", name)
    end
  end
end

-- Where its first column is written, for whoever returns what `define` returns: that leaves no
-- trace of the line.
local function first_place(parts)
  local first = type(parts) == "table" and parts[1]
  if type(first) == "table" and not columns.is_column(first) then
    first = first[1]
  end
  return columns.is_column(first) and first.where or "?"
end

local function check_name(name, where)
  if not columns.is_name(name) then
    error(("%s: model: %s is no name of a table"):format(where, tostring(name)), 0)
  end
  local twin = registry.by_table[name]
  if twin then
    error(("%s: model %q: there is one already, at %s"):format(where, name, twin.where), 0)
  end
end

---@param name string
---@param parts table
---@param where string? the place of the definition; nil if it is not known
---@return tycho.model.Table
---@return string where
function definition.new(name, parts, where)
  where = where or first_place(parts)
  check_name(name, where)
  if type(parts) ~= "table" then
    error(("%s: model %q: a list of columns is wanted"):format(where, name), 0)
  end
  local described = {
    name = name, database = parts.database or "default", columns = {}, by_name = {},
    primary = {}, uniques = {}, indexes = {}, checks = {}, where = where,
  }
  check_fields(described, parts)
  for i, part in ipairs(parts) do
    add_part(described, part, i)
  end
  for _, index in ipairs(parts.indexes or {}) do
    add_index(described, index)
  end
  add_checks(described, parts.checks)
  check_key(described)
  return described, where
end

return definition
