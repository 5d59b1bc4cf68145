--- What a model is made of: its columns, checked where they are written.
---
--- Raises in the caller of the constructor, whose `level` is passed down, for what is wrong with
--- one column by itself; what columns are to each other is checked by `model.define`.

local number = require "tycho._private.number"
local options = require "tycho.options"
local outside = require "tycho._private.outside"
local suggest = require "tycho._private.suggest"

local columns = {}

---@class tycho.model.Column
---@field name string
---@field kind string one of `columns.KINDS`
---@field null boolean may it be NULL
---@field default any a Lua value, or raw SQL (`model.sql`)
---@field unique boolean
---@field primary boolean
---@field identity boolean the database counts it up
---@field references? { table: string, column: string, on_delete: string }
---@field min? any
---@field max? any characters of a text, elements of an array, the greatest of numbers
---@field format? string of a text
---@field precision? integer digits of a decimal
---@field scale? integer of these, digits after the point
---@field of? string kind of an array's elements
---@field values? string[] of an enum
---@field check? string SQL
---@field renamed_from? string
---@field private? boolean in none of the model's schemas
---@field where string file and line
---@field role? "created"|"updated"|"deleted"|"version" filled by the repository

local Column, Sql = {}, {}

local COMMON = {
  "null", "default", "unique", "check", "renamed_from", "primary", "private", "description",
}

