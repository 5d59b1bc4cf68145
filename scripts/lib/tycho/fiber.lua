--- Fibers: doing several things at once, and stopping in time.
---
--- Every request, task and test runs in a fiber, and calls that wait look blocking. A fiber that
--- starts others owns them: it takes their results or their errors, and none outlives it.

local core = require "tycho.core.fiber"
local errors = require "tycho.errors"
local check = errors.check

local fiber = {}

-- Raises at whoever called the caller.
local function check_function(fn, name)
  if type(fn) ~= "function" then
    error(("fiber.%s: a function is wanted, not a %s"):format(name, type(fn)), 3)
  end
end

local function check_functions(functions, name)
  if type(functions) ~= "table" then
    error(("fiber.%s: a list of functions is wanted, not a %s"):format(name, type(functions)), 3)
  end
  for i, fn in ipairs(functions) do
    if type(fn) ~= "function" then
      error(("fiber.%s: number %d is no function but a %s"):format(name, i, type(fn)), 3)
    end
  end
end

local function check_seconds(seconds, name)
  if type(seconds) ~= "number" or seconds < 0 or seconds ~= seconds then
    error(("fiber.%s: a number of seconds is wanted, not %s"):format(name,
      type(seconds) == "number" and tostring(seconds) or "a " .. type(seconds)), 3)
  end
end

---@class tycho.fiber.Handle a child fiber
local Handle = {}
Handle.__index = Handle

---Waits for the child and returns what its function returned; raises what it raised. Only the
---fiber that started the child may join it.
---
---```lua
---local price = fiber.spawn(fetch_price, "ABC")
---local stock = fetch_stock("ABC")
---return { price = price:join(), stock = stock }
---```
---@async
---@return any ...
function Handle:join()
  while not self.done do
    check(core.await(self))
  end
  if not self.ok then
    core.forgive()
    error(self.error, 0)
  end
  return unpack(self, 1, self.n)
end

---Asks the child to end: what it waits for is cancelled and raises `cancelled` in it.
function Handle:cancel()
  core.cancel(self)
end

local function start(fn, ...)
  local handle = setmetatable({}, Handle)
  core.spawn(handle, fn, ...)
  return handle
end

---Starts `fn(...)` as a child of the running fiber. An error that nobody joins reaches the owner
---when the owner ends; children that still run then are cancelled.
---
---```lua
---local handle = fiber.spawn(function() return http.get(url) end)
---local answer = handle:join()
---```
---@param fn fun(...: any): any
---@param ... any its arguments
---@return tycho.fiber.Handle
---Raises `unavailable` (detail FIBERS) when there are lua.fibers_max already.
function fiber.spawn(fn, ...)
  check_function(fn, "spawn")
  check(core.room())
  return start(fn, ...)
end

local function start_each(functions)
  local handles = {}
  for i, fn in ipairs(functions) do
    handles[i] = start(fn)
  end
  return handles
end

local function cancel_each(handles)
  for _, handle in ipairs(handles) do
    handle:cancel()
  end
end

local function settle(handles)
  core.shield(true)
  for _, handle in ipairs(handles) do
    while not handle.done do
      core.await()
    end
  end
  core.shield(false)
end

-- Waits until `decide(handle)` says that one settles the matter, or all have ended.
local function wait_for(handles, decide)
  while true do
    local pending = false
    for _, handle in ipairs(handles) do
      if handle.done and decide(handle) then
        return handle
      end
      pending = pending or not handle.done
    end
    if not pending then
      return nil
    end
    local _, err = core.await()
    if err then
      cancel_each(handles)
      settle(handles)
      core.forgive()
      error(err, 0)
    end
  end
end

---Runs all functions at once and returns their first results, in order, when all have ended. The
---first error cancels the others and is raised.
---
---```lua
---local results = fiber.all {
---  function() return db.one("select count(*) as n from users") end,
---  function() return db.one("select count(*) as n from orders") end,
---}
---```
---@async
---@param functions (fun(): any)[]
---@return any[] results nil where a function returned nothing
function fiber.all(functions)
  check_functions(functions, "all")
  local handles = start_each(functions)
  local failed = wait_for(handles, function(handle) return not handle.ok end)

  if failed then
    cancel_each(handles)
    settle(handles)
    core.forgive()
    error(failed.error, 0)
  end
  local results = {}
  for i, handle in ipairs(handles) do
    results[i] = handle[1]
  end
  return results
