--- Versioned migrations: the schema of a database, step by step.
---
--- A step is a file `migrations/NNN_name.sql` beside `app/`, of any number of statements, or
--- `NNN_name.lua`, which returns `{ up = function(tx) ... end, down = function(tx) ... end }`;
--- those of another database than `default` are in `migrations/<database>/`. Where one database
--- needs other statements than the rest, `NNN_name.mysql.sql` (`sqlite`, `postgresql`) counts
--- there. Each is applied once, in the order of the numbers, in a transaction of its own where the
--- database can, and noted in the table `tycho_migrations` with a digest of its text. What was
--- applied is not to be changed: a changed file, and a new one with a number below one that was
--- applied, are refused. A file that is gone is not missed, because an older generation may run on
--- a newer schema. Several processes may try at once: one applies, the others wait.

local config = require "tycho.config"
local database = require "tycho.db"
local errors = require "tycho.errors"
local files = require "tycho._private.migration.files"
local fs = require "tycho.fs"
local ledger = require "tycho._private.migration.ledger"
local log = require("tycho.log").module "db"
local options = require "tycho.options"
local run = require "tycho._private.migration.run"

local migrate = {}

---@class tycho.migrate.Options
---@field database? string `default` by default
---@field on_event? fun(what: string, file?: string, detail?: string) called as it goes on, with
---"apply" and "applied", "undo" and "undid", "statement" ("2 of 7") or "waiting"

---@class tycho.migrate.Step
---@field version integer
---@field name string
---@field file? string as it is shown to people
---@field state "applied"|"pending"|"changed"|"missing"
---@field applied_at? string UTC

local KNOWN = options.set { "database", "on_event" }
local ROLLBACK = options.set { "database", "on_event", "to" }
local CREATE = options.set { "database", "kind" }
local STATUS = options.set { "database" }

local function ignore() end

local function job_of(opts)
  local name = opts.database or "default"
  local db = database.use(name)
  return {
    name = name, db = db, system = db.system(), on_event = opts.on_event or ignore,
  }
end

