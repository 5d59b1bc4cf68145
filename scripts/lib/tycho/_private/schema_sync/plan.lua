--- What is to be done so that a database is as the models are: steps, in an order that works.
---
--- A step has its statements, or says why it is not done: because it loses something and was not
--- named (`allow`), or because the database cannot (`refusal`).

local compare = require "tycho._private.schema_sync.compare"
local model = require "tycho.model"
local obstacles = require "tycho._private.schema_sync.obstacles"
local rebuild = require "tycho._private.schema_sync.rebuild"
local shape = require "tycho._private.schema_sync.shape"
local statements = require "tycho._private.schema_sync.statements"
local words = require "tycho._private.schema_sync.words"

local plan = {}

---@class tycho.schema_sync.Step
---@field action string
---@field table string
---@field name? string
---@field what string for people
---@field why string
---@field loses? string what is lost
---@field allow? string what --allow has to be given for it
---@field refusal? string why it cannot be done
---@field done boolean is it part of what is done
---@field statements string[]
---@field early? string[] what comes before most others: dropping what is made anew

---@class tycho.schema_sync.Plan
---@field database string
---@field system string
---@field steps tycho.schema_sync.Step[]
---@field unmodelled string[] tables that no model has
---@field keys_off boolean SQLite: foreign keys are not looked at meanwhile

local ALLOW = {
  drop_table = "drop-table", drop_column = "drop-column", drop_index = "drop-index",
  drop_check = "drop-constraint", drop_reference = "drop-constraint",
  change_type = "change-type",
}

-- Indexes have names of their own; all else is a table's.
local function allow_key(difference, ddl)
  local word = ALLOW[difference.action]
  if not word or difference.action == "change_type"
    and ddl:widens(difference.live.type_key, difference.wanted.type_key) then
    return nil
  elseif difference.action == "drop_table" then
    return ("%s:%s"):format(word, difference.table)
  end
  local item = difference.live
  return ("%s:%s.%s"):format(word, difference.table, difference.name or item.sql
    or table.concat(item.columns or item.parts or {}, ","))
end

local ORDER = {
  create_table = 1, rename_column = 2, drop_reference = 3, drop_check = 4, drop_index = 5,
  add_column = 6, change_type = 7, change_null = 7, change_default = 7, drop_column = 8,
  add_index = 9, change_index = 9, add_check = 10, change_check = 10, add_reference = 11,
  change_reference = 11, drop_table = 12, change_primary = 13, change_identity = 13,
}

local function sort(steps)
  for i, step in ipairs(steps) do
    step.at = i
  end
  table.sort(steps, function(a, b)
    local one, other = ORDER[a.action], ORDER[b.action]
    if one == other then
      return a.at < b.at
    end
    return one < other
  end)
end

local function refusal_of(job, difference, live, wanted)
  local index = difference.action:find("_index$") and difference.wanted
  local refusal = index and obstacles.of_index(job.ddl, index, wanted)
    or obstacles.of(job.db, difference, live, wanted, job.live)
  local odd = live and live.is_odd
  if not refusal and job.system == "sqlite" and odd and rebuild.is_needed(difference, live) then
    return ("the table would have to be made anew, and models cannot say what it has "
      .. "(%s): write a migration (tycho db new)"):format(odd)
  end
  return refusal
end

