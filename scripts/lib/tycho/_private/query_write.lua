--- Queries that write: insertions, changes, deletions.

local base = require "tycho._private.query_base"
local blame = require "tycho._private.blame"
local filter = require "tycho._private.filter"
local is_list = require "tycho._private.is_list"

local with, append = base.with, base.append

local write_query = {}

---@class tycho.query.Insert: tycho.query.Query
local Insert = base.class()

---@class tycho.query.Update: tycho.query.Query
local Update = base.class()

---@class tycho.query.Delete: tycho.query.Query
local Delete = base.class()

local function new(class, name)
  if type(name) ~= "string" then
    blame("the name of a table is wanted, not a %s", type(name))
  end
  return setmetatable({ source = name }, class)
end

function write_query.insert(name)
  return new(Insert, name)
end

function write_query.update(name)
  return new(Update, name)
end

function write_query.delete(name)
  return new(Delete, name)
end

---Columns of the rows that were written, as the answer; all of them by default. Not on MySQL.
---
---```lua
---local id = query.insert("users"):values({ email = email }):returning("id"):value()
---```
---@param ... string|tycho.query.Raw
---@return self
function Insert:returning(...)
  base.check_names("returning", ...)
  return append(self, "returned", select("#", ...) > 0 and ... or "*", select(2, ...))
end

Update.returning, Delete.returning = Insert.returning, Insert.returning

local function write_returning(self, writer)
  if not self.returned then
    return ""
  elseif not writer.dialect.has_returning then
    blame("%s has no RETURNING: read the row by its key", writer.dialect.name)
  end
  return " returning " .. base.write_list(writer, self.returned, writer.aliased)
end

-- A value of a row: SQL, a column, a query, or a parameter.
local function write_value(writer, name, value)
  if filter.is_raw(value) then
    return (writer:raw(value))
  elseif filter.is_column(value) then
    return (writer:other(value.name))
  elseif filter.is_query(value) then
    return ("(%s)"):format(value:write(writer))
  end
  return (writer:value(name, value))
end

local function sorted_keys(map)
  local names = {}
  for name in pairs(map) do
    if type(name) ~= "string" then
      blame("a row's keys are names of columns, not a %s", type(name))
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- Insertions ------------------------------------------------------------------------------

---Rows to insert: one, or a list of them. All have the columns of the first.
---
---```lua
---query.insert("tags"):values({ { name = "red" }, { name = "blue" } }):exec()
---```
---@param rows table<string, any>|table<string, any>[]
---@return tycho.query.Insert
function Insert:values(rows)
  if type(rows) ~= "table" then
    blame("values: a row or a list of rows is wanted, not a %s", type(rows))
  end
  if rows[1] == nil and next(rows) ~= nil then
    rows = { rows }
  elseif not is_list(rows) then
    blame("values: a list of rows without gaps is wanted")
  end
  local all = { unpack(self.rows or {}) }
  for _, row in ipairs(rows) do
    all[#all + 1] = row
  end
  return with(self, "rows", all)
end

---An insertion has no filter.
---@package
function Insert.where()
  blame("insert: where says which rows are meant of those that are there")
end

---What happens to a row that is there already: nothing, or a change of the columns that are named,
---to the new row's values, or to those given.
---
---```lua
---query.insert("hits"):values({ page = page, count = 1 })
---  :on_conflict({ "page" }, { count = query.sql "hits.count + 1" }):exec()
---query.insert("users"):values(user):on_conflict({ "email" }, { "nickname" }):exec()
---query.insert("users"):values(user):on_conflict({ "email" }):exec()
---```
---@param columns string[] of a unique constraint
---@param update? table names, and values by name; nothing by default
---@return tycho.query.Insert
function Insert:on_conflict(columns, update)
  if type(columns) ~= "table" or #columns == 0 then
    blame("on_conflict: a list of columns is wanted")
  end
  return with(self, "conflict", { columns = columns, update = update or {} })
end

local function write_conflict(self, writer)
  local conflict = self.conflict
  if not conflict then
    return ""
  end
  local columns, update, named = {}, {}, {}
  for i, name in ipairs(conflict.columns) do
    columns[i] = writer:name(name)
  end
  for i, name in ipairs(conflict.update) do
    update[i] = { writer:name(name) }
  end
  for name, value in pairs(conflict.update) do
    if type(name) == "string" then
      named[name] = value
    end
  end
  for _, name in ipairs(sorted_keys(named)) do
    update[#update + 1] = { writer:name(name), write_value(writer, name, named[name]) }
  end
  return (writer.dialect.on_conflict(columns, update))
end

local function check_row(row, first, names)
  for name in pairs(row) do
    if first[name] == nil then
      blame("values: %q is in one row and not in the first", tostring(name))
    end
  end
  for _, name in ipairs(names) do
    if row[name] == nil then
      blame("values: %q is missing in a row: db.null stands for NULL", name)
    end
  end
end

---@package
function Insert:write(writer)
  local rows = self.rows
  if not rows or #rows == 0 then
    blame("insert: there are no values")
  end
  local names = sorted_keys(rows[1])
  if #names == 0 then
    blame("insert: a row has no columns")
  end
  local lines = {}
  for i, row in ipairs(rows) do
    local items = {}
    check_row(row, rows[1], names)
    for j, name in ipairs(names) do
      items[j] = write_value(writer, name, row[name])
    end
    lines[i] = ("(%s)"):format(table.concat(items, ", "))
  end
  return ("insert into %s (%s) values %s%s%s"):format(writer:aliased(self.source),
    base.write_list(writer, names, writer.name), table.concat(lines, ", "),
    write_conflict(self, writer), write_returning(self, writer))
end

-- Changes and deletions -------------------------------------------------------------------

---New values of columns.
---
---```lua
---query.update("users"):set({ nickname = name, login_count = query.sql "login_count + 1" })
---```
---@param changes table<string, any>
---@return tycho.query.Update
function Update:set(changes)
  if type(changes) ~= "table" then
    blame("set: a table of values is wanted, not a %s", type(changes))
  end
  local all = {}
  for name, value in pairs(self.changes or {}) do
    all[name] = value
  end
  for name, value in pairs(changes) do
    all[name] = value
  end
  return with(self, "changes", all)
end

---Says that all rows of the table are meant.
---
---```lua
---query.update("users"):set({ seen = false }):everywhere():exec()
---```
---@return self
function Update:everywhere()
  return with(self, "is_everywhere", true)
end

Delete.everywhere = Update.everywhere

---@package
function Update:write(writer)
  base.check_filtered(self, "update")
  if not self.changes or next(self.changes) == nil then
    blame("update: there is nothing to set")
  end
  local set = {}
  for i, name in ipairs(sorted_keys(self.changes)) do
    set[i] = ("%s = %s"):format(writer:name(name), write_value(writer, name, self.changes[name]))
  end
  return ("update %s set %s%s%s"):format(writer:aliased(self.source), table.concat(set, ", "),
    base.write_filters(writer, " where ", self.filters), write_returning(self, writer))
end

---@package
function Delete:write(writer)
  base.check_filtered(self, "delete")
  return ("delete from %s%s%s"):format(writer:aliased(self.source),
    base.write_filters(writer, " where ", self.filters), write_returning(self, writer))
end

return write_query
