--- The names that constraints and indexes have: the same on every database, today and tomorrow.
---
--- They follow PostgreSQL's own habit, `users_email_key`; one that were too long for a database is
--- cut, and ends in a digest of the whole.

local crypto = require "tycho.crypto"

local MAX = 63

local names = {}

local function bounded(name)
  if #name <= MAX then
    return name
  end
  return name:sub(1, MAX - 9) .. "_" .. crypto.hex(crypto.sha256(name)):sub(1, 8)
end

local function made(table_name, columns, ending)
  return bounded(("%s_%s_%s"):format(table_name, table.concat(columns, "_"), ending))
end

---Of a unique column, or of a unique index.
function names.unique(table_name, columns)
  return (made(table_name, columns, "key"))
end

---Of an index that is not unique.
function names.index(table_name, columns)
  return (made(table_name, columns, "idx"))
end

---Of a foreign key.
function names.reference(table_name, column)
  return (made(table_name, { column }, "fkey"))
end

---Of a check: of a column, or of the table under the name that the model gives it.
function names.check(table_name, name)
  return (made(table_name, { name }, "check"))
end

---Of the primary key.
function names.primary(table_name)
  return bounded(table_name .. "_pkey")
end

return names
