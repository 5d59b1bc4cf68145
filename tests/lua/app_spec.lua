local errors = require "tycho.errors"
local json = require "tycho.json"
local s = require "tycho.schema"
local test = require "tycho.test"

describe("a handler's result", function()
  local request = test.application(function(app)
    app.get("/text", function() return "hello" end)
    app.get("/json", function() return { hello = "world" } end)
    app.post("/made", { status = 201 }, function() return { id = 1 } end)
    app.delete("/gone", function() return nil end)
    app.get("/own", function()
      return app.response(418, { short = true }, { ["X-Kind"] = "teapot", Link = { "a", "b" } })
    end)
    app.get("/moved", function() return app.redirect("/a b/订?x=1\r\nSet-Cookie: a=b", 303) end)
  end)

  it("is text, JSON, or nothing", function()
    local text, object, nothing = request("GET", "/text"), request("GET", "/json"),
      request("DELETE", "/gone")

    assert.equal("hello", text.body)
    assert.equal("text/plain; charset=utf-8", text.headers["content-type"])
    assert.same({ hello = "world" }, object.json)
    assert.equal(204, nothing.status)
    assert.equal("", nothing.body)
  end)

  it("gets the status of its route", function()
    assert.equal(201, request("POST", "/made").status)
  end)

  it("may be a response with status and headers of its own", function()
    local res = request("GET", "/own")

    assert.equal(418, res.status)
    assert.equal("teapot", res.headers["x-kind"])
    assert.is_true(res.json.short)
  end)

  it("cannot smuggle anything into a redirection", function()
    local res = request("GET", "/moved")

    assert.equal(303, res.status)
    assert.equal("/a%20b/%E8%AE%A2?x=1%0D%0ASet-Cookie:%20a=b", res.headers.location)
    assert.is_nil(res.headers["set-cookie"])
  end)
end)

describe("app.response", function()
  local app = require "tycho.app"

  for wanted, arguments in pairs {
    ["control character"] = { 200, "", { ["X-A"] = "a\r\nB: c" } },
    ["not a token"] = { 200, "", { ["X A"] = "a" } },
    ["the server's own"] = { 200, "", { ["content-length"] = "1" } },
    ["a string is wanted, not a boolean"] = { 200, "", { ["X-A"] = true } },
    ["99 is not a final status"] = { 99 },
    ["204.5 is not a final status"] = { 204.5 },
  } do
    it("refuses at the caller's line: " .. wanted, function()
      local _, message = pcall(function()
        app.response(unpack(arguments))
      end)

      assert.matches("app_spec.lua:%d+: app.response: .*" .. wanted, message)
    end)
  end
end)

describe("errors", function()
  errors.define("app_spec.closed", {
    code = 990100, status = 409, msg = { en = "closed", zh = "已关闭" },
  })
  local request = test.application(function(app)
    app.get("/defined", function() errors.raise "app_spec.closed" end)
    app.get("/library", function()
      error(errors.new("conflict", "UNIQUE constraint failed: users.email", { public = false }), 0)
    end)
    app.get("/bug", function() return nil + 1 end)
    app.get("/table", function() error({ secret = "hunter2" }) end)
    app.get("/later", function()
      error(errors.new("limited", "slow down", { retry_after = 1.5 }), 0)
    end)
  end)

  it("are problem+json by default, in the caller's language", function()
    local res = request("GET", "/defined", { headers = { ["accept-language"] = "zh-CN" } })

    assert.equal(409, res.status)
    assert.equal("application/problem+json", res.headers["content-type"])
    assert.equal("zh", res.headers["content-language"])
    assert.equal("已关闭", res.json.detail)
    assert.equal("Conflict", res.json.title)
    assert.equal("about:blank", res.json.type)
    assert.equal(409, res.json.status)
    assert.equal(990100, res.json.code)
    assert.is_string(res.json.request_id)
  end)

  it("say nothing about the inside", function()
    for _, path in ipairs { "/library", "/bug", "/table" } do
      local res = request("GET", path)
      assert.not_matches("users", res.body)
      assert.not_matches("%.lua", res.body)
      assert.not_matches("hunter2", res.body)
      assert.not_matches("nil", res.body)
    end
    assert.equal(409, request("GET", "/library").status)
    assert.equal(500, request("GET", "/bug").status)
    assert.equal(500, request("GET", "/table").status)
  end)

  it("say when to come back, and how to sign in", function()
    assert.equal("2", request("GET", "/later").headers["retry-after"])
  end)

  it("answer what no route takes", function()
    local missing, wrong, options = request("GET", "/nowhere"), request("POST", "/bug"),
      request("OPTIONS", "/bug")

    assert.equal(404, missing.status)
    assert.equal("there is nothing here", missing.json.detail)
    assert.equal(405, wrong.status)
    assert.matches("GET", wrong.headers.allow)
    assert.equal(204, options.status)
    assert.matches("OPTIONS", options.headers.allow)
  end)
end)

