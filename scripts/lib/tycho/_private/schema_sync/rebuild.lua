--- SQLite's way to change what ALTER TABLE cannot: a new table, the rows copied, the old one
--- dropped, and the new one in its place, in one transaction.
---
--- While a table is dropped, its rows count as deleted for the tables that refer to it, and what
--- they do `on delete` would be done. So a table that is referred to is rebuilt while foreign keys
--- are not looked at, and these are checked before the transaction ends.

local ddl = require "tycho._private.dialect.sqlite_ddl"
local names = require "tycho._private.model_names"
local shape = require "tycho._private.schema_sync.shape"

local rebuild = {}

local SUFFIX = "__tycho_new"

local function without(list, keep)
  local kept = {}
  for _, item in ipairs(list) do
    if keep(item) then
      kept[#kept + 1] = item
    end
  end
  return kept
end

local function drop_column(made, difference)
  made.columns = without(made.columns, function(column) return column.name ~= difference.name end)
  made.by_name[difference.name] = nil
  local function is_free(item)
    return not (item.uses or {})[difference.name]
  end
  made.indexes, made.checks = without(made.indexes, is_free), without(made.checks, is_free)
  made.references = without(made.references, function(reference)
    return reference.columns[1] ~= difference.name
  end)
end

local LISTS = { index = "indexes", check = "checks", reference = "references" }

local function change_item(made, difference)
  local list = LISTS[difference.action:match("_(%a+)$")]
  if difference.live then
    made[list] = without(made[list], function(item) return item.key ~= difference.live.key end)
  end
  if difference.wanted then
    table.insert(made[list], difference.wanted)
  end
end

local COLUMN = {
  change_type = { "type", "type_key" },
  change_null = { "null" },
  change_default = { "default", "default_key" },
}

---The shape of a table after a difference was done away with.
---@param made tycho.schema_sync.Shape is changed
---@param difference tycho.schema_sync.Difference
function rebuild.apply(made, difference)
  local fields = COLUMN[difference.action]
  if fields then
    local column = made.by_name[difference.name]
    for _, field in ipairs(fields) do
      column[field] = difference.wanted[field]
    end
  elseif difference.action == "add_column" then
    shape.add_column(made, difference.wanted)
  elseif difference.action == "drop_column" then
    drop_column(made, difference)
  elseif difference.action ~= "rename_column" then
    change_item(made, difference)
  end
end

local NATIVE = { rename_column = true, add_index = true, change_index = true }

---Is ALTER TABLE not enough?
---@param difference tycho.schema_sync.Difference
---@param live tycho.schema_sync.Shape
---@return boolean
function rebuild.is_needed(difference, live)
  if difference.action == "add_column" then
    return not ddl:can_add(difference.wanted)
  elseif difference.action == "drop_column" then
    for _, list in pairs(LISTS) do
      for _, item in ipairs(live[list]) do
        if (item.uses or {})[difference.name]
          or item.columns and item.columns[1] == difference.name then
          return true
        end
      end
    end
    return live.primary[1] == difference.name
  elseif difference.action == "drop_index" then
    return difference.live.is_constraint == true
  end
  return not NATIVE[difference.action]
end

---Does any table refer to this one?
---@param shapes table<string, tycho.schema_sync.Shape>
---@param name string
---@return boolean
function rebuild.is_referred_to(shapes, name)
  for _, each in pairs(shapes) do
    for _, reference in ipairs(each.references) do
      if reference.table:lower() == name:lower() then
        return true
      end
    end
  end
  return false
end

-- What the new table takes from the old one, and what it fills in: columns, and what is selected.
local function copied(live, made)
  local columns, selected = {}, {}
  for _, column in ipairs(made.columns) do
    local name = ddl.quote(column.name)
    local value = live.by_name[column.name] and name or column.fill
    if value then
      columns[#columns + 1], selected[#selected + 1] = name, value
    end
  end
  return table.concat(columns, ", "), table.concat(selected, ", ")
end

local function add_extras(list, extras, statement)
  for _, extra in ipairs(extras) do
    list[#list + 1] = statement(extra)
  end
end

-- Numbers that were given once are not given again.
local function add_sequence(list, live)
  if not live.has_sequence then
    return
  end
  list[#list + 1] = ("delete from sqlite_sequence where name = '%s%s'"):format(live.name, SUFFIX)
  list[#list + 1] = ("insert into sqlite_sequence(name, seq) select '%s%s', seq "
    .. "from sqlite_sequence where name = '%s'"):format(live.name, SUFFIX, live.name)
end

-- The index of a constraint has a name that nothing else may have.
local function named(made, index)
  if not index.is_constraint then
    return index
  end
  return { name = names.unique(made.name, index.parts), parts = index.parts, unique = true }
end

---The statements. `extras` are what SQLite drops with the table, or what would be in the way:
---triggers and views, by name and text.
---@param live tycho.schema_sync.Shape with its columns' new names
---@param made tycho.schema_sync.Shape
---@param extras { triggers: table[], views: table[] }
---@return string[]
function rebuild.statements(live, made, extras)
  local quote, new = ddl.quote, live.name .. SUFFIX
  local columns, selected = copied(live, made)
  local list = {}
  add_extras(list, extras.views, function(view) return "drop view " .. quote(view.name) end)
  list[#list + 1] = ddl:create_table(made, new)
  list[#list + 1] = ("insert into %s (%s) select %s from %s"):format(quote(new), columns,
    selected, quote(live.name))
  add_sequence(list, live)
  list[#list + 1] = ddl:drop_table(live.name)
  list[#list + 1] = ("alter table %s rename to %s"):format(quote(new), quote(live.name))
  for _, index in ipairs(made.indexes) do
    list[#list + 1] = index.sql or ddl:create_index(made, named(made, index))
  end
  add_extras(list, extras.triggers, function(trigger) return trigger.sql end)
  add_extras(list, extras.views, function(view) return view.sql end)
  return list
end

---Triggers of the table, and views that speak of it.
---@param db tycho.db.Database
---@param name string
---@return { triggers: table[], views: table[] }
function rebuild.extras(db, name)
  return {
    triggers = db.query("select name, sql from sqlite_schema where type = 'trigger' "
      .. "and lower(tbl_name) = lower($1) order by name", name),
    views = db.query("select name, sql from sqlite_schema where type = 'view' "
      .. "and instr(lower(sql), lower($1)) > 0 order by rowid", name),
  }
end

return rebuild
