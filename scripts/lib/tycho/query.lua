--- Queries as values: put together from what a request asks for, never from text.
---
--- A query does not change: each call returns a new one, so that a common beginning can be kept.
--- Values become parameters. Names of tables and columns are checked and quoted; SQL goes in only
--- by `query.sql`.
---
---```lua
---local open = query.from("orders"):where { state = "PENDING" }
---local rows = open:where { user_id = id, amount__ge = req.query.min }:order("-created_at"):all()
---```
---
--- A filter is a table: all of it must hold. Its keys are columns, with an operator behind `__`:
--- `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `in`, `not_in`, `between`, `is_null`, `contains`,
--- `starts_with`, `ends_with`, and these with an `i` before them, which ignore case (of ASCII).
--- A list means `in`, `db.null` means `is null`. What is nil filters nothing. As in SQL, a
--- comparison with a column that is NULL holds for no value, also `ne`.

local blame = require "tycho._private.blame"
local database = require "tycho.db"
local filter = require "tycho._private.filter"
local select_query = require "tycho._private.query_select"
local write_query = require "tycho._private.query_write"

local query = {}

---@alias tycho.query.Filter table<string|integer, any>

---A query that reads from a table.
---
---```lua
---query.from("users as u"):join("teams as t", "t.id", "u.team_id"):select("u.email", "t.name")
---```
---@param name string of the table, perhaps with another name for it: "users as u"
---@return tycho.query.Select
function query.from(name)
  return select_query.new(name)
end

---An insertion.
---
---```lua
---query.insert("users"):values({ email = email }):returning("id"):value()
---```
---@param name string of the table
---@return tycho.query.Insert
function query.insert(name)
  return write_query.insert(name)
end

---A change of rows. Without a filter it is refused, unless it says `everywhere()`.
---
---```lua
---query.update("users"):set({ active = false }):where({ last_login_at__lt = then }):exec()
---```
---@param name string of the table
---@return tycho.query.Update
function query.update(name)
  return write_query.update(name)
end

---A deletion of rows. Without a filter it is refused, unless it says `everywhere()`.
---
---```lua
---query.delete("sessions"):where({ expires_at__lt = time.iso() }):exec()
---```
---@param name string of the table
---@return tycho.query.Delete
function query.delete(name)
  return write_query.delete(name)
end

---SQL as it is, with values for its own `$1`, `$2`: in filters, as a value, as a column, in an
---order. Never with anything in its text that comes from outside.
---
---```lua
---query.from("orders"):where { query.sql("lower(product) = $1", product) }
---query.update("users"):set { login_count = query.sql "login_count + 1" }
---```
---@param text string
---@param ... any values
---@return tycho.query.Raw
function query.sql(text, ...)
  if type(text) ~= "string" then
    error("query.sql: a string is wanted", 2)
  end
  return filter.raw(text, ...)
end

---A column in the place of a value.
---
---```lua
---query.from("orders"):where { updated_at__gt = query.column "created_at" }
---```
---@param name string
---@return table
function query.column(name)
  if type(name) ~= "string" then
    error("query.column: a name is wanted", 2)
  end
  return filter.column(name)
end

---A filter of which any part must hold.
---
---```lua
---query.from("orders"):where { user_id = id, query.any_of { state = "PAID", amount__lt = 100 } }
---```
---@param parts tycho.query.Filter
---@return table
function query.any_of(parts)
  return filter.group("or", false, parts)
end

---A filter of which all parts must hold: for use in another group.
---
---```lua
---query.any_of { query.all_of { state = "PAID", amount = 1 }, query.all_of { state = "NEW" } }
---```
---@param parts tycho.query.Filter
---@return table
function query.all_of(parts)
  return filter.group("and", false, parts)
end

---A filter of which no part must hold.
---
---```lua
---query.from("orders"):where { query.none_of { state = "EXPIRED", amount = 0 } }
---```
---@param parts tycho.query.Filter
---@return table
function query.none_of(parts)
  return filter.group("or", true, parts)
end

---The text in which LIKE finds nothing special any more, for patterns of one's own in `query.sql`.
---
---```lua
---query.sql("name like $1 escape '!'", query.escape_like(text) .. "_%")
---```
---@param text string
---@return string
function query.escape_like(text)
  if type(text) ~= "string" then
    blame("query.escape_like: a string is wanted, not a %s", type(text))
  end
  return (text:gsub("[!%%_]", "!%0"))
end

---The same as `db.null`.
query.null = database.null

-- Classes: _private/query_base.lua
-- Classes: _private/query_select.lua
-- Classes: _private/query_write.lua

return query
