--- The application that the HTTP specs talk to: it says what it has understood.
return [[
local app = require "tycho.app"
local fiber = require "tycho.fiber"

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function echo(req)
  local headers = {}
  for name, value in pairs(req.headers) do
    headers[name] = name ~= "x-bytes" and value or nil -- bytes need not be text
  end
  return {
    method = req.method, path = req.path, target = req.target, host = req.host, ip = req.ip,
    headers = headers, trailers = req.trailers, query = req.query, scheme = req.scheme,
    body = req.raw_body and hex(req.raw_body) or false,
    bytes = req.headers["x-bytes"] and hex(req.headers["x-bytes"]) or false,
  }
end

app.route({ "GET", "POST", "PUT", "DELETE" }, "/echo", echo)
app.get("/number/{n}", function(req) return { n = req.params.n } end)
app.get("/fail", function() error("on purpose") end)
app.get("/nothing", function() return app.response(204) end)
app.get("/unchanged", function() return app.response(304, nil, { ETag = '"1"' }) end)
app.get("/text", function() return app.response(200, "some text", { ["X-Extra"] = "1" }) end)
app.get("/empty", function() return app.response(200, "") end)
app.post("/small", { body_max = 10 }, echo)

app.get("/stream", function(req)
  local n = 0
  return app.response(200, function()
    n = n + 1
    if n == 3 and req.query.fail then
      error("in the middle")
    end
    return n <= 3 and ("piece %d\n"):format(n) or nil
  end)
end)

local asked = 0
app.get("/endless/{status}", function(req)
  return app.response(tonumber(req.params.status), function()
    asked = asked + 1
    fiber.sleep(0.01)
    return "piece\n"
  end)
end)
app.get("/asked", function() return { count = asked } end)

local running, most = 0, 0
app.get("/slow", function()
  running = running + 1
  most = math.max(most, running)
  fiber.sleep(0.002)
  running = running - 1
  return { most = most }
end)

local evil = {
  value = { ["X-Evil"] = "a\r\nSet-Cookie: stolen=1" }, name = { ["X-Evil: a\r\nX"] = "b" },
  lf = { ["X-Evil"] = "a\nb" }, nul = { ["X-Evil"] = "a\0b" }, space = { ["X Evil"] = "a" },
  length = { ["Content-Length"] = "3" }, coding = { ["Transfer-Encoding"] = "chunked" },
  types = { ["Content-Type"] = "text/plain", ["content-type"] = "text/html" },
  list = { ["Content-Type"] = { "text/plain", "text/html" } },
}
app.get("/evil/{how}", function(req)
  return app.response(200, "evil", evil[req.params.how])
end)
app.get("/late/{how}", function(req)
  local res = app.response(200, req.query.pieces and function() end or "evil", {})
  for name, value in pairs(evil[req.params.how]) do
    res.headers[name] = value
  end
  return res
end)
app.get("/redirect", function(req) return app.redirect("/to?x=" .. req.query.x) end)
]]
