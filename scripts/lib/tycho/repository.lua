--- Repositories: the rows of a model, found, made and changed without a word of SQL.
---
--- A repository takes and returns plain tables: entities. A column that is NULL is absent from one;
--- `db.null` stands for NULL where a value is given. Values have one form on every database: exact
--- decimals as strings, moments in UTC with six digits, JSON decoded, bytes as strings.
---
--- It is an interface: `repository.memory` does the same without a database, for tests. Calls in a
--- transaction of the fiber belong to it.
---
---```lua
---local users = repository.new(User, { on_conflict = { email = "user.email_taken" } })
---
---local user = users:insert { email = "ann@example.com" }
---local same = users:find_by { email = "ann@example.com" }
---users:update(user, { nickname = "Ann" })
---```

local base = require "tycho._private.repository_changes"
local conflicts = require "tycho._private.repository_conflicts"
local memory = require "tycho._private.repository_memory"
local options = require "tycho.options"
local rows = require "tycho._private.repository_rows"
local sql = require "tycho._private.repository_sql"
local suggest = require "tycho._private.suggest"

local repository = {}

---@class tycho.repository.Options
---@field database? string that of the model by default
---@field replica? boolean replicas may answer what is read, until the request has written something
---@field on_conflict? table<string, string> names of the application's errors, by unique columns
---("email", "team_id,name"), by a column with a check, by the name of a constraint or check, or
---under "foreign_key"
---@field on_missing? string the error that `update` raises for a row that is not there
---@field on_stale? string the error for a row that somebody else has changed
---@field limit? integer of a list that does not say: 20
---@field limit_max? integer of any list: 1000

---@class tycho.repository.MemoryOptions
---@field references? table<string, tycho.repository.Repository> those of other tables, by table
---@field on_conflict? table<string, string> as for `repository.new`; and so below
---@field on_missing? string
---@field on_stale? string
---@field limit? integer
---@field limit_max? integer

local KNOWN = options.set {
  "database", "replica", "on_conflict", "on_missing", "on_stale", "limit", "limit_max",
}
local IN_MEMORY = options.set {
  "references", "on_conflict", "on_missing", "on_stale", "limit", "limit_max",
}

local function check_model(model, level)
  if type(model) ~= "table" or type(model.table) ~= "table" or not model.table.by_name then
    error(("a model is wanted, not a %s"):format(type(model)), level + 1)
  end
end

local function check_conflicts(model, on_conflict, level)
  if on_conflict == nil then
    return
  elseif type(on_conflict) ~= "table" then
    error("on_conflict: names of errors by columns or constraints are wanted", level + 1)
  end
  local known = conflicts.known_keys(model.table)
  for key, name in pairs(on_conflict) do
    if not known[key] then
      error(("on_conflict: %s has no unique column, constraint or check %q%s"):format(
        model.table.name, tostring(key), suggest(key, known)), level + 1)
    elseif type(name) ~= "string" then
      error(("on_conflict: the name of an error is wanted for %q"):format(key), level + 1)
    end
  end
end

---A repository of the rows of a model's table.
---
---```lua
---local users = repository.new(User)
---local archive = repository.new(User, { database = "archive" })
---local listed = repository.new(User, { replica = true })
---```
---@param model tycho.model.Model
---@param opts? tycho.repository.Options
---@return tycho.repository.Repository
function repository.new(model, opts)
  check_model(model, 2)
  opts = options.check(opts, KNOWN, 3)
  check_conflicts(model, opts.on_conflict, 2)
  return base.new(model, sql.new(model.table, opts.database, opts.replica), opts)
end

---A repository in memory, for tests: the same contract without a database. It keeps what the model
---says of unique columns; `references` are other such repositories, by table, in which the rows
---have to be that this one refers to.
---
---```lua
---local teams = repository.memory(Team)
---local users = repository.memory(User, { references = { teams = teams } })
---```
---@param model tycho.model.Model
---@param opts? tycho.repository.MemoryOptions
---@return tycho.repository.Repository
function repository.memory(model, opts)
  check_model(model, 2)
  opts = options.check(opts, IN_MEMORY, 3)
  check_conflicts(model, opts.on_conflict, 2)
  return base.new(model, memory.new(model.table, opts.references), opts)
end

---What a number is changed by, whatever it is when the change is made: of two who count at once,
---both are counted. A value for `update`, of columns that are no decimals: SQLite could not add
---those exactly.
---
---```lua
---users:update(id, { login_count = repository.increment() })
---accounts:update(id, { balance = repository.increment(-amount) })
---```
---@param by? number|ffi.cdata* 1 by default
---@return table
function repository.increment(by)
  if by ~= nil and type(by) ~= "number" and type(by) ~= "cdata" then
    error(("repository.increment: a number is wanted, not a %s"):format(type(by)), 2)
  end
  return rows.increment(by == nil and 1 or by)
end

-- Classes: _private/repository_base.lua
-- Classes: _private/repository_changes.lua

return repository
