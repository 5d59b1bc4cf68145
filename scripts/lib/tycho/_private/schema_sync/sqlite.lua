--- What tables a SQLite database has.
---
--- Most of it comes from SQLite's own functions; checks, and what no model can describe, are only
--- in the text of CREATE TABLE, which is kept as it was written.

local ddl = require "tycho._private.dialect.sqlite_ddl"
local shape = require "tycho._private.schema_sync.shape"
local tokens = require "tycho._private.schema_sync.tokens"

local reader = {}

local TABLES = [[
  select name, sql from sqlite_schema where type = 'table' and name not like 'sqlite!_%' escape '!'
  order by name]]
local COLUMNS = [[
  select t.name as "table", c.name, c.type, c."notnull" as required, c.dflt_value as "default",
    c.pk, c.hidden
  from sqlite_schema t, pragma_table_xinfo(t.name) c where t.type = 'table' order by t.name, c.cid]]
local INDEXES = [[
  select t.name as "table", i.name, i."unique" as is_unique, i.origin, s.sql
  from sqlite_schema t, pragma_index_list(t.name) i
  left join sqlite_schema s on s.type = 'index' and s.name = i.name
  where t.type = 'table' and i.origin <> 'pk' order by t.name, i.name]]
local INDEX_COLUMNS = [[
  select i.name as "index", c.name
  from sqlite_schema t, pragma_index_list(t.name) i, pragma_index_info(i.name) c
  where t.type = 'table' order by i.name, c.seqno]]
local REFERENCES = [[
  select t.name as "table", f.id, f."table" as target, f."from" as "column", f."to" as "to",
    f.on_delete
  from sqlite_schema t, pragma_foreign_key_list(t.name) f
  where t.type = 'table' order by t.name, f.id, f.seq]]

-- How values of a declared type compare; the names that results are decoded by stay themselves.
local function type_key(declared)
  local upper = declared:upper()
  if upper == "BOOLEAN" or upper == "JSON" then
    return upper
  elseif upper:find("INT", 1, true) then
    return "INTEGER"
  elseif upper:find("CHAR", 1, true) or upper:find("CLOB", 1, true)
    or upper:find("TEXT", 1, true) then
    return "TEXT"
  elseif upper == "" or upper:find("BLOB", 1, true) then
    return "BLOB"
  elseif upper:find("REAL", 1, true) or upper:find("FLOA", 1, true)
    or upper:find("DOUB", 1, true) then
    return "REAL"
  end
  return "NUMERIC"
end

local function default_key(default)
  local text = default and tokens.normal(default)
  return text ~= "null" and text or nil
end

-- Words that say something no model can.
local ODD = {
  collate = true, generated = true, as = true, strict = true, without = true, conflict = true,
  deferrable = true,
}

local function find_odd(list, from, to)
  for i = from, to do
    if list[i].kind == "word" and ODD[list[i].text] then
      return list[i].text
    end
  end
end

local function add_check(made, sql, part, open, name)
  local text = tokens.text(sql, part, open + 1, tokens.close(part, open) - 1)
  made.checks[#made.checks + 1] = {
    name = name, sql = text, key = tokens.normal(text),
    uses = shape.uses(tokens.of, text, made.by_name),
  }
end

local OTHERS = { ["not"] = true, null = true, unique = true, primary = true, references = true,
  foreign = true, default = true }

-- The checks of one part between commas: "a integer check (a > 0)", "constraint c check (...)". The
-- name of a constraint stands right before it.
local function read_checks(made, sql, part)
  local name
  for i, token in ipairs(part) do
    local word = token.kind == "word" and token.text
    local behind = part[i + 1]
    if word == "constraint" and behind then
      name = sql:sub(behind.from, behind.to):gsub('^["`%[](.*)["`%]]$', "%1")
    elseif word == "check" and behind and behind.text == "(" then
      add_check(made, sql, part, i + 1, name)
      name = nil
    elseif OTHERS[word] then
      name = nil
    end
  end
end

