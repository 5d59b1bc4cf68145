local app = require "tycho.app"
local s = require "tycho.schema"

app.get("/hello/{name}", function(req)
  return { hello = req.params.name }
end)

app.post("/sum", { body = s.object { a = s.integer(), b = s.integer() } }, function(req)
  return { sum = req.body.a + req.body.b }
end)
