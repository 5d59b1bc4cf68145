--- Tables on SQLite.
---
--- A type here is not much more than a hint, so columns have one of few: what matters is how values
--- compare (numbers or text) and the two names that results are decoded by, BOOLEAN and JSON.
--- Decimals are text, because a number of SQLite would not be exact.

local base = require "tycho._private.dialect.ddl"

---@class tycho.dialect.SqliteDdl: tycho.dialect.Ddl
local ddl = setmetatable({
  system = "sqlite", is_transactional = true,
  identity = "primary key autoincrement",
  identity_is_primary = true, inlines_references = true,
  now = "(strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))",
  integers = { INTEGER = 1, BOOLEAN = 0 },
  types = {
    integer = "INTEGER", smallint = "INTEGER", boolean = "BOOLEAN", real = "REAL", text = "TEXT",
    timestamp = "TEXT", date = "TEXT", uuid = "TEXT", json = "JSON", array = "JSON",
    bytes = "BLOB", enum = "TEXT", decimal = "TEXT",
  },
}, base)
ddl.__index = ddl

function ddl.text_max()
  return nil
end

local function is_value(text)
  return text:find("^%(.*%)$") or text:find("^[xX]?'[^']*'$") or text:find("^[+-]?[%w.]+$")
    or text:find("^'.*'$") and not text:gsub("''", ""):find("'.*'.")
end

-- An expression is in brackets, a value is not.
local function bracketed(text)
  return text and (is_value(text) and text or "(" .. text .. ")")
end

ddl.bracketed = bracketed

function ddl:default_of(column)
  return (bracketed(base.default_of(self, column)))
end

---Can ALTER TABLE add it? Else the table is made anew.
---@param column tycho.schema_sync.Column
---@return boolean
function ddl.can_add(_, column)
  local default = column.default
  local is_constant = not default
    or not default:find("^%(") and not default:lower():find("^current")
  return is_constant and (column.null or default ~= nil) and not column.identity
end

return ddl
