--- Several statements in one go.

local core = require "tycho.core.db"
local check = require("tycho.errors").check

local batch = {}

local STATEMENTS_MAX, VALUES_MAX = 1000, 7900

local SHAPES = { query = "rows", one = "one", value = "value", exec = "exec" }

local FIELDS = { as = true, n = true }

local function is_length(n)
  return type(n) == "number" and n >= 1 and n % 1 == 0
end

-- What is wrong with an entry, or nil.
local function fault_of(entry)
  if type(entry) ~= "table" or type(entry[1]) ~= "string" then
    return 'expected { "select ...", value, ... }'
  elseif not SHAPES[entry.as or "query"] then
    return 'as = "query", "one", "value", "exec"'
  elseif entry.n ~= nil and not is_length(entry.n) then
    return "n is the number of what is in the list"
  elseif (entry.n or table.maxn(entry)) - 1 > VALUES_MAX then
    return ("more than %d values"):format(VALUES_MAX)
  end
  for key in pairs(entry) do
    if type(key) ~= "number" and not FIELDS[key] then
      return ('unknown field "%s"'):format(tostring(key))
    end
  end
end

local function check_entry(entry, i, level)
  local fault = fault_of(entry)
  if fault then
    error(("statement %d of the batch: %s"):format(i, fault), level + 1)
  end
  return SHAPES[entry.as or "query"]
end

-- What the binding takes: shape, text, how many values, the values.
local function pack(list, level)
  if type(list) ~= "table" then
    error("a batch is a list of statements", level + 1)
  end
  local length = table.maxn(list) -- whatever is missing on the way there is a fault
  if length > STATEMENTS_MAX then
    error(("a batch has at most %d statements, not %d"):format(STATEMENTS_MAX, length), level + 1)
  end
  local items = {}
  for i = 1, length do
    local entry = list[i]
    local shape = check_entry(entry, i, level + 1)
    local count = (entry.n or table.maxn(entry)) - 1
    items[i] = { shape, entry[1], count, unpack(entry, 2, count + 1) }
  end
  return items
end

local function run_one_by_one(tx, items)
  local results = { n = #items }
  for i, item in ipairs(items) do
    local result, err = core.run(tx.handle, item[1], item[2], unpack(item, 4, 3 + item[3]))
    if err then
      err.statement = i
      error(err, 0)
    end
    results[i] = result
  end
  return results
end

local function only_reads(items)
  for _, item in ipairs(items) do
    if not core.reads(item[2]) then
      return false
    end
  end
  return true
end

---Runs the statements of `list`: in one round trip where the database can, all of them or none.
---@param target string|userdata the database's name, or a transaction's handle
---@param list table[]
---@param in_transaction fun(fn: fun(tx: table): any): any runs a function in a transaction
---@param level integer whose fault a wrong list is, as for `error()`
---@param outer? table the transaction that it is in already
---@return table results
function batch.run(target, can_batch, list, in_transaction, level, outer)
  local items = pack(list, level + 1)
  if #items == 0 then
    return { n = 0 }
  elseif not can_batch and outer and only_reads(items) then
    return run_one_by_one(outer, items) -- there is nothing to undo
  elseif not can_batch then
    return in_transaction(function(tx) return run_one_by_one(tx, items) end)
  end
  local results = check(core.batch(target, items))
  results.n = #items
  return results
end

return batch
