--- Before a generation goes live: has the database all the tables and columns that its models speak
--- of? What else differs is for `tycho db sync` to say.

local config = require "tycho.config"
local database = require "tycho.db"
local errors = require "tycho.errors"
local log = require("tycho.log").module "db"
local model = require "tycho.model"

local present = {}

local function by_database()
  local found, names = {}, {}
  for _, each in ipairs(model.all()) do
    local name = each.table.database
    if not found[name] then
      found[name] = {}
      names[#names + 1] = name
    end
    table.insert(found[name], each)
  end
  return found, names
end

local function missing_of(each, live, where)
  local described = each.table
  if not live then
    return { ("%s: there is no table %s in %s"):format(each.where, described.name, where) }
  end
  local list = {}
  for _, column in ipairs(described.columns) do
    if not live.by_name[column.name] then
      list[#list + 1] = ("%s: the table %s has no column %s in %s"):format(each.where,
        described.name, column.name, where)
    end
  end
  return list
end

local function look(name, models)
  local db = database.use(name)
  local shapes = require("tycho._private.schema_sync." .. db.system()).read(db)
  local where = ("the database %s: tycho db sync, or a migration, makes it"):format(name)
  local faults = {}
  for _, each in ipairs(models) do
    for _, fault in ipairs(missing_of(each, shapes[each.table.name], where)) do
      faults[#faults + 1] = fault
    end
  end
  return faults
end

-- One that cannot be reached now is no fault of the scripts.
local function look_if_up(name, models)
  local ok, faults = pcall(look, name, models)
  if ok then
    return faults
  elseif errors.is(faults, "unavailable") or errors.is(faults, "timeout") then
    log:warn("cannot look whether the database is as the models are", {
      db = name, error = tostring(faults),
    })
    return {}
  end
  error(faults, 0)
end

---Returns what is missing, one a line; nil if nothing is. Where the schema is changed by hand
---(`databases.<name>.migrate: manual`) it is only logged.
---@async
---@return string? faults
function present.check()
  local found, names = by_database()
  local all = {}
  for _, name in ipairs(names) do
    local is_manual = config.get(("databases.%s.migrate"):format(name)) == "manual"
    for _, fault in ipairs(look_if_up(name, found[name])) do
      if is_manual then
        log:warn(fault)
      else
        all[#all + 1] = fault
      end
    end
  end
  return all[1] and table.concat(all, "\n") or nil
end

return present
