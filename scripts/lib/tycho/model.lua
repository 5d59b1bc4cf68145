--- Models: a table described once, for the database, for requests and for repositories.
---
--- A model is defined while the scripts load. From its columns come the schema of the database
--- (`tycho db sync`), schemas for routes, and the conversion of rows in `tycho.repository`, which
--- are the same on every database. A wrong definition is refused with its line.
---
---```lua
---local User = model.define("users", {
---  model.id(),
---  model.text("email", { max = 254, unique = true }),
---  model.timestamps(),
---})
---```

local columns = require "tycho._private.model_columns"
local definition = require "tycho._private.model_definition"
local model_schema = require "tycho._private.model_schema"
local options = require "tycho.options"
local outside = require "tycho._private.outside"
local registry = require "tycho._private.model_registry"
local suggest = require "tycho._private.suggest"

local model = {}

---@class tycho.model.ColumnOptions what every column may have
---@field null? boolean may be NULL; false by default
---@field default? any a Lua value, or SQL: `model.sql "now()"`
---@field unique? boolean
---@field primary? boolean is, or belongs to, the primary key
---@field check? string SQL that holds for every row
---@field renamed_from? string the name that the column had before
---@field private? boolean in none of the model's schemas: neither asked for nor shown
---@field description? string

---@class tycho.model.NumberOptions: tycho.model.ColumnOptions
---@field min? number
---@field max? number

-- Nothing below may be a tail call: the place of a fault is found by counting callers.

---A whole number of 64 bits; exact, and boxed beyond 2^53.
---
---```lua
---model.integer("login_count", { default = 0, min = 0 })
---```
---@param name string
---@param opts? tycho.model.NumberOptions
---@return tycho.model.Column
function model.integer(name, opts)
  local column = columns.new("integer", name, opts, 2)
  return column
end

---A whole number of 16 bits.
---
---```lua
---model.smallint("floor")
---```
---@param name string
---@param opts? tycho.model.NumberOptions
---@return tycho.model.Column
function model.smallint(name, opts)
  local column = columns.new("smallint", name, opts, 2)
  return column
end

---A binary fraction of 64 bits. Not for money: that is an integer, or a decimal.
---
---```lua
---model.real("latitude", { min = -90, max = 90 })
---```
---@param name string
---@param opts? tycho.model.NumberOptions
---@return tycho.model.Column
function model.real(name, opts)
  local column = columns.new("real", name, opts, 2)
  return column
end

---@class tycho.model.DecimalOptions: tycho.model.ColumnOptions
---@field precision? integer digits in all
---@field scale? integer digits after the point
---@field min? string
---@field max? string

---A decimal number: exact, and a string in Lua (`"12.30"`).
---
---```lua
---model.decimal("price", { precision = 12, scale = 2, min = "0" })
---```
---@param name string
---@param opts? tycho.model.DecimalOptions
---@return tycho.model.Column
function model.decimal(name, opts)
  local column = columns.new("decimal", name, opts, 2)
  return column
end

---True or false.
---
---```lua
---model.boolean("active", { default = true })
---```
---@param name string
---@param opts? tycho.model.ColumnOptions
---@return tycho.model.Column
function model.boolean(name, opts)
  local column = columns.new("boolean", name, opts, 2)
  return column
end

---@class tycho.model.TextOptions: tycho.model.ColumnOptions
---@field min? integer characters
---@field max? integer characters
---@field format? "email"|"uuid"|"uri"

---Text; UTF-8.
---
---```lua
---model.text("email", { max = 254, format = "email", unique = true })
---```
---@param name string
---@param opts? tycho.model.TextOptions
---@return tycho.model.Column
function model.text(name, opts)
  local column = columns.new("text", name, opts, 2)
  return column
end

---A moment: text in UTC with six digits, `2026-01-31T08:30:00.000000Z`. RFC 3339 with any offset
---and seconds since 1970 are taken too.
---
---```lua
---model.timestamp("last_login_at", { null = true })
---```
---@param name string
---@param opts? tycho.model.ColumnOptions
---@return tycho.model.Column
function model.timestamp(name, opts)
  local column = columns.new("timestamp", name, opts, 2)
  return column
end

---A day: `2026-01-31`.
---
---```lua
---model.date("birthday", { null = true })
---```
---@param name string
---@param opts? tycho.model.ColumnOptions
---@return tycho.model.Column
function model.date(name, opts)
  local column = columns.new("date", name, opts, 2)
  return column
