--- How tables are made and changed, in the words that most databases share; what one of them has of
--- its own is in the file of that database.
---
--- A table is described by a shape (`tycho.schema_sync.Shape`), whether it comes from a model or
--- from the database. Every function returns a statement.

local columns = require "tycho._private.model_columns"
local literal = require "tycho._private.dialect.literal"
local values = require "tycho._private.model_values"

---@class tycho.dialect.Ddl
---@field system string
---@field is_transactional boolean can a change of the schema be taken back
---@field types table<string, string> by kind
local ddl = { types = {} }
ddl.__index = ddl

---@param name string
---@return string
function ddl.quote(name)
  return '"' .. name:gsub('"', '""') .. '"'
end

local quote = ddl.quote

---@param names string[]
---@return string
function ddl.quote_all(names)
  local list = {}
  for i, name in ipairs(names) do
    list[i] = quote(name)
  end
  return table.concat(list, ", ")
end

---The type of a model's column.
---@param column tycho.model.Column
---@return string
function ddl:type_of(column)
  return self.types[column.kind]
end

---SQL of a default that is `now()` here: models say that, whatever the database.
ddl.now = "now()"

---The default of a model's column, or nil.
---@param column tycho.model.Column
---@return string?
function ddl:default_of(column)
  local value = column.default
  if value == nil then
    return nil
  elseif columns.is_sql(value) then
    return value.sql:lower():match("^%s*now%(%)%s*$") and self.now or value.sql
  end
  local canonical = values.write[column.kind](value, column)
  return literal.of(canonical == nil and value or canonical, column, self.system)
end

---What follows a column's name.
---@param column tycho.schema_sync.Column
---@return string
function ddl:definition(column)
  local words = { column.type }
  if column.identity then
    words[2] = self.identity
  elseif not column.null then
    words[2] = "not null"
  end
  if column.default then
    words[#words + 1] = "default " .. column.default
  end
  return table.concat(words, " ")
end

local ON_DELETE = { cascade = "cascade", set_null = "set null", restrict = "restrict" }

---@param reference tycho.schema_sync.Reference
---@return string
function ddl.reference(_, reference)
  local action = ON_DELETE[reference.on_delete]
  return ("%sforeign key (%s) references %s (%s)%s"):format(
    reference.name and ("constraint %s "):format(quote(reference.name)) or "",
    ddl.quote_all(reference.columns), quote(reference.table), ddl.quote_all(reference.targets),
    action and " on delete " .. action or "")
end

---@param check tycho.schema_sync.Check
---@return string
function ddl.check(_, check)
  local name = check.name and ("constraint %s "):format(quote(check.name)) or ""
  return ("%scheck (%s)"):format(name, check.sql)
end

-- What stands between the brackets of CREATE TABLE; references where they cannot come later.
function ddl:items(shape, with_references)
  local items = {}
  for i, column in ipairs(shape.columns) do
    items[i] = ("%s %s"):format(quote(column.name), self:definition(column))
  end
  local first = shape.by_name[shape.primary[1]]
  if first and not (first.identity and self.identity_is_primary) then
    items[#items + 1] = ("primary key (%s)"):format(ddl.quote_all(shape.primary))
  end
  for _, check in ipairs(shape.checks) do
    items[#items + 1] = self:check(check)
  end
  for _, reference in ipairs(with_references and shape.references or {}) do
    items[#items + 1] = self:reference(reference)
  end
  return items
end

ddl.table_end = ""

---@param shape tycho.schema_sync.Shape
---@param name? string another name than the shape's
---@return string
function ddl:create_table(shape, name)
  return ("create table %s (\n  %s\n)%s"):format(quote(name or shape.name),
    table.concat(self:items(shape, self.inlines_references), ",\n  "), self.table_end)
end

---@param shape tycho.schema_sync.Shape
---@param index tycho.schema_sync.Index
---@return string
function ddl.create_index(_, shape, index)
  local parts = {}
  for i, part in ipairs(index.parts) do
    parts[i] = shape.by_name[part] and quote(part) or "(" .. part .. ")"
  end
  return ("create %sindex %s on %s (%s)%s"):format(index.unique and "unique " or "",
    quote(index.name), quote(shape.name), table.concat(parts, ", "),
    index.where and " where " .. index.where or "")
end

local function alter(shape, what, ...)
  return ("alter table %s "):format(quote(shape.name)) .. what:format(...)
end

ddl.alter = alter

function ddl.drop_table(_, name)
  return "drop table " .. quote(name)
end

function ddl.drop_index(_, _, index)
  return "drop index " .. quote(index.name)
end

function ddl.rename_column(_, shape, from, to)
  return alter(shape, "rename column %s to %s", quote(from), quote(to))
end

function ddl:add_column(shape, column)
  return alter(shape, "add column %s %s", quote(column.name), self:definition(column))
end

function ddl.drop_column(_, shape, column)
  return alter(shape, "drop column %s", quote(column.name))
end

function ddl:add_check(shape, check)
  return alter(shape, "add %s", self:check(check))
end

function ddl.drop_check(_, shape, check)
  return alter(shape, "drop constraint %s", quote(check.name))
end

function ddl:add_reference(shape, reference)
  return alter(shape, "add %s", self:reference(reference))
end

function ddl.drop_reference(_, shape, reference)
  return alter(shape, "drop constraint %s", quote(reference.name))
end

---Does every value of one type fit into the other? By their canonical texts.
---@param from string
---@param to string
---@return boolean
function ddl:widens(from, to)
  local whole = self.integers
  if whole[from] and whole[to] then
    return whole[from] <= whole[to]
  end
  local p1, s1 = from:match("^%a+%((%d+),(%d+)%)$")
  local p2, s2 = to:match("^%a+%((%d+),(%d+)%)$")
  if p1 and p2 and from:match("^%a+") == to:match("^%a+") then
    return tonumber(s2) >= tonumber(s1) and p2 - s2 >= p1 - s1
  end
  local max1, max2 = self:text_max(from), self:text_max(to)
  return max1 ~= nil and max2 ~= nil and max1 <= max2
end

return ddl
