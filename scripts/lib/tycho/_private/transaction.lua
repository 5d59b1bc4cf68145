--- Transactions of `tycho.db`: begun, nested and ended, and found again by what is called inside.

local core = require "tycho.core.db"
local fibers = require "tycho.core.fiber"
local options = require "tycho.options"
local check = require("tycho.errors").check

local transaction = {}

local TRANSACTION = options.set { "read_only" }

-- Where a fiber's context keeps its open transactions, by database. Children do not see it: a
-- context reads its owner's values through a metatable, and this one is read raw.
local OPEN = {}
local open_count = 0

---The running fiber's open transaction of that database, or nil.
---@param name string of the database
---@return tycho.db.Transaction?
function transaction.current(name)
  local open = open_count > 0 and fibers.running() and rawget(fibers.context(), OPEN)
  return open and open[name] or nil
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
---@field name string
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

local function check_transaction(fn, opts)
  if type(fn) ~= "function" then
    error("a transaction is a function", 3)
  end
  return (options.check(opts, TRANSACTION, 4))
end

local function begin(name, fn, opts)
  local handle = check(core.begin(name, opts.read_only == true))
  return run(setmetatable({ handle = handle, level = 0, name = name }, Transaction), fn)
end

local function nest(tx, fn)
  local level = tx.level + 1
  check(core.savepoint(tx.handle, level))
  return run(setmetatable({ handle = tx.handle, level = level, name = tx.name }, Transaction), fn)
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

transaction.check = check_transaction
transaction.check_sql = check_sql
transaction.begin = begin
transaction.nest = nest

return transaction
