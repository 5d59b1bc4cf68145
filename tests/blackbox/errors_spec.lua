-- What goes wrong in a handler costs one request its answer, and nobody anything else.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local json = require "tycho.json"
local password = require "tycho.password"

app.get("/ok", function() return { ok = true } end)
app.get("/raise", function() error("secret detail of the implementation") end)
app.get("/index", function() local t; return t.field end)
app.get("/object", function() error({ some = "table" }) end)
app.get("/nil", function() error(nil) end)
app.get("/known", function() error(errors.new("conflict", "taken already"), 0) end)
app.get("/library", function()
  error(errors.new("unavailable", "db at 10.0.0.1 said no", { public = false }), 0)
end)
app.get("/tostring", function()
  error(setmetatable({}, { __tostring = function() error("again") end }))
end)
app.get("/unsendable", function() return { f = function() end } end)
app.get("/library_notices", function() local hash = password.hash(nil) return hash end)
app.get("/status", function() return app.response(99, "x") end)

local function recurse(n) return 1 + recurse(n + 1) end
local loop = setmetatable({}, {})
getmetatable(loop).__index = function(t, k) return t[k .. "x"] end
local ping, pong = {}, {}
setmetatable(ping, { __index = function(_, k) return pong[k] end })
setmetatable(pong, { __index = function(_, k) return ping[k] end })
local function nest(n)
  if n == 0 then return recurse(0) end
  local ok, err = pcall(nest, n - 1)
  if not ok then error(err, 0) end
end

local overflow = {
  recursion = function() return recurse(0) end,
  index = function() return loop.x end,
  metamethods = function() return ping.x end,
  pcall = function() return nest(200) end,
  tostring = function()
    local t = setmetatable({}, { __tostring = function(t) return "x" .. tostring(t) end })
    return tostring(t)
  end,
  concat = function()
    local t = setmetatable({}, { __concat = function(a, b) return a .. b end })
    return t .. t
  end,
  json = function()
    local t = {}
    t.t = t
    return json.encode(t)
  end,
  deep = function()
    local t = {}
    for _ = 1, 100000 do t = { t } end
    return t
  end,
}
app.get("/overflow/{how}", function(req) return overflow[req.params.how]() end)
app.post("/parse", function(req) return { kind = type(req.body) } end)

local places = {
  sort = function() table.sort({ 3, 2, 1 }, function() fiber.sleep(0) return false end) end,
  gsub = function() return (("abc"):gsub(".", function() fiber.sleep(0) end)) end,
}
app.get("/yield/{where}", function(req) return places[req.params.where]() end)
local fine = {
  pcall = function() pcall(fiber.sleep, 0) return "ok" end,
  iterator = function()
    for x in function(_, last) fiber.sleep(0) return not last and 1 or nil end do local _ = x end
    return "ok"
  end,
  index = function()
    return setmetatable({}, { __index = function() fiber.sleep(0) return "ok" end }).x
  end,
  coroutine = function()
    return coroutine.wrap(function() fiber.sleep(0) coroutine.yield "ok" end)()
  end,
  xpcall = function()
    return select(2, xpcall(function() fiber.sleep(0) return "ok" end, tostring))
  end,
}
app.get("/fine/{where}", function(req) return { fine[req.params.where]() } end)
]]

local function start(extra, opts)
  opts = opts or {}
  opts.scripts = { ["app/main.lua"] = APP .. (extra or "") }
  return server.start(opts)
end

