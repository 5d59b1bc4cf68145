-- Makes the tables of models anew, in whichever database the tests run on.

local database = require "tycho.db"
local shape = require "tycho._private.schema_sync.shape"
local statements = require "tycho._private.schema_sync.statements"

local tables = {}

---@param models tycho.model.Model[] those that are referred to before those that refer to them
---@param name? string of the database
function tables.create(models, name)
  local db = database.use(name or "default")
  local system = db.system and db.system() or "sqlite"
  local ddl = require("tycho._private.dialect." .. system .. "_ddl")
  for i = #models, 1, -1 do
    db.exec(('drop table if exists "%s"'):format(models[i].table.name))
  end
  for _, each in ipairs(models) do
    for _, sql in ipairs(statements.of_new_table(ddl, shape.of_model(each.table, ddl))) do
      db.exec(sql)
    end
  end
end

return tables
