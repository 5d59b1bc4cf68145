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

function OF.add_column(ddl, live, difference)
  return { ddl:add_column(live, difference.wanted) }
end

-- Where the database does not drop what belongs to a column by itself.
function OF.drop_column(ddl, live, difference)
  local list = {}
  if ddl.system == "mysql" then
    for _, reference in ipairs(live.references) do
      if reference.columns[1] == difference.name then
        list[#list + 1] = ddl:drop_reference(live, reference)
      end
    end
    for _, check in ipairs(live.checks) do
      if check.uses[difference.name] then
        list[#list + 1] = ddl:drop_check(live, check)
      end
    end
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

local function item_statements(ddl, live, difference)
  local kind = difference.action:match("_(%a+)$")
  local list = {}
  if difference.live then
    list[1] = ddl["drop_" .. kind](ddl, live, difference.live)
  end
  if difference.wanted then
    local add = kind == "index" and ddl.create_index or ddl["add_" .. kind]
    list[#list + 1] = add(ddl, live, difference.wanted)
  end
  return list
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

local function of_step(job, step, made, said)
  if CHANGES_COLUMN[step.action] then
    return with_default_aside(job, step, add_column_change(job, step, made, said))
  elseif OF[step.action] then
    return OF[step.action](job.ddl, made, step.difference)
  end
  return item_statements(job.ddl, made, step.difference)
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

-- What the table will be like, once all that is done has been done.
local function result_of(steps, renamed)
  local made = shape.copy(renamed)
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
---@param before tycho.schema_sync.Shape
---@param renamed tycho.schema_sync.Shape with the columns' new names
---@return boolean keys_off SQLite: a table that others refer to is made anew
function statements.add(job, steps, before, renamed)
  local made = result_of(steps, renamed)
  local rebuilt = job.system == "sqlite" and add_rebuild(job, steps, renamed, made) or nil
  local said = {}
  job.renamed = renamed
  for _, step in ipairs(steps) do
    if step.done and not step.is_in_rebuild then
      step.statements = of_step(job, step, made, said)
    end
  end
  return rebuilt ~= nil and rebuild.is_referred_to(job.live, before.name)
end

return statements
