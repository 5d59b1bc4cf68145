-- The contract of repositories, on whichever database there is; tests/lua has it in memory.

local contract = require "tests.lua.repository_contract"
local db = require "tycho.db"
local edges = require "tests.lua.repository_edges"
local model = require "tycho.model"
local registry = require "tycho._private.model_registry"
local repository = require "tycho.repository"
local support = require "tests.db.support"
local tables = require "tests.lua.model_tables"

local is_made = {}

local function kept_in_tables(models)
  if not is_made[models[1]] then
    tables.create(models)
    is_made[models[1]] = true
  end
  tables.empty(models)
  return repository.new
end

describe("a repository on " .. support.system, function()
  contract(kept_in_tables)
  edges(kept_in_tables, true)

  it("is not disturbed by a column that a later version has added", function()
    local Early = registry.isolate(model.define, "rl_things",
      { model.id(), model.text("name", { max = 20 }) })
    tables.create { Early }
    db.exec "alter table rl_things add column later varchar(20) default 'new'"
    local things = repository.new(Early)

    local made = things:insert { name = "a" }

    assert.same({ id = made.id, name = "a" }, made)
    assert.same(made, things:get(made.id))
    assert.same({ made }, { unpack(things:list().items) })
    assert.equal("new", db.value("select later from rl_things where id = $1", made.id))
  end)
end)
