--- What queries are on PostgreSQL.

local like = require "tycho._private.dialect.like"

local dialect = { name = "postgresql", has_returning = true, has_targets = true, limit_all = "all" }

---A text that holds, starts or ends with another.
---@param writer table
---@param column string SQL
---@param op string contains, starts_with or ends_with
---@param text string
---@param ignore_case boolean
---@return string sql
function dialect.match(writer, column, op, text, ignore_case)
  return ("%s %s %s escape '!'"):format(column, ignore_case and "ilike" or "like",
    writer:param(like.pattern(op, text)))
end

---One term of an order; `nulls` is "first", "last" or nil for wherever the database has them.
---@return string sql
function dialect.order(column, descending, nulls)
  return column .. (descending and " desc" or "") .. (nulls and " nulls " .. nulls or "")
end

---@param mode "update"|"share"
function dialect.lock(mode, skip_locked)
  return (" for %s%s"):format(mode, skip_locked and " skip locked" or "")
end

---What an insertion does where there is such a row already.
---@param columns string[] quoted
---@param update { [1]: string, [2]: string|nil }[] quoted column, and SQL; nil: the new row's value
---@return string sql
function dialect.on_conflict(columns, update)
  local target = (" on conflict (%s) do "):format(table.concat(columns, ", "))
  if #update == 0 then
    return target .. "nothing"
  end
  local set = {}
  for i, pair in ipairs(update) do
    set[i] = ("%s = %s"):format(pair[1], pair[2] or "excluded." .. pair[1])
  end
  return ("%supdate set %s"):format(target, table.concat(set, ", "))
end

return dialect
