--- What every repository does, wherever it keeps its rows: making, changing and deleting them.

local base = require "tycho._private.repository_base"
local blame = require "tycho._private.blame"
local conflicts = require "tycho._private.repository_conflicts"
local errors = require "tycho.errors"
local filter = require "tycho._private.filter"
local is_list = require "tycho._private.is_list"
local json = require "tycho.json"
local options = require "tycho.options"
local rows = require "tycho._private.repository_rows"
local values = require "tycho._private.model_values"

local Repository, key_tree, check_opts = base.Repository, base.key_tree, base.check_opts
local null = json.null

local UPSERT = options.set { "by", "update" }
local UPDATE = options.set { "where" }
local DELETE = options.set { "hard" }

local function explain(self, err, row)
  if row and errors.is(err, "conflict") and err.detail == "SQLITE_CONSTRAINT_FOREIGNKEY" then
    local ok, name = pcall(self.storage.dangling, self.storage, row)
    err.columns = ok and name and { name } or nil
  end
  conflicts.raise(self.described, self.on_conflict, err, row)
end

local function written(self, row, fn, ...)
  local function finish(ok, ...)
    if not ok then
      explain(self, (...), row)
    end
    return ...
  end
  return finish(pcall(fn, ...))
end

local function raise_as(name, kind, message, fields)
  if name then
    errors.raise(name, fields)
  end
  fields.public = false
  error(errors.new(kind, message, fields), 0)
end

