--- Tables on MySQL and MariaDB.
---
--- Texts compare by their bytes, as they do on the other databases, not by what a language thinks
--- is alike: that is the collation utf8mb4_bin.

local base = require "tycho._private.dialect.ddl"

local quote, alter = base.quote, base.alter

local TEXT = " character set utf8mb4 collate utf8mb4_bin"

---@class tycho.dialect.MysqlDdl: tycho.dialect.Ddl
local ddl = setmetatable({
  system = "mysql", is_transactional = false,
  identity = "not null auto_increment",
  now = "current_timestamp(6)",
  table_end = " engine=InnoDB default character set utf8mb4 collate utf8mb4_bin",
  integers = { tinyint = 0, smallint = 1, mediumint = 2, int = 3, bigint = 4 },
  types = {
    integer = "bigint", smallint = "smallint", boolean = "tinyint(1)", real = "double",
    text = "longtext" .. TEXT, timestamp = "datetime(6)", date = "date",
    uuid = "char(36)" .. TEXT, json = "json", array = "json", bytes = "longblob",
  },
}, base)
ddl.__index = ddl

local VARCHAR_MAX = 4000 -- a row has room for some of these beside each other

function ddl:type_of(column)
  if column.kind == "text" and column.max and column.max <= VARCHAR_MAX then
    return ("varchar(%d)"):format(column.max) .. TEXT
  elseif column.kind == "bytes" and column.max and column.max <= VARCHAR_MAX then
    return ("varbinary(%d)"):format(column.max)
  elseif column.kind == "decimal" then
    return ("decimal(%d,%d)"):format(column.precision or 65, column.scale or 30)
  elseif column.kind == "enum" then
    local max = 1
    for _, value in ipairs(column.values) do
      max = math.max(max, #value)
    end
    return ("varchar(%d)"):format(max) .. TEXT
  end
  return self.types[column.kind]
end

function ddl.text_max(_, type_text)
  local max = type_text:match("^varchar%((%d+)%)$")
  if max then
    return tonumber(max)
  end
  return ({ tinytext = 63, text = 16383, mediumtext = 4194303, longtext = math.huge })[type_text]
end

-- A column is always said as a whole.
function ddl:set_type(shape, column)
  return alter(shape, "modify column %s %s", quote(column.name), self:definition(column))
end

ddl.set_null, ddl.set_default, ddl.set_identity = ddl.set_type, ddl.set_type, ddl.set_type
ddl.changes_whole_columns = true

-- NULL has to be said where the default is another.
function ddl:definition(column)
  local text = base.definition(self, column)
  if column.null and not column.default then
    return text .. " null default null"
  end
  return text
end

function ddl.drop_index(_, shape, index)
  return ("drop index %s on %s"):format(quote(index.name), quote(shape.name))
end

function ddl.drop_reference(_, shape, reference)
  local name = quote(reference.name)
  return alter(shape, "drop foreign key %s%s", name,
    reference.has_index and ", drop index " .. name or "")
end

return ddl
