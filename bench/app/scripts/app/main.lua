-- The endpoints that `make bench` compares with its peers.
local app = require "tycho.app"
local config = require "tycho.config"

app.get("/plaintext", function()
  return "Hello, World!"
end)

app.get("/json", function()
  return { message = "Hello, World!" }
end)

app.get("/user/{id}", function(req)
  local id = req.params.id
  return app.response(200, { id = id, q = req.query.q }, { ["X-User-Id"] = id })
end)

app.post("/echo", function(req)
  return req.body
end)

if config.get "app.database" then
  require "app.world"
end