local function shown(key)
  local parts = {}
  for name, value in pairs(key) do
    parts[#parts + 1] = ("%s = %s"):format(name, tostring(value))
  end
  table.sort(parts)
  return table.concat(parts, ", ")
end

local function raise_missing(self, key)
  raise_as(self.on_missing, "not_found",
    ("%s: there is no row with %s"):format(self.described.name, shown(key)),
    { model = self.described.name, key = key })
end

local function raise_stale(self, key)
  raise_as(self.on_stale, "conflict",
    ("%s: the row with %s was changed meanwhile"):format(self.described.name, shown(key)),
    { model = self.described.name, key = key, detail = "STALE" })
end

---Makes a row; what is not given has the model's default. Returns it as it is in the table.
---
---```lua
---local user = users:insert { email = "ann@example.com" }
---```
---@async
---@param given table<string, any>
---@return table<string, any> entity
function Repository:insert(given)
  local row = rows.insertion(self.described, given)
  return (written(self, row, self.storage.insert, self.storage, row))
end

---Makes many rows, or none of them, with few statements.
---
---```lua
---local count = tags:insert_many { { name = "red" }, { name = "blue" } }
---```
---@async
---@param list table<string, any>[]
---@return integer count
function Repository:insert_many(list)
  if type(list) ~= "table" or not is_list(list) then
    blame("%s: a list of rows without gaps is wanted", self.described.name)
  end
  local all = {}
  for i, given in ipairs(list) do
    all[i] = rows.insertion(self.described, given)
  end
  if #all == 0 then
    return 0
  end
  return (written(self, nil, self.storage.insert_many, self.storage, all))
end

-- Is it one of the columns that an existing row gets? By default what was given; never when it was
-- made. One that was deleted is there again.
local function is_updated(column, given, chosen)
  if column.role == "updated" or column.role == "deleted" then
    return true
  elseif chosen then
    return chosen[column.name]
  end
  return not column.role and not column.primary and given[column.name] ~= nil
end

local function columns_to_update(self, given, by, wanted)
  local described, keys, list = self.described, options.set(by), {}
  for _, name in ipairs(wanted or {}) do
    rows.column(described, name)
  end
  local chosen = wanted and options.set(wanted)
  for _, column in ipairs(described.columns) do
    if not keys[column.name] and is_updated(column, given, chosen) then
      list[#list + 1] = column.name
    end
  end
  return list
end

-- NULL is the same as nothing, not even NULL, and a key that is counted up is a new one.
local function is_new(described, row, by)
  for _, name in ipairs(by) do
    if row[name] == null or (row[name] == nil and described.by_name[name].identity) then
      return true
    end
  end
  return false
end

---Makes a row, or changes the one that has the same values in the unique columns `by`. Where one of
---these is NULL it makes one: nothing is the same as NULL.
---
---```lua
---local user = users:upsert({ email = email, nickname = name }, { by = { "email" } })
---users:upsert(row, { by = { "email" }, update = { "nickname" } })
---```
---@async
---@param given table<string, any>
---@param opts { by: string[], update?: string[] } `update`: all that is given, by default
---@return table<string, any> entity
function Repository:upsert(given, opts)
  opts = check_opts(opts, UPSERT)
  if type(opts.by) ~= "table" or #opts.by == 0 then
    blame("%s: upsert wants by, a list of unique columns", self.described.name)
  end
  rows.check_unique(self.described, opts.by)
  local row = rows.insertion(self.described, given)
  if is_new(self.described, row, opts.by) then
    return (written(self, row, self.storage.insert, self.storage, row))
  end
  local update = columns_to_update(self, given, opts.by, opts.update)
  return (written(self, row, self.storage.upsert, self.storage, row, opts.by, update))
end

local function expected_version(self, target, is_entity, changes)
  local version = self.described.version
  if not version then
    return nil
  elseif changes and changes[version] ~= nil then
    return changes[version]
  end
  return is_entity and target[version] or nil
end

-- The change of one row, told what became of it. `guard` is what must hold for it.
local function change(self, key, changes, guard, with_deleted)
  local tree = key_tree(self, key, with_deleted)
  tree[#tree + 1] = guard and #guard > 0 and guard or nil
  local entity = written(self, changes, self.storage.update, self.storage, tree, changes, key)
  if entity then
    return entity
  elseif guard and self.storage:exists(key_tree(self, key, with_deleted)) then
    raise_stale(self, key)
  end
  raise_missing(self, key)
end

local function guard_of(self, expected, where)
  local guard = filter.parse(where)
  if expected ~= nil then
    guard[#guard + 1] = { column = self.described.version, op = "eq", value = expected }
  end
  return #guard > 0 and guard or nil
end

-- There is nothing to write; what was said must hold for the row nevertheless.
local function unchanged(self, key, entity, guard)
  if not guard then
    return entity or self:get(key) or raise_missing(self, key)
  end
  local tree = key_tree(self, key)
  tree[#tree + 1] = guard
  local found = self.storage:find(tree, {}, 1)[1]
  if not found and self.storage:exists(key_tree(self, key)) then
    raise_stale(self, key)
  end
  return found or raise_missing(self, key)
end

---Changes a row. Given an entity, only what differs from it is written, and, where the model has a
---version, only if nobody else has changed the row since: else it raises `conflict`, with the
---detail STALE. The entity itself stays as it is. Given a key, the changes may name the version
---that is expected.
---
---```lua
---local user = users:update(user, { nickname = "Ann" })
---users:update(id, { nickname = "Ann", version = req.body.version })
---orders:update(id, { state = "PAID" }, { where = { state = "PENDING" } })
---```
---@async
---@param target any an entity, or a key
---@param changes table<string, any>
---@param opts? { where?: tycho.query.Filter } what must hold for the row, else it is STALE
---@return table<string, any> entity as it is now
function Repository:update(target, changes, opts)
  opts = check_opts(opts, UPDATE)
  local key, is_entity = rows.key(self.described, target)
  local differing = rows.changes(self.described, changes, is_entity and target or nil)
  if next(differing) == nil then
    local guard = guard_of(self, expected_version(self, key, false, changes), opts.where)
    return (unchanged(self, key, is_entity and target or nil, guard))
  end
  local updated = self.described.updated
  if updated and differing[updated] == nil then
    differing[updated] = values.now()
  end
  local expected = expected_version(self, target, is_entity, changes)
  return (change(self, key, differing, guard_of(self, expected, opts.where)))
end

---Deletes a row; where the model has `soft_delete`, it is kept and left out from then on. Given an
---entity with a version, only if nobody has changed the row since.
---
---```lua
---local was_there = users:delete(id)
---users:delete(user, { hard = true })
---```
---@async
---@param target any an entity, or a key
---@param opts? { hard?: boolean } `hard`: really, in any case
---@return boolean was_there
function Repository:delete(target, opts)
  opts = check_opts(opts, DELETE)
  local key, is_entity = rows.key(self.described, target)
  local soft = self.described.soft_delete and not opts.hard
  local expected = expected_version(self, target, is_entity)
  local tree = key_tree(self, key, opts.hard)
  tree[#tree + 1] = guard_of(self, expected)
  local done
  if soft then
    done = written(self, nil, self.storage.update, self.storage, tree,
      { [self.described.soft_delete] = values.now() }, key) ~= nil
  else
    done = written(self, nil, self.storage.delete, self.storage, tree) > 0
  end
  if not done and expected ~= nil and self.storage:exists(key_tree(self, key, opts.hard)) then
    raise_stale(self, key)
  end
  return done
end

---Brings a row back that was deleted softly.
---
---```lua
---local user = users:restore(id)
---```
---@async
---@param target any an entity, or a key
---@return table<string, any> entity
function Repository:restore(target)
  local column = self.described.soft_delete
  if not column then
    blame("%s: the model has no soft_delete", self.described.name)
  end
  return (change(self, (rows.key(self.described, target)), { [column] = null }, nil, true))
end

return base
