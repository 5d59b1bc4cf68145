--- What tables a PostgreSQL database has, in the schema that comes first in the search path.
---
--- PostgreSQL rewrites every expression it keeps. What a model wants is therefore made once as a
--- temporary table, read back, and undone with a savepoint: then both sides are in its words.

local base = require "tycho._private.dialect.postgresql_ddl"
local shape = require "tycho._private.schema_sync.shape"
local tokens = require "tycho._private.schema_sync.tokens"

local reader = {}

local LIVE = "c.relnamespace = (select oid from pg_catalog.pg_namespace"
  .. " where nspname = current_schema())"
local SCRATCH = "c.relnamespace = pg_catalog.pg_my_temp_schema()"

local COLUMNS = [[
  select c.relname::text as "table", a.attname::text as name,
    pg_catalog.format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required,
    pg_catalog.pg_get_expr(d.adbin, d.adrelid) as "default",
    a.attidentity::text as identity, a.attgenerated::text as generated
  from pg_catalog.pg_class c
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  where %s and c.relkind in ('r', 'p') order by c.relname, a.attnum]]
-- contype: c check, f foreign key, p primary key
local CONSTRAINTS = [[
  select c.relname::text as "table", k.conname::text as name, k.contype::text as kind,
    pg_catalog.pg_get_expr(k.conbin, k.conrelid) as sql, k.confdeltype::text as on_delete,
    (select t.relname::text from pg_catalog.pg_class t where t.oid = k.confrelid) as target,
    (select pg_catalog.string_agg(a.attname::text, '/' order by n.at)
      from pg_catalog.unnest(k.conkey) with ordinality n(num, at)
      join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = n.num) as columns,
    (select pg_catalog.string_agg(a.attname::text, '/' order by n.at)
      from pg_catalog.unnest(k.confkey) with ordinality n(num, at)
      join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = n.num) as targets
  from pg_catalog.pg_class c join pg_catalog.pg_constraint k on k.conrelid = c.oid
  where %s and k.contype in ('c', 'f', 'p') order by c.relname, k.conname]]
-- Indexes of other kinds than B-trees, which no model describes, are left alone.
local INDEXES = [[
  select c.relname::text as "table", x.relname::text as name, i.indisunique as is_unique,
    i.indisvalid as is_valid, n.at::integer as at,
    pg_catalog.pg_get_indexdef(i.indexrelid, n.at::integer, false) as part,
    pg_catalog.pg_get_expr(i.indpred, i.indrelid) as "where",
    exists (select 1 from pg_catalog.pg_constraint k where k.conindid = i.indexrelid
      and k.contype in ('u', 'x')) as is_constraint
  from pg_catalog.pg_class c join pg_catalog.pg_index i on i.indrelid = c.oid
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_am m on m.oid = x.relam and m.amname = 'btree'
  cross join lateral pg_catalog.generate_series(1, i.indnkeyatts) n(at)
  where %s and not i.indisprimary order by c.relname, x.relname, n.at]]

local ON_DELETE = { a = "no_action", r = "restrict", c = "cascade", n = "set_null",
  d = "set_default" }

