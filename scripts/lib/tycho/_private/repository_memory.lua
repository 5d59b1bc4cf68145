--- Where a repository of tests keeps its rows: a table in memory, with what the model says of it.
---
--- What is unique holds, and so do references to repositories in memory that it is told of. Checks,
--- and defaults that are SQL other than `now()`, are the database's.

local blame = require "tycho._private.blame"
local columns = require "tycho._private.model_columns"
local filter_memory = require "tycho._private.filter_memory"
local json = require "tycho.json"
local rows = require "tycho._private.repository_rows"
local rules = require "tycho._private.repository_rules"
local unit = require "tycho._private.unit"
local values = require "tycho._private.model_values"

local null = json.null

---@class tycho.repository.Memory
local Memory = {}
Memory.__index = Memory

local memory = {}

---@param described tycho.model.Table
---@param references? table<string, tycho.repository.Repository> by table
---@return tycho.repository.Memory
function memory.new(described, references)
  local self = setmetatable({
    described = described, rows = {}, rules = rules.of(described), serial = 0, keys = {},
    references = {}, referrers = {},
  }, Memory)
  for name, repository in pairs(references or {}) do
    self.references[name] = repository.storage
  end
  self.references[described.name] = self -- as trees have it
  for _, column in ipairs(described.columns) do
    local storage = column.references and self.references[column.references.table]
    if storage then
      storage.referrers[#storage.referrers + 1] = { storage = self, column = column }
    end
  end
  self.context = {
    column = function(...) return rows.comparable(described, ...) end,
    value = function(column, value) return rows.value(described, column, value) end,
  }
  return self
end

local function is_it(row, column, value)
  return row[column] ~= nil and values.equal(row[column], value)
end

function Memory:has(column, value)
  return rules.same(self, { column }, { [column] = value }) ~= nil or self:refers(column, value, {})
end

---Has any row this value, but for those that go?
---@param going table<table, true> rows that are being deleted
function Memory:refers(column, value, going)
  for _, row in ipairs(self.rows) do
    if not going[row] and is_it(row, column, value) then
      return true
    end
  end
  return false
end

local function stored(row)
  local copy = {}
  for name, value in pairs(row) do
    if value ~= null then
      copy[name] = values.copy(value)
    end
  end
  return copy
end

local function meant(self, tree)
  local list = {}
  for _, row in ipairs(self.rows) do
    if filter_memory.holds(self.context, row, tree) then
      list[#list + 1] = row
    end
  end
  return list
end

-- NULL is less than everything.
local function compare(term, a, b)
  local mine, its = a[term.name], b[term.name]
  local order
  if mine == nil or its == nil then
    order = mine == its and 0 or (mine == nil and -1 or 1)
  else
    order = values.compare(term.column.kind, mine, its)
  end
  return term.descending and -order or order
end

local function sort(list, order)
  table.sort(list, function(a, b)
    for _, term in ipairs(order) do
      local less = compare(term, a, b)
      if less ~= 0 then
        return less < 0
      end
    end
    return false
  end)
end

function Memory:find(tree, order, limit, offset)
  local list = meant(self, tree)
  sort(list, order)
  local found = {}
  local first = (offset or 0) + 1
  for i = first, math.min(#list, limit and first + limit - 1 or #list) do
    found[#found + 1] = values.copy(list[i])
  end
  return found
end

function Memory:get(key, with_deleted)
  local row, deleted = rules.same(self, self.described.primary, key), self.described.soft_delete
  if row and (with_deleted or not deleted or row[deleted] == nil) then
    return values.copy(row)
  end
end

function Memory:count(tree)
  return #meant(self, tree)
end

function Memory:exists(tree)
  return meant(self, tree)[1] ~= nil
end

local function count_up(self, row)
  local column = self.described.by_name[self.described.primary[1]]
  if not column.identity then
    return
  elseif row[column.name] == nil then
    self.serial = self.serial + 1
    row[column.name] = self.serial
  else
    self.serial = math.max(self.serial, tonumber(row[column.name]))
  end
end

local function check_known(self, row, given)
  for _, column in ipairs(self.described.columns) do
    if given[column.name] == nil and columns.is_sql(column.default) then
      if not column.default.sql:lower():find("^%s*now%(%)%s*$") then
        blame("%s.%s has SQL for a default: in memory a value is wanted", self.described.name,
          column.name)
      end
      row[column.name] = values.now()
    end
  end
end

function Memory:insert(given)
  unit.keep(self)
  local row = stored(given)
  check_known(self, row, given)
  count_up(self, row)
  rules.check(self, row)
  self.rows[#self.rows + 1] = row
  rules.add(self, row)
  return values.copy(row)
end

function Memory:insert_many(list)
  self:transaction(function()
    for _, row in ipairs(list) do
      self:insert(row)
    end
  end)
  return #list
end

local function change(self, row, changes)
  unit.keep(self)
  local changed = values.copy(row)
  for name, value in pairs(changes) do
    if value == null then
      changed[name] = nil
    elseif rows.is_increment(value) then
      changed[name] = row[name] and row[name] + value.by
    else
      changed[name] = values.copy(value)
    end
  end
  if self.described.version then
    changed[self.described.version] = row[self.described.version] + 1
  end
  rules.check(self, changed, row)
  for i, other in ipairs(self.rows) do
    if other == row then
      self.rows[i] = changed
    end
  end
  rules.remove(self, row)
  rules.add(self, changed)
  return values.copy(changed)
end

function Memory:upsert(row, by, update)
  local other = rules.same(self, by, stored(row))
  if not other then
    return self:insert(row)
  end
  local changes = {}
  for _, name in ipairs(update) do
    changes[name] = row[name]
  end
  if next(changes) == nil and not self.described.version then
    return values.copy(other)
  end
  return change(self, other, changes)
end

function Memory:update(tree, changes)
  local row = meant(self, tree)[1]
  return row and change(self, row, changes)
end

-- A row goes with those that refer to it; they may refer to each other.
local function delete(self, tree, going)
  unit.keep(self)
  local list, kept = {}, {}
  for _, row in ipairs(meant(self, tree)) do
    if not going[row] then
      going[row] = true
      list[#list + 1] = row
    end
  end
  for _, row in ipairs(list) do
    rules.release(self, row, going)
  end
  for _, row in ipairs(self.rows) do
    if not going[row] then
      kept[#kept + 1] = row
    end
  end
  self.rows, self.keys = kept, {}
  return #list
end

---What has gone with a row is there again if the row itself may not go.
---@param going? table<table, true> rows that are being deleted already
function Memory:delete(tree, going)
  return unit.transaction(function() return delete(self, tree, going or {}) end)
end

---Takes a value out of a column, as a database does for `on delete set null`: nobody has changed
---the rows, so their versions stay.
function Memory:let_go(column, value, going)
  unit.keep(self)
  for i, row in ipairs(self.rows) do
    if not going[row] and is_it(row, column, value) then
      local changed = values.copy(row)
      changed[column] = nil
      self.rows[i] = changed
    end
  end
  self.keys = {}
end

---What is there, to go back to. Rows are not changed but replaced, so the list is enough.
function Memory:snapshot()
  local list, serial = {}, self.serial
  for i, row in ipairs(self.rows) do
    list[i] = row
  end
  return function()
    self.rows, self.serial, self.keys = list, serial, {}
  end
end

---What `fn` does to any repository in memory is undone if it raises: they are one database.
function Memory.transaction(_, fn)
  return unit.transaction(fn)
end

return memory