describe("an envelope", function()
  local request = test.application(function(app)
    app.envelope {
      success = function(data) return { code = 0, data = data } end,
      error = function(err, req, message)
        return err.kind == "conflict" and 400 or nil, { code = 1, msg = message, id = req.id }
      end,
    }
    app.get("/data", function() return { 1 } end)
    app.get("/none", function() return nil end)
    app.get("/plain", { envelope = false }, function() return "plain" end)
    app.get("/own", function() return app.response(200, "own") end)
    app.get("/conflict", function() error(errors.new("conflict", "taken"), 0) end)
    app.get("/bug", function() error "bug" end)
  end)

  it("holds every plain result", function()
    assert.same({ code = 0, data = { 1 } }, request("GET", "/data").json)
    assert.same({ code = 0 }, request("GET", "/none").json)
  end)

  it("leaves responses and routes without it alone", function()
    assert.equal("plain", request("GET", "/plain").body)
    assert.equal("own", request("GET", "/own").body)
  end)

  it("holds errors, and may change their status", function()
    local res = request("GET", "/conflict")

    assert.equal(400, res.status)
    assert.equal("taken", res.json.msg)
    assert.equal("application/json", res.headers["content-type"])
    assert.equal("something went wrong on our side", request("GET", "/bug").json.msg)
    assert.equal("there is nothing here", request("GET", "/nowhere").json.msg)
  end)
end)

describe("middleware", function()
  local trail

  local function named(name)
    return function(req, next)
      trail[#trail + 1] = name
      local res = next(req)
      trail[#trail + 1] = "/" .. name
      return res
    end
  end

  local request = test.application(function(app)
    local api = app.group("/api", { use = named "group" })
    local before = { before = function() trail[#trail + 1] = "before" end }
    api:get("/ok", { use = { named "route", before } },
      function() trail[#trail + 1] = "handler" end)
    api:get("/bug", { use = { after = function(_, res) trail[#trail + 1] = res.status end } },
      function() error "bug" end)
    api:get("/stop", { use = { before = function() return app.response(403, "no") end } },
      function() trail[#trail + 1] = "handler" end)
    api:get("/replace", {
      use = { after = function(_, res) return app.response(201, res.body .. "!") end },
    }, function() return "hello" end)
    api:get("/forgets", { use = function(_, next) return next() end }, function() return 1 end)
    app.use(named "app") -- after the routes: the order of declarations does not matter
    app.use { after = function(_, res) res.headers["X-Seen"] = tostring(res.status) end }
  end)

  before_each(function()
    trail = {}
  end)

  it("leaves the methods that a path has to be told", function()
    local wrong, options = request("DELETE", "/api/ok"), request("OPTIONS", "/api/ok")

    assert.equal(405, wrong.status)
    assert.equal("405", wrong.headers["x-seen"])
    assert.matches("GET", wrong.headers.allow)
    assert.equal(204, options.status)
  end)

  it("runs from the app inwards and back out", function()
    assert.equal(204, request("GET", "/api/ok").status)
    assert.equal("app group route before handler /route /group /app", table.concat(trail, " "))
  end)

  it("sees error answers", function()
    local res = request("GET", "/api/bug")

    assert.equal(500, res.status)
    assert.equal("500", res.headers["x-seen"])
    assert.equal("app group 500 /group /app", table.concat(trail, " "))
  end)

  it("may answer instead of the handler, or replace its answer", function()
    local stopped, replaced = request("GET", "/api/stop"), request("GET", "/api/replace")

    assert.equal(403, stopped.status)
    assert.equal("403", stopped.headers["x-seen"])
    assert.equal(201, replaced.status)
    assert.equal("hello!", replaced.body)
  end)

  it("of the app also runs for what no route takes", function()
    local res = request("GET", "/nowhere")

    assert.equal(404, res.status)
    assert.equal("404", res.headers["x-seen"])
    assert.equal("app /app", table.concat(trail, " "))
  end)

  it("that forgets the request is a fault of the program, and still answered", function()
    assert.equal(500, request("GET", "/api/forgets").status)
  end)
end)

describe("a request", function()
  local kept
  local request = test.application(function(app)
    app.get("/keep", function(req)
      kept = req
      return req.method
    end)
    app.get("/forge/{what}", function(req)
      local first = req[1]
      local what = { number = first + 1, kept = kept, null = json.null, text = "1", huge = 2 ^ 60 }
      req[1] = what[req.params.what]
      local ok = pcall(function() return req.headers end)
      return { ok = ok }
    end)
  end)

  it("cannot be read when it is over", function()
    request("GET", "/keep")

    assert.error_matches(function() return kept.headers end, "headers: the request is over")
  end)

  for _, what in ipairs { "number", "kept", "null", "text", "huge" } do
    it("cannot be made another one: " .. what, function()
      assert.is_false(request("GET", "/forge/" .. what).json.ok)
    end)
  end
end)

describe("authentication", function()
  local request = test.application(function(app)
    app.auth("token", function(req)
      local name = (req.headers.authorization or ""):match("^Bearer (%w+)$")
      if name == "banned" then
        error(errors.new("forbidden", "banned"), 0)
      end
      return name and { name = name }
    end)
    app.defaults { auth = "token" }
    local seen = { authenticated = true, before = function(req) req.seen = req.user.name end }
    app.get("/me", { use = seen }, function(req) return req.seen end)
    app.get("/open", { auth = false }, function(req) return { user = req.user or json.null } end)
    app.post("/body", { body = s.object {} }, function() return "in" end)
  end)

  it("gives the handler and later middleware the user", function()
    assert.equal("ann", request("GET", "/me", { token = "ann" }).body)
  end)

  it("answers 401 and how to sign in", function()
    local res = request("GET", "/me")

    assert.equal(401, res.status)
    assert.equal("Bearer", res.headers["www-authenticate"])
  end)

  it("may raise something else", function()
    assert.equal(403, request("GET", "/me", { token = "banned" }).status)
  end)

  it("is not asked where a route says so", function()
    assert.equal(200, request("GET", "/open").status)
  end)

  it("comes before the body is looked at", function()
    assert.equal(401, request("POST", "/body", { body = "{" }).status)
  end)
end)
