--- The shape of a table: what a model wants, in a form that a database's own tables have too.
---
--- Texts of SQL come twice: as they can be said to the database, and as `key`, the form in which
--- two of them are compared, because databases write expressions in their own way.

local names = require "tycho._private.model_names"
local literal = require "tycho._private.dialect.literal"

local shape = {}

---@class tycho.schema_sync.Column
---@field name string
---@field type string
---@field type_key string
---@field null boolean
---@field default? string
---@field default_key? string
---@field identity boolean the database counts it up
---@field renamed_from? string
---@field fill? string SQL of what rows get that are there when the column is added
---@field is_odd? string what it has that no model describes
---@field was? string the name that it still has in the database

---@class tycho.schema_sync.Index
---@field name string
---@field parts string[] columns, or expressions
---@field unique boolean
---@field where? string
---@field key string
---@field is_constraint? boolean
---@field uses table<string, boolean> columns in it

---@class tycho.schema_sync.Check
---@field name? string
---@field sql string
---@field key string
---@field uses table<string, boolean>

---@class tycho.schema_sync.Reference
---@field name? string
---@field columns string[]
---@field table string
---@field targets string[]
---@field on_delete string
---@field key string

---@class tycho.schema_sync.Shape
---@field name string
---@field columns tycho.schema_sync.Column[]
---@field by_name table<string, tycho.schema_sync.Column>
---@field primary string[]
---@field indexes tycho.schema_sync.Index[]
---@field checks tycho.schema_sync.Check[]
---@field references tycho.schema_sync.Reference[]
---@field is_odd? string what the table has that no model describes
---@field has_sequence? boolean SQLite: numbers are not given twice

---An empty one.
---@param name string
---@return tycho.schema_sync.Shape
function shape.new(name)
  return {
    name = name, columns = {}, by_name = {}, primary = {}, indexes = {}, checks = {},
    references = {},
  }
end

---@param to tycho.schema_sync.Shape
---@param column tycho.schema_sync.Column
function shape.add_column(to, column)
  to.columns[#to.columns + 1] = column
  to.by_name[column.name] = column
end

---What two references are compared by.
function shape.reference_key(reference, on_delete)
  return ("%s>%s(%s) %s"):format(table.concat(reference.columns, ","), reference.table,
    table.concat(reference.targets, ","), on_delete or reference.on_delete)
end

---What two indexes are compared by.
---@param parts string[] as they are compared
---@param unique boolean
---@param where? string as it is compared
---@return string
function shape.index_key(parts, unique, where)
  return ("%s%s%s"):format(unique and "unique " or "", table.concat(parts, ", "),
    where and " where " .. where or "")
end

-- Checks of a model and of its columns; an enum is a text with one.
local function add_checks(to, described, ddl)
  for _, column in ipairs(described.columns) do
    local own = names.check(described.name, column.name)
    if column.kind == "enum" then
      local list = {}
      for i, value in ipairs(column.values) do
        list[i] = literal.text(value)
      end
      to.checks[#to.checks + 1] = {
        name = own, sql = ("%s in (%s)"):format(ddl.quote(column.name), table.concat(list, ", ")),
      }
      own = names.check(described.name, column.name .. "_value")
    end
    if column.check then
      to.checks[#to.checks + 1] = { name = own, sql = column.check }
    end
  end
  for _, check in ipairs(described.checks) do
    to.checks[#to.checks + 1] = {
      name = names.check(described.name, check.name), sql = check.sql,
    }
  end
end

local FILLED = { created = true, updated = true }

local function add_indexes(to, described)
  for _, unique in ipairs(described.uniques) do
    to.indexes[#to.indexes + 1] = { name = unique.name, parts = unique.columns, unique = true }
  end
  for _, index in ipairs(described.indexes) do
    to.indexes[#to.indexes + 1] = {
      name = index.name, parts = index.columns, unique = index.unique, where = index.where,
    }
  end
end

local function add_references(to, described)
  for _, column in ipairs(described.columns) do
    local reference = column.references
    if reference then
      to.references[#to.references + 1] = {
        name = names.reference(described.name, column.name), columns = { column.name },
        table = reference.table, targets = { reference.column },
        on_delete = reference.on_delete,
      }
    end
  end
end

---What a model wants, without keys: only the database knows these.
---@param described tycho.model.Table
---@param ddl tycho.dialect.Ddl
---@return tycho.schema_sync.Shape
function shape.of_model(described, ddl)
  local made = shape.new(described.name)
  for _, column in ipairs(described.columns) do
    shape.add_column(made, {
      name = column.name, type = ddl:type_of(column), null = column.null,
      default = ddl:default_of(column), identity = column.identity,
      renamed_from = column.renamed_from, fill = FILLED[column.role] and ddl.now or nil,
    })
  end
  made.primary = described.primary
  add_checks(made, described, ddl)
  add_indexes(made, described)
  add_references(made, described)
  return made
end

---Which columns of a table a text of SQL speaks of.
---@param tokens_of fun(text: string): tycho.schema_sync.Token[]
---@param text string
---@param by_name table<string, any>
---@return table<string, boolean>
function shape.uses(tokens_of, text, by_name)
  local found = {}
  for _, token in ipairs(tokens_of(text)) do
    if (token.kind == "word" or token.kind == "name") and by_name[token.text] then
      found[token.text] = true
    end
  end
  return found
end

---A copy whose lists can be changed.
---@param from tycho.schema_sync.Shape
---@return tycho.schema_sync.Shape
function shape.copy(from)
  local copy = shape.new(from.name)
  for _, column in ipairs(from.columns) do
    local twin = {}
    for key, value in pairs(column) do
      twin[key] = value
    end
    shape.add_column(copy, twin)
  end
  for _, list in ipairs { "primary", "indexes", "checks", "references" } do
    for i, item in ipairs(from[list]) do
      copy[list][i] = item
    end
  end
  copy.is_odd, copy.has_sequence = from.is_odd, from.has_sequence
  return copy
end

return shape
