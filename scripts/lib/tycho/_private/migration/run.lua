--- One step of a migration, applied or undone.
---
--- A step and the note of it are one transaction where the database can do that: SQLite and
--- PostgreSQL. MySQL ends a transaction before it changes a schema; so steps that do, and those
--- in Lua, run outside of one there, while another connection holds the lock, and one that fails
--- has to say what of it stays. The same is done for a step that says `-- tycho: no transaction`
--- (PostgreSQL's CREATE INDEX CONCURRENTLY).

local fiber = require "tycho.fiber"
local files = require "tycho._private.migration.files"
local ledger = require "tycho._private.migration.ledger"
local loader = require "tycho._private.loader"
local options = require "tycho.options"
local split = require "tycho._private.migration.split"

local run = {}

local shown = files.shown

local NO_TRANSACTION = "^%-%-%s*tycho:%s*no transaction%s*$"
local WHAT_TO_DO = ": statement %d of %d failed. Without a transaction, what is before it has been "
  .. "done and stays: undo it by hand, or take it out of the file, and run this again"

-- In one of the comments that a file of SQL begins with.
local function says_no_transaction(text)
  for line in text:gmatch("[^\n]*") do
    line = line:match("^%s*(.-)%s*$")
    if line:find(NO_TRANSACTION) then
      return true
    elseif line ~= "" and line:sub(1, 2) ~= "--" then
      return false
    end
  end
  return false
end

local function compile(step)
  local chunk, err = load(step.text, "@" .. shown(step.file), "t", loader.environment())
  if not chunk then
    error(err, 0)
  end
  local module = chunk()
  if type(module) ~= "table" or type(module.up) ~= "function" then
    error(("%s: returns no table with a function `up`"):format(shown(step.file)), 0)
  end
  return module
end

-- With file and line, whatever was raised.
local function fail(file, line, err, more)
  local message = tostring(type(err) == "table" and err.message or err)
  error(("%s:%d: %s%s"):format(shown(file), line, message, more or ""), 0)
end

-- All or nothing: the database finds the ends of the statements itself.
local function run_whole(target, file, text)
  local ok, err = pcall(target.script, text)
  if not ok and type(err) == "table" and err.line then
    fail(file, err.line, err)
  elseif not ok then
    error(err, 0)
  end
end

-- Each statement counts at once. As scripts, because these may take as long as they like.
local function run_each(target, file, text, on_statement)
  local statements = split(text, target.system)
  for i, statement in ipairs(statements) do
    if #statements > 1 then
      on_statement(i, #statements)
    end
    local ok, err = pcall(target.script, statement.text)
    if not ok then
      local line = type(err) == "table" and err.line or 1
      fail(file, statement.line + line - 1, err, i > 1 and WHAT_TO_DO:format(i, #statements))
    end
  end
end

-- The database with the methods of a transaction: `up` need not know which it got.
local function like_transaction(db)
  return setmetatable({}, {
    __index = function(_, name)
      local fn = db[name]
      return fn and function(_, ...) return fn(...) end
    end,
  })
end

-- What statements go to: a transaction, or the database itself. SQLite's scripts are transactions.
local function target_of(job, tx)
  if not tx then
    return {
      system = job.system, script = job.system == "sqlite" and job.db.exec or job.db.script,
      api = like_transaction(job.db),
    }
  end
  return {
    system = job.system, api = tx, is_transaction = true,
    script = function(sql) return tx:script(sql) end,
  }
end

local function on_statement(job, step)
  return function(i, count)
    job.on_event("statement", shown(step.file), ("%d of %d"):format(i, count))
  end
end

-- The text, or the function, that applies a step or undoes it.
local function body_of(step, direction)
  if step.kind == "lua" then
    local module = compile(step)
    if not module[direction] then
      error(("%s: has no `%s`"):format(shown(step.file), direction), 0)
    end
    return module[direction], module.transaction == false
  end
  local text = direction == "up" and step.text or step.down.text
  return text, says_no_transaction(text)
end

local COMMITS = options.set { "create", "drop", "alter", "truncate", "rename", "grant", "revoke",
  "lock", "unlock", "analyze", "optimize", "repair", "flush", "call" }

-- Does MySQL end the transaction for one of the statements?
local function commits(text)
  for _, statement in ipairs(split(text, "mysql")) do
    local first, second = statement.text:lower():match("^(%a+)%s*(%a*)")
    if COMMITS[first] and second ~= "temporary" then
      return true
    end
  end
  return false
end

local function needs_none(job, body)
  return job.system == "mysql" and (type(body) == "function" or commits(body))
end

local function perform(job, step, direction, body, tx)
  local target = target_of(job, tx)
  if type(body) == "function" then
    return body(target.api)
  end
  local file = direction == "up" and step.file or step.down.file
  if target.is_transaction then
    return run_whole(target, file, body)
  end
  return run_each(target, file, body, on_statement(job, step))
end

-- On another connection than that of the transaction around it, which holds the lock.
local function perform_outside(job, step, direction, body)
  fiber.all { function() perform(job, step, direction, body) end }
end

-- Holds the lock, and lets it go also where the end of the transaction does not.
local function locked(job, fn)
  return job.db.transaction(function(tx)
    ledger.lock(tx, job.system, function()
      job.on_event("waiting")
    end)
    ledger.prepare(job.db, tx, job.system)
    local ok, result = pcall(fn, tx)
    pcall(ledger.unlock, tx, job.system)
    if not ok then
      error(result, 0)
    end
    return result
  end)
end

-- SQLite has one writer: it cannot hold a lock in one transaction and write in another.
local function locked_outside(job, step, direction, body, begin, note)
  if job.system ~= "sqlite" then
    return locked(job, function(tx)
      if not begin(tx) then
        return false
      end
      ledger.stand_by(tx, job.system)
      perform_outside(job, step, direction, body)
      note(tx)
      return true
    end)
  end
  if not locked(job, begin) then
    return false
  end
  perform(job, step, direction, body)
  job.db.transaction(note)
  return true
end

local function go(job, step, direction, begin, note)
  local body, is_outside = body_of(step, direction)
  if is_outside or needs_none(job, body) then
    return locked_outside(job, step, direction, body, begin, note)
  end
  return locked(job, function(tx)
    if not begin(tx) then
      return false
    end
    perform(job, step, direction, body, tx)
    note(tx)
    return true
  end)
end

---Raises if the step is not what was applied.
---@param step tycho.migration.Step
---@param row table
function run.refuse_changed(step, row)
  if row.checksum ~= step.checksum then
    error(("%s: was changed after it was applied (%s): restore it, and write a new migration")
      :format(shown(step.file), row.applied_at), 0)
  end
end

---@class tycho.migration.Job
---@field db tycho.db.Database
---@field system string
---@field on_event fun(what: string, file?: string, detail?: string)

---Applies a step, unless another process just did. Returns whether it was this one.
---@param job tycho.migration.Job
---@param step tycho.migration.Step
---@return boolean
function run.apply(job, step)
  local function begin(tx)
    local row = ledger.find(tx, step.version)
    if row then
      run.refuse_changed(step, row)
      return false
    end
    local latest = ledger.latest(tx)
    if latest and latest > step.version then
      error(("%s: comes before version %d, which was applied already: give it a higher number")
        :format(shown(step.file), latest), 0)
    end
    job.on_event("apply", shown(step.file))
    return true
  end
  return go(job, step, "up", begin, function(tx) ledger.note(tx, step) end)
end

---Raises if there is nothing that undoes the step.
---@param step tycho.migration.Step
function run.check_undo(step)
  if step.kind == "sql" and not step.down then
    error(("%s: there is no %s beside it that undoes it"):format(shown(step.file),
      step.file:match("[^/]+$"):gsub("%.sql$", ".down.sql")), 0)
  end
  body_of(step, "down")
end

---Undoes a step, unless another process just did. Returns whether it was this one.
---@param job tycho.migration.Job
---@param step tycho.migration.Step
---@return boolean
function run.undo(job, step)
  local function begin(tx)
    local is_there = ledger.find(tx, step.version) ~= nil
    if is_there then
      job.on_event("undo", shown(step.file))
    end
    return is_there
  end
  return go(job, step, "down", begin, function(tx) ledger.forget(tx, step.version) end)
end

return run
