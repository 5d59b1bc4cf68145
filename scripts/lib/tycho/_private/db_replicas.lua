--- Which database reads go to: a replica that works, unless the same request wrote something that a
--- replica may not have yet.

local core = require "tycho.core.db"
local config = require "tycho.config"
local fibers = require "tycho.core.fiber"

local replicas = {}

-- Where a request's outermost context keeps the names of databases that it wrote to.
local WROTE = {}

local lists = {}
local turn = 0

-- The names of a database's replicas; nil if it has none.
local function list_of(name)
  local list = lists[name]
  if list == nil then
    list = config.get(("databases.%s.replicas"):format(name), {})
    lists[name] = #list > 0 and list or false
  end
  return lists[name] or nil
end

---Has the database any?
---@param name string
---@return boolean
function replicas.exist(name)
  return list_of(name) ~= nil
end

-- Children read their owner's context through a metatable; the outermost one is the request's.
local function outermost()
  local context = fibers.context()
  local meta = getmetatable(context)
  while meta and type(meta.__index) == "table" do
    context = meta.__index
    meta = getmetatable(context)
  end
  return context
end

local function wrote(name)
  local names = fibers.running() and rawget(outermost(), WROTE)
  return names and names[name]
end

---From here on this request reads what it wrote: from the database itself.
---@param name string
function replicas.note_write(name)
  if not list_of(name) or not fibers.running() then
    return
  end
  local context = outermost()
  local names = rawget(context, WROTE)
  if not names then
    names = {}
    rawset(context, WROTE, names)
  end
  names[name] = true
end

---Where a read of `name` may go.
---@param name string
---@return string name its own, if no replica will do
function replicas.choose(name)
  local list = list_of(name)
  if not list or wrote(name) then
    return name
  end
  for _ = 1, #list do
    turn = turn % #list + 1
    if core.is_up(list[turn]) then
      return list[turn]
    end
  end
  return name
end

return replicas