end

---Runs all functions at once; the first one that ends well decides, the others are cancelled.
---If all fail, the first error is raised.
---
---```lua
---local answer = fiber.race {
---  function() return ask "a.example" end,
---  function() return ask "b.example" end,
---}
---```
---@async
---@param functions (fun(): any)[]
---@return any ... what the winner returned
function fiber.race(functions)
  check_functions(functions, "race")
  local handles = start_each(functions)
  local winner = wait_for(handles, function(handle) return handle.ok end)

  cancel_each(handles)
  settle(handles)
  core.forgive()
  if not winner then
    error(handles[1] and handles[1].error or "fiber.race: no functions", 0)
  end
  return unpack(winner, 1, winner.n)
end

---Waits.
---
---```lua
---fiber.sleep(0.5)
---```
---@async
---@param seconds number not negative
---Raises `cancelled`, or `timeout` when the fiber's deadline comes first.
function fiber.sleep(seconds)
  check_seconds(seconds, "sleep")
  check(core.sleep(seconds))
end

local function leave(previous, ok, ...)
  core.restore(previous)
  if not ok then
    error((...), 0)
  end
  return ...
end

---Runs `fn(...)` with at most so much time: what it waits for then is cancelled and raises
---`timeout`. A deadline that the fiber has already still holds.
---
---```lua
---local answer = fiber.timeout(2, http.get, url)
---```
---@async
---@param seconds number
---@param fn fun(...: any): any
---@param ... any its arguments
---@return any ... what `fn` returned
function fiber.timeout(seconds, fn, ...)
  check_seconds(seconds, "timeout")
  check_function(fn, "timeout")
  return leave(core.narrow(seconds), pcall(fn, ...))
end

local function unshield(ok, ...)
  core.shield(false)
  if not ok then
    error((...), 0)
  end
  return ...
end

---Runs `fn(...)` to its end, whatever happens meanwhile: the fiber's deadline and its
---cancellation wait until it is over. For what must not be left half done; keep it short.
---
---```lua
---fiber.shield(function() ledger.book(entry) end)
---```
---@async
---@param fn fun(...: any): any
---@param ... any its arguments
---@return any ... what `fn` returned
function fiber.shield(fn, ...)
  check_function(fn, "shield")
  core.shield(true)
  return unshield(pcall(fn, ...))
end

local function conclude(clean_up, ok, ...)
  core.shield(true)
  local cleaned, err = pcall(clean_up, not ok and (...) or nil)
  core.shield(false)
  if not ok then
    if not cleaned then
      require("tycho.log").error("a clean-up failed", { error = tostring(err) })
    end
    error((...), 0)
  elseif not cleaned then
    error(err, 0)
  end
  return ...
end

---Runs `fn(...)` and then `clean_up`, whatever became of it: it returned, it raised, its time was
---over, the client went away. The clean-up gets the error, or nil; it is shielded and may wait,
---so keep it short. It does not run in a script that had to be stopped because it never waited,
---nor when the process is killed.
---
---```lua
---return fiber.finally(function() return render(place) end, function()
---  places.give_back(place) -- fiber.cancelled() says whether, and why, it was cut short
---end)
---```
---@async
---@param fn fun(...: any): any
---@param clean_up fun(err: any)
---@param ... any arguments of `fn`
---@return any ... what `fn` returned
---Raises what `fn` raised; what `clean_up` raised, if `fn` did not (else that is logged).
function fiber.finally(fn, clean_up, ...)
  check_function(fn, "finally")
  check_function(clean_up, "finally")
  return conclude(clean_up, pcall(fn, ...))
end

---Seconds until the running fiber's deadline; nil if it has none.
---
---```lua
---if (fiber.remaining() or 60) < 1 then return nil end
---```
---@return number? seconds
function fiber.remaining()
  return core.remaining()
end

---Why the running fiber was cancelled; nil if it was not.
---
---```lua
---while not fiber.cancelled() do step() end
---```
---@return string? reason
function fiber.cancelled()
  return core.cancelled()
end

---A table that belongs to the running fiber. Children read their owner's values and keep what
---they write to themselves: locale, tenant, fields for the log.
---
---```lua
---fiber.context().tenant = req.user.tenant
---```
---@return table context
function fiber.context()
  return core.context()
end

return fiber
