--- PgBouncer for tests: a pooler in front of a PostgreSQL, in transaction mode unless it is told
--- otherwise, and as strict about startup parameters as it is by itself.

local database = require "tests.blackbox.support.database"
local postgres = require "tests.blackbox.support.postgres"

local pgbouncer = {}

---@class blackbox.Pgbouncer: blackbox.Database
---@field upstream blackbox.Postgres
local Pgbouncer = setmetatable({ scheme = "postgres", default = "postgres" }, database.Database)
Pgbouncer.__index = Pgbouncer

pgbouncer.clean_up = database.clean_up

---Why there is none; nil if there is.
---@async
---@return string?
function pgbouncer.missing()
  return database.missing "pgbouncer" or database.missing "postgres"
end

---Starts a pooler.
---
---```lua
---local bouncer = pgbouncer.start(postgres.shared(), { settings = { default_pool_size = 2 } })
---local url = bouncer:url(bouncer:create())
---```
---@async
---@param upstream? blackbox.Postgres the shared one by default
---@param opts? blackbox.DatabaseOptions
---@return blackbox.Pgbouncer
function pgbouncer.start(upstream, opts)
  upstream = upstream or postgres.shared()
  local self = database.start("pgbouncer", Pgbouncer, opts, { "upstream=" .. upstream.port })
  self.upstream = upstream
  return self
end

---The pooler of this run, before the shared PostgreSQL.
---@async
---@return blackbox.Pgbouncer
function pgbouncer.shared()
  return database.shared("pgbouncer", function()
    return pgbouncer.start()
  end)
end

---Runs statements with psql, through the pooler; in the database "pgbouncer" those of its console.
---@async
---@param text string "show pools"
---@param opts? { database?: string, user?: string, port?: integer }
---@return string rows one a line, columns separated by "|"
function Pgbouncer:sql(text, opts)
  return self.upstream.sql(self, text, opts)
end

---Creates an empty database of the PostgreSQL behind it.
---@async
---@param name? string a new one by default
---@return string name
function Pgbouncer:create(name)
  return self.upstream:create(name)
end

return pgbouncer
