--- What tables a MySQL or MariaDB database has.
---
--- SHOW CREATE TABLE says it all, in the server's own words, and for temporary tables too: what a
--- model wants is made once as one, and read back the same way.

local base = require "tycho._private.dialect.mysql_ddl"
local shape = require "tycho._private.schema_sync.shape"
local tokens = require "tycho._private.schema_sync.tokens"

local reader = {}

local SCRATCH = "tycho_scratch"

-- Words behind a column's type.
local BEHIND_TYPE = { ["not"] = true, null = true, default = true, auto_increment = true,
  comment = true, check = true, on = true, generated = true, as = true, character = true,
  collate = true, invisible = true, virtual = true, stored = true, persistent = true,
  primary = true, unique = true, constraint = true }

local function is_word(token, text)
  return token ~= nil and token.kind == "word" and token.text == text
end

-- The number of the first token at or behind `from` that is one of the words.
local function find_word(part, from, words)
  local depth = 0
  for i = from, #part do
    depth = depth + tokens.depth(part[i])
    if depth == 0 and part[i].kind == "word" and words[part[i].text] then
      return i
    end
  end
  return #part + 1
end

local ALIKE = { tinyint = true, smallint = true, mediumint = true, int = true, bigint = true }

-- "bigint(20)" is "bigint" where a number is shown with so many digits; tinyint(1) is a boolean.
local function type_key(text)
  local key = text:lower():gsub("%s+", " ")
  local name, rest = key:match("^(%a+)%(%d+%)(.*)$")
  if name and ALIKE[name] and not (name == "tinyint" and key:find("(1)", 1, true)) then
    return name .. rest
  end
  return key
end

local function default_key(text)
  local key = text and tokens.normal(text, true)
  if not key or key == "null" then
    return nil
  end
  return (key:gsub("^'(%-?[%d.]+)'$", "%1"))
end

local ODD = { generated = true, as = true, virtual = true, stored = true, persistent = true,
  invisible = true }

local function read_column(made, sql, part)
  local name = part[1].text
  local stop = find_word(part, 2, BEHIND_TYPE)
  local column = {
    name = name, type = tokens.text(sql, part, 2, stop - 1), null = true, identity = false,
  }
  column.type_key = type_key(column.type)
  for i = stop, #part do
    if is_word(part[i], "not") and is_word(part[i + 1], "null") then
      column.null = false
    elseif is_word(part[i], "auto_increment") then
      column.identity = true
    elseif is_word(part[i], "default") then
      local last = find_word(part, i + 1, {
        on = true, auto_increment = true, comment = true, check = true, invisible = true,
      })
      column.default = tokens.text(sql, part, i + 1, last - 1)
    elseif part[i].kind == "word" and ODD[part[i].text] then
      column.is_odd = column.is_odd or part[i].text
    end
  end
  column.default_key = default_key(column.default)
  if not column.default_key then
    column.default = nil
  end
  shape.add_column(made, column)
end

