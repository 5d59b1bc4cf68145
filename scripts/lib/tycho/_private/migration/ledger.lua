--- What was applied, and who may apply: the table `tycho_migrations`, and the lock around it.
---
--- The lock belongs to the transaction that applies a step (on MySQL, whose changes of a schema end
--- transactions, to its session), so nothing is left of it when a runner dies, and a pooler that
--- gives out connections by transaction does no harm.

local crypto = require "tycho.crypto"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"

local ledger = {}

local LOCK_WAIT, LOCK_STEP = 600, 0.1

local TABLES = {
  sqlite = [[
    create table if not exists tycho_migrations(
      version integer primary key,
      name text not null,
      checksum text not null,
      applied_at text not null
    )]],
  postgresql = [[
    create table if not exists tycho_migrations(
      version bigint primary key,
      name text not null,
      checksum text not null,
      applied_at text not null
    )]],
  mysql = [[
    create table if not exists tycho_migrations(
      version bigint primary key,
      name varchar(255) not null,
      checksum char(64) not null,
      applied_at varchar(40) not null
    )]],
}

local EXISTS = {
  sqlite = [[
    select count(*) from sqlite_schema where type = 'table' and name = 'tycho_migrations']],
  postgresql = [[
    select count(*) from pg_catalog.pg_class
    where relname = 'tycho_migrations' and relnamespace = current_schema()::regnamespace]],
  mysql = [[
    select count(*) from information_schema.tables
    where table_schema = database() and table_name = 'tycho_migrations']],
}

-- The number that the lock has on PostgreSQL, where locks have numbers: "tycho" in ASCII.
local LOCK_NUMBER = "500186802287"

---@param db tycho.db.Database
---@param system string
---@return table[] rows by version; none if nothing was ever applied
function ledger.read(db, system)
  if db.value(EXISTS[system]) == 0 then
    return {}
  end
  return db.query "select * from tycho_migrations order by version"
end

-- MySQL's locks are for the whole server: one for each database on it.
local function lock_name(tx)
  return "tycho:" .. crypto.hex(crypto.sha256(tx:value "select database()")):sub(1, 32)
end

local TRY = {
  -- Its transaction writes, and so it waits for whoever else does.
  sqlite = function()
    return true
  end,
  postgresql = function(tx)
    return tx:value("select pg_try_advisory_xact_lock(" .. LOCK_NUMBER .. ")")
  end,
  mysql = function(tx)
    return tonumber(tx:value("select get_lock($1, 0)", lock_name(tx))) == 1
  end,
}

---Waits until nobody else changes the schema. Call it first in a transaction.
---@param tx tycho.db.Transaction
---@param system string
---@param on_wait? fun() called once if it has to wait
function ledger.lock(tx, system, on_wait)
  local waited = 0
  while not TRY[system](tx) do
    if waited == 0 and on_wait then
      on_wait()
    elseif waited >= LOCK_WAIT then
      error(errors.new("unavailable",
        "another process has been changing the schema for ten minutes",
        { detail = "migration.locked" }), 0)
    end
    fiber.sleep(LOCK_STEP)
    waited = waited + LOCK_STEP
  end
end

---Makes a transaction that holds the lock wait for something long: PostgreSQL shall not end it for
---being idle; and this statement lets go of what the one before saw, for which building an index
---concurrently would wait.
---@param tx tycho.db.Transaction
---@param system string
function ledger.stand_by(tx, system)
  if system == "postgresql" then
    tx:exec "set local idle_in_transaction_session_timeout = 0"
  end
end

---Gives up what the end of the transaction does not: MySQL's lock.
---@param tx tycho.db.Transaction
---@param system string
function ledger.unlock(tx, system)
  if system == "mysql" then
    tx:value("select release_lock($1)", lock_name(tx))
  end
end

---Makes the table where it is missing; on MySQL, which does that in no transaction, beside it.
---@param db tycho.db.Database
---@param tx tycho.db.Transaction
---@param system string
function ledger.prepare(db, tx, system)
  if system == "mysql" then
    fiber.all { function() db.exec(TABLES.mysql) end }
  elseif system == "sqlite" or tx:value(EXISTS[system]) == 0 then
    tx:exec(TABLES[system])
  end
end

---@param tx tycho.db.Transaction
---@param version integer
---@return table? row
function ledger.find(tx, version)
  return tx:one("select * from tycho_migrations where version = $1", version)
end

---@param tx tycho.db.Transaction
---@return integer? version the highest that was applied
function ledger.latest(tx)
  return tx:value "select max(version) from tycho_migrations"
end

---@param tx tycho.db.Transaction
---@param step tycho.migration.Step
function ledger.note(tx, step)
  tx:exec("insert into tycho_migrations(version, name, checksum, applied_at) "
    .. "values ($1, $2, $3, $4)", step.version, step.name, step.checksum,
    os.date "!%Y-%m-%dT%H:%M:%SZ")
end

---@param tx tycho.db.Transaction
---@param version integer
function ledger.forget(tx, version)
  tx:exec("delete from tycho_migrations where version = $1", version)
end

return ledger
