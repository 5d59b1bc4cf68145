-- What `make bench` asks of the database: one row, and many.
local app = require "tycho.app"
local db = require "tycho.db"
local s = require "tycho.schema"

local ROW = "select id, randomnumber from world where id = $1"
local ROWS = 10000

local function shown(row)
  return { id = row.id, randomNumber = row.randomnumber }
end

app.get("/db", function()
  return shown(db.one(ROW, math.random(ROWS)))
end)

-- They do not depend on each other, so they go out together.
app.get("/queries", { query = s.object { n = s.integer { min = 1, max = 500, default = 1 } } },
  function(req)
    local list = {}
    for i = 1, req.query.n do
      list[i] = { ROW, math.random(ROWS), as = "one" }
    end
    local found = db.batch(list)
    for i = 1, found.n do
      found[i] = shown(found[i])
    end
    found.n = nil
    return found
  end)
