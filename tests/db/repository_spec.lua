-- The contract of repositories, on whichever database there is; tests/lua has it in memory.

local contract = require "tests.lua.repository_contract"
local repository = require "tycho.repository"
local support = require "tests.db.support"
local tables = require "tests.lua.model_tables"

local is_made = false

describe("a repository on " .. support.system, function()
  contract(function(models)
    if not is_made then
      tables.create(models)
      is_made = true
    end
    tables.empty(models)
    return repository.new
  end)
end)
