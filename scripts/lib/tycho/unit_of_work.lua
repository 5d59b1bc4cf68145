--- Units of work: what belongs together is done as one, or not at all.
---
--- Everything that the fiber does with the database in a unit belongs to it: repositories, queries
--- and `tycho.db` itself. Its transaction begins when the database is first asked for something,
--- so that a unit which returns early, or waits for others first, holds no connection. What two
--- have changed at once is reported as `conflict`: of a row with a version with the detail STALE,
--- by the database as a serialization failure.
---
---```lua
---unit_of_work.run(function()
---  local from, to = accounts:get(a), accounts:get(b)
---  accounts:update(from, { balance = from.balance - amount })
---  accounts:update(to, { balance = to.balance + amount })
---end)
---```

local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local options = require "tycho.options"
local replicas = require "tycho._private.db_replicas"
local transaction = require "tycho._private.transaction"
local unit = require "tycho._private.unit"

local unit_of_work = {}

---@class tycho.unit_of_work.Options
---@field database? string "default" by default
---@field isolation? "read committed"|"repeatable read"|"serializable"
---@field read_only? boolean
---@field retry? integer how often it is done again after a conflict with others: 0; a unit in a
---unit is not, because its beginning is the outer one's

local KNOWN = options.set { "database", "isolation", "read_only", "retry" }
local RETRIABLE = options.set { "STALE", "40001", "40P01", "SQLITE_BUSY_SNAPSHOT" }
local RETRY_MAX = 20

local function check(opts, level)
  opts = options.check(opts, KNOWN, level + 1)
  local retry = opts.retry
  if retry ~= nil and (type(retry) ~= "number" or retry < 0 or retry > RETRY_MAX) then
    error(("retry: 0 to %d"):format(RETRY_MAX), level)
  end
  return opts
end

-- In a unit, or in a transaction: a part of it that is undone alone.
local function nested(outer, fn)
  local entered = unit.enter()
  return unit.settle(entered, pcall(transaction.nest, outer, function() return fn() end))
end

local function once(fn, opts)
  local name = opts.database or "default"
  local outer = transaction.current(name)
  if outer then
    return nested(outer, fn)
  end
  local entered = unit.enter()
  local finish = transaction.defer(name, opts, function()
    if not opts.read_only then
      replicas.note_write(name)
    end
  end)
  return unit.settle(entered, pcall(finish, pcall(fn)))
end

-- In a transaction only a row is read anew: what the database gave up because of others began with
-- that transaction, which MySQL has undone.
local function is_retriable(err, opts)
  return errors.is(err, "conflict") and RETRIABLE[err.detail] == true
    and (err.detail == "STALE" or not transaction.current(opts.database or "default"))
end

local function attempt(fn, opts, number, ok, ...)
  if ok then
    return ...
  end
  local err = ...
  if number > (opts.retry or 0) or unit.current() or not is_retriable(err, opts) then
    error(err, 0)
  end
  fiber.sleep(math.random() * 0.01 * 2 ^ math.min(number, 6))
  return attempt(fn, opts, number + 1, pcall(once, fn, opts))
end

---Runs `fn()` as one: what it did with the database counts when it returns, and is undone when it
---raises, runs out of time or is cancelled. A unit in a unit is a part that is undone alone.
---
---```lua
---local order = unit_of_work.run(function()
---  products:update(product, { stock = product.stock - 1 })
---  return orders:insert { product_id = product.id }
---end, { retry = 3 })
---```
---@async
---@param fn fun(): ...
---@param opts? tycho.unit_of_work.Options
---@return any ... what `fn` returned
function unit_of_work.run(fn, opts)
  if type(fn) ~= "function" then
    error(("unit_of_work.run: a function is wanted, not a %s"):format(type(fn)), 2)
  end
  opts = check(opts, 2)
  return attempt(fn, opts, 1, pcall(once, fn, opts))
end

local REFUSED = {}

---Middleware that makes each request a unit: what it did counts if its answer is below 400.
---
---```lua
---local orders = app.group("/orders", { use = unit_of_work.per_request() })
---app.use(unit_of_work.per_request { isolation = "serializable" })
---```
---@param opts? tycho.unit_of_work.Options
---@return tycho.app.Middleware
function unit_of_work.per_request(opts)
  opts = check(opts, 2)
  if opts.retry then
    error("unit_of_work.per_request: a request is not done again", 2)
  end
  return {
    name = "unit_of_work",
    around = function(req, continue)
      local response
      local ok, err = pcall(once, function()
        response = continue(req)
        if response.status >= 400 then
          error(REFUSED, 0)
        end
      end, opts)
      if not ok and err ~= REFUSED then
        error(err, 0)
      end
      return response
    end,
  }
end

---Is the running fiber in a unit?
---
---```lua
---assert(unit_of_work.is_active(), "to be called in a unit of work")
---```
---@return boolean
function unit_of_work.is_active()
  return unit.is_active()
end

return unit_of_work
