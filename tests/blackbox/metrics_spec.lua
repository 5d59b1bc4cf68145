-- What the server counts is what its clients saw.

local clock = require "tests.blackbox.support.clock"
local http = require "tests.blackbox.support.http"
local load = require "tests.blackbox.support.load"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local fiber = require "tycho.fiber"

app.get("/ok", function() return {} end)
app.get("/item/{id}", function(req) return { id = req.params.id } end)
app.get("/fail", function() error("on purpose") end)
app.get("/slow", function() fiber.sleep(0.005) return {} end)
app.get("/wait", function() fiber.sleep(60) return {} end)
]]

local COUNT = "http_server_request_duration_seconds_count"
local TARGETS = { "/ok", "/item/7", "/fail", "/slow", "/missing" }
local STATUS = { ["/fail"] = 500, ["/missing"] = 404 }

local function request(id)
  return "GET", TARGETS[id % #TARGETS + 1]
end

local function check(res, id)
  return res.status == (STATUS[TARGETS[id % #TARGETS + 1]] or 200), "status " .. res.status
end

local function start(opts)
  opts = opts or {}
  opts.scripts = { ["app/main.lua"] = APP }
  return server.start(opts)
end

local HEALTH = { ["/readyz"] = true, ["/livez"] = true, ["/metrics"] = true }

-- Requests that were counted, but for those of the bench itself.
local function counted(s, labels)
  local m = s:metrics()
  local all = m:sum(COUNT, labels)
  for _, sample in ipairs(m.samples) do
    if sample.name == COUNT and HEALTH[sample.labels.http_route] and not labels then
      all = all - sample.value
    end
  end
  return all
end

describe("the metrics", function()
  after_each(server.clean_up)

  it("count exactly what the clients' ledger has", function()
    local s = start()
    local before = counted(s)
    local result = load.run {
      port = s.port, rate = 1000, duration = 2, connections = 20, request = request, check = check,
    }
    result.ledger:assert_all_ok(2000)

    assert.equal(2000, counted(s) - before)
    for route, expected in pairs {
      ["/ok"] = 400, ["/item/{id}"] = 400, ["/fail"] = 400, ["/slow"] = 400,
    } do
      assert.equal(expected, counted(s, { http_route = route }))
    end
    assert.equal(400, counted(s, { http_response_status_class = "5xx" }))
  end)

  it("never go back and stay exact when scripts are reloaded", function()
    local s = start()
    local before, last = counted(s), 0
    local result = load.run({
      port = s.port, rate = 500, duration = 3, connections = 10, request = request, check = check,
    }, function()
      for i = 1, 5 do
        s:write("app/version.lua", "return " .. i)
        s:reload()
        local now = counted(s)
        assert.is_true(now >= last)
        last = now
      end
    end)
    result.ledger:assert_all_ok(1500)

    assert.equal(1500, counted(s) - before)
  end)

  it("are right to within what was in flight when workers are killed", function()
    local s = start { workers = 2 }
    local before, kills, connections = counted(s), 3, 10
    local result = load.run({
      port = s.port, rate = 500, duration = 4, connections = connections, request = request,
      check = check, retry = false,
    }, function()
      for _ = 1, kills do
        local victim = s:workers()[1]
        require("tycho.process").run { args = { "kill", "-9", tostring(victim) } }
        clock.eventually(function()
          local workers = s:workers()
          return #workers == 2 and workers[1] ~= victim and workers[2] ~= victim
        end, 5, "a new worker")
      end
    end)

    assert.same({}, result.ledger:missing())
    local answered = result.ledger:count "ok" + result.ledger:count "failed"
    local difference = math.abs(counted(s) - before - answered)
    assert.is_true(difference <= kills * connections,
      ("off by %d: %s"):format(difference, result.ledger:summary()))
    assert.is_true(answered >= 2000 - kills * connections, result.ledger:summary())
  end)

  it("count clients that left, and keep none of their requests", function()
    local s = start { workers = 1 }
    for _ = 1, 20 do
      s:connect():send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"):reset()
    end

    clock.eventually(function()
      local m = s:metrics()
      -- this very question is one of each
      return m:sum "http_server_active_requests" <= 1 and m:sum "tycho_http_connections" <= 1
    end, 5, "nothing in flight")
    assert.is_true(s:metrics():sum "tycho_http_aborted_total" <= 20)
  end)

  it("are what a scraper wants", function()
    local s = start()
    for _, target in ipairs(TARGETS) do
      s:request("GET", target)
    end
    local res = http.request(s.admin_port, "GET", "/metrics")
    local m = s:metrics() -- the reader is strict

    assert.equal("text/plain; version=0.0.4; charset=utf-8", res.headers["content-type"])
    for name, kind in pairs(m.types) do
      assert.is_truthy(({ counter = true, gauge = true, histogram = true })[kind], name)
      assert.is_truthy(m.help[name], name .. " has no HELP")
      assert.equal(kind == "counter", name:match "_total$" ~= nil, name)
    end
    for _, name in ipairs {
      "http_server_request_duration_seconds", "http_server_active_requests",
      "tycho_http_connections", "tycho_http_limits_total",
    } do
      assert.is_truthy(m.types[name], name)
    end
  end)

  it("have histograms whose buckets add up", function()
    local s = start()
    load.run { port = s.port, rate = 200, duration = 0.5, request = request, check = check }
    local last, series = {}, 0

    for _, sample in ipairs(s:metrics().samples) do
      local labels = sample.labels
      local of = sample.name:gsub("_bucket$", ""):gsub("_count$", "") .. (labels.http_route or "")
        .. (labels.http_request_method or "") .. (labels.http_response_status_class or "")
      if sample.name == "http_server_request_duration_seconds_bucket" then
        assert.is_true(sample.value >= (last[of] or 0))
        last[of] = sample.value
      elseif sample.name == COUNT then
        series = series + 1
        assert.equal(last[of], sample.value)
      end
    end
    assert.is_true(series >= #TARGETS)
  end)
end)

describe("health", function()
  after_each(server.clean_up)

  it("is told on the main port and on the admin port", function()
    local s = start()

    for _, port in ipairs { s.port, s.admin_port } do
      assert.equal(200, http.request(port, "GET", "/livez").status)
      assert.equal(200, http.request(port, "GET", "/readyz").status)
      assert.equal(200, http.request(port, "HEAD", "/readyz").status)
    end
    assert.equal(404, s:request("GET", "/metrics").status)
  end)
end)