-- The names in the brackets that open at `open`, and the number of the last token.
local function read_names(sql, part, open)
  local close = tokens.close(part, open)
  local names = {}
  for i, item in ipairs(tokens.split(part, open + 1, close - 1)) do
    local is_name = item[1].kind == "name" and (not item[2] or item[2].text == "asc")
    names[i] = is_name and item[1].text or tokens.text(sql, item, 1, #item)
  end
  return names, close
end

local function read_index(made, sql, part, unique)
  local at = unique and 3 or 2
  local names = read_names(sql, part, at + 1)
  made.indexes[#made.indexes + 1] = {
    name = part[at].text, parts = names, unique = unique,
    key = shape.index_key(names, unique),
    uses = shape.uses(tokens.of, table.concat(names, ","), made.by_name),
  }
end

local function read_reference(made, sql, part)
  local columns, close = read_names(sql, part, 5)
  local targets, last = read_names(sql, part, close + 3)
  local on_delete = "no_action"
  for i = last + 1, #part - 2 do
    if is_word(part[i], "on") and is_word(part[i + 1], "delete") then
      local word, next_word = part[i + 2].text, part[i + 3]
      on_delete = word == "set" and next_word and "set_" .. next_word.text or word
    end
  end
  if on_delete == "restrict" or on_delete == "no" then
    on_delete = "no_action" -- the same here
  end
  local reference = { name = part[2].text, columns = columns, table = part[close + 2].text,
    targets = targets, on_delete = on_delete }
  reference.key = shape.reference_key(reference)
  made.references[#made.references + 1] = reference
end

local function read_check(made, sql, part)
  local text = tokens.text(sql, part, 5, tokens.close(part, 4) - 1)
  made.checks[#made.checks + 1] = {
    name = part[2].text, sql = text, key = tokens.normal(text, true),
    uses = shape.uses(tokens.of, text, made.by_name),
  }
end

local function read_part(made, sql, part)
  local first = part[1]
  if first.kind == "name" then
    read_column(made, sql, part)
  elseif is_word(first, "primary") then
    made.primary = read_names(sql, part, 3)
  elseif is_word(first, "unique") then
    read_index(made, sql, part, true)
  elseif is_word(first, "key") then
    read_index(made, sql, part, false)
  elseif is_word(first, "constraint") and is_word(part[3], "foreign") then
    read_reference(made, sql, part)
  elseif is_word(first, "constraint") and is_word(part[3], "check") then
    read_check(made, sql, part)
  end -- other kinds of indexes (fulltext, spatial) are left alone
end

local function parse(name, sql)
  local made = shape.new(name)
  local list = tokens.of(sql, true)
  local open = 1
  while list[open].text ~= "(" do
    open = open + 1
  end
  for _, part in ipairs(tokens.split(list, open + 1, tokens.close(list, open) - 1)) do
    read_part(made, sql, part)
  end
  return made
end

-- An index that is there for a foreign key only is the server's.
local function leave_out_own_indexes(made)
  local kept = {}
  for _, index in ipairs(made.indexes) do
    local is_own = false
    for _, reference in ipairs(made.references) do
      if not index.unique and index.name == reference.name
        and table.concat(reference.columns, "/") == table.concat(index.parts, "/") then
        is_own, reference.has_index = true, true
      end
    end
    if not is_own then
      kept[#kept + 1] = index
    end
  end
  made.indexes = kept
end

local function show(db, name)
  local row = db.one("show create table " .. base.quote(name))
  return row["Create Table"]
end

---The tables of the database.
---@param db tycho.db.Database
---@return table<string, tycho.schema_sync.Shape> by_name
function reader.read(db)
  local shapes = {}
  local rows = db.query [[
    select table_name as name from information_schema.tables
    where table_schema = database() and table_type = 'BASE TABLE' order by table_name]]
  for _, row in ipairs(rows) do
    local made = parse(row.name, show(db, row.name))
    leave_out_own_indexes(made)
    shapes[row.name] = made
  end
  return shapes
end

local function by_name_of(list)
  local by_name = {}
  for _, item in ipairs(list) do
    by_name[item.name] = item
  end
  return by_name
end

-- Keys of references and indexes are what they are; the rest is read back.
local function take_keys(each, scratch)
  for _, column in ipairs(each.columns) do
    local twin = scratch.by_name[column.name]
    column.type_key, column.default_key = twin.type_key, twin.default_key
  end
  local checks = by_name_of(scratch.checks)
  for _, check in ipairs(each.checks) do
    check.key, check.uses = checks[check.name].key, checks[check.name].uses
  end
  for _, index in ipairs(each.indexes) do
    index.key = shape.index_key(index.parts, index.unique, index.where)
    index.uses = shape.uses(tokens.of, table.concat(index.parts, ","), each.by_name)
  end
  for _, reference in ipairs(each.references) do
    local action = reference.on_delete == "restrict" and "no_action" or reference.on_delete
    reference.key = shape.reference_key(reference, action)
  end
end

---Gives wanted shapes the keys that this database would give them.
---@param db tycho.db.Database
---@param shapes tycho.schema_sync.Shape[]
function reader.finish(db, shapes)
  db.transaction(function()
    for _, each in ipairs(shapes) do
      db.exec("drop temporary table if exists " .. SCRATCH)
      local sql = base:create_table(each, SCRATCH)
      db.exec((sql:gsub("^create table", "create temporary table")))
      take_keys(each, parse(each.name, show(db, SCRATCH)))
    end
    db.exec("drop temporary table if exists " .. SCRATCH)
  end)
end

return reader