describe("an error in a handler", function()
  local s

  setup(function() s = start() end)
  teardown(server.clean_up)

  local function check_plain_500(res)
    assert.equal(500, res.status)
    assert.equal("application/problem+json", res.headers["content-type"])
    local problem = res:json()
    assert.equal(500, problem.status)
    assert.equal(res.headers["x-request-id"], problem.request_id)
    for _, secret in ipairs { "secret", "main.lua", "traceback", ".lua:", "10.0.0.1" } do
      assert.is_nil(res.body:find(secret, 1, true), res.body)
    end
  end

  for _, what in ipairs { "raise", "index", "object", "nil", "tostring", "unsendable", "status" } do
    it("is a plain 500, the details only in the log: " .. what, function()
      local conn = s:connect()

      check_plain_500(conn:request("GET", "/" .. what))
      assert.equal(200, conn:request("GET", "/ok").status)
    end)
  end

  it("is logged under the request's id, with file, line and traceback", function()
    local res = s:request("GET", "/raise")
    local id, found = res.headers["x-request-id"], nil

    clock.eventually(function()
      for _, record in ipairs(s:records()) do
        if record.request_id == id and record.level == "error" then
          found = record
        end
      end
      return found
    end, 5, "the record of the error")
    s:wait_log "main%.lua:%d+: secret detail"
    s:wait_log "stack traceback"
  end)

  it("is logged, too, where middleware sees the answer first", function()
    local wrapped = start [[
      app.get("/seen", { use = function(req, next) return next(req) end }, function()
        error "behind the middleware"
      end)
    ]]
    check_plain_500(wrapped:request("GET", "/seen"))

    wrapped:wait_log "main%.lua:%d+: behind the middleware"
    wrapped:wait_log '"error":"internal"'
  end)

  it("has the line of the route where an answer cannot be sent", function()
    check_plain_500(s:request("GET", "/unsendable"))

    s:wait_log "main%.lua:%d+: the answer cannot be JSON: function"
  end)

  it("is logged with the application's line, where the library notices it", function()
    check_plain_500(s:request("GET", "/library_notices"))

    s:wait_log "main%.lua:%d+: bad argument"
  end)

  it("shows what is in a table that was raised", function()
    check_plain_500(s:request("GET", "/object"))

    s:wait_log '{\\?"some\\?":\\?"table\\?"}'
  end)

  it("has the status of its kind when it is an error object", function()
    local known, library = s:request("GET", "/known"), s:request("GET", "/library")

    assert.equal(409, known.status)
    assert.equal("taken already", known:json().detail)
    assert.equal(503, library.status)
    assert.is_nil(library.body:find("10.0.0.1", 1, true))
  end)

  for _, how in ipairs {
    "recursion", "index", "metamethods", "pcall", "tostring", "concat", "json", "deep",
  } do
    it("may be a stack overflow: " .. how, function()
      local conn, workers = s:connect(), s:workers()
      local res = conn:request("GET", "/overflow/" .. how)

      check_plain_500(res)
      assert.equal(200, conn:request("GET", "/ok").status)
      assert.same(workers, s:workers())
    end)
  end

  it("may be in the depth of what a client sent", function()
    for _, unit in ipairs { "[", '{"a":' } do
      local res = s:request("POST", "/parse", {
        body = unit:rep(100000), headers = { ["Content-Type"] = "application/json" },
      })
      assert.equal(400, res.status)
    end
    assert.equal(200, s:request("GET", "/ok").status)
  end)

  for _, where in ipairs { "sort", "gsub" } do
    it("says so when a fiber cannot wait where it is: " .. where, function()
      check_plain_500(s:request("GET", "/yield/" .. where))
      s:wait_log "cannot wait here"
    end)
  end

  for _, where in ipairs { "pcall", "iterator", "index", "coroutine", "xpcall" } do
    it("is none when a fiber waits in a place where it can: " .. where, function()
      assert.equal("ok", s:request("GET", "/fine/" .. where):json()[1])
    end)
  end
end)

