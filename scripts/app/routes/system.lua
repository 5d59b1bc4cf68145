-- /api/system: is this server all right?
local app = require "tycho.app"
local db = require "tycho.db"
local errors = require "tycho.errors"
local time = require "tycho.time"
local tycho = require "tycho"

app.get("/api/system/health", { summary = "Health", tags = { "system" } }, function(req)
  if not tycho.try(db.value, "select 1") then
    error(errors.new("unavailable", "the database does not answer", {
      msg = { en = "the database does not answer", zh = "数据库无响应" },
    }), 0)
  end
  return { status = "ok", database = "ok", generation = req.generation, time = time.iso() }
end)
