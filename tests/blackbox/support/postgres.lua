--- PostgreSQL for tests: `postgres.shared()` for most, one of its own for those that kill it.

local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local fs = require "tycho.fs"

local postgres = {}

---@class blackbox.Postgres: blackbox.Database
local Postgres = setmetatable({ scheme = "postgres", default = "postgres" }, database.Database)
Postgres.__index = Postgres

postgres.clean_up = database.clean_up

---Why there is none; nil if there is.
---@async
---@return string?
function postgres.missing()
  return database.missing "postgres"
end

---Starts a server of its own. The zone of its sessions is Asia/Kolkata and their style of dates
---"SQL, DMY", unless they ask for another.
---
---```lua
---local pg = postgres.start { settings = { max_connections = 20 }, password = "s3cret" }
---pg:kill()
---pg:start()
---```
---@async
---@param opts? blackbox.DatabaseOptions
---@return blackbox.Postgres
function postgres.start(opts)
  return database.start("postgres", Postgres, opts)
end

---The server of this run, which nobody stops.
---
---```lua
---local pg = postgres.shared()
---local name = pg:create()
---assert.equal("1", pg:sql("select 1", { database = name }))
---```
---@async
---@return blackbox.Postgres
function postgres.shared()
  return database.shared("postgres", function()
    return postgres.start { settings = { max_connections = 200 } }
  end)
end

local psql

-- Debian's own is a script that takes longer than the query.
local function find_psql()
  if not psql then
    local versions = fs.list "/usr/lib/postgresql"
    table.sort(versions, function(a, b) return tonumber(a) > tonumber(b) end)
    psql = ("/usr/lib/postgresql/%s/bin/psql"):format(versions[1])
  end
  return psql
end

---Runs statements with psql, past passwords, pools and what this project has made.
---@async
---@param text string
---@param opts? { database?: string, user?: string, port?: integer } a port: through a proxy
---@return string rows one a line, columns separated by "|"
function Postgres:sql(text, opts)
  opts = opts or {}
  return self.ask({
    find_psql(), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1",
    "-h", opts.port and "127.0.0.1" or self.folder, "-p", tostring(opts.port or self.port),
    "-U", opts.user or self.user, "-d", opts.database or self.default, "-c", text,
  }, { PGTZ = "UTC", PGDATESTYLE = "ISO", PGCONNECT_TIMEOUT = "10", PGPASSWORD = self.password })
end

---Starts another server that follows this one, and can be read.
---
---```lua
---local standby = pg:standby()
---standby:follow(pg)
---pg:kill()
---standby:promote()
---```
---@async
---@param opts? blackbox.DatabaseOptions
---@return blackbox.Postgres
function Postgres:standby(opts)
  opts = opts or {}
  local more = { timeout = opts.timeout, settings = opts.settings, tls = opts.tls,
    password = opts.password or self.password }
  return database.start("postgres", Postgres, more, { "primary=" .. self.folder })
end

---Waits until this standby has all that the primary has now.
---@async
---@param primary blackbox.Postgres
function Postgres:follow(primary)
  local at = primary:sql "select pg_current_wal_lsn()"
  clock.eventually(function()
    return self:sql(("select pg_last_wal_replay_lsn() >= '%s'"):format(at)) == "t"
  end, 10, "all that the primary has")
end

---Makes a primary of a standby, and waits for that.
---@async
function Postgres:promote()
  if self:sql "select pg_promote(true, 30)" ~= "t" then
    error("the standby was not promoted:\n" .. self:log(), 2)
  end
end

return postgres
