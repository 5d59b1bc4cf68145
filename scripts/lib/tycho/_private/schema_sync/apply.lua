--- Does what a plan says, and looks whether it came out right.
---
--- Where a database can take changes of the schema back, all of it is one transaction: everything
--- or nothing. On MySQL each statement counts at once, so a failure has to say how far it came.

local database = require "tycho.db"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local ledger = require "tycho._private.migration.ledger"
local plan = require "tycho._private.schema_sync.plan"

local apply = {}

local HALF = ". The %d before it %s: MySQL commits each change of a schema. Correct what is "
  .. "wrong, and run this again"

-- A statement that waits for a lock makes everybody else wait behind it.
local LOCK_TIMEOUT = "set local lock_timeout = '10s'"

local function fail(step, err, done, is_transactional)
  local message = tostring(type(err) == "table" and err.message or err)
  local more = ""
  if not is_transactional and done > 0 then
    more = HALF:format(done, done == 1 and "has been done and stays"
      or "have been done and stay")
  end
  error(errors.new(errors.is(err, "unavailable") and "unavailable" or "conflict",
    ("%s: %s%s"):format(step.what, message, more), { detail = "schema.step" }), 0)
end

-- MySQL ends a transaction before it changes a schema, so that is done beside the one that holds
-- the lock: in a fiber of its own, for which there is no transaction.
local function beside(fn)
  return fiber.all { fn }[1]
end

-- As a script, because that may take as long as it likes.
local function execute(db, tx, made, statement)
  if made.ddl.is_transactional then
    return tx:script(statement)
  end
  return beside(function() return db.script(statement) end)
end

local function run_steps(db, tx, made, on_event)
  local shown
  for i, part in ipairs(plan.flow(made)) do
    if part.step ~= shown then
      shown = part.step
      on_event("step", shown.what)
    end
    local ok, err = pcall(execute, db, tx, made, part.sql)
    if not ok then
      fail(part.step, err, i - 1, made.ddl.is_transactional)
    end
  end
end

local function text_of(made)
  local list = {}
  for i, part in ipairs(plan.flow(made)) do
    list[i] = part.sql
  end
  return table.concat(list, ";")
end

-- What was shown has to be what is done.
local function refuse_other(shown, made)
  if text_of(shown) ~= text_of(made) then
    error(errors.new("conflict", "the database was changed meanwhile: nothing was done; look at "
      .. "the new plan", { detail = "schema.changed" }), 0)
  end
end

local function check_keys(tx)
  local row = tx:one "select * from pragma_foreign_key_check limit 1"
  if row then
    error(errors.new("conflict", ("a row of %s would lead nowhere in %s: nothing was done")
      :format(row.table, row.parent), { detail = "schema.foreign_key" }), 0)
  end
end

-- A transaction of MySQL that has looked at a table keeps it from being changed.
local function plan_anew(db, shown, options)
  if shown.ddl.is_transactional then
    return plan.make(db, options)
  end
  return beside(function() return plan.make(db, options) end)
end

local function go(tx, db, shown, options)
  ledger.lock(tx, shown.system, function() options.on_event("waiting") end)
  if shown.system == "postgresql" then
    tx:exec(LOCK_TIMEOUT)
  end
  local ok, err = pcall(function()
    local made = plan_anew(db, shown, options)
    refuse_other(shown, made)
    run_steps(db, tx, made, options.on_event)
    if made.keys_off then
      check_keys(tx)
    end
  end)
  pcall(ledger.unlock, tx, shown.system)
  if not ok then
    error(err, 0)
  end
end

---Does what the plan says. Raises, and has done nothing (on MySQL: says what it did), if it cannot.
---@async
---@param db tycho.db.Database
---@param shown tycho.schema_sync.Plan
---@param options { database: string, models: table[], allow?: table, on_event: function }
function apply.run(db, shown, options)
  db.transaction(function(tx)
    if shown.keys_off then
      tx:exec "pragma foreign_keys = off" -- only as the first statement
    end
    go(tx, db, shown, options)
  end)
end

local ROUNDS_MAX = 3

---Does what a plan says, and again what one round could not see: an index that has its column's
---new name, for instance. Returns what is left, which has to be named or cannot be done.
---@async
---@param db tycho.db.Database
---@param made tycho.schema_sync.Plan
---@param options { database: string, models: table[], allow?: table, on_event: function }
---@return tycho.schema_sync.Plan
function apply.finish(db, made, options)
  for round = 1, ROUNDS_MAX do
    apply.run(db, made, options)
    made = plan.make(db, options)
    local first = plan.flow(made)[1]
    if not first then
      return made
    elseif round == ROUNDS_MAX then
      error(("database %s: what was done did not take: %s"):format(options.database,
        first.step.what), 0)
    end
  end
end

---Makes a database as its models are, but for what loses something and is not allowed.
---@async
---@param name string of the database
---@param allow string[]
---@param on_event fun(what: string, text?: string)
---@return { done: string[], left: string[] }? in words
---@return string? unknown what was allowed and is no step
function apply.models(name, allow, on_event)
  local db, set = database.use(name), {}
  for _, key in ipairs(allow) do
    set[key] = true
  end
  local how = { database = name, models = plan.models_of(name), allow = set, on_event = on_event }
  local made, result = plan.make(db, how), { done = {}, left = {} }
  if made.unknown then
    return nil, made.unknown[1]
  end
  for _, step in ipairs(made.steps) do
    local list = step.done and result.done or result.left
    list[#list + 1] = step.what
  end
  if result.done[1] then
    apply.finish(db, made, how)
  end
  return result
end

return apply