end

---A UUID, in lower case.
---
---```lua
---model.uuid("public_id", { unique = true })
---```
---@param name string
---@param opts? tycho.model.ColumnOptions
---@return tycho.model.Column
function model.uuid(name, opts)
  local column = columns.new("uuid", name, opts, 2)
  return column
end

---Any value that JSON can hold.
---
---```lua
---model.json("settings", { default = {} })
---```
---@param name string
---@param opts? tycho.model.ColumnOptions
---@return tycho.model.Column
function model.json(name, opts)
  local column = columns.new("json", name, opts, 2)
  return column
end

---@class tycho.model.BytesOptions: tycho.model.ColumnOptions
---@field max? integer bytes

---Bytes: a string of any content.
---
---```lua
---model.bytes("digest", { max = 32 })
---```
---@param name string
---@param opts? tycho.model.BytesOptions
---@return tycho.model.Column
function model.bytes(name, opts)
  local column = columns.new("bytes", name, opts, 2)
  return column
end

---@class tycho.model.ArrayOptions: tycho.model.ColumnOptions
---@field of "integer"|"smallint"|"real"|"decimal"|"boolean"|"text"|"timestamp"|"date"|"uuid" its
---elements' kind
---@field max? integer elements

---A list of values of one kind; where a database has no arrays, it is kept as JSON.
---
---```lua
---model.array("tags", { of = "text", max = 20, default = {} })
---```
---@param name string
---@param opts tycho.model.ArrayOptions
---@return tycho.model.Column
function model.array(name, opts)
  local column = columns.new("array", name, opts, 2)
  return column
end

---@class tycho.model.EnumOptions: tycho.model.ColumnOptions
---@field values string[] the texts

---One of some texts.
---
---```lua
---model.enum("state", { values = { "PENDING", "PAID" }, default = "PENDING" })
---```
---@param name string
---@param opts tycho.model.EnumOptions
---@return tycho.model.Column
function model.enum(name, opts)
  local column = columns.new("enum", name, opts, 2)
  return column
end

local ID = options.set { "kind" }

---The primary key: a number that the database counts up, or, with `kind = "uuid"`, a UUID that the
---repository makes and that sorts by time.
---
---```lua
---model.id()
---model.id("order_id", { kind = "uuid" })
---```
---@param name? string "id" by default
---@param opts? { kind?: "integer"|"uuid" }
---@return tycho.model.Column
function model.id(name, opts)
  local kind = options.check(opts, ID, 3).kind or "integer"
  if kind ~= "integer" and kind ~= "uuid" then
    error(("model.id: %q is no kind of key: integer or uuid"):format(tostring(kind)), 2)
  end
  local column = columns.new(kind, name or "id", { primary = true }, 2, {
    identity = kind == "integer",
  })
  return column
end

---@class tycho.model.ReferenceOptions: tycho.model.ColumnOptions
---@field column? string of the other table; its primary key by default
---@field on_delete? "restrict"|"cascade"|"set_null"|"no_action"
---@field kind? string of that column, where its model is defined later and it is no integer

---The key of a row in another table.
---
---```lua
---model.reference("team_id", "teams", { null = true, on_delete = "set_null" })
---model.reference("team_id", Team)
---```
---@param name string
---@param target string|tycho.model.Model a table, or its model
---@param opts? tycho.model.ReferenceOptions
---@return tycho.model.Column
function model.reference(name, target, opts)
  local column = columns.reference(name, target, opts, 2)
  return column
end

local TIMESTAMPS = options.set { "created", "updated" }

---When a row was made and when it was changed last, filled by the repository.
---
---```lua
---model.timestamps()
---model.timestamps { updated = false }
---```
---@param opts? { created?: string|false, updated?: string|false } names of the columns
---@return tycho.model.Column[]
function model.timestamps(opts)
  opts = options.check(opts, TIMESTAMPS, 3)
  local list = {}
  for _, role in ipairs { "created", "updated" } do
    if opts[role] ~= false then
      list[#list + 1] = columns.new("timestamp", opts[role] or role .. "_at", nil, 2, {
        role = role,
      })
    end
  end
  return list
end

---When a row was deleted: the repository then keeps deleted rows, and leaves them out.
---
---```lua
---model.soft_delete()
---```
---@param name? string "deleted_at" by default
---@return tycho.model.Column
function model.soft_delete(name)
  local column = columns.new("timestamp", name or "deleted_at", { null = true }, 2, {
    role = "deleted",
  })
  return column
