--- A filter's tree as SQL.

local filter = require "tycho._private.filter"
local json = require "tycho.json"

local filter_sql = {}

local null = json.null
local OPERATORS = filter.OPERATORS

-- Lists are filled up to a power of two with their last value, so that lists of all lengths lead
-- to a few statements, which the database knows already.
local function padded(count)
  local size = 1
  while size < count do
    size = size * 2
  end
  return size
end

local function operand(writer, node, value)
  if filter.is_column(value) then
    return (writer:other(value.name))
  elseif filter.is_raw(value) then
    return writer:raw(value)
  elseif filter.is_query(value) then
    return ("(%s)"):format(value:write(writer))
  end
  return writer:value(node.column, value)
end

local function of_list(writer, node, column)
  local items, has_null, last = {}, false, nil
  for _, value in ipairs(node.value) do
    if value == null then
      has_null = true
    else
      last = operand(writer, node, value)
      items[#items + 1] = last
    end
  end
  local sql = "1 = 0"
  if #items > 0 then
    local text = table.concat(items, ", ")
    sql = ("%s in (%s%s)"):format(column, text, (", " .. last):rep(padded(#items) - #items))
  end
  if has_null then
    sql = #items > 0 and ("(%s or %s is null)"):format(sql, column) or column .. " is null"
  end
  return sql
end

local writers = {}

writers["in"] = function(writer, node, column)
  if filter.is_query(node.value) then
    return ("%s in %s"):format(column, operand(writer, node, node.value))
  end
  return of_list(writer, node, column)
end

-- As `ne`: a row without a value is none of the rows meant.
function writers.not_in(writer, node, column)
  if not filter.is_query(node.value) and #node.value == 0 then
    return "1 = 1"
  end
  return ("not (%s)"):format(writers["in"](writer, node, column))
end

function writers.is_null(_, node, column)
  return column .. (node.value and " is null" or " is not null")
end

function writers.between(writer, node, column)
  return ("%s between %s and %s"):format(column, operand(writer, node, node.value[1]),
    operand(writer, node, node.value[2]))
end

for _, op in ipairs { "contains", "starts_with", "ends_with" } do
  writers[op] = function(writer, node, column)
    return writer.dialect.match(writer, column, op, node.value, false)
  end
  writers["i" .. op] = function(writer, node, column)
    return writer.dialect.match(writer, column, op, node.value, true)
  end
end

local function comparison(writer, node)
  local column = writer:column(node.column, node.is_ordered and "order" or node.op, node.value)
  local write = writers[node.op]
  if write then
    return write(writer, node, column)
  elseif node.value == null then
    return column .. (node.op == "eq" and " is null" or " is not null")
  end
  return ("%s %s %s"):format(column, OPERATORS[node.op], operand(writer, node, node.value))
end

local write

local function group(writer, node)
  local parts = {}
  for i, inner in ipairs(node) do
    parts[i] = write(writer, inner)
  end
  local sql = table.concat(parts, node.join == "or" and " or " or " and ")
  if node.negated then
    return ("not (%s)"):format(sql)
  end
  return #parts > 1 and ("(%s)"):format(sql) or sql
end

function write(writer, node)
  if node.raw then
    return ("(%s)"):format(writer:raw(node.raw))
  elseif node.join then
    return group(writer, node)
  end
  return comparison(writer, node)
end

---The condition, or nil if the filter leaves nothing out.
---@param writer tycho.query.Writer
---@param tree table of `filter.parse`
---@return string? sql
function filter_sql.write(writer, tree)
  if #tree == 0 then
    return nil
  end
  return (write(writer, #tree == 1 and tree[1] or tree))
end

return filter_sql