local function kind(own)
  local all = { unpack(COMMON) }
  for _, name in ipairs(own or {}) do
    all[#all + 1] = name
  end
  return options.set(all)
end

---The kinds, and the options that each knows.
columns.KINDS = {
  integer = kind { "min", "max" },
  smallint = kind { "min", "max" },
  real = kind { "min", "max" },
  decimal = kind { "precision", "scale", "min", "max" },
  boolean = kind(),
  text = kind { "min", "max", "format" },
  timestamp = kind(),
  date = kind(),
  uuid = kind(),
  json = kind(),
  bytes = kind { "max" },
  array = kind { "of", "max" },
  enum = kind { "values" },
}
local REFERENCE = kind { "column", "on_delete", "kind" }
local ELEMENTS = options.set {
  "integer", "smallint", "real", "decimal", "boolean", "text", "timestamp", "date", "uuid",
}
local FORMATS = options.set { "email", "uuid", "uri" }
local ON_DELETE = options.set { "restrict", "cascade", "set_null", "no_action" }

local function fail(level, where, text, ...)
  error(("%s: %s"):format(where, text:format(...)), level + 1)
end

---A name that all databases take as it is: letters, digits, underscores, at most 63.
function columns.is_name(name)
  return type(name) == "string" and #name <= 63 and name:find("^[%a_][%w_]*$") ~= nil
end

---@return boolean
function columns.is_column(value)
  return getmetatable(value) == Column
end

---@return boolean
function columns.is_sql(value)
  return getmetatable(value) == Sql
end

function columns.sql(text)
  return setmetatable({ sql = text }, Sql)
end

local function check_number(name, value, where, level)
  if value ~= nil and (type(value) ~= "number" or value % 1 ~= 0 or value < 0) then
    fail(level + 1, where, "%s is a whole number", name)
  end
end

local function check_decimal(o, where, level)
  check_number("precision", o.precision, where, level + 1)
  check_number("scale", o.scale, where, level + 1)
  if (o.scale and not o.precision) or (o.scale or 0) > (o.precision or 0) then
    fail(level + 1, where, "scale is at most precision, which has to be given with it")
  end
  for _, name in ipairs { "min", "max" } do
    if o[name] and not (type(o[name]) == "string" and number.parse_decimal(o[name])) then
      fail(level + 1, where, "%s is a decimal number as a string", name)
    end
  end
end

local function check_values(o, where, level)
  if type(o.values) ~= "table" or #o.values == 0 then
    fail(level + 1, where, "values is a list of strings")
  end
  local seen = {}
  for _, value in ipairs(o.values) do
    if type(value) ~= "string" or seen[value] then
      fail(level + 1, where, "values are strings, each of them once")
    end
    seen[value] = true
  end
end

local function check_text(o, where, level)
  if o.format and not FORMATS[o.format] then
    fail(level + 1, where, "unknown format %q%s", tostring(o.format), suggest(o.format, FORMATS))
  end
  check_number("min", o.min, where, level + 1)
  check_number("max", o.max, where, level + 1)
end

local function check_array(o, where, level)
  if not ELEMENTS[o.of] then
    fail(level + 1, where, "of is the kind of its elements, not %q%s", tostring(o.of),
      suggest(o.of, ELEMENTS))
  end
  check_number("max", o.max, where, level + 1)
end

local CHECKS = {
  decimal = check_decimal, enum = check_values, text = check_text, array = check_array,
}

local function check_common(o, where, level)
  for _, name in ipairs { "null", "unique", "primary", "private" } do
    if o[name] ~= nil and type(o[name]) ~= "boolean" then
      fail(level + 1, where, "%s is true or false, not a %s", name, type(o[name]))
    end
  end
  if o.primary and o.null then
    fail(level + 1, where, "a primary key is never null")
  elseif o.check ~= nil and type(o.check) ~= "string" then
    fail(level + 1, where, "check is SQL, a string")
  elseif o.renamed_from ~= nil and not columns.is_name(o.renamed_from) then
    fail(level + 1, where, "renamed_from is the name that the column had")
  end
end

-- Copies, because options may be shared between columns.
local function made(kind_name, name, o, more)
  local column = {}
  for key, value in pairs(o) do
    column[key] = value
  end
  for key, value in pairs(more or {}) do
    column[key] = value
  end
  column.name, column.kind = name, kind_name
  column.null = o.null == true
  column.unique, column.primary = o.unique == true, o.primary == true
  column.identity = column.identity == true
  column.where = outside.line() or "?"
  return setmetatable(column, Column)
end

---@param kind_name string
---@param name string
---@param opts? table
---@param level integer whose fault it is, as for `error()` in the caller
---@param more? table further fields
---@return tycho.model.Column
function columns.new(kind_name, name, opts, level, more)
  local where = ("model.%s"):format(kind_name)
  if not columns.is_name(name) then
    fail(level + 1, where, "%s is no name of a column", tostring(name))
  end
  where = ("%s %q"):format(where, name)
  local o = options.check(opts, columns.KINDS[kind_name], level + 2)
  check_common(o, where, level + 1)
  local check = CHECKS[kind_name]
  if check then
    check(o, where, level + 1)
  end
  return (made(kind_name, name, o, more))
end

-- Kind and name of what is referred to: of a model, or of a table whose model may come later.
local function target_of(target, o, where, level)
  local described = type(target) == "table" and target.table
  if not described then
    if not columns.is_name(target) then
      fail(level + 1, where, "the name of a table, or a model, is wanted")
    end
    return target, o.column or "id", o.kind
  end
  local column = described.by_name[o.column or described.primary[1]]
  if not column then
    fail(level + 1, where, "%s has no column %q%s", described.name, tostring(o.column),
      suggest(o.column, described.by_name))
  end
  return described.name, column.name, column.kind
end

---@param name string
---@param target string|tycho.model.Model
---@param opts? table
---@param level integer
---@return tycho.model.Column
function columns.reference(name, target, opts, level)
  local where = "model.reference"
  if not columns.is_name(name) then
    fail(level + 1, where, "%s is no name of a column", tostring(name))
  end
  where = ("%s %q"):format(where, name)
  local o = options.check(opts, REFERENCE, level + 2)
  check_common(o, where, level + 1)
  local on_delete = o.on_delete or "no_action"
  if not ON_DELETE[on_delete] then
    fail(level + 1, where, "unknown on_delete %q%s", tostring(on_delete),
      suggest(on_delete, ON_DELETE))
  elseif on_delete == "set_null" and not o.null then
    fail(level + 1, where, "on_delete is set_null: null = true is wanted")
  elseif o.kind and not columns.KINDS[o.kind] then
    fail(level + 1, where, "unknown kind %q%s", tostring(o.kind), suggest(o.kind, columns.KINDS))
  end
  local table_name, column_name, kind_name = target_of(target, o, where, level + 1)
  local column = made(kind_name or "integer", name, o, {
    references = { table = table_name, column = column_name, on_delete = on_delete },
  })
  column.column, column.on_delete = nil, nil
  return column
end

return columns
