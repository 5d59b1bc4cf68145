--- What queries are on SQLite.

local like = require "tycho._private.dialect.like"
local postgresql = require "tycho._private.dialect.postgresql"

local dialect = {
  name = "sqlite", has_returning = true, has_targets = true, limit_all = "-1",
  order = postgresql.order, on_conflict = postgresql.on_conflict,
}

-- Its LIKE takes a for A; GLOB does not.
function dialect.match(writer, column, op, text, ignore_case)
  if ignore_case then
    return ("%s like %s escape '!'"):format(column, writer:param(like.pattern(op, text)))
  end
  return ("%s glob %s"):format(column, writer:param(like.glob(op, text)))
end

-- Whoever writes has the whole database.
function dialect.lock()
  return ""
end

return dialect
