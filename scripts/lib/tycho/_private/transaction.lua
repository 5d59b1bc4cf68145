--- Transactions of `tycho.db`: begun, nested and ended, and found again by what is called inside.

local core = require "tycho.core.db"
local config = require "tycho.config"
local batch = require "tycho._private.db_batch"
local errors = require "tycho.errors"
local fibers = require "tycho.core.fiber"
local options = require "tycho.options"
local pieces = require "tycho._private.db_pieces"
local watch = require "tycho._private.db_watch"

local check = errors.check

local transaction = {}

-- In development a fiber that waits for something else while it holds a transaction is told so.
local IS_DEV = config.get "env" == "dev"

local TRANSACTION = options.set { "read_only", "isolation", "retry" }
local ISOLATIONS = options.set { "read committed", "repeatable read", "serializable" }
local RETRY_MAX = 20
-- The server undid it because of others, and it may well succeed the next time: SQLSTATEs of
-- serialization failures and deadlocks, and SQLite's word for the same.
local RETRIABLE = options.set { "40001", "40P01", "SQLITE_BUSY_SNAPSHOT" }

-- Where a fiber's context keeps its open transactions, by database. Children do not see it: a
-- context reads its owner's values through a metatable, and this one is read raw.
local OPEN = {}
local open_count = 0

---The running fiber's open transaction of that database, or nil.
---@param name string of the database
---@return tycho.db.Transaction?
function transaction.current(name)
  local open = open_count > 0 and fibers.running() and rawget(fibers.context(), OPEN)
  local tx = open and open[name] or nil
  if tx and tx.deferred then
    return tx.deferred()
  end
  return tx
end

---Raises, as the fault of whoever called the caller, for what is no statement.
---@param sql any
---@param level integer as for `error()`, from the caller
local function check_sql(sql, level)
  if type(sql) ~= "string" then
    error(("a statement is a string, not a %s"):format(type(sql)), level + 1)
  end
end

---@class tycho.db.Transaction
---@field handle userdata
---@field level integer
---@field name string of the database
---@field target string where it runs: the database, or one of its replicas
local Transaction = {}
Transaction.__index = Transaction

local function enter(tx)
  local context = fibers.context()
  local open = rawget(context, OPEN)
  if not open then
    open = {}
    rawset(context, OPEN, open)
  end
  local outer = open[tx.name]
  open[tx.name] = tx
  open_count = open_count + 1
  if IS_DEV then
    fibers.holds(true)
  end
  return open, outer
end

-- A fiber that may not wait any more must not commit what it did not finish: it raises here. Under
-- fiber.shield, and otherwise, this does nothing.
local function check_time()
  if fibers.cancelled() or fibers.remaining() == 0 then
    check(fibers.sleep(0))
  end
end

local function close_outer(tx)
  check_time()
  fibers.shield(true) -- from here on the outcome must be known
  local done, err = core.commit(tx.handle)
  fibers.shield(false)
  return done, err
end

local function close_inner(tx)
  return core.release(tx.handle, tx.level)
end

local function undo(tx)
  if tx.level == 0 then
    core.rollback(tx.handle)
  else
    core.undo(tx.handle, tx.level)
  end
end

local function leave(tx, open, outer, ok, ...)
  open[tx.name] = outer
  open_count = open_count - 1
  if IS_DEV then
    fibers.holds(outer ~= nil)
  end
  if not ok then
    undo(tx)
    error((...), 0)
  end
  local closed, done, err = pcall(tx.level == 0 and close_outer or close_inner, tx)
  if not closed or not done then
    undo(tx)
    error(closed and err or done, 0)
  end
  return ...
end

local function run(tx, fn)
  local open, outer = enter(tx)
  return leave(tx, open, outer, pcall(fn, tx))
end

---A transaction of the running fiber that begins when something asks for it, if anything does.
---@param name string of the database
---@param opts tycho.db.TransactionOptions
---@param on_begin fun()
---@return fun(ok: boolean, ...): ... finish commits and returns the rest, or undoes and raises it
function transaction.defer(name, opts, on_begin)
  local context = fibers.context()
  local open = rawget(context, OPEN) or {}
  local outer, tx = open[name], nil
  rawset(context, OPEN, open)
  open_count = open_count + 1

  local function begin()
    on_begin()
    local handle = check(core.begin(name, opts.read_only == true, opts.isolation))
    tx = setmetatable({ handle = handle, level = 0, name = name, target = name }, Transaction)
    open[name] = tx
    if IS_DEV then
      fibers.holds(true)
    end
    return tx
  end
  open[name] = { deferred = begin }

  return function(ok, ...)
    if tx then
      return leave(tx, open, outer, ok, ...)
    end
    open[name] = outer
    open_count = open_count - 1
    if not ok then
      error((...), 0)
    end
    return ...
  end
end

local function check_retry(retry, level)
  if type(retry) ~= "number" or retry < 0 or retry > RETRY_MAX or retry % 1 ~= 0 then
    error(("retry: expected 0 to %d"):format(RETRY_MAX), level + 1)
  end
end

local function check_transaction(fn, opts)
  if type(fn) ~= "function" then
    error("a transaction is a function", 3)
  end
  opts = options.check(opts, TRANSACTION, 4)
  if opts.isolation ~= nil and not ISOLATIONS[opts.isolation] then
    error('isolation: "read committed", "repeatable read" or "serializable"', 3)
  end
  if opts.retry ~= nil then
    check_retry(opts.retry, 3)
  end
  return opts
end

local function begin_once(name, target, fn, opts)
  local handle = check(core.begin(target, opts.read_only == true, opts.isolation))
  local tx = { handle = handle, level = 0, name = name, target = target }
  return run(setmetatable(tx, Transaction), fn)
