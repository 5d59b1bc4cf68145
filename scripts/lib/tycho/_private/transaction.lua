--- Transactions of `tycho.db`: begun, nested and ended.

local core = require "tycho.core.db"
local batch = require "tycho._private.db_batch"
local blame = require "tycho._private.blame"
local errors = require "tycho.errors"
local fibers = require "tycho.core.fiber"
local open = require "tycho._private.db_open"
local options = require "tycho.options"
local pieces = require "tycho._private.db_pieces"
local watch = require "tycho._private.db_watch"

local check = errors.check

local transaction = { current = open.current }

local TRANSACTION = options.set { "read_only", "isolation", "retry" }
local ISOLATIONS = { ["read committed"] = 1, ["repeatable read"] = 2, serializable = 3 }
-- What a database does if nobody says anything.
local DEFAULTS = { postgresql = 1, mysql = 2, sqlite = 3 }
local RETRY_MAX = 20
-- The server undid it because of others, and it may well succeed the next time: SQLSTATEs of
-- serialization failures and deadlocks, and SQLite's word for the same.
local RETRIABLE = options.set { "40001", "40P01", "SQLITE_BUSY_SNAPSHOT" }

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
---@field level integer 0: the transaction itself; the others are savepoints in it
---@field name string of the database
---@field target string where it runs: the database, or one of its replicas
---@field root tycho.db.Transaction the one of level 0
local Transaction = {}
Transaction.__index = Transaction

-- A fiber that may not wait any more must not commit what it did not finish: it raises here. Under
-- fiber.shield, and otherwise, this does nothing.
local function check_time()
  if fibers.cancelled() or fibers.remaining() == 0 then
    check(fibers.sleep(0))
  end
end

local function unshield(ok, ...)
  fibers.shield(false)
  if not ok then
    error((...), 0)
  end
  return ...
end

local function close_outer(tx)
  check_time()
  fibers.shield(true) -- from here on the outcome must be known
  return unshield(pcall(core.commit, tx.handle))
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

local function close(tx)
  local ok, done, err = pcall(tx.level == 0 and close_outer or close_inner, tx)
  if ok then
    return done, err
  end
  return nil, done
end

local function leave(tx, ok, ...)
  local done, err = nil, (...)
  open.leave(tx)
  if ok then
    done, err = close(tx)
  end
  if not done then
    undo(tx)
  end
  tx.root.innermost = tx.outer
  if not done then
    error(err, 0)
  end
  return ...
end

local function run(tx, fn)
  open.enter(tx)
  open.hold(true)
  return leave(tx, pcall(fn, tx))
end

local function new(name, target)
  local tx = setmetatable({ level = 0, name = name, target = target }, Transaction)
  tx.root, tx.innermost = tx, tx
  return tx
end

---A transaction of the running fiber that begins when something asks for it, if anything does.
---@param name string of the database
---@param opts tycho.db.TransactionOptions
---@param on_begin fun()
---@return fun(ok: boolean, ...): ... finish commits and returns the rest, or undoes and raises it
function transaction.defer(name, opts, on_begin)
  local tx = new(name, name)
  tx.isolation = opts.isolation

  function tx.deferred()
    on_begin()
    tx.handle = check(core.begin(name, opts.read_only == true, opts.isolation))
    tx.deferred = nil
    open.hold(true)
  end
  open.enter(tx)

  return function(ok, ...)
    if tx.handle then
      return leave(tx, ok, ...)
    end
    open.leave(tx)
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
  local tx = new(name, target)
  tx.isolation = opts.isolation
  tx.handle = check(core.begin(target, opts.read_only == true, opts.isolation))
  return run(tx, fn)
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

-- What is wanted of a part, all of it has to have been begun with.
local function check_isolation(root, wanted)
  local has = ISOLATIONS[root.isolation] or DEFAULTS[check(core.system(root.target))]
  if has < ISOLATIONS[wanted] then
    blame('isolation: "%s" has to be said of the outermost transaction, which has begun without it',
      wanted)
  end
end

-- The innermost one may be one that the fiber has opened in `tx` meanwhile: savepoints nest.
local function nest(tx, fn, opts)
  local outer, root = open.check(tx), tx.root
  if opts and opts.isolation then
    check_isolation(root, opts.isolation)
  end
  local inner = { handle = tx.handle, level = outer.level + 1, name = tx.name, target = tx.target,
    root = root, outer = outer, context = fibers.context() }
  root.innermost = inner
  local ok, done, err = pcall(core.savepoint, inner.handle, inner.level)
  if not ok or not done then
    root.innermost = outer
    error(ok and err or done, 0)
  end
  return run(setmetatable(inner, Transaction), fn)
end

-- For a statement.
local function handle_of(tx)
  open.check(tx)
  return tx.handle
end

local function copied(tx, ok, ...)
  tx.root.copies = false
  if not ok then
    error((...), 0)
  end
  return ...
end

local function copy(tx, how, sql, other)
  local handle = handle_of(tx)
  tx.root.copies = true
  return copied(tx, pcall(how, handle, sql, other))
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
  return (check(core.run(handle_of(self), "rows", sql, ...)))
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
  return (check(core.run(handle_of(self), "one", sql, ...)))
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
  return (check(core.run(handle_of(self), "value", sql, ...)))
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
  return (check(core.run(handle_of(self), "exec", sql, ...)))
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
  check(core.script(handle_of(self), sql))
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
  return pieces.each(handle_of(self), sql, ...)
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
  return (batch.run(handle_of(self), can, list, function(fn) return nest(self, fn) end, 2,
    self))
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
  return copy(self, pieces.copy_in, sql, source)
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
  copy(self, pieces.copy_out, sql, fn)
end

---A transaction in this one: if `fn` raises, what it did is undone, and the rest is not. Of the
---options of `db.transaction` those of the outermost one count.
---
---```lua
---tycho.try(tx.transaction, tx, function(inner) inner:exec("insert into maybe values (1)") end)
---```
---@async
---@param fn fun(tx: tycho.db.Transaction): ...
---@param opts? tycho.db.TransactionOptions
---@return any ... what `fn` returned
function Transaction:transaction(fn, opts)
  return nest(self, fn, check_transaction(fn, opts))
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
transaction.handle_of = handle_of

return transaction
