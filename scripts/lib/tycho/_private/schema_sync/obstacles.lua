--- What makes a change impossible, asked of the database before anything is changed: rows that are
--- in its way, and things that the database does not have.

local base = require "tycho._private.dialect.ddl"

local obstacles = {}

local quote = base.quote

local function any(db, from, ...)
  local sql = "select 1 as found from " .. from:format(...)
  return db.one(sql:find(" limit ", 1, true) and sql or sql .. " limit 1") ~= nil
end

local WRITE = "write a migration (tycho db new)"

local function add_column(db, difference)
  local column = difference.wanted
  if column.identity then
    return "a key that counts itself up cannot be added to a table: " .. WRITE
  end
  local has_value = column.null or column.default or column.fill
  if not has_value and any(db, "%s", quote(difference.table)) then
    return ("%s has rows, and these would have no value: give the column a default or "
      .. "null = true, or fill it in a migration"):format(difference.table)
  end
end

-- How many rows have a condition, in words; nil if there are none. `%s` in it is the column.
local function count_words(db, difference, condition)
  local column = quote(difference.live.was or difference.name)
  local count = tonumber(db.value(("select count(*) from %s where %s"):format(
    quote(difference.table), (condition:gsub("%%s", (column:gsub("%%", "%%%%")))))))
  if count > 0 then
    return ("%d row%s of %s %s"):format(count, count == 1 and "" or "s", difference.table,
      count == 1 and "has" or "have"), count == 1 and "it" or "them"
  end
end

local function change_null(db, difference)
  if difference.wanted.null then
    return nil
  end
  local rows, them = count_words(db, difference, "%s is null")
  return rows and ("%s no value there: fill %s first"):format(rows, them)
end

-- Others refuse to change the type. SQLite keeps what does not fit, as it was.
local MISFITS = {
  INTEGER = "cast(%s as integer) <> %s",
  REAL = "cast(%s as real) <> %s",
  BOOLEAN = "cast(%s as integer) <> %s or cast(%s as integer) not in (0, 1)",
  JSON = "not json_valid(%s)",
}

local function change_type(db, difference)
  local misfit = db.system() == "sqlite" and MISFITS[difference.wanted.type_key]
  local rows, them
  if misfit then
    rows, them = count_words(db, difference, ("%%s is not null and (%s)"):format(misfit))
  end
  return rows and ("%s a value there that does not fit: change %s first"):format(rows, them)
end

-- Only what can be asked of the columns that are there already.
local function has_all(live, names)
  for _, name in ipairs(names) do
    if not live.by_name[name] then
      return false
    end
  end
  return true
end

-- A column that is added has the same default in every row.
local function add_unique_column(db, difference, wanted)
  local name = difference.wanted.parts[1]
  local column = wanted.by_name[name]
  if not difference.wanted.parts[2] and column and column.default
    and any(db, "%s limit 1 offset 1", quote(difference.table)) then
    return ("all rows of %s would have the same %s: take away its default, or fill it in a "
      .. "migration"):format(difference.table, name)
  end
end

local function add_index(db, difference, live, wanted)
  local index = difference.wanted
  if not index.unique or index.where then
    return nil
  elseif not has_all(live, index.parts) then
    return add_unique_column(db, difference, wanted)
  end
  local list, filled = base.quote_all(index.parts), {}
  for i, name in ipairs(index.parts) do
    filled[i] = quote(name) .. " is not null"
  end
  if any(db, "%s where %s group by %s having count(*) > 1", quote(difference.table),
      table.concat(filled, " and "), list) then
    return ("there are rows of %s with the same %s: make them different first"):format(
      difference.table, table.concat(index.parts, ", "))
  end
end

local function add_check(db, difference, live)
  local names = {}
  for name in pairs(difference.wanted.uses) do
    names[#names + 1] = name
  end
  if has_all(live, names)
    and any(db, "%s where not (%s)", quote(difference.table), difference.wanted.sql) then
    return ("there are rows of %s for which it does not hold: change them first"):format(
      difference.table)
  end
end

local function add_reference(db, difference, live, _, shapes)
  local reference = difference.wanted
  local target = shapes[reference.table]
  if not target or not has_all(live, reference.columns)
    or not has_all(target, reference.targets) then
    return nil
  end
  local own, other = quote(reference.columns[1]), quote(reference.targets[1])
  if any(db, "%s a where a.%s is not null and not exists (select 1 from %s b where b.%s = a.%s)",
      quote(difference.table), own, quote(reference.table), other, own) then
    return ("there are rows of %s whose %s leads nowhere: change them first"):format(
      difference.table, reference.columns[1])
  end
end

local FIND = {
  add_column = add_column, change_null = change_null, change_type = change_type,
  add_index = add_index, change_index = add_index,
  add_check = add_check, change_check = add_check,
  add_reference = add_reference, change_reference = add_reference,
  change_primary = function() return "a primary key is not changed here: " .. WRITE end,
  change_identity = function() return "a key is not changed here: " .. WRITE end,
}

local UNINDEXED = { longtext = true, longblob = true, json = true }

-- MySQL's indexes are of columns that are short enough; MariaDB's only of columns.
local function index_on_mysql(index, wanted)
  if index.where then
    return "MySQL has no indexes of some rows only (where)"
  end
  for _, part in ipairs(index.parts) do
    local column = wanted.by_name[part]
    if not column then
      return "an index of an expression is not the same on MySQL and MariaDB: " .. WRITE
    elseif UNINDEXED[column.type:match("^%a+")] then
      return ("MySQL has no indexes of texts without a limit: give %s a max"):format(part)
    end
  end
end

---Why a wanted index cannot be there, or nil.
---@param ddl tycho.dialect.Ddl
---@param index tycho.schema_sync.Index
---@param wanted tycho.schema_sync.Shape
---@return string?
function obstacles.of_index(ddl, index, wanted)
  return ddl.system == "mysql" and index_on_mysql(index, wanted) or nil
end

---Why a difference cannot be done away with, or nil. May ask the database.
---@param db tycho.db.Database
---@param difference tycho.schema_sync.Difference
---@param live? tycho.schema_sync.Shape before anything was renamed
---@param wanted tycho.schema_sync.Shape
---@param shapes table<string, tycho.schema_sync.Shape> all live ones
---@return string?
function obstacles.of(db, difference, live, wanted, shapes)
  local find = live and FIND[difference.action]
  return find and find(db, difference, live, wanted, shapes) or nil
end

return obstacles