---Applies what is pending, and returns the files that were applied. Raises a text that names the
---file, and its line, if one fails; those before it stay applied.
---
---```lua
---for _, file in ipairs(migrate.run()) do print("applied " .. file) end
---```
---@async
---@param opts? tycho.migrate.Options
---@return string[] files
function migrate.run(opts)
  opts = options.check(opts, KNOWN)
  local done = {}
  if not files.any(opts.database or "default") then
    return done
  end
  local job = job_of(opts)
  local steps = files.read(job.name, job.system)
  local applied = {}
  for _, row in ipairs(steps[1] and ledger.read(job.db, job.system) or {}) do
    applied[row.version] = row
  end
  for _, step in ipairs(steps) do
    local row = applied[step.version]
    if row then
      run.refuse_changed(step, row)
    elseif run.apply(job, step) then
      done[#done + 1] = files.shown(step.file)
      job.on_event("applied", done[#done])
    end
  end
  return done
end

local function state_of(step, row)
  if not step then
    return "missing"
  elseif not row then
    return "pending"
  end
  return row.checksum == step.checksum and "applied" or "changed"
end

---What was applied, and what is pending; changes nothing.
---
---```lua
---for _, step in ipairs(migrate.status()) do print(step.version, step.name, step.state) end
---```
---@async
---@param opts? { database?: string }
---@return tycho.migrate.Step[] steps by version
function migrate.status(opts)
  local job = job_of(options.check(opts, STATUS))
  local steps, by_version = files.read(job.name, job.system)
  local list, seen = {}, {}
  for _, row in ipairs(ledger.read(job.db, job.system)) do
    local step = by_version[row.version]
    seen[row.version] = true
    list[#list + 1] = {
      version = row.version, name = row.name, file = step and files.shown(step.file),
      state = state_of(step, row), applied_at = row.applied_at,
    }
  end
  for _, step in ipairs(steps) do
    if not seen[step.version] then
      list[#list + 1] = {
        version = step.version, name = step.name, file = files.shown(step.file),
        state = "pending",
      }
    end
  end
  table.sort(list, function(a, b) return a.version < b.version end)
  return list
end

-- The rows to undo, the last one first.
local function rows_to_undo(job, to)
  local rows, list = ledger.read(job.db, job.system), {}
  for i = #rows, 1, -1 do
    if to and rows[i].version <= to or not to and list[1] then
      break
    end
    list[#list + 1] = rows[i]
  end
  return list
end

local function steps_to_undo(job, to)
  local _, by_version = files.read(job.name, job.system)
  local list = {}
  for i, row in ipairs(rows_to_undo(job, to)) do
    local step = by_version[row.version]
    if not step then
      error(("migration %d (%s) cannot be undone: its file is gone"):format(row.version,
        row.name), 0)
    end
    run.check_undo(step)
    list[i] = step
  end
  return list
end

---@class tycho.migrate.RollbackOptions: tycho.migrate.Options
---@field to? integer undo all that come after this version; 0: all. The last one by default

---What `migrate.rollback` would undo, in that order. Raises where it could not.
---
---```lua
---print(#migrate.to_undo { to = 3 } .. " steps")
---```
---@async
---@param opts? tycho.migrate.RollbackOptions
---@return string[] files
function migrate.to_undo(opts)
  opts = options.check(opts, ROLLBACK)
  local list = {}
  for i, step in ipairs(steps_to_undo(job_of(opts), opts.to)) do
    list[i] = files.shown(step.file)
  end
  return list
end

---Undoes the last step, or those after a version, the last one first, by `NNN_name.down.sql` or the
---`down` of a Lua file. Nothing is undone unless all of them can be.
---
---```lua
---migrate.rollback { to = 3 }
---```
---@async
---@param opts? tycho.migrate.RollbackOptions
---@return string[] files that were undone
function migrate.rollback(opts)
  opts = options.check(opts, ROLLBACK)
  local job = job_of(opts)
  local done = {}
  for _, step in ipairs(steps_to_undo(job, opts.to)) do
    if run.undo(job, step) then
      done[#done + 1] = files.shown(step.file)
      job.on_event("undid", done[#done])
    end
  end
  return done
end

local SYNC = options.set { "database", "allow", "on_event" }

---@class tycho.migrate.SyncOptions
---@field database? string `default` by default
---@field allow? string[] what loses something and is done nevertheless: `drop-column:users.nick`
---@field on_event? fun(what: string, text?: string) called with "step" and "waiting"

---@class tycho.migrate.Sync
---@field done string[] in words for people
---@field left string[] what has to be named, or cannot be done

---Changes the database to what the models describe that are loaded, as `tycho db sync --yes` does.
---
---```lua
---for _, what in ipairs(migrate.sync().done) do print(what) end
---```
---@async
---@param opts? tycho.migrate.SyncOptions
---@return tycho.migrate.Sync
function migrate.sync(opts)
  opts = options.check(opts, SYNC)
  -- Loaded when it is wanted: servers that start have no need of it.
  local result, unknown = require("tycho._private.schema_sync.apply").models(
    opts.database or "default", opts.allow or {}, opts.on_event or ignore)
  if unknown then
    error(("migrate.sync: there is no step %s to allow"):format(unknown), 2)
  end
  return result
end

local TEMPLATES = {
  sql = { [".sql"] = "-- What this changes, and why.\n",
    [".down.sql"] = "-- What undoes it. Delete this file if nothing can.\n" },
  lua = { [".lua"] = [[
-- What this changes, and why.
return {
  up = function(tx)
    tx:exec "..."
  end,
  down = function(tx)
    tx:exec "..."
  end,
}
]] },
}

---Makes the file of the next step, empty but for a comment, and the one that undoes it.
---
---```lua
---migrate.create("add_nickname") --> { "scripts/migrations/002_add_nickname.sql", ... }
---```
---@async
---@param name string letters, digits, `_` and `-`
---@param opts? { database?: string, kind?: "sql"|"lua" }
---@return string[] files
function migrate.create(name, opts)
  opts = options.check(opts, CREATE)
  if not files.is_name(name) then
    error(("%s: a migration's name has letters, digits, _ and -"):format(tostring(name)), 2)
  end
  local where = opts.database or "default"
  local folder = files.shown(files.folder(where)):gsub("/$", "")
  local made = {}
  fs.mkdir(folder)
  for ending, text in pairs(TEMPLATES[opts.kind or "sql"]) do
    local file = ("%s/%s_%s%s"):format(folder, files.next_number(where), name, ending)
    fs.write(file, text)
    made[#made + 1] = file
  end
  table.sort(made, function(a, b) return #a < #b end)
  return made
end

-- A database that cannot be opened is a fault of the configuration, which the message names.
local function run_named(name)
  local ok, result = pcall(migrate.run, { database = name })
  if ok then
    return result
  elseif errors.is(result, "unavailable") then
    error(("%s (databases.%s.url)"):format(tostring(result), name), 0)
  end
  error(result, 0)
end

---Migrates every database whose `databases.<name>.migrate` says `auto`: done before a new
---generation goes live, by the process that tries it out.
---
---```lua
---migrate.run_on_start()
---```
---@async
---@return string[] files that were applied
function migrate.run_on_start()
  local all = {}
  for name, settings in pairs(config.get("databases", {})) do
    if settings.migrate == "auto" then
      for _, file in ipairs(run_named(name)) do
        all[#all + 1] = file
        log:info("applied a migration", { file = file, db = name })
      end
    end
  end
  return all
end

return migrate