describe("an error in what makes errors", function()
  teardown(server.clean_up)

  local function check(extra)
    local s = start(extra)
    for _, path in ipairs { "/raise", "/missing", "/known" } do
      local conn = s:connect()
      local res = conn:request("GET", path)

      assert.is_true(res.status >= 400, path)
      assert.is_true(#res.body > 0, path)
      assert.is_nil(res.body:find("in the envelope", 1, true))
    end
    return s
  end

  it("still is an answer: the envelope raises", function()
    local s = check [[
      app.envelope { error = function() error("in the envelope") end }
    ]]
    assert.equal(500, s:request("GET", "/raise").status)
  end)

  it("still is an answer: the envelope returns what cannot be sent", function()
    check [[
      app.envelope { error = function() return "no status", { f = print } end }
    ]]
  end)

  it("still is an answer: what was raised never becomes text", function()
    local s = check [[
      local function raising(fn)
        return function() error(setmetatable({}, { __tostring = fn })) end
      end
      app.get("/loop", raising(function() while true do end end))
      app.get("/endless", raising(function(self) return tostring(self) end))
      app.get("/wait", raising(function() fiber.sleep(1) end))
      app.get("/pieces", function()
        return app.response(200, raising(function() while true do end end))
      end)
    ]]
    local workers = s:workers()
    for _, path in ipairs { "/loop", "/endless", "/wait" } do
      assert.equal(500, s:request("GET", path).status)
    end
    assert.is_false(pcall(s.request, s, "GET", "/pieces")) -- too late for another answer

    s:wait_log "an error that cannot be shown"
    assert.same(workers, s:workers())
  end)

  it("still is an answer: an error object with members of other types", function()
    local s = check [[
      local broken = {
        errors = "text", headers = "text", retry_after = "soon", status = "high", code = print,
        message = {}, msg = 5, kind = {}, locale = {}, public = "yes", name = {}, detail = print,
        split = { ["X-Evil"] = "a\r\nSet-Cookie: stolen=1" },
      }
      app.get("/broken/{member}", function(req)
        local err = errors.new("conflict", "x")
        local member = req.params.member
        err[member == "split" and "headers" or member] = broken[member]
        err.cause = err
        error(err, 0)
      end)
    ]]
    local conn = s:connect()
    for _, member in ipairs {
      "errors", "headers", "retry_after", "status", "code", "message", "msg", "kind", "locale",
      "public", "name", "detail", "split",
    } do
      local res = conn:request("GET", "/broken/" .. member)

      assert.is_true(res.status == 409 or res.status == 500, member .. res.status)
      assert.is_nil(res.headers["set-cookie"])
      assert.equal(res.status, res:json().status)
    end
  end)

  for _, what in ipairs { "nil", "thread", "function", "true", "1" } do
    it("still is an answer: what was raised is no error: " .. what, function()
      local s = check(([[
        app.get("/odd", function()
          local thread = coroutine.create(function() end)
          local values = { thread = thread, ["function"] = print, ["true"] = true, ["1"] = 1 }
          fiber.spawn(function() error(values["%s"]) end):join()
        end)
      ]]):format(what))

      assert.equal(500, s:request("GET", "/odd").status)
    end)
  end

  it("still is an answer: middleware raises after the handler", function()
    check [[
      app.use { after = function() error("in the envelope") end }
    ]]
  end)
end)

describe("requests", function()
  teardown(server.clean_up)

  it("see nothing of each other, however often their coroutines are used", function()
    local s = server.start { workers = 1, scripts = { ["app/main.lua"] = [[
      local app = require "tycho.app"
      local fiber = require "tycho.fiber"

      app.get("/secret/{secret}", function(req)
        local context = fiber.context()
        local left = context.secret or rawget(_G, "leaked") or "nothing"
        context.secret = req.params.secret
        local before = req.headers["x-secret"]
        if req.query.fail then
          error(req.params.secret)
        end
        fiber.sleep(0)
        if fiber.context().secret ~= req.params.secret or req.headers["x-secret"] ~= before then
          left = "mixed"
        end
        return { left = left, secret = context.secret, header = before, id = req.id }
      end)
    ]] } }
    local rounds, batch = tonumber(os.getenv "TYCHO_TEST_SECRETS") or 100000, 50

    local function client(number)
      local conn = s:connect()
      for round = 1, rounds / 8 / batch do
        local requests, secrets = {}, {}
        for i = 1, batch do
          local secret = ("%d-%d-%d"):format(number, round, i)
          secrets[i] = secret
          requests[i] = http.format("GET",
            "/secret/" .. secret .. (i % 10 == 0 and "?fail=1" or ""),
            { headers = { ["X-Secret"] = secret, ["X-Request-Id"] = secret } })
        end
        conn:send(table.concat(requests))
        for i, secret in ipairs(secrets) do
          local res = conn:receive()
          assert(res.headers["x-request-id"] == secret, "another request's id")
          if i % 10 == 0 then
            assert(res.status == 500)
          else
            local seen = res:json()
            assert(seen.left == "nothing" and seen.secret == secret and seen.header == secret
              and seen.id == secret, res.body)
          end
        end
      end
    end
    local clients = {}
    for number = 1, 8 do
      clients[number] = fiber.spawn(client, number)
    end
    for _, handle in ipairs(clients) do
      handle:join()
    end
  end)

  it("cannot reach what all requests share", function()
    local s = server.start { scripts = { ["app/main.lua"] = [[
      local app = require "tycho.app"
      app.get("/", function(req)
        local shared = getmetatable(req)
        return { kind = type(shared), set = pcall(setmetatable, req, {}) }
      end)
    ]] } }

    local seen = s:request("GET", "/"):json()
    assert.equal("string", seen.kind)
    assert.is_false(seen.set)
  end)

  it("cannot leave global variables behind", function()
    local s = server.start { scripts = { ["app/main.lua"] = [[
      local app = require "tycho.app"
      app.get("/ok", function() return { ok = true } end)
      app.get("/write", function() _G["left" .. "over"] = 1 end)
      app.get("/read", function() return { found = rawget(_G, "leftover") ~= nil } end)
    ]] } }

    assert.equal(500, s:request("GET", "/write").status)
    assert.is_false(s:request("GET", "/read"):json().found)

    s:write("app/main.lua", 'function leak() end\nrequire("tycho.app").get("/", leak)\n')
    local code, _, err = s:cli "reload"
    assert.equal(1, code)
    assert.matches("app/main%.lua:1: .*leak", err)
    assert.equal(200, s:request("GET", "/ok").status)
  end)
end)