local function add_step(job, difference, live, wanted)
  local key = allow_key(difference, job.ddl)
  local step = {
    action = difference.action, table = difference.table, name = difference.name,
    what = words.of(difference), why = words.why(difference), allow = key,
    loses = key and words.loses(difference), statements = {}, difference = difference,
  }
  job.asked[key or ""] = true
  if not key or job.allow[key] then
    step.refusal = refusal_of(job, difference, live, wanted)
    step.done = step.refusal == nil
  else
    step.done = false
  end
  job.steps[#job.steps + 1] = step
  return step
end

local function plan_new_table(job, wanted)
  local step = add_step(job, { action = "create_table", table = wanted.name, wanted = wanted })
  for _, index in ipairs(wanted.indexes) do
    step.refusal = step.refusal or obstacles.of_index(job.ddl, index, wanted)
  end
  step.done = step.refusal == nil
  if step.done then
    step.statements = statements.of_new_table(job.ddl, wanted)
  end
  if not job.ddl.inlines_references then
    for _, reference in ipairs(wanted.references) do
      local added = add_step(job, { action = "add_reference", table = wanted.name,
        name = reference.name, wanted = reference })
      added.statements = { job.ddl:add_reference(wanted, reference) }
    end
  end
end

-- What is of a column that cannot be added waits for it.
local function refuse_dependent(steps)
  local missing = {}
  for _, step in ipairs(steps) do
    if step.action == "add_column" and step.refusal then
      missing[step.name] = true
    end
  end
  for _, step in ipairs(steps) do
    local wanted = step.done and step.difference.wanted
    local uses = wanted and (wanted.uses or wanted.columns and { [wanted.columns[1]] = true })
    for name in pairs(uses or {}) do
      if missing[name] then
        step.done, step.refusal = false, ("it is of %s.%s, which cannot be added"):format(
          step.table, name)
      end
    end
  end
end

local function plan_table(job, live, wanted)
  local before = shape.copy(live)
  local renamed = shape.copy(live)
  local first = #job.steps + 1
  for _, difference in ipairs(compare.tables(renamed, wanted)) do
    add_step(job, difference, before, wanted)
  end
  local steps = {}
  for i = first, #job.steps do
    steps[#steps + 1] = job.steps[i]
  end
  refuse_dependent(steps)
  sort(steps)
  job.keys_off = statements.add(job, steps, renamed, wanted) or job.keys_off
end

-- Tables that no model has are somebody else's, unless they are to be dropped.
local function plan_rest(job, wanted_by_name)
  local names = {}
  for name in pairs(job.live) do
    if not wanted_by_name[name] and name ~= "tycho_migrations" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    if job.allow["drop-table:" .. name] then
      local step = add_step(job, { action = "drop_table", table = name })
      step.statements = { job.ddl:drop_table(name) }
    else
      job.unmodelled[#job.unmodelled + 1] = name
    end
  end
end

-- What was named, and is nothing that could be done, was misspelt.
local function check_allowed(job)
  local unknown = {}
  for key in pairs(job.allow) do
    if not job.asked[key] then
      unknown[#unknown + 1] = key
    end
  end
  if unknown[1] then
    table.sort(unknown)
    job.unknown = unknown
  end
end

local function wanted_shapes(job, described)
  local list, by_name = {}, {}
  for i, each in ipairs(described) do
    list[i] = shape.of_model(each, job.ddl)
    by_name[each.name] = list[i]
  end
  return list, by_name
end

---Plain descriptions of the models of a database.
---@param name string of the database
---@return tycho.model.Table[]
function plan.models_of(name)
  local list = {}
  for _, each in ipairs(model.all()) do
    if each.table.database == name then
      list[#list + 1] = each.table
    end
  end
  return list
end

---@param db tycho.db.Database
---@param options { database: string, models: tycho.model.Table[], allow?: table<string, true> }
---@return tycho.schema_sync.Plan
function plan.make(db, options)
  local system = db.system()
  local reader = require("tycho._private.schema_sync." .. system)
  local job = {
    db = db, system = system, database = options.database, allow = options.allow or {},
    ddl = require(("tycho._private.dialect.%s_ddl"):format(system)),
    steps = {}, unmodelled = {}, asked = {}, keys_off = false,
  }
  job.live = reader.read(db)
  local wanted, wanted_by_name = wanted_shapes(job, options.models)
  reader.finish(db, wanted)
  for _, each in ipairs(wanted) do
    local live = job.live[each.name]
    if live then
      plan_table(job, live, each)
    else
      plan_new_table(job, each)
    end
  end
  plan_rest(job, wanted_by_name)
  sort(job.steps)
  check_allowed(job)
  return job
end

local EARLY = { change_reference = 3, change_check = 4, change_index = 5 }

---The statements of all that is done, in order, each with its step.
---@param made tycho.schema_sync.Plan
---@return { sql: string, step: tycho.schema_sync.Step }[]
function plan.flow(made)
  local list = {}
  local function add(step, rank, statements_of_it)
    for _, sql in ipairs(step.done and statements_of_it or {}) do
      list[#list + 1] = { sql = sql, step = step, rank = rank, at = #list }
    end
  end
  for _, step in ipairs(made.steps) do
    add(step, EARLY[step.action], step.early)
    add(step, ORDER[step.action], step.statements)
  end
  table.sort(list, function(a, b)
    if a.rank == b.rank then
      return a.at < b.at
    end
    return a.rank < b.rank
  end)
  return list
end

return plan
