--- Lets fibers wait inside coroutines. Loaded once, before any application code.
---
--- A generator or iterator may call a function that waits. The wait has to reach the loop
--- through every coroutine in between, and the result has to come back the same way. Meanwhile
--- nobody else may resume the coroutine: another fiber would hand it a wrong result.

local core = require "tycho.core.fiber"

local PARK, at_top, has_room = core.PARK, core.at_top, core.has_room
local resume, yield, create = coroutine.resume, coroutine.yield, coroutine.create
local running = coroutine.running

-- Who may not be resumed, and why.
local waiting = setmetatable({}, { __mode = "k" })

local function forward(co, ok, first, ...)
  if ok and first == PARK then
    waiting[co] = "cannot resume a coroutine that waits in another fiber"
    return forward(co, resume(co, yield(PARK)))
  end
  return ok, first, ...
end

local function wake(co, ok, ...)
  waiting[co] = nil
  return ok, ...
end

---As Lua's own; functions that wait may be called inside `co`.
---
---```lua
---local ok, row = coroutine.resume(rows)
---```
---@async
---@param co thread
---@param ... any
---@return boolean ok
---@return any ...
function coroutine.resume(co, ...)
  if waiting[co] then
    return false, waiting[co]
  elseif not has_room() then
    return false, "stack overflow: coroutines that resume each other"
  end
  return wake(co, forward(co, resume(co, ...)))
end

---As Lua's own. A fiber's own coroutine is the server's to resume, and nobody else's.
---
---```lua
---local co = coroutine.running()
---```
---@return thread? co
function coroutine.running()
  local co = running()
  if co and at_top() then
    waiting[co] = "cannot resume a fiber"
  end
  return co
end

local function raise(ok, first, ...)
  if not ok then
    error(first, 0)
  end
  return first, ...
end

---As Lua's own; functions that wait may be called inside `fn`.
---
---```lua
---for row in coroutine.wrap(function() coroutine.yield(db.one("select 1")) end) do ... end
---```
---@param fn function
---@return function next
function coroutine.wrap(fn)
  local co = create(fn)
  return function(...)
    return raise(coroutine.resume(co, ...))
  end
end

---As Lua's own, for coroutines of the script. A fiber itself has nobody to yield to.
---
---```lua
---local next_id = coroutine.wrap(function() for id = 1, 100 do coroutine.yield(id) end end)
---```
---@param ... any what `coroutine.resume` returns
---@return any ... what it is given next time
function coroutine.yield(...)
  if at_top() then
    error("coroutine.yield() outside a coroutine; to let others run, fiber.sleep(0)", 2)
  end
  return yield(...)
end

return coroutine
