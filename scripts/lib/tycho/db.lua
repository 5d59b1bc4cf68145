--- Databases: queries, and transactions that take care of themselves.
---
--- The same on SQLite, PostgreSQL and MySQL or MariaDB; `databases.<name>.url` says which it is.
---
--- Placeholders are `$1`, `$2`, ...; values are never part of the text. `nil` and `db.null` are
--- stored as NULL, booleans as booleans, numbers without a fraction as integers, boxed integers
--- exactly, strings as text (which must be UTF-8), and what a string cannot say as
--- `db.blob(bytes)`, `db.json(value)`, `db.array{...}`, `db.timestamp(moment)`.
---
--- A column that is NULL is absent from its row. Integers beyond 2^53 come back boxed, not rounded;
--- decimals as strings; moments as `2026-11-21T16:00:00.123456Z`; JSON and arrays as tables; bytes
--- and UUIDs as strings; booleans as booleans (SQLite: from a column declared BOOLEAN; MySQL: from
--- TINYINT(1)).
---
--- What waits too long for a connection (`databases.*.wait_timeout`) raises `unavailable`, a
--- statement that takes too long (`query_timeout`) `timeout`, a violated constraint `conflict`,
--- with the fields `constraint`, `table` and `column` as far as the database tells them. The field
--- `detail` is the SQLSTATE, or SQLite's name of the error. `unknown_outcome`: the connection was
--- lost while a commit, or a single statement that writes, was on its way.

local core = require "tycho.core.db"
local batch = require "tycho._private.db_batch"
local blame = require "tycho._private.blame"
local errors = require "tycho.errors"
local listen = require "tycho._private.db_listener"
local options = require "tycho.options"
local pieces = require "tycho._private.db_pieces"
local replicas = require "tycho._private.db_replicas"
local transaction = require "tycho._private.transaction"
local values = require "tycho._private.db_values"
local watch = require "tycho._private.db_watch"

---@class tycho.db.Outcome
---@field changes integer rows inserted, updated or deleted
---@field last_id? integer SQLite, MySQL: the number that the last inserted row got

---@class tycho.db.TransactionOptions
---@field read_only? boolean it only reads: it sees one state, holds up no writer, and may run on a
---replica
---@field isolation? "read committed"|"repeatable read"|"serializable" the database's own by default
---@field retry? integer how often to run the function again when the database undid the transaction
---because of others (a serialization failure, a deadlock); 0 by default

---@class tycho.db.UseOptions
---@field replica? boolean what only reads may be answered by a replica, maybe a little behind

---@class tycho.db.Statement
---@field [1] string its text; the values follow
---@field as? "query"|"one"|"value"|"exec" what its result looks like; "query" by default
---@field n? integer how long the list is, as `table.pack` says it, where it may end with nil

---@alias tycho.db.Typed tycho.db.Blob|tycho.db.Json|tycho.db.Array|tycho.db.Timestamp
---@alias tycho.db.Value nil|boolean|number|string|userdata|tycho.db.Typed

local USE = options.set { "replica" }

local check = errors.check
local check_sql, handle_of = transaction.check_sql, transaction.handle_of

local function check_channel(channel)
  if type(channel) ~= "string" then
    blame("a channel has a name, a string, not a %s", type(channel))
  end
end

