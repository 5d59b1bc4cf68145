--- Databases: queries, and transactions that take care of themselves.
---
--- Placeholders are `$1`, `$2`, ...; values are never part of the text. `nil` and `db.null` are
--- stored as NULL, booleans as 1 and 0, numbers without a fraction as integers, boxed integers
--- exactly, strings as text (which must be UTF-8), `db.blob(bytes)` as bytes. A column that is NULL
--- is absent from its row; an integer in a column declared BOOLEAN comes back as a boolean; an
--- integer beyond 2^53 comes back boxed, not rounded.
---
--- Queries that only read run beside each other; writes run one after the other. What waits too
--- long for a connection (`databases.*.wait_timeout`) raises `unavailable`, a violated constraint
--- `conflict` with the field `constraint`, such as "users.email".

local core = require "tycho.core.sqlite"
local fibers = require "tycho.core.fiber"
local options = require "tycho.options"
local check = require("tycho.errors").check

---@class tycho.db.Outcome
---@field changes integer rows inserted, updated or deleted
---@field last_id? integer rowid of the last row that was inserted

---@class tycho.db.TransactionOptions
---@field read_only? boolean it only reads: it then sees one state and holds up no writer

---@alias tycho.db.Value nil|boolean|number|string|userdata|tycho.db.Blob

local TRANSACTION = options.set { "read_only" }

-- Where a fiber's context keeps its open transactions, by database. Children do not see it: a
-- context reads its owner's values through a metatable, and this one is read raw.
local OPEN = {}
local open_count = 0

local function open_transactions()
  return open_count > 0 and fibers.running() and rawget(fibers.context(), OPEN) or nil
end

-- What a call without a transaction goes to: the fiber's own transaction, or the database.
local function target_of(name)
  local open = open_transactions()
  local tx = open and open[name]
  return tx and tx.handle or name
end

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

---@class tycho.db.Database
local function database(name)
  local db = {}
  core.need(name)

  ---All rows; an empty table if there are none.
  ---
  ---```lua
  ---for _, order in ipairs(db.query("select * from orders where user_id = $1", id)) do ... end
  ---```
  ---@async
  ---@param sql string one statement
  ---@param ... tycho.db.Value
  ---@return table<string, any>[] rows
  function db.query(sql, ...)
    check_sql(sql, 2)
    return (check(core.run(target_of(name), "rows", sql, ...)))
  end

  ---The first row, or nil.
  ---
  ---```lua
  ---local user = db.one("select * from users where email = $1", email)
  ---```
  ---@async
  ---@param sql string one statement
  ---@param ... tycho.db.Value
  ---@return table<string, any>? row
  function db.one(sql, ...)
    check_sql(sql, 2)
    return (check(core.run(target_of(name), "one", sql, ...)))
  end

  ---The first column of the first row; nil if there is no row, or if it is NULL.
  ---
  ---```lua
  ---local count = db.value("select count(*) from orders")
  ---```
  ---@async
  ---@param sql string one statement
  ---@param ... tycho.db.Value
  ---@return any value
  function db.value(sql, ...)
    check_sql(sql, 2)
    return (check(core.run(target_of(name), "value", sql, ...)))
  end

  ---Runs a statement for what it does.
  ---
  ---```lua
  ---local id = db.exec("insert into users(email) values ($1)", email).last_id
  ---```
  ---@async
  ---@param sql string one statement
  ---@param ... tycho.db.Value
  ---@return tycho.db.Outcome
  function db.exec(sql, ...)
    check_sql(sql, 2)
    return (check(core.run(target_of(name), "exec", sql, ...)))
  end

  ---Runs several statements, separated by semicolons; all of them or none.
  ---
  ---```lua
  ---db.script [[ create table a(x); create index b on a(x); ]]
  ---```
  ---@async
  ---@param sql string statements without placeholders
  function db.script(sql)
    check_sql(sql, 2)
    check(core.script(target_of(name), sql))
  end

  ---Runs `fn(tx)` in a transaction: committed when it returns, rolled back when it raises, runs
  ---out of time or is cancelled. Calls of this database in the same fiber belong to the
  ---transaction, whether through `tx` or not; a child fiber's do not, unless it is given `tx`. A
  ---transaction in a transaction is a savepoint: if it raises, only what it did is undone.
  ---
  ---```lua
  ---local order = db.transaction(function(tx)
  ---  tx:exec("update products set stock = stock - 1 where id = $1", product)
  ---  return tx:one("insert into orders(product) values ($1) returning *", product)
  ---end)
  ---```
  ---@async
  ---@param fn fun(tx: tycho.db.Transaction): ...
  ---@param opts? tycho.db.TransactionOptions
  ---@return any ... what `fn` returned
  function db.transaction(fn, opts)
    opts = check_transaction(fn, opts)
    local open = open_transactions()
    local outer = open and open[name]
    if outer then
      return nest(outer, fn)
    end
    return begin(name, fn, opts)
  end

  return db
end

---The database that the configuration calls `default`.
local db = database "default"

---Stored as NULL, in the middle of a list of values for instance. The same as `json.null`.
db.null = core.null

---Bytes to be stored as they are, with any content; they come back as a string.
---
---```lua
---db.exec("insert into files(content) values ($1)", db.blob(bytes))
---```
---@param bytes string
---@return tycho.db.Blob
function db.blob(bytes)
  return core.blob(bytes)
end

local others = { default = db }

---Another database of the configuration (`databases.<name>.url`), with the same functions.
---
---```lua
---local reports = db.use "reports"
---local rows = reports.query("select * from daily")
---```
---@param name string
---@return tycho.db.Database
function db.use(name)
  if type(name) ~= "string" then
    error("a database has a name", 2)
  end
  others[name] = others[name] or database(name)
  return others[name]
end

return db