-- Words in brackets are expressions, and not looked at.
local function outside(part)
  local list, depth = {}, 0
  for _, token in ipairs(part) do
    depth = depth + tokens.depth(token)
    if depth == 0 then
      list[#list + 1] = token
    end
  end
  return list
end

local function read_text(made, sql)
  local list = tokens.of(sql)
  local open = 1
  while list[open] and list[open].text ~= "(" do
    open = open + 1
  end
  if not list[open] then
    made.is_odd = "a definition that cannot be read"
    return
  end
  local close = tokens.close(list, open)
  made.is_odd = find_odd(list, close + 1, #list)
  for _, part in ipairs(tokens.split(list, open + 1, close - 1)) do
    read_checks(made, sql, part)
    local plain = outside(part)
    made.is_odd = made.is_odd or find_odd(plain, 1, #plain)
  end
end

local function add_columns(shapes, rows)
  for _, row in ipairs(rows) do
    local made = shapes[row.table]
    if made and row.hidden ~= 1 then
      shape.add_column(made, {
        name = row.name, type = row.type, type_key = type_key(row.type),
        null = row.required == 0 and row.pk == 0, default = ddl.bracketed(row.default),
        default_key = default_key(row.default), identity = false,
      })
      if row.pk > 0 then
        made.primary[row.pk] = row.name
      end
    end
  end
  -- A lone INTEGER key is the number of the row, and counted up.
  for _, made in pairs(shapes) do
    local first = made.by_name[made.primary[1]]
    if first and not made.primary[2] and first.type:upper() == "INTEGER" then
      first.identity = true
    end
  end
end

-- The parts of CREATE INDEX, and what stands behind WHERE.
local function read_index(sql)
  local list = tokens.of(sql)
  local open = 1
  while list[open].text ~= "(" do
    open = open + 1
  end
  local close = tokens.close(list, open)
  local parts = {}
  for i, part in ipairs(tokens.split(list, open + 1, close - 1)) do
    local is_name = not part[2] and (part[1].kind == "name" or part[1].kind == "word")
    parts[i] = is_name and part[1].text or sql:sub(part[1].from, part[#part].to)
  end
  local where = list[close + 2] and tokens.text(sql, list, close + 2, #list) or nil
  return parts, where
end

local function index_key(parts, unique, where)
  local keys = {}
  for i, part in ipairs(parts) do
    keys[i] = tokens.normal(part)
  end
  return shape.index_key(keys, unique, where and tokens.normal(where))
end

local function add_indexes(shapes, rows, column_rows)
  local names = {}
  for _, row in ipairs(column_rows) do
    names[row.index] = names[row.index] or {}
    table.insert(names[row.index], row.name)
  end
  for _, row in ipairs(rows) do
    local made = shapes[row.table]
    if made then
      local parts, where = names[row.name], nil
      if row.sql then
        parts, where = read_index(row.sql)
      end
      local unique = row.is_unique == 1
      made.indexes[#made.indexes + 1] = {
        name = row.name, parts = parts, unique = unique, where = where,
        key = index_key(parts, unique, where), sql = row.sql, is_constraint = row.origin == "u",
        uses = shape.uses(tokens.of, table.concat(parts, ",") .. "," .. (where or ""),
          made.by_name),
      }
    end
  end
end

local function new_reference(shapes, row)
  local target = shapes[row.target]
  return {
    columns = { row.column }, table = row.target,
    targets = { row.to or target and target.primary[1] or "id" },
    on_delete = row.on_delete:lower():gsub(" ", "_"),
  }
end

-- One row for each column of a reference.
local function add_references(shapes, rows)
  local made, last, id
  for _, row in ipairs(rows) do
    if made and made == shapes[row.table] and id == row.id then
      table.insert(last.columns, row.column)
      table.insert(last.targets, row.to or "")
    elseif shapes[row.table] then
      made, id = shapes[row.table], row.id
      last = new_reference(shapes, row)
      made.references[#made.references + 1] = last
    end
  end
  for _, each in pairs(shapes) do
    for _, reference in ipairs(each.references) do
      reference.key = shape.reference_key(reference)
    end
  end
end

---The tables of the database.
---@param db tycho.db.Database
---@return table<string, tycho.schema_sync.Shape> by_name
function reader.read(db)
  local shapes = {}
  local rows = db.query(TABLES)
  for _, row in ipairs(rows) do
    shapes[row.name] = shape.new(row.name)
  end
  add_columns(shapes, db.query(COLUMNS))
  add_indexes(shapes, db.query(INDEXES), db.query(INDEX_COLUMNS))
  add_references(shapes, db.query(REFERENCES))
  for _, row in ipairs(rows) do
    read_text(shapes[row.name], row.sql)
    shapes[row.name].has_sequence = row.sql:lower():find("autoincrement", 1, true) ~= nil
  end
  return shapes
end

---Gives wanted shapes the keys that this database would give them.
---@param _ tycho.db.Database
---@param shapes tycho.schema_sync.Shape[]
function reader.finish(_, shapes)
  for _, each in ipairs(shapes) do
    for _, column in ipairs(each.columns) do
      column.type_key = type_key(column.type)
      column.default_key = default_key(column.default)
    end
    for _, check in ipairs(each.checks) do
      check.key = tokens.normal(check.sql)
      check.uses = shape.uses(tokens.of, check.sql, each.by_name)
    end
    for _, index in ipairs(each.indexes) do
      index.key = index_key(index.parts, index.unique, index.where)
      index.uses = shape.uses(tokens.of, table.concat(index.parts, ","), each.by_name)
    end
    for _, reference in ipairs(each.references) do
      reference.key = shape.reference_key(reference)
    end
  end
end

return reader
