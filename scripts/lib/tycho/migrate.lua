--- Versioned migrations: the schema of a database, step by step.
---
--- A step is a file `migrations/NNN_name.sql` beside `app/`, of any number of statements; those of
--- another database than `default` are in `migrations/<database>/`. Each is applied once, in the
--- order of the numbers, in a transaction of its own, and noted in the table `tycho_migrations`
--- with a digest of its text. What was applied is not to be changed: a changed file, and a new one
--- with a number below one that was applied, are refused. A file that is gone is not missed,
--- because an older generation may run on a newer schema. Several processes may try at once.

local crypto = require "tycho.crypto"
local database = require "tycho.db"
local log = require("tycho.log").module "db"
local config = require "tycho.config"
local errors = require "tycho.errors"
local options = require "tycho.options"
local vm = require "tycho.core.vm"

local migrate = {}

---@class tycho.migrate.Options
---@field database? string `default` by default

---@class tycho.migrate.Step
---@field version integer
---@field name string
---@field file string as it is shown to people
---@field state "applied"|"pending"|"changed"|"missing"
---@field applied_at? string UTC

local KNOWN = options.set { "database" }

local TABLE = [[
  create table if not exists tycho_migrations(
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at text not null
  )]]

local function shown(file)
  local root = vm.about().root
  return root and root .. "/" .. file or file
end

local function parse(file, folder)
  local base = file:sub(#folder + 1)
  if base:find("/", 1, true) or not base:find("%.sql$") then
    return nil
  end
  local version, name = base:match("^(%d+)_([%w_%-]+)%.sql$")
  if not version or #version > 15 then
    error(("%s: the name of a migration is NNN_name.sql"):format(shown(file)), 0)
  end
  return { version = tonumber(version), name = name, file = file }
end

-- The steps that the scripts have, in order.
local function read_steps(name)
  local folder = name == "default" and "migrations/" or ("migrations/%s/"):format(name)
  local steps, by_version = {}, {}
  for _, file in ipairs(vm.files(folder)) do
    local step = parse(file, folder)
    local twin = step and by_version[step.version]
    if twin then
      error(("%s: has the same number as %s"):format(shown(file), shown(twin.file)), 0)
    end
    if step then
      by_version[step.version] = step
      steps[#steps + 1] = step
    end
  end
  table.sort(steps, function(a, b) return a.version < b.version end)
  for _, step in ipairs(steps) do
    step.text = vm.file(step.file)
    step.checksum = crypto.hex(crypto.sha256(step.text))
  end
  return steps, by_version
end

local function find_applied(db)
  local known = db.value [[
    select count(*) from sqlite_schema where type = 'table' and name = 'tycho_migrations']]
  if known == 0 then
    return {}
  end
  return db.query "select * from tycho_migrations order by version"
end

local function refuse_changed(step, row)
  if row.checksum ~= step.checksum then
    error(("%s: was changed after it was applied (%s): restore it, and write a new migration")
      :format(shown(step.file), row.applied_at), 0)
  end
end

local function run_script(tx, step)
  local ok, err = pcall(tx.script, tx, step.text)
  if ok then
    return
  end
  if type(err) == "table" and err.line then
    error(("%s:%d: %s"):format(shown(step.file), err.line, err.message), 0)
  end
  error(err, 0)
end

-- True if it was this process that applied it.
local function apply(db, step)
  return db.transaction(function(tx)
    -- In a transaction that writes, and so waits for whoever migrates in another process.
    tx:exec(TABLE)
    local row = tx:one("select * from tycho_migrations where version = $1", step.version)
    if row then
      refuse_changed(step, row)
      return false
    end
    local latest = tx:value "select max(version) from tycho_migrations"
    if latest and latest > step.version then
      error(("%s: comes before version %d, which was applied already: give it a higher number")
        :format(shown(step.file), latest), 0)
    end
    run_script(tx, step)
    tx:exec([[insert into tycho_migrations values ($1, $2, $3,
      strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))]], step.version, step.name, step.checksum)
    return true
  end)
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
  local name = opts.database or "default"
  local steps = read_steps(name)
  local done = {}
  if #steps == 0 then
    return done
  end
  local db = database.use(name)
  local applied = {}
  for _, row in ipairs(find_applied(db)) do
    applied[row.version] = row
  end
  for _, step in ipairs(steps) do
    local row = applied[step.version]
    if row then
      refuse_changed(step, row)
    elseif apply(db, step) then
      done[#done + 1] = shown(step.file)
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
---@param opts? tycho.migrate.Options
---@return tycho.migrate.Step[] steps by version
function migrate.status(opts)
  opts = options.check(opts, KNOWN)
  local name = opts.database or "default"
  local steps, by_version = read_steps(name)
  local list, seen = {}, {}
  for _, row in ipairs(find_applied(database.use(name))) do
    local step = by_version[row.version]
    seen[row.version] = true
    list[#list + 1] = {
      version = row.version, name = row.name, file = step and shown(step.file),
      state = state_of(step, row), applied_at = row.applied_at,
    }
  end
  for _, step in ipairs(steps) do
    if not seen[step.version] then
      list[#list + 1] = {
        version = step.version, name = step.name, file = shown(step.file), state = "pending",
      }
    end
  end
  table.sort(list, function(a, b) return a.version < b.version end)
  return list
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
