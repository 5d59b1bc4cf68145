local contract = require "tests.lua.repository_contract"
local edges = require "tests.lua.repository_edges"
local repository = require "tycho.repository"
local tables = require "tests.lua.model_tables"

local function kept_in_memory(models)
  local by_table, made = {}, {}
  for _, each in ipairs(models) do
    by_table[each.table.name] = each
  end
  local function new(each, opts)
    local name = each.table.name
    if not made[name] then
      local all = { references = {} }
      for key, value in pairs(opts or {}) do
        all[key] = value
      end
      for _, column in ipairs(each.table.columns) do
        local to = column.references
        if to and to.table ~= name then
          all.references[to.table] = new(by_table[to.table])
        end
      end
      made[name] = repository.memory(each, all)
    end
    return made[name]
  end
  return new
end

local is_made = {}

local function kept_in_tables(models)
  if not is_made[models[1]] then
    tables.create(models)
    is_made[models[1]] = true
  end
  tables.empty(models)
  return repository.new
end

describe("a repository in memory", function()
  contract(kept_in_memory)
  edges(kept_in_memory, false)
end)

describe("a repository in a database", function()
  contract(kept_in_tables)
  edges(kept_in_tables, true)
end)
