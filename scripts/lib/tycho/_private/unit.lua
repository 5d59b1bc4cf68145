--- The unit of work that a fiber is in, and what has to be undone with it.
---
--- Databases undo their part by themselves; what is kept in memory says here how to go back.

local fibers = require "tycho.core.fiber"

local unit = {}

local KEY = {}
local count = 0

---The innermost one of the running fiber, or nil. A child fiber has none.
---@return table?
function unit.current()
  return count > 0 and fibers.running() and rawget(fibers.context(), KEY) or nil
end

---@param is_transaction? boolean no unit of work, but undone like one
---@return table unit
function unit.enter(is_transaction)
  local context = fibers.context()
  local entered = {
    outer = rawget(context, KEY), kept = {}, undo = {}, context = context,
    is_transaction = is_transaction,
  }
  rawset(context, KEY, entered)
  count = count + 1
  return entered
end

---@param entered table
---@param ok boolean shall what was done stay?
function unit.leave(entered, ok)
  rawset(entered.context, KEY, entered.outer)
  count = count - 1
  for i = ok and 0 or #entered.undo, 1, -1 do
    entered.undo[i]()
  end
end

---Leaves, and returns the rest or raises it: for what `pcall` gives back.
---@param entered table
---@param ok boolean
---@return any ...
function unit.settle(entered, ok, ...)
  unit.leave(entered, ok)
  if not ok then
    error((...), 0)
  end
  return ...
end

---Runs `fn()`; what it changed in memory is undone if it raises.
---@param fn fun(): ...
---@return any ... what `fn` returned
function unit.transaction(fn)
  return unit.settle(unit.enter(true), pcall(fn))
end

---Is the running fiber in a unit of work?
---@return boolean
function unit.is_active()
  local current = unit.current()
  while current and current.is_transaction do
    current = current.outer
  end
  return current ~= nil
end

---Remembers how a store in memory is now, before it is changed: once in each unit.
---@param store { snapshot: fun(self): fun() }
function unit.keep(store)
  local current = unit.current()
  while current and not current.kept[store] do
    current.kept[store] = true
    current.undo[#current.undo + 1] = store:snapshot()
    current = current.outer
  end
end

return unit
