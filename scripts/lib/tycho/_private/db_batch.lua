--- Several statements in one go.

local core = require "tycho.core.db"
local check = require("tycho.errors").check

local batch = {}

local STATEMENTS_MAX = 1000

local SHAPES = { query = "rows", one = "one", value = "value", exec = "exec" }

local function check_entry(entry, i, level)
  local shape = type(entry) == "table" and SHAPES[entry.as or "query"]
  if type(entry) ~= "table" or type(entry[1]) ~= "string" then
    error(('statement %d of the batch: expected { "select ...", value, ... }'):format(i), level + 1)
  elseif not shape then
    error(('statement %d of the batch: as = "query", "one", "value", "exec"'):format(i), level + 1)
  end
  return shape
end

-- What the binding takes: shape, text, how many values, the values.
local function pack(list, level)
  if type(list) ~= "table" then
    error("a batch is a list of statements", level + 1)
  elseif #list > STATEMENTS_MAX then
    error(("a batch has at most %d statements, not %d"):format(STATEMENTS_MAX, #list), level + 1)
  end
  local items = {}
  for i, entry in ipairs(list) do
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

---Runs the statements of `list`: in one round trip where the database can, all of them or none.
---@param target string|userdata the database's name, or a transaction's handle
---@param list table[]
---@param in_transaction fun(fn: fun(tx: table): any): any runs a function in a transaction
---@param level integer whose fault a wrong list is, as for `error()`
---@return table results
function batch.run(target, can_batch, list, in_transaction, level)
  local items = pack(list, level + 1)
  if #items == 0 then
    return { n = 0 }
  elseif not can_batch then
    return in_transaction(function(tx) return run_one_by_one(tx, items) end)
  end
  local results = check(core.batch(target, items))
  results.n = #items
  return results
end

return batch