local function list_of(text)
  local list = {}
  for item in (text or ""):gmatch("[^/]+") do
    list[#list + 1] = item
  end
  return list
end

-- '0'::bigint and 0 are the same.
local function default_key(default)
  return default and default:match("^'(%-?[%d.]+)'::[%l%d ]+$") or default
end

-- A column of type serial counts up by its default.
local function add_columns(shapes, rows)
  for _, row in ipairs(rows) do
    shapes[row.table] = shapes[row.table] or shape.new(row.table)
    local counts = row.identity ~= "" or (row.default or ""):find("^nextval%(") ~= nil
    local default = not counts and row.default or nil
    shape.add_column(shapes[row.table], {
      name = row.name, type = row.type, type_key = row.type, null = not row.required,
      default = default, default_key = default_key(default), identity = counts,
      is_odd = row.generated ~= "" and "generated" or nil,
    })
  end
end

local function add_constraints(shapes, rows)
  for _, row in ipairs(rows) do
    local made = shapes[row.table]
    if not made then
      break
    elseif row.kind == "p" then
      made.primary = list_of(row.columns)
    elseif row.kind == "c" then
      made.checks[#made.checks + 1] = {
        name = row.name, sql = row.sql, key = row.sql,
        uses = shape.uses(tokens.of, row.sql, made.by_name),
      }
    else
      local reference = {
        name = row.name, columns = list_of(row.columns), table = row.target,
        targets = list_of(row.targets), on_delete = ON_DELETE[row.on_delete],
      }
      reference.key = shape.reference_key(reference)
      made.references[#made.references + 1] = reference
    end
  end
end

-- The name of a column comes in quotes if it needs them.
local function plain(part, by_name)
  local name = part:match('^"(.*)"$')
  return name and by_name[name] and name or part
end

local function add_indexes(shapes, rows)
  local last
  for _, row in ipairs(rows) do
    local made = shapes[row.table]
    if row.at == 1 then
      last = { name = row.name, parts = {}, unique = row.is_unique, where = row.where,
        is_constraint = row.is_constraint, is_broken = not row.is_valid }
      made.indexes[#made.indexes + 1] = last
    end
    last.parts[row.at] = plain(row.part, made.by_name)
  end
  for _, made in pairs(shapes) do
    for _, index in ipairs(made.indexes) do
      index.key = shape.index_key(index.parts, index.unique, index.where)
        .. (index.is_broken and " (broken)" or "")
      index.uses = shape.uses(tokens.of, table.concat(index.parts, ",") .. ","
        .. (index.where or ""), made.by_name)
    end
  end
end

local function read(db, where)
  local shapes = {}
  add_columns(shapes, db.query(COLUMNS:format(where)))
  add_constraints(shapes, db.query(CONSTRAINTS:format(where)))
  add_indexes(shapes, db.query(INDEXES:format(where)))
  return shapes
end

---The tables of the database.
---@param db tycho.db.Database
---@return table<string, tycho.schema_sync.Shape> by_name
function reader.read(db)
  return read(db, LIVE)
end

local UNDO = {}

-- As temporary tables, without references: these may not lead to tables that stay.
local function make_scratch(db, shapes)
  for _, each in ipairs(shapes) do
    local sql = base:create_table(each):gsub("^create table", "create temporary table")
    db.exec(sql)
    for _, index in ipairs(each.indexes) do
      db.exec(base:create_index(each, index))
    end
  end
end

local function by_name_of(list)
  local by_name = {}
  for _, item in ipairs(list) do
    by_name[item.name] = item
  end
  return by_name
end

local function take_keys(each, scratch)
  for _, column in ipairs(each.columns) do
    local twin = scratch.by_name[column.name]
    column.type_key, column.default_key = twin.type_key, twin.default_key
  end
  for _, list in ipairs { "checks", "indexes" } do
    local twins = by_name_of(scratch[list])
    for _, item in ipairs(each[list]) do
      item.key, item.uses = twins[item.name].key, twins[item.name].uses
    end
  end
  for _, reference in ipairs(each.references) do
    reference.key = shape.reference_key(reference)
  end
end

---Gives wanted shapes the keys that this database would give them.
---@param db tycho.db.Database
---@param shapes tycho.schema_sync.Shape[]
function reader.finish(db, shapes)
  local scratch
  local ok, err = pcall(db.transaction, function()
    make_scratch(db, shapes)
    scratch = read(db, SCRATCH)
    error(UNDO, 0)
  end)
  if not ok and err ~= UNDO then
    error(err, 0)
  end
  for _, each in ipairs(shapes) do
    take_keys(each, scratch[each.name])
  end
end

return reader
