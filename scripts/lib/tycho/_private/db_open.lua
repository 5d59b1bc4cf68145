--- Which transactions the running fiber is in, and who may use them.
---
--- They are in its context, by database, in the order that they were begun in. One that was begun
--- in a coroutine is none of whoever goes on while that coroutine sleeps; and the context does not
--- keep it from the collector, so that it ends with a coroutine that nobody resumes any more.

local blame = require "tycho._private.blame"
local config = require "tycho.config"
local fibers = require "tycho.core.fiber"

local status = coroutine.status

local open = {}

-- In development a fiber that waits for something else while it holds a transaction is told so.
local IS_DEV = config.get "env" == "dev"

-- Where a fiber's context keeps them. Children do not see it: a context reads its owner's values
-- through a metatable, and this one is read raw.
local OPEN = {}
local WEAK = { __mode = "v" }
local count = 0

local function sleeps(tx)
  local state = status(tx.thread)
  return state == "suspended" or state == "dead"
end

---The running fiber's transaction of that database, or nil.
---@param name string of the database
---@return tycho.db.Transaction?
function open.current(name)
  local lists = count > 0 and fibers.running() and rawget(fibers.context(), OPEN)
  local list = lists and lists[name]
  for i = list and list.n or 0, 1, -1 do
    local tx = list[i]
    if tx and not sleeps(tx) then
      if tx.deferred then
        tx.deferred()
      end
      return tx
    end
  end
end

---In development: does the fiber hold a connection?
---@param yes boolean
function open.hold(yes)
  if IS_DEV then
    fibers.holds(yes)
  end
end

---From here on the running fiber is in it.
---@param tx tycho.db.Transaction
function open.enter(tx)
  local context = fibers.context()
  local lists = rawget(context, OPEN)
  if not lists then
    lists = {}
    rawset(context, OPEN, lists)
  end
  local list = lists[tx.name]
  if not list then
    list = setmetatable({ n = 0 }, WEAK)
    lists[tx.name] = list
  end
  tx.context, tx.thread = context, coroutine.running()
  list.n = list.n + 1
  list[list.n] = tx
  count = count + 1
end

---No longer, and nobody else either. Coroutines need not leave in the order that they entered in.
---@param tx tycho.db.Transaction
function open.leave(tx)
  local list, kept = rawget(tx.context, OPEN)[tx.name], 0
  for i = 1, list.n do
    local at = list[i]
    list[i] = nil
    if at and at ~= tx then
      kept = kept + 1
      list[kept] = at
    end
  end
  list.n = kept
  tx.is_over = true
  count = count - 1
  open.hold(kept > 0)
end

---Raises unless what is done now in `tx` shares its fate: it may be over, or a transaction in it
---may be another fiber's, with which it would be undone.
---@param tx tycho.db.Transaction
---@return tycho.db.Transaction innermost the innermost one on its connection
function open.check(tx)
  local innermost = tx.root.innermost
  if tx.is_over then
    blame "the transaction is over"
  elseif innermost ~= tx and innermost.context ~= fibers.context() then
    blame("another fiber has a transaction open in this one, and what is done here would be "
      .. "undone with it")
  elseif tx.root.copies then
    blame "a COPY is under way in the transaction: it takes nothing else before that has ended"
  end
  return innermost
end

return open
