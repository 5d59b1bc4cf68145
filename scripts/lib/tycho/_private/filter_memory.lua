--- A filter's tree, asked of a row in memory: with SQL's logic of three values, of which nil is the
--- one that is neither true nor false.

local blame = require "tycho._private.blame"
local filter = require "tycho._private.filter"
local json = require "tycho.json"
local values = require "tycho._private.model_values"

local null = json.null

local filter_memory = {}

local COMPARE = {
  eq = function(order) return order == 0 end,
  ne = function(order) return order ~= 0 end,
  lt = function(order) return order < 0 end,
  le = function(order) return order <= 0 end,
  gt = function(order) return order > 0 end,
  ge = function(order) return order >= 0 end,
}

local function matches(op, text, part)
  if op == "starts_with" then
    return text:sub(1, #part) == part
  elseif op == "ends_with" then
    return part == "" or text:sub(-#part) == part
  end
  return text:find(part, 1, true) ~= nil
end

local function any_of(list, value, compare)
  local unknown = false
  for _, item in ipairs(list) do
    local same = compare(value, item)
    if same then
      return true
    end
    unknown = unknown or same == nil
  end
  if unknown then
    return nil
  end
  return false
end

-- The comparison of a column with one value.
local function ask(context, row, node)
  local column = context.column(node.column, node.op, node.value)
  local function operand(given)
    if filter.is_column(given) then
      return row[context.column(given.name).name]
    elseif filter.is_raw(given) or filter.is_query(given) then
      blame("%s: SQL cannot be run in memory", node.column)
    end
    return context.value(column, given)
  end
  return column, row[column.name], operand
end

local function compared(column, op, value, other)
  if value == nil or other == nil or other == null then
    return nil
  end
  return COMPARE[op](values.compare(column.kind, value, other))
end

local tests = {}

function tests.is_null(_, value, _, node)
  return (value == nil) == node.value
end

function tests.between(column, value, operand, node)
  local from = compared(column, "ge", value, operand(node.value[1]))
  local to = compared(column, "le", value, operand(node.value[2]))
  if from == false or to == false then
    return false
  end
  return from and to
end

tests["in"] = function(column, value, operand, node)
  return any_of(node.value, value, function(mine, item)
    if item == null then
      return mine == nil
    end
    return compared(column, "eq", mine, operand(item))
  end)
end

function tests.not_in(column, value, operand, node)
  if #node.value == 0 then
    return true
  end
  local found = tests["in"](column, value, operand, node)
  if found == nil then
    return nil
  end
  return not found
end

local function part_test(op, ignore_case)
  return function(_, value, _, node)
    if value == nil then
      return nil
    elseif ignore_case then
      return matches(op, value:lower(), node.value:lower())
    end
    return matches(op, value, node.value)
  end
end

for _, op in ipairs { "contains", "starts_with", "ends_with" } do
  tests[op], tests["i" .. op] = part_test(op, false), part_test(op, true)
end

local function comparison(context, row, node)
  local column, value, operand = ask(context, row, node)
  if tests[node.op] then
    return tests[node.op](column, value, operand, node)
  elseif node.value == null then
    return (value == nil) == (node.op == "eq")
  end
  return compared(column, node.op, value, operand(node.value))
end

local holds

local function group(context, row, node)
  local is_or = node.join == "or"
  local result = not is_or
  for _, inner in ipairs(node) do
    local held = holds(context, row, inner)
    if held == is_or then
      result = is_or
      break
    elseif held == nil then
      result = nil
    end
  end
  if node.negated and result ~= nil then
    return not result
  end
  return result
end

function holds(context, row, node)
  if node.raw then
    blame("SQL cannot be run in memory")
  elseif node.join then
    return group(context, row, node)
  end
  return comparison(context, row, node)
end

---Is it one of the rows that are meant?
---@param context { column: function, value: function }
---@param row table<string, any>
---@param tree table of `filter.parse`
---@return boolean
function filter_memory.holds(context, row, tree)
  return holds(context, row, tree) == true
end

return filter_memory
