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

local core = require "tycho.core.db"
local check = require("tycho.errors").check
local transaction = require "tycho._private.transaction"

---@class tycho.db.Outcome
---@field changes integer rows inserted, updated or deleted
---@field last_id? integer rowid of the last row that was inserted

---@class tycho.db.TransactionOptions
---@field read_only? boolean it only reads: it then sees one state and holds up no writer

---@alias tycho.db.Value nil|boolean|number|string|userdata|tycho.db.Blob

local check_sql = transaction.check_sql

-- What a call without a transaction goes to: the fiber's own transaction, or the database.
local function target_of(name)
  local tx = transaction.current(name)
  return tx and tx.handle or name
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
    opts = transaction.check(fn, opts)
    local outer = transaction.current(name)
    if outer then
      return transaction.nest(outer, fn)
    end
    return transaction.begin(name, fn, opts)
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
  return core.typed("blob", bytes)
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
