--- What queries are on MySQL and MariaDB.

local like = require "tycho._private.dialect.like"

local dialect = { name = "mysql", has_returning = false, limit_all = "18446744073709551615" }

-- What LIKE takes for the same is a matter of the column's collation.
function dialect.match(writer, column, op, text, ignore_case)
  local pattern = writer:param(like.pattern(op, text))
  if ignore_case then
    return ("lower(%s) like lower(%s) escape '!'"):format(column, pattern)
  end
  return ("%s like %s collate utf8mb4_bin escape '!'"):format(column, pattern)
end

-- It has NULL first, and no words for anything else.
function dialect.order(column, descending, nulls)
  local term = column .. (descending and " desc" or "")
  if nulls and nulls ~= (descending and "last" or "first") then
    return ("%s is null%s, %s"):format(column, nulls == "first" and " desc" or "", term)
  end
  return term
end

function dialect.lock(mode, skip_locked)
  if mode == "share" then
    return " lock in share mode"
  end
  return " for update" .. (skip_locked and " skip locked" or "")
end

-- It does not ask which key: any unique one counts.
function dialect.on_conflict(columns, update)
  local set = {}
  for i, pair in ipairs(update) do
    set[i] = ("%s = %s"):format(pair[1], pair[2] or ("values(%s)"):format(pair[1]))
  end
  if #set == 0 then
    set[1] = ("%s = %s"):format(columns[1], columns[1])
  end
  return " on duplicate key update " .. table.concat(set, ", ")
end

return dialect
