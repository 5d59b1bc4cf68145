--- Where a repository keeps its rows: a table of a database.
---
--- Columns are always named, so that a column which a later version has added disturbs nobody.
--- Statements depend on the model and on which columns are written, not on values: the database
--- has prepared them after a while.

local columns = require "tycho._private.model_columns"
local database = require "tycho.db"
local json = require "tycho.json"
local rows = require "tycho._private.repository_rows"
local values = require "tycho._private.model_values"
local writers = require "tycho._private.repository_writer"

local null, wrap = json.null, writers.wrap

local PARAMS_MAX = 1000 -- in one statement: SQLite looks each one up among those before it
local ROWS_MAX = 500
local UPSERT_RETRIES = 10 -- two who insert the same row at once are a deadlock to MySQL

---@class tycho.repository.Sql
local Sql = {}
Sql.__index = Sql

local sql = {}

local function quoted_columns(described)
  local list = {}
  for i, column in ipairs(described.columns) do
    list[i] = ('"%s"'):format(column.name)
  end
  return table.concat(list, ", ")
end

local function readers_of(described)
  local list = {}
  for _, column in ipairs(described.columns) do
    local read = values.read[column.kind]
    if read then
      list[#list + 1] = { name = column.name, read = read, column = column }
    end
  end
  return list
end

-- Does an inserted row hold nothing that only the database knows?
local function is_known(described)
  for _, column in ipairs(described.columns) do
    if columns.is_sql(column.default) then
      return false
    end
  end
  return true
end

---@param described tycho.model.Table
---@param name? string of the database
---@param replica? boolean may its replicas answer what is read?
---@return tycho.repository.Sql
function sql.new(described, name, replica)
  name = name or described.database
  local db = database.use(name)
  return setmetatable({
    db = db, reader = replica and database.use(name, { replica = true }) or db,
    described = described, readers = readers_of(described),
    columns = quoted_columns(described), source = ('"%s"'):format(described.name),
    is_known = is_known(described), texts = {},
  }, Sql)
end

-- Asked late: while scripts load, nobody has connected yet.
local function writer_of(self)
  self.dialect = self.dialect or writers.dialect(self.db)
  return (writers.new(self.dialect, self.described))
end

local function entity_of(self, row)
  for _, each in ipairs(self.readers) do
    local value = row[each.name]
    if value ~= nil then
      row[each.name] = each.read(value, each.column)
    end
  end
  return row
end

---Rows of a filter's tree, in an order.
---@param tree table
---@param order table[]
---@param limit? integer
---@param offset? integer
---@return table<string, any>[] entities
function Sql:find(tree, order, limit, offset)
  local writer = writer_of(self)
  local text = ("select %s from %s"):format(self.columns, self.source) .. writer:where(tree)
    .. writer:order(order)
  if limit then
    text = text .. " limit " .. writer:param(limit)
    text = offset and text .. " offset " .. writer:param(offset) or text
  end
  local found = self.reader.query(text, unpack(writer.params, 1, writer.params.n))
  for i = 1, #found do
    entity_of(self, found[i])
  end
  return found
end

-- What most requests do, and so without writing the statement again.
local function text_of_get(self, with_deleted)
  local described, conditions = self.described, {}
  for i, name in ipairs(described.primary) do
    conditions[i] = ('"%s" = $%d'):format(name, i)
  end
  if described.soft_delete and not with_deleted then
    conditions[#conditions + 1] = ('"%s" is null'):format(described.soft_delete)
  end
  return ("select %s from %s where %s"):format(self.columns, self.source,
    table.concat(conditions, " and "))
end

---The row with this key.
---@param key table<string, any> by column
---@param with_deleted? boolean
---@return table<string, any>? entity
function Sql:get(key, with_deleted)
  local which = with_deleted and "get_all" or "get"
  local described, params = self.described, {}
  local text = self.texts[which] or text_of_get(self, with_deleted)
  self.texts[which] = text
  for i, name in ipairs(described.primary) do
    params[i] = wrap(described.by_name[name], key[name])
  end
  local row = self.reader.one(text, unpack(params))
  return row and entity_of(self, row)
end

---@return integer
function Sql:count(tree)
  local writer = writer_of(self)
  local text = ("select count(*) from %s"):format(self.source) .. writer:where(tree)
  return self.reader.value(text, unpack(writer.params, 1, writer.params.n))
end

---@return boolean
function Sql:exists(tree)
  local writer = writer_of(self)
  local text = ("select 1 from %s"):format(self.source) .. writer:where(tree) .. " limit 1"
  return self.reader.value(text, unpack(writer.params, 1, writer.params.n)) ~= nil
end

local function key_tree(names, row)
  local tree = { join = "and" }
  for i, name in ipairs(names) do
    tree[i] = { column = name, op = "eq", value = row[name] }
  end
  return tree
end

-- The names of the columns that rows have, in the order of the model.
local function names_of(described, row)
  local names = {}
  for _, column in ipairs(described.columns) do
    if row[column.name] ~= nil then
      names[#names + 1] = column.name
    end
  end
  return names
end

local function without_nulls(row)
  local entity = {}
  for name, value in pairs(row) do
    if value ~= null then
      entity[name] = value
    end
  end
  return entity
end

-- The row that was just written, where the database does not return it.
local function fetch(self, row, names)
  local found = self:find(key_tree(names, row), {}, 1)
  return found[1]
end

-- The statement that inserts one row with these columns; most rows have the same.
local function text_of_insert(self, writer, row, names)
  local text = writer:insertion({ row }, names)
  return writer.dialect.has_returning and ("%s returning %s"):format(text, self.columns) or text
end

---Inserts one row; raises the database's own error.
---@return table<string, any> entity
function Sql:insert(row)
  local names = names_of(self.described, row)
  local which = "insert " .. table.concat(names, " ")
  local text = self.texts[which]
  local writer = writer_of(self)
  local params = writer.params
  if text then
    for _, name in ipairs(names) do
      writer:param(wrap(self.described.by_name[name], row[name]))
    end
  else
    text = text_of_insert(self, writer, row, names)
    self.texts[which] = text
  end
  if writer.dialect.has_returning then
    return (entity_of(self, self.db.one(text, unpack(params, 1, params.n))))
  end
  local id = self.db.exec(text, unpack(params, 1, params.n)).last_id
  local key = self.described.primary[1]
  if row[key] == nil then
    row[key] = id
  end
  return self.is_known and without_nulls(row) or fetch(self, row, self.described.primary)
end

local function same_names(a, b)
  if #a ~= #b then
    return false
  end
  for i, name in ipairs(a) do
    if b[i] ~= name then
      return false
    end
  end
  return true
end

-- As many of the rows from `first` as have the same columns and fit into one statement.
local function next_chunk(described, list, first)
  local names = names_of(described, list[first])
  local most = math.max(1, math.min(ROWS_MAX, math.floor(PARAMS_MAX / #names)))
  local chunk = { list[first] }
  while #chunk < most and list[first + #chunk]
    and same_names(names, names_of(described, list[first + #chunk])) do
    chunk[#chunk + 1] = list[first + #chunk]
  end
  return chunk, names
end

---Inserts all rows or none.
---@param list table<string, any>[]
---@return integer count
function Sql:insert_many(list)
  self.db.transaction(function()
    local first = 1
    while first <= #list do
      local chunk, names = next_chunk(self.described, list, first)
      local writer = writer_of(self)
      local text = writer:insertion(chunk, names)
      self.db.exec(text, unpack(writer.params, 1, writer.params.n))
      first = first + #chunk
    end
  end)
  return #list
end

-- The key may be among what has changed.
local function key_after(described, key, changes)
  local after = {}
  for _, name in ipairs(described.primary) do
    after[name] = changes[name] == nil and key[name] or changes[name]
  end
  return after
end

---Changes the row that the tree means, and counts its version up.
---@param tree table
---@param changes table<string, any>
---@param key table<string, any>
---@return table<string, any>? entity nil if there is none
function Sql:update(tree, changes, key)
  local writer = writer_of(self)
  local text = ("update %s set %s"):format(self.source, writer:assignments(changes))
    .. writer:where(tree)
  local params = writer.params
  if writer.dialect.has_returning then
    local row = self.db.one(("%s returning %s"):format(text, self.columns),
      unpack(params, 1, params.n))
    return row and entity_of(self, row)
  end
  local done = self.db.exec(text, unpack(params, 1, params.n))
  if done.changes == 0 then -- of rows that are meant, whether or not they became others
    return nil
  end
  return fetch(self, key_after(self.described, key, changes), self.described.primary)
end

local function upsert_at_once(self, row, by, update)
  local writer = writer_of(self)
  local described, keys, set = self.described, {}, {}
  local text = writer:insertion({ row }, names_of(described, row))
  for i, name in ipairs(by) do
    keys[i] = writer:name(name)
  end
  for i, name in ipairs(update) do
    set[i] = { writer:name(name) }
  end
  if described.version then
    local version = writer:name(described.version)
    set[#set + 1] = { version, ("%s.%s + 1"):format(self.source, version) }
  end
  text = text .. writer.dialect.on_conflict(keys, set)
  if writer.dialect.has_returning and #set > 0 then
    text = ("%s returning %s"):format(text, self.columns)
    return (entity_of(self, self.db.one(text, unpack(writer.params, 1, writer.params.n))))
  end
  self.db.exec(text, unpack(writer.params, 1, writer.params.n))
  return fetch(self, row, by)
end

-- MySQL takes any unique column for the one that was meant. Where another may be in the way, the
-- row is looked for and kept before it is changed, so that the other is a conflict as elsewhere.
local function upsert_in_steps(self, row, by, update)
  return self.db.transaction(function()
    local writer = writer_of(self)
    local text = ("select %s from %s"):format(self.columns, self.source)
      .. writer:where(key_tree(by, row)) .. writer.dialect.lock "update"
    local found = self.db.one(text, unpack(writer.params, 1, writer.params.n))
    if not found then
      return (self:insert(row))
    end
    local changes, key = {}, entity_of(self, found)
    for _, name in ipairs(update) do
      changes[name] = row[name]
    end
    if next(changes) == nil and not self.described.version then
      return key
    end
    return (self:update(key_tree(self.described.primary, key), changes, key))
  end, { retry = UPSERT_RETRIES })
end

---Inserts a row, or changes the one that has the same values in the columns `by`.
---@param row table<string, any>
---@param by string[]
---@param update string[] columns that get the new row's value
---@return table<string, any> entity
function Sql:upsert(row, by, update)
  local writer = writer_of(self)
  if writer.dialect.has_targets or rows.is_only_conflict(self.described, row, by) then
    return (upsert_at_once(self, row, by, update))
  end
  return (upsert_in_steps(self, row, by, update))
end

---@return integer count
function Sql:delete(tree)
  local writer = writer_of(self)
  local text = ("delete from %s"):format(self.source) .. writer:where(tree)
  return self.db.exec(text, unpack(writer.params, 1, writer.params.n)).changes
end

---The column of a row that refers to nothing: SQLite says only that there is one.
---@return string? name
function Sql:dangling(row)
  for _, column in ipairs(self.described.columns) do
    local to, value = column.references, row[column.name]
    if to and value ~= nil and value ~= null then
      local text = ('select 1 from "%s" where "%s" = $1'):format(to.table, to.column)
      if not self.db.value(text, wrap(column, value)) then
        return column.name
      end
    end
  end
end

---Runs `fn` so that all it does is undone if it raises.
function Sql:transaction(fn)
  return self.db.transaction(fn)
end

return sql
