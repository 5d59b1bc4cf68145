-- Models at random, and changes of them, for tests of `tycho db sync`: descriptions as model.define
-- makes them, from a number, so that what failed once fails again.

local model = require "tycho.model"
local registry = require "tycho._private.model_registry"

local random = {}

local Random = {}
Random.__index = Random

function random.new(seed)
  return setmetatable({ state = seed * 2 + 1 }, Random)
end

function Random:number(max)
  self.state = (self.state * 16807) % 2147483647
  return self.state % max + 1
end

function Random:chance(percent)
  return self:number(100) <= percent
end

function Random:pick(list)
  return list[self:number(#list)]
end

local DEFAULTS = {
  integer = { 0, -7, 123456789012 }, smallint = { 0, 3 }, real = { 0.5, -2 },
  boolean = { true, false }, text = { "", "it's", "a \\ b", "100%" },
  decimal = { "0", "12.30", "-1.5" }, json = { { a = 1 }, { "x'y" } },
  array = { {}, { "a", "b'c" } }, enum = { "A", "B" }, date = { "2026-11-21" },
  timestamp = { "2026-11-21T16:00:00.123456Z", model.sql "now()" },
  uuid = { "6ba7b810-9dad-11d1-80b4-00c04fd430c8" }, bytes = { "a\0b" },
}
local KINDS = { "integer", "smallint", "real", "boolean", "text", "decimal", "json", "array",
  "enum", "date", "timestamp", "uuid", "bytes" }

local OPTIONS = {
  text = function(r, opts) opts.max = r:pick { 20, 60, 254, false } or nil end,
  decimal = function(r, opts) opts.precision, opts.scale = r:pick { 10, 12 }, 2 end,
  array = function(_, opts) opts.of = "text" end,
  enum = function(r, opts) opts.values = r:pick { { "A", "B" }, { "A", "B", "C's" } } end,
  integer = function(r, opts, name) opts.check = r:chance(30) and name .. " > -100" or nil end,
}

-- A column as data: name, kind, options.
local function column(r, name)
  local kind = r:pick(KINDS)
  local opts = { null = r:chance(50) }
  if OPTIONS[kind] then
    OPTIONS[kind](r, opts, name)
  end
  if r:chance(40) or not opts.null then
    opts.default = r:pick(DEFAULTS[kind])
  end
  local can_be_unique = kind == "integer" or kind == "uuid" or kind == "text" and opts.max
  opts.unique = can_be_unique and r:chance(20) or nil
  return { name = name, kind = kind, opts = opts }
end

local function indexable(c)
  return c.kind == "integer" or c.kind == "boolean" or c.kind == "date" or c.kind == "timestamp"
    or c.kind == "text" and c.opts.max ~= nil
end

local function add_index(r, t)
  local list = { t.references.ref and r:chance(50) and "ref" or nil }
  for _, c in ipairs(t.columns) do
    if indexable(c) and r:chance(40) and #list < 3 then
      list[#list + 1] = c.name
    end
  end
  if list[1] then
    t.indexes[table.concat(list, "_")] = list
  end
end

local function new_table(r, name, others)
  local t = { name = name, columns = {}, indexes = {}, references = {} }
  for i = 1, r:number(6) do
    t.columns[i] = column(r, "c" .. i)
  end
  if others[1] and r:chance(70) then
    t.references.ref = { r:pick(others), r:pick { "cascade", "set_null", "no_action" } }
  end
  add_index(r, t)
  t.has_times = r:chance(30)
  return t
end

---Tables at random, as data.
function random.tables(r)
  local list, names = {}, {}
  for i = 1, r:number(3) do
    list[i] = new_table(r, "rnd_" .. i, names)
    names[i] = list[i].name
  end
  return list
end

-- Those with this column.
local function drop_indexes(t, column_name)
  for key, list in pairs(t.indexes) do
    for _, name in ipairs(list) do
      if name == column_name then
        t.indexes[key] = nil
        break
      end
    end
  end
end

local function drop_column(t, at)
  drop_indexes(t, table.remove(t.columns, at).name)
end

local function rename(t, c)
  local from = c.name
  c.name, c.opts.renamed_from = from .. "_new", from
  if c.opts.check then
    c.opts.check = ("%s > -100"):format(c.name)
  end
  drop_indexes(t, from)
end

local CHANGES = {
  function(r, t)
    t.added = (t.added or 0) + 1
    t.columns[#t.columns + 1] = column(r, "n" .. t.added)
  end,
  function(r, t)
    if #t.columns > 1 then
      drop_column(t, r:number(#t.columns))
    end
  end,
  function(r, t)
    local c = r:pick(t.columns)
    if not c.opts.renamed_from then
      rename(t, c)
    end
  end,
  function(r, t)
    local c = r:pick(t.columns)
    c.opts.null = not c.opts.null
  end,
  function(r, t)
    local c = r:pick(t.columns)
    c.opts.default = r:chance(70) and r:pick(DEFAULTS[c.kind]) or nil
  end,
  function(_, t)
    for _, c in ipairs(t.columns) do
      if c.kind == "text" and c.opts.max then
        c.opts.max = c.opts.max + 10
      end
    end
  end,
  function(r, t) t.indexes = {} add_index(r, t) end,
  function(_, t) t.has_check = not t.has_check end,
  function(_, t)
    if t.references.ref then
      t.references.ref[2] = t.references.ref[2] == "cascade" and "no_action" or "cascade"
    end
  end,
  function(_, t)
    t.references = {}
    drop_indexes(t, "ref")
  end,
}

---Some changes of what `random.tables` made; returns the names of the changed tables.
function random.change(r, tables)
  for _, t in ipairs(tables) do
    for _, c in ipairs(t.columns) do
      c.opts.renamed_from = nil
    end
    for _ = 1, r:number(4) do
      r:pick(CHANGES)(r, t)
    end
  end
end

local function define(t)
  local parts = { model.id(), indexes = {}, checks = t.has_check and {
    anything = t.columns[1].name .. " is null or 1 = 1",
  } or nil }
  for _, c in ipairs(t.columns) do
    parts[#parts + 1] = model[c.kind](c.name, c.opts)
  end
  for name, reference in pairs(t.references) do
    parts[#parts + 1] = model.reference(name, reference[1], {
      null = true, on_delete = reference[2],
    })
  end
  if t.has_times then
    parts[#parts + 1] = model.timestamps()
  end
  local keys = {}
  for key in pairs(t.indexes) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    parts.indexes[#parts.indexes + 1] = t.indexes[key]
  end
  return model.define(t.name, parts)
end

---The descriptions of models, from data.
function random.models(tables)
  return registry.isolate(function()
    local list = {}
    for i, t in ipairs(tables) do
      list[i] = define(t).table
    end
    return list
  end)
end

return random