---@class tycho.db.Database
local function database(name, from_replica)
  local db = {}
  check(core.need(name))
  local has_replicas = replicas.exist(name)

  -- What a call without a transaction goes to: the fiber's own transaction, or the database.
  local function target_of(sql)
    local tx = transaction.current(name)
    if tx then
      return handle_of(tx)
    elseif not has_replicas then
      return name
    elseif core.reads(sql) then
      return from_replica and replicas.choose(name) or name
    end
    replicas.note_write(name)
    return name
  end

  -- The same for a batch; what is no list is told by whoever runs it.
  local function target_of_batch(list)
    if not has_replicas or type(list) ~= "table" then
      return name
    end
    for _, entry in ipairs(list) do
      if type(entry) == "table" and type(entry[1]) == "string" and not core.reads(entry[1]) then
        replicas.note_write(name)
        return name
      end
    end
    return from_replica and replicas.choose(name) or name
  end

  local function begin(fn, opts)
    local target = name
    if opts.read_only then
      target = replicas.choose(name)
    else
      replicas.note_write(name)
    end
    return transaction.begin(name, target, fn, opts)
  end

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
    watch.note(name, sql)
    return (check(core.run(target_of(sql), "rows", sql, ...)))
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
    watch.note(name, sql)
    return (check(core.run(target_of(sql), "one", sql, ...)))
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
    watch.note(name, sql)
    return (check(core.run(target_of(sql), "value", sql, ...)))
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
    watch.note(name, sql)
    return (check(core.run(target_of(sql), "exec", sql, ...)))
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
    check(core.script(target_of(sql), sql))
  end

  ---Calls a function with each row, however many there are: they come in pieces, and memory does
  ---not grow with their number. Returning false ends it. The rows are those of one moment.
  ---
  ---```lua
  ---db.each("select id from orders where state = $1", "PAID", function(row) out:write(row.id) end)
  ---```
  ---@async
  ---@param sql string a query
  ---@param ... any values, and then `fun(row: table): boolean?`
  ---@return integer count of the rows that the function got
  function db.each(sql, ...)
    check_sql(sql, 2)
    transaction.check_each(2, ...)
    local tx = transaction.current(name)
    if tx then
      return pieces.each(handle_of(tx), sql, ...)
    end
    local target = from_replica and replicas.choose(name) or name
    return transaction.each(target, sql, ...)
  end

  ---Several statements that do not depend on each other, all of them or none: on PostgreSQL in one
  ---round trip, elsewhere one after the other in a transaction.
  ---
  ---```lua
  ---local found = db.batch {
  ---  { "select * from users where id = $1", id, as = "one" },
  ---  { "select * from orders where user_id = $1", id },
  ---}
  ---local user, orders = found[1], found[2]
  ---```
  ---@async
  ---@param list tycho.db.Statement[] at most 1,000
  ---@return table results in the same order, and `n`. An error has the field `statement`
  function db.batch(list)
    local tx = transaction.current(name)
    if tx then
      return tx:batch(list)
    end
    local target = target_of_batch(list)
    return (batch.run(target, core.can_batch(target), list, function(fn)
      return transaction.begin(name, target, fn, { read_only = target ~= name })
    end, 2))
  end

  ---Bulk data into a table, at full speed (PostgreSQL only). All of it or nothing.
  ---
  ---```lua
  ---local rows = db.copy_in("copy numbers(n) from stdin", { "1\n", "2\n" })
  ---```
  ---@async
  ---@param sql string `copy ... from stdin`
  ---@param source string|string[]|fun(): string? a text, several, or what returns the next
  ---@return integer rows
  function db.copy_in(sql, source)
    check_sql(sql, 2)
    return db.transaction(function(tx) return tx:copy_in(sql, source) end)
  end

  ---Bulk data out of a table (PostgreSQL only), as it comes: not line by line.
  ---
  ---```lua
  ---db.copy_out("copy numbers to stdout with csv", function(text) file:write(text) end)
  ---```
  ---@async
  ---@param sql string `copy ... to stdout`
  ---@param fn fun(text: string)
  function db.copy_out(sql, fn)
    check_sql(sql, 2)
    db.transaction(function(tx) tx:copy_out(sql, fn) end)
  end

  ---Listens to a channel (PostgreSQL only): what is sent from now on is heard. All listeners of a
  ---worker share one connection, which comes back by itself; a note with `lost` then says that
  ---something may have been missed.
  ---
  ---```lua
  ---local listener = db.listen "orders"
  ---local note = listener:next(30)
  ---if note then send(note.payload) end
  ---```
  ---@async
  ---@param channel string
  ---@return tycho.db.Listener
  function db.listen(channel)
    check_channel(channel)
    return listen(name, channel)
  end

  ---Tells all who listen to a channel, on every node, when the transaction commits (PostgreSQL
  ---only).
  ---
  ---```lua
  ---db.notify("orders", order.order_no)
  ---```
  ---@async
  ---@param channel string
  ---@param payload? string at most 7,999 bytes
  function db.notify(channel, payload)
    check_channel(channel)
    if payload ~= nil and type(payload) ~= "string" then
      blame("what is sent to a channel is a string, not a %s", type(payload))
    elseif db.system() ~= "postgresql" then
      error(errors.new("internal", ("db: %s has no notifications"):format(db.system()),
        { detail = "listen", public = false }), 0)
    end
    local tx = transaction.current(name)
    check(core.run(tx and handle_of(tx) or name, "exec", "select pg_notify($1, $2)", channel,
      payload or ""))
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
      return transaction.nest(outer, fn, opts)
    end
    return begin(fn, opts)
  end

  ---Which database it is.
  ---
  ---```lua
  ---if db.system() == "postgresql" then db.exec "create extension if not exists citext" end
  ---```
  ---@return "sqlite"|"postgresql"|"mysql"
  function db.system()
    return (check(core.system(name)))
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
db.blob = values.blob

---A value to be stored as JSON, in a column of that type (SQLite: declared JSON); it comes back as
---it was, with `json.null` for null.
---
---```lua
---db.exec("update users set settings = $1 where id = $2", db.json { theme = "dark" }, id)
---```
---@param value any
---@return tycho.db.Json
db.json = values.json

---A list to be stored as an array (PostgreSQL), or as JSON where the database has no arrays. NULL
---in it is `db.null`.
---
---```lua
---local found = db.query("select * from users where id = any($1)", db.array { 1, 2, 3 })
---```
---@param list any[]
---@return tycho.db.Array
db.array = values.array

---A moment to be stored as such: on every database in UTC, to the microsecond.
---
---```lua
---db.exec("update users set seen_at = $1 where id = $2", db.timestamp(time.now()), id)
---```
---@param value string|number RFC 3339, or seconds since 1970
---@return tycho.db.Timestamp
db.timestamp = values.timestamp

-- What is not of one database, each has all the same.
local EVERYWHERE = { "null", "blob", "json", "array", "timestamp", "use" }

local others = { [""] = { default = db }, replica = {} }

---Another database of the configuration (`databases.<name>.url`), with the same functions; or with
---`replica = true` the same one, whose reads may be answered by its replicas
---(`databases.<name>.replicas`). What a request wrote it also reads: after a write its reads go
---to the database itself.
---
---```lua
---local reports = db.use "reports"
---local rows = db.use("default", { replica = true }).query("select * from daily")
---```
---@param name string
---@param opts? tycho.db.UseOptions
---@return tycho.db.Database
function db.use(name, opts)
  if type(name) ~= "string" then
    error("a database has a name", 2)
  end
  local from_replica = options.check(opts, USE).replica == true
  local made = others[from_replica and "replica" or ""]
  if not made[name] then
    made[name] = database(name, from_replica)
    for _, field in ipairs(EVERYWHERE) do
      made[name][field] = db[field]
    end
  end
  return made[name]
end

-- Classes: _private/transaction.lua
-- Classes: _private/db_listener.lua

return db
