--- `tycho db sync`, and what `tycho db status` says of the schema.

local apply = require "tycho._private.schema_sync.apply"
local database = require "tycho.db"
local json = require "tycho.json"
local loader = require "tycho._private.loader"
local plan = require "tycho._private.schema_sync.plan"
local routes = require "tycho._private.routes"
local screen = require "tycho._private.screen"

local command = {}

local DONE, FAILED, USAGE = 0, 1, 2

local function load_application()
  local faults = not routes.is_sealed() and loader.load_all()
  if faults then
    error(faults, 0)
  end
  require("tycho.model").check()
end

local function set_of(list)
  local set = {}
  for _, item in ipairs(list) do
    for key in item:gmatch("[^,]+") do
      set[key] = true
    end
  end
  return set
end

local function options_of(call)
  load_application()
  local function on_event(what, text)
    if call.terminal then
      screen.progress(what == "waiting" and "another process is changing the schema: waiting for it"
        or text)
    end
  end
  return {
    database = call.database, models = plan.models_of(call.database),
    allow = set_of(call.allow), on_event = on_event,
  }
end

local function steps_by_fate(made)
  local done, named, refused = {}, {}, {}
  for _, step in ipairs(made.steps) do
    local list = step.done and done or step.refusal and refused or named
    list[#list + 1] = step
  end
  return done, named, refused
end

local function show_step(step)
  local colour = step.loses and "red" or step.refusal and "yellow" or "green"
  screen.line("  " .. screen.styled(colour, step.what))
  if step.refusal then
    screen.line("      " .. screen.clean(step.refusal))
    return
  end
  local why = step.why .. (step.loses and "; " .. step.loses or "")
  screen.line("      " .. screen.styled("dim", why))
  if not step.done then
    screen.line("      --allow " .. screen.clean(step.allow))
  end
end

local function show_list(title, steps)
  if steps[1] then
    screen.line("")
    screen.title(title)
    for _, step in ipairs(steps) do
      show_step(step)
    end
  end
end

local function show_rest(made)
  if made.unmodelled[1] then
    screen.line("")
    screen.line(screen.styled("dim", "Left alone, because no model has them: "
      .. table.concat(made.unmodelled, ", ")))
  end
end

local function show(made)
  local done, named, refused = steps_by_fate(made)
  screen.title(("Database %s (%s): %s"):format(made.database, made.system,
    #made.steps == 0 and "as the models are"
    or ("%d difference%s from the models"):format(#made.steps, #made.steps == 1 and "" or "s")))
  show_list("To be done:", done)
  show_list("Loses something, and is done only when named:", named)
  show_list("Cannot be done:", refused)
  show_rest(made)
end

local function step_json(step, applied)
  local list = json.array {}
  for _, part in ipairs { step.early or {}, step.statements } do
    for _, sql in ipairs(part) do
      list[#list + 1] = sql
    end
  end
  return {
    action = step.action, table = step.table, name = step.name, what = step.what, why = step.why,
    loses = step.loses, allow = step.allow, refusal = step.refusal,
    state = step.refusal and "refused" or not step.done and "not_named"
      or applied > 0 and "applied" or "to_do",
    statements = list,
  }
end

local function plan_json(made, applied)
  local steps = json.array {}
  for i, step in ipairs(made.steps) do
    steps[i] = step_json(step, applied)
  end
  return {
    database = made.database, system = made.system, steps = steps,
    unmodelled = json.array(made.unmodelled),
  }
end

local function show_sql(made)
  if made.keys_off then
    screen.line "pragma foreign_keys = off;"
  end
  local shown
  for _, part in ipairs(plan.flow(made)) do
    if part.step ~= shown then
      shown = part.step
      screen.line("-- " .. shown.what:gsub("\n", " "))
    end
    screen.line(part.sql .. ";")
  end
end

local function answer(made, applied)
  local result = plan_json(made, applied)
  result.ok, result.applied = true, applied
  screen.line(json.encode(result))
end

local function show_outcome(done, named, refused)
  local text = ("Done: %d."):format(#done)
  if named[1] then
    text = text .. (" Not named, and not done: %d."):format(#named)
  end
  if refused[1] then
    text = text .. (" Cannot be done: %d."):format(#refused)
  end
  screen.line(text)
end

-- Returns whether all was done that could be.
local function change(call, db, options, made)
  local done, named, refused = steps_by_fate(made)
  if done[1] then
    screen.say ""
    if not call.yes and not screen.confirm(call, "Do it?") then
      return false
    end
    apply.finish(db, made, options)
  end
  if call.json then
    answer(made, #done)
  elseif done[1] then
    show_outcome(done, named, refused)
  end
  return refused[1] == nil
end

local function say_unknown(made)
  for _, key in ipairs(made.unknown) do
    screen.fault(("--allow %s: there is no such step"):format(key))
  end
  return USAGE
end

-- Prints the plan, where that is all that is wanted.
local function only_show(call, made)
  if call.json then
    answer(made, 0)
  elseif call.sql then
    show_sql(made)
  else
    show(made)
  end
  return call.check and made.steps[1] and FAILED or DONE
end

---Runs `tycho db sync`; returns the exit code.
---@async
---@param call tycho.db.Command
---@return integer
function command.run(call)
  local options = options_of(call)
  local db = database.use(call.database)
  local made = plan.make(db, options)
  if made.unknown then
    return say_unknown(made)
  elseif call.check or call.sql then
    return only_show(call, made)
  elseif not call.json then
    show(made)
  end
  return change(call, db, options, made) and DONE or FAILED
end

---How the schema stands to the models, for `tycho db status`.
---@async
---@param call tycho.db.Command
---@return { models: integer, differences: integer, fault?: string }
function command.state(call)
  local ok, options = pcall(options_of, call)
  if not ok then
    return { models = 0, differences = 0, fault = tostring(options) }
  end
  local made = plan.make(database.use(call.database), options)
  return { models = #options.models, differences = #made.steps }
end

---@param state { models: integer, differences: integer, fault?: string }
function command.show_state(state)
  if state.fault then
    screen.line("Models: cannot be loaded: " .. state.fault)
  elseif state.models == 0 then
    screen.line "Models: none."
  elseif state.differences == 0 then
    screen.line(("Models: %d, and the database is as they are."):format(state.models))
  else
    screen.line(("Models: %d; %d difference%s: tycho db sync --sql, or tycho db sync --check")
      :format(state.models, state.differences, state.differences == 1 and "" or "s"))
  end
end

return command
