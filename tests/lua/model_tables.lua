-- Makes the tables of models, in whichever database the tests run on.

local database = require "tycho.db"
local shape = require "tycho._private.schema_sync.shape"
local statements = require "tycho._private.schema_sync.statements"

local tables = {}

local function create(db, described)
  local ddl = require("tycho._private.dialect." .. db.system() .. "_ddl")
  local wanted = shape.of_model(described, ddl)
  for _, sql in ipairs(statements.of_new_table(ddl, wanted)) do
    db.exec(sql)
  end
  for _, reference in ipairs(ddl.inlines_references and {} or wanted.references) do
    db.exec(ddl:add_reference(wanted, reference))
  end
end

---Makes them anew.
---@param models tycho.model.Model[] those that are referred to before those that refer to them
---@param name? string of the database
function tables.create(models, name)
  local db = database.use(name or "default")
  for i = #models, 1, -1 do
    db.exec(('drop table if exists "%s"'):format(models[i].table.name))
  end
  for _, each in ipairs(models) do
    create(db, each.table)
  end
end

---Deletes their rows.
---@param models tycho.model.Model[] in the same order
---@param name? string of the database
function tables.empty(models, name)
  local db = database.use(name or "default")
  for i = #models, 1, -1 do
    db.exec(('delete from "%s"'):format(models[i].table.name))
  end
end

return tables
