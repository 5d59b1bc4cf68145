--- All models that the scripts have defined, in order; and what holds only between them.

local checks = require "tycho._private.checks"
local suggest = require "tycho._private.suggest"

local registry = { list = {}, by_table = {} }

local is_checked = false

local function fault_of_reference(model, column)
  local described, to = model.table, column.references
  local target = registry.by_table[to.table]
  if not target then
    return ("%s.%s refers to the table %q, which no model has%s"):format(described.name,
      column.name, to.table, suggest(to.table, registry.by_table))
  end
  local other = target.table.by_name[to.column]
  if not other then
    return ("%s.%s refers to %s.%s, and there is no such column%s"):format(described.name,
      column.name, to.table, to.column, suggest(to.column, target.table.by_name))
  elseif other.kind ~= column.kind then
    return ("%s.%s refers to %s.%s, which is of the kind %s: kind = %q is wanted"):format(
      described.name, column.name, to.table, to.column, other.kind, other.kind)
  end
end

---Raises a text with one line for each reference that leads nowhere.
function registry.check()
  local faults = {}
  for _, model in ipairs(registry.list) do
    for _, column in ipairs(model.table.columns) do
      local fault = column.references and fault_of_reference(model, column)
      if fault then
        faults[#faults + 1] = ("%s: %s"):format(column.where, fault)
      end
    end
  end
  if faults[1] then
    error(table.concat(faults, "\n"), 0)
  end
end

---@param model tycho.model.Model
function registry.add(model)
  registry.list[#registry.list + 1] = model
  registry.by_table[model.table.name] = model
  if not is_checked then
    is_checked = true
    checks.add(registry.check, model.where)
  end
end

---Runs `fn` as if no model had been defined before, and forgets those that it defines: for specs.
---@param fn fun(...): ...
---@return any ... what `fn` returned
function registry.isolate(fn, ...)
  local list, by_table = registry.list, registry.by_table
  registry.list, registry.by_table = {}, {}
  local function restore(ok, ...)
    registry.list, registry.by_table = list, by_table
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return restore(pcall(fn, ...))
end

return registry