end

---How often a row was changed: of two that change a row at once, one is refused (`conflict`).
---
---```lua
---model.version()
---```
---@param name? string "version" by default
---@return tycho.model.Column
function model.version(name)
  local column = columns.new("integer", name or "version", { default = 1 }, 2, {
    role = "version",
  })
  return column
end

---SQL for a column's default, as it is: never with a value from outside in it.
---
---```lua
---model.timestamp("seen_at", { default = model.sql "now()" })
---```
---@param text string
---@return table
function model.sql(text)
  if type(text) ~= "string" then
    error("model.sql: a string is wanted", 2)
  end
  return columns.sql(text)
end

---@class tycho.model.Index
---@field name string
---@field columns string[] names of columns, or SQL expressions
---@field unique boolean
---@field where? string SQL

---@class tycho.model.Table the plain description
---@field name string
---@field database string
---@field columns tycho.model.Column[]
---@field by_name table<string, tycho.model.Column>
---@field primary string[]
---@field uniques { name: string, columns: string[] }[] of single columns
---@field indexes tycho.model.Index[]
---@field checks { name: string, sql: string }[]
---@field created? string name of that column; and so below
---@field updated? string
---@field soft_delete? string
---@field version? string

---@class tycho.model.Model
---@field table tycho.model.Table
---@field where string file and line of the definition
---@field schema tycho.schema.Schema of an entity, for answers
---@field insert_schema tycho.schema.Schema of what makes one, for requests
---@field update_schema tycho.schema.Schema of changes: every member may be left out
local Model = {}
Model.__index = Model

local function set_of(self, names, what)
  if type(names) ~= "table" then
    error(("model:%s: a list of names is wanted"):format(what), 3)
  end
  local by_name = self.table.by_name
  for _, name in ipairs(names) do
    if not by_name[name] then
      error(("model %q has no column %q%s"):format(self.table.name, tostring(name),
        suggest(name, by_name)), 3)
    end
  end
  return options.set(names)
end

---The schema of an answer with these members only, private ones too if they are named.
---
---```lua
---app.get("/me", { response = User:pick { "id", "email" } }, function(req) ... end)
---```
---@param names string[]
---@return tycho.schema.Schema
function Model:pick(names)
  return (model_schema.answer(self.table, set_of(self, names, "pick")))
end

---The schema of an answer without these members, and without private ones.
---
---```lua
---app.get("/users/{id}", { response = User:omit { "email" } }, function(req) ... end)
---```
---@param names string[]
---@return tycho.schema.Schema
function Model:omit(names)
  local left_out, kept = set_of(self, names, "omit"), {}
  for _, column in ipairs(self.table.columns) do
    kept[column.name] = not left_out[column.name] and not column.private or nil
  end
  return (model_schema.answer(self.table, kept))
end

---Defines the model of a table: its columns in their order, and by name `indexes`, `checks`,
---`database`. Each table once.
---
---```lua
---local User = model.define("users", {
---  model.id(),
---  model.text("email", { max = 254 }),
---  model.reference("team_id", "teams", { null = true, on_delete = "cascade" }),
---  model.timestamps(), model.soft_delete(), model.version(),
---  indexes = { { "team_id", "created_at" }, { "lower(email)", name = "users_email_key",
---    unique = true } },
---  checks = { email_not_empty = "email <> ''" },
---})
---```
---@param name string of the table
---@param parts table columns, and further fields
---@return tycho.model.Model
function model.define(name, parts)
  local described, where = definition.new(name, parts, outside.caller(2))
  local made = setmetatable({
    table = described, where = where, schema = model_schema.answer(described),
    insert_schema = model_schema.insert(described),
    update_schema = model_schema.update(described),
  }, Model)
  registry.add(made)
  return made
end

---All models, in the order of their definition.
---
---```lua
---for _, each in ipairs(model.all()) do print(each.table.name, each.where) end
---```
---@return tycho.model.Model[]
function model.all()
  local all = {}
  for i, each in ipairs(registry.list) do
    all[i] = each
  end
  return all
end

---Raises a text that names each reference to a table or column that no model has. Done before a
---version of the scripts goes live.
---
---```lua
---model.check()
---```
function model.check()
  registry.check()
end

return setmetatable(model, {
  __index = function(_, name)
    error(("model.%s: there is no such kind of column%s"):format(tostring(name),
      suggest(name, columns.KINDS)), 2)
  end,
})
