--- `tycho db ...`: what an operator does to a database.
---
--- The words come from core/cli/db.c: what to do, options as `--name=value`, `--`, arguments.

local config = require "tycho.config"
local database = require "tycho.db"
local files = require "tycho._private.migration.files"
local json = require "tycho.json"
local loader = require "tycho._private.loader"
local migrate = require "tycho.migrate"
local screen = require "tycho._private.screen"
local sync = require "tycho._private.schema_sync.command"
local vm = require "tycho.core.vm"

local DONE, FAILED, USAGE = 0, 1, 2

---@class tycho.db.Command
---@field verb string
---@field database string
---@field args string[]
---@field allow string[]
---@field done string[] files; they stay done if a later one fails
---@field json boolean
---@field terminal boolean somebody can be asked

local function read_words(verb, ...)
  local call = { verb = verb, database = "default", args = {}, allow = {}, done = {} }
  local is_raw = false
  for i = 1, select("#", ...) do
    local word = select(i, ...)
    local name, value = word:match("^%-%-([%w-]+)=(.*)$")
    if is_raw then
      call.args[#call.args + 1] = word
    elseif word == "--" then
      is_raw = true
    elseif name == "allow" then
      call.allow[#call.allow + 1] = value
    elseif name then
      call[name] = value
    else
      call[word:sub(3)] = true
    end
  end
  return call
end

local function note(call, word, file)
  call.done[#call.done + 1] = file
  screen.say(("%s %s"):format(word, file))
end

-- Says what was done, and, where somebody is looking, how it goes on.
local function narrate(call)
  local words = { apply = "applying", undo = "undoing" }
  return function(what, file, detail)
    if what == "applied" or what == "undid" then
      note(call, what, file)
    elseif call.terminal and what == "statement" then
      screen.progress(("%s: statement %s"):format(file, detail))
    elseif call.terminal and what == "waiting" then
      screen.progress "another process is changing the schema: waiting for it"
    elseif call.terminal and words[what] then
      screen.progress(("%s %s"):format(words[what], file))
    end
  end
end

local function system_of(call)
  return database.use(call.database).system()
end

local commands = {}

local function show_steps(call, steps)
  local rows = { { "VERSION", "MIGRATION", "STATE", "APPLIED" } }
  for i, step in ipairs(steps) do
    rows[i + 1] = { step.version, step.name, step.state, step.applied_at or "-" }
  end
  screen.title(("Database %s (%s)"):format(call.database, system_of(call)))
  if steps[1] then
    screen.table(rows)
  else
    screen.line "No migrations."
  end
end

local function has_work(steps)
  for _, step in ipairs(steps) do
    if step.state == "pending" or step.state == "changed" then
      return true
    end
  end
  return false
end

function commands.status(call)
  local steps = migrate.status { database = call.database }
  local schema = sync.state(call)
  local differs = has_work(steps) or schema.fault ~= nil or schema.differences > 0
  if call.json then
    screen.line(json.encode {
      database = call.database, system = system_of(call),
      migrations = json.array(steps), schema = schema,
    })
  else
    show_steps(call, steps)
    sync.show_state(schema)
  end
  return call.check and differs and FAILED or DONE
end

local function show_done(call, none)
  screen.progress()
  if call.json then
    screen.line(json.encode { ok = true, files = json.array(call.done) })
  elseif not call.done[1] then
    screen.line(none)
  end
end

function commands.migrate(call)
  migrate.run { database = call.database, on_event = narrate(call) }
  show_done(call, "Nothing to apply.")
  return DONE
end

function commands.rollback(call)
  local to = call.to and tonumber(call.to)
  if call.to and (not to or to < 0 or to % 1 ~= 0) then
    screen.fault(("--to: %s is no version of a migration"):format(call.to))
    return USAGE
  end
  local list = migrate.to_undo { database = call.database, to = to }
  if list[1] and not call.yes then
    for _, file in ipairs(list) do
      screen.say("undo " .. file)
    end
    if not screen.confirm(call, "Undo?") then
      return FAILED
    end
  end
  migrate.rollback { database = call.database, to = to, on_event = narrate(call) }
  show_done(call, "Nothing to undo.")
  return DONE
end

function commands.new(call)
  local name, ending = call.args[1]:match("^(.-)(%.?[^.]*)$")
  local kind = ending == ".lua" and "lua" or "sql"
  if ending ~= ".lua" and ending ~= ".sql" then
    name = call.args[1]
  end
  if not files.is_name(name) then
    screen.fault(("%s: a migration's name has letters, digits, _ and -"):format(
      screen.clean(name)))
    return USAGE
  end
  for _, file in ipairs(migrate.create(name, { database = call.database, kind = kind })) do
    screen.line("made " .. file)
  end
  return DONE
end

local function seed_files(call)
  local folder = call.database == "default" and "seeds/" or ("seeds/%s/"):format(call.database)
  if call.args[1] then
    local list = {}
    for i, file in ipairs(call.args) do
      list[i] = file:match("seeds/.*$") or file
    end
    return list
  end
  local list = {}
  for _, file in ipairs(vm.files(folder)) do
    if file:find("%.lua$") and not file:sub(#folder + 1):find("/", 1, true) then
      list[#list + 1] = file
    end
  end
  return list
end

local function plant(call, file)
  local text = vm.file(file)
  if not text then
    error(("%s: there is no such file"):format(files.shown(file)), 0)
  end
  local chunk, err = load(text, "@" .. files.shown(file), "t", loader.environment())
  if not chunk then
    error(err, 0)
  end
  database.use(call.database).transaction(function(tx)
    local seed = chunk(tx)
    if type(seed) == "function" then
      seed(tx)
    end
  end)
end

function commands.seed(call)
  for _, file in ipairs(seed_files(call)) do
    if call.terminal then
      screen.progress("running " .. files.shown(file))
    end
    plant(call, file)
    note(call, "ran", files.shown(file))
  end
  show_done(call, "There are no seeds: scripts/seeds/*.lua.")
  return DONE
end

function commands.sync(call)
  return sync.run(call)
end

-- Also for what would not open it: a misspelt name is not a database without migrations.
local function check_database(name)
  if name ~= "default" and not config.get("databases", {})[name] then
    error(("no database is configured under the name %q: set databases.%s.url"):format(name, name),
      0)
  end
end

local function run(call)
  check_database(call.database)
  return commands[call.verb](call)
end

local function main(...)
  local call = read_words(...)
  screen.open(call)
  local ok, result = pcall(run, call)
  screen.progress()
  if ok then
    return result
  elseif call.json then
    screen.line(json.encode {
      ok = false, faults = json.array { tostring(result) },
      files = call.done[1] and json.array(call.done) or nil,
    })
  else
    screen.fault(tostring(result))
  end
  return FAILED
end

return main(...)
