--- The statements of a table's steps, on each database.

local rebuild = require "tycho._private.schema_sync.rebuild"
local shape = require "tycho._private.schema_sync.shape"

local statements = {}

---A table that is not there yet, with its indexes.
---@param ddl tycho.dialect.Ddl
---@param wanted tycho.schema_sync.Shape
---@return string[]
function statements.of_new_table(ddl, wanted)
  local list = { ddl:create_table(wanted) }
  for _, index in ipairs(wanted.indexes) do
    list[#list + 1] = ddl:create_index(wanted, index)
  end
  return list
end

local OF = {}

function OF.rename_column(ddl, live, difference)
  return { ddl:rename_column(live, difference.live.name, difference.name) }
end

-- What the rows get that are there is a default for a moment.
function OF.add_column(ddl, live, difference)
  local column = difference.wanted
  if not column.fill then
    return { ddl:add_column(live, column) }
  end
  local filled = setmetatable({ default = column.fill }, { __index = column })
  return { ddl:add_column(live, filled), ddl:set_default(live, column) }
end

local function serves(index, reference, gone)
  return not gone[index] and index.parts[1] == reference.columns[1]
end

local function is_served(live, reference, gone)
  for _, index in ipairs(live.indexes) do
    if serves(index, reference, gone) then
      return true
    end
  end
  return reference.has_index or live.primary[1] == reference.columns[1]
end

-- MySQL lets no index go that a reference needs, so the reference gets the one that MySQL would
-- have made with it.
local function add_reference_indexes(list, ddl, live, index, gone)
  for _, reference in ipairs(ddl.system == "mysql" and live.references or {}) do
    if not gone[reference] and serves(index, reference, {})
      and not is_served(live, reference, gone) then
      reference.has_index = true
      list[#list + 1] = ddl:create_index(live, {
        name = reference.name, parts = reference.columns, unique = false,
      })
    end
  end
end

-- MySQL does not drop what belongs to a column by itself, or leaves an index of the other columns.
-- `gone` is what is dropped already.
function OF.drop_column(ddl, live, difference, gone)
  local list, name = {}, difference.name
  local function drop(items, method, belongs)
    for _, item in ipairs(items) do
      if not gone[item] and belongs(item) then
        gone[item] = true
        if method == "drop_index" then
          add_reference_indexes(list, ddl, live, item, gone)
        end
        list[#list + 1] = ddl[method](ddl, live, item)
      end
    end
  end
  if ddl.system == "mysql" then
    drop(live.references, "drop_reference", function(item) return item.columns[1] == name end)
    drop(live.checks, "drop_check", function(item) return item.uses[name] end)
    drop(live.indexes, "drop_index", function(item)
      return item.uses[name] and item.parts[2] ~= nil
    end)
  end
  list[#list + 1] = ddl:drop_column(live, difference.live)
  return list
end

function OF.change_type(ddl, live, difference)
  return { ddl:set_type(live, difference.made) }
end

function OF.change_null(ddl, live, difference)
  return { ddl:set_null(live, difference.made) }
end

function OF.change_default(ddl, live, difference)
  return { ddl:set_default(live, difference.made) }
end

-- What replaces another is made after all is gone that may go.
local function add_item(job, step, made)
  local difference, ddl = step.difference, job.ddl
  local kind = step.action:match("_(%a+)$")
  local drop = ddl["drop_" .. kind]
  local add = kind == "index" and ddl.create_index or ddl["add_" .. kind]
  if difference.live then
    local list = {}
    if kind == "index" then
      add_reference_indexes(list, ddl, job.renamed, difference.live, job.gone)
    end
    list[#list + 1] = drop(ddl, job.renamed, difference.live)
    step[difference.wanted and "early" or "statements"] = list
  end
  if difference.wanted then
    step.statements = { add(ddl, made, difference.wanted) }
  end
end

local CHANGES_COLUMN = { change_type = true, change_null = true, change_default = true }

-- MySQL says a column as a whole, so one statement does for all changes of it.
local function add_column_change(job, step, made, said)
  local difference = step.difference
  difference.made = made.by_name[difference.name]
  if job.ddl.changes_whole_columns and said[difference.name] then
    return {}
  end
  said[difference.name] = true
  return OF[step.action](job.ddl, made, difference)
end

-- The type is changed without the default, which might not fit the new one.
local function with_default_aside(job, step, list)
  local live = step.difference.live
  if step.action ~= "change_type" or job.system ~= "postgresql" or not live.default then
    return list
  end
  local column = step.difference.made
  return {
    job.ddl:set_default(job.renamed, { name = column.name }), list[1],
    job.ddl:set_default(job.renamed, column),
  }
end

local function add_statements(job, step, made, said)
  if CHANGES_COLUMN[step.action] then
    step.statements = with_default_aside(job, step, add_column_change(job, step, made, said))
  elseif OF[step.action] then
    step.statements = OF[step.action](job.ddl, job.renamed, step.difference, job.gone)
  else
    add_item(job, step, made)
  end
end

-- All that needs a new table is one new table, made by the last step that needs it.
local function add_rebuild(job, steps, renamed, made)
  local last
  for _, step in ipairs(steps) do
    if step.done and rebuild.is_needed(step.difference, renamed) then
      step.rebuilds, last = true, step
    end
  end
  if not last then
    return nil
  end
  local is_behind = false
  for _, step in ipairs(steps) do
    is_behind = is_behind or step.rebuilds
    -- Indexes come with the new table.
    step.is_in_rebuild = is_behind and step.done
  end
  last.statements = rebuild.statements(renamed, made, rebuild.extras(job.db, renamed.name))
  return last
end

-- What the table will be like, once all that is done has been done. What is the same already is
-- said in the model's words: a database's own are not always understood by it.
local function result_of(steps, renamed, wanted)
  local made = shape.copy(renamed)
  for _, column in ipairs(made.columns) do
    local twin = wanted.by_name[column.name]
    if twin and twin.type_key == column.type_key then
      column.type = twin.type
    end
    if twin and twin.default_key == column.default_key then
      column.default = twin.default
    end
  end
  for _, step in ipairs(steps) do
    if step.done and step.action ~= "create_table" then
      rebuild.apply(made, step.difference)
    end
  end
  return made
end

---Adds the statements to the steps of one table, which are in order.
---@param job table
---@param steps tycho.schema_sync.Step[]
---@param renamed tycho.schema_sync.Shape with the columns' new names
---@param wanted tycho.schema_sync.Shape
---@return boolean keys_off SQLite: a table that others refer to is made anew
function statements.add(job, steps, renamed, wanted)
  local made = result_of(steps, renamed, wanted)
  local rebuilt = job.system == "sqlite" and add_rebuild(job, steps, renamed, made) or nil
  local said = {}
  job.renamed, job.gone = renamed, {}
  for _, step in ipairs(steps) do
    if step.done and step.difference.live then
      job.gone[step.difference.live] = true
    end
  end
  for _, step in ipairs(steps) do
    if step.done and not step.is_in_rebuild then
      add_statements(job, step, made, said)
    end
  end
  return rebuilt ~= nil and rebuild.is_referred_to(job.live, renamed.name)
end

return statements