end

local function is_retriable(err)
  return errors.is(err, "conflict") and RETRIABLE[err.detail] == true
end

-- Again, after a pause that grows and differs between those who met.
local function begin_again(name, target, fn, opts, attempt, ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if attempt > opts.retry or not is_retriable(err) then
    error(err, 0)
  end
  check(fibers.sleep(math.random() * 0.01 * 2 ^ math.min(attempt, 6)))
  return begin_again(name, target, fn, opts, attempt + 1,
    pcall(begin_once, name, target, fn, opts))
end

local function begin(name, target, fn, opts)
  if not opts.retry then
    return begin_once(name, target, fn, opts)
  end
  return begin_again(name, target, fn, opts, 1, pcall(begin_once, name, target, fn, opts))
end

local function nest(tx, fn)
  local level = tx.level + 1
  check(core.savepoint(tx.handle, level))
  local inner = { handle = tx.handle, level = level, name = tx.name, target = tx.target }
  return run(setmetatable(inner, Transaction), fn)
end

---All rows; an empty table if there are none.
---
---```lua
---for _, user in ipairs(tx:query("select * from users where age > $1", 18)) do ... end
---```
---@async
---@param sql string one statement
---@param ... tycho.db.Value
---@return table<string, any>[] rows
function Transaction:query(sql, ...)
  check_sql(sql, 2)
  watch.note(self.name, sql)
  return (check(core.run(self.handle, "rows", sql, ...)))
end

---The first row, or nil.
---
---```lua
---local user = tx:one("select * from users where id = $1", id)
---```
---@async
---@param sql string one statement
---@param ... tycho.db.Value
---@return table<string, any>? row
function Transaction:one(sql, ...)
  check_sql(sql, 2)
  watch.note(self.name, sql)
  return (check(core.run(self.handle, "one", sql, ...)))
end

---The first column of the first row, or nil.
---
---```lua
---local count = tx:value("select count(*) from users")
---```
---@async
---@param sql string one statement
---@param ... tycho.db.Value
---@return any value
function Transaction:value(sql, ...)
  check_sql(sql, 2)
  watch.note(self.name, sql)
  return (check(core.run(self.handle, "value", sql, ...)))
end

---Runs a statement for what it does.
---
---```lua
---local changes = tx:exec("delete from sessions where expires < $1", now).changes
---```
---@async
---@param sql string one statement
---@param ... tycho.db.Value
---@return tycho.db.Outcome
function Transaction:exec(sql, ...)
  check_sql(sql, 2)
  watch.note(self.name, sql)
  return (check(core.run(self.handle, "exec", sql, ...)))
end

---Runs several statements, separated by semicolons; all of them or none.
---
---```lua
---tx:script [[ create table a(x); create index b on a(x); ]]
---```
---@async
---@param sql string statements without placeholders
function Transaction:script(sql)
  check_sql(sql, 2)
  check(core.script(self.handle, sql))
end

---Calls a function with each row, however many there are: they come in pieces. Returning false ends
---it. See `db.each`.
---
---```lua
---tx:each("select * from orders where state = $1", "PAID", function(order) report(order) end)
---```
---@async
---@param sql string a query
---@param ... any values, and then `fun(row: table): boolean?`
---@return integer count
function Transaction:each(sql, ...)
  check_sql(sql, 2)
  transaction.check_each(2, ...)
  return pieces.each(self.handle, sql, ...)
end

---Several statements in one round trip, where the database can. See `db.batch`.
---
---```lua
---local found = tx:batch { { "select * from a" }, { "select 1", as = "value" } }
---```
---@async
---@param list table[]
---@return table results
function Transaction:batch(list)
  local can = core.can_batch(self.target)
  return (batch.run(self.handle, can, list, function(fn) return fn(self) end, 2))
end

---Bulk data into a table (PostgreSQL). See `db.copy_in`.
---
---```lua
---tx:copy_in("copy numbers from stdin", { "1\n", "2\n" })
---```
---@async
---@param sql string `copy ... from stdin`
---@param source string|string[]|fun(): string?
---@return integer rows
function Transaction:copy_in(sql, source)
  check_sql(sql, 2)
  return (pieces.copy_in(self.handle, sql, source, 2))
end

---Bulk data out of a table (PostgreSQL). See `db.copy_out`.
---
---```lua
---tx:copy_out("copy numbers to stdout", function(text) file:write(text) end)
---```
---@async
---@param sql string `copy ... to stdout`
---@param fn fun(text: string)
function Transaction:copy_out(sql, fn)
  check_sql(sql, 2)
  pieces.copy_out(self.handle, sql, fn)
end

---A transaction in this one: if `fn` raises, what it did is undone, and the rest is not.
---
---```lua
---tycho.try(tx.transaction, tx, function(inner) inner:exec("insert into maybe values (1)") end)
---```
---@async
---@param fn fun(tx: tycho.db.Transaction): ...
---@return any ... what `fn` returned
function Transaction:transaction(fn)
  check_transaction(fn)
  return nest(self, fn)
end

-- The last argument of `each` is a function.
function transaction.check_each(level, ...)
  local count = select("#", ...)
  if count == 0 or type((select(count, ...))) ~= "function" then
    error("each: the last argument is a function that gets a row", level + 1)
  end
end

-- A query read in pieces outside of a transaction has one to itself, which nobody else gets into.
function transaction.each(target, sql, ...)
  local handle = check(core.begin(target, true))
  local ok, result = pcall(pieces.each, handle, sql, ...)
  core.rollback(handle)
  if not ok then
    error(result, 0)
  end
  return result
end

transaction.check = check_transaction
transaction.check_sql = check_sql
transaction.begin = begin
transaction.nest = nest

return transaction
