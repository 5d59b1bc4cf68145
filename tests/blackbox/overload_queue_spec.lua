-- Requests that wait for their turn: how many, for how long, and whom they do not hold up.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local load = require "tests.blackbox.support.load"
local server = require "tests.blackbox.support.server"

local APP = [[
local app, fiber = require "tycho.app", require "tycho.fiber"
app.get("/", function() return { hello = "world" } end)
app.get("/sleep/{ms}", function(req)
  fiber.sleep(tonumber(req.params.ms) / 1000)
  return { slept = req.params.ms }
end)
local stuck = app.group("/stuck", { concurrency = 4 })
stuck:get("/{ms}", function(req) fiber.sleep(tonumber(req.params.ms) / 1000) end)
]]

local function start(limits, workers)
  return server.start {
    workers = workers or 1, scripts = { ["app/main.lua"] = APP }, config = { http = limits },
  }
end

-- Starts a request; `:join()` gives the answer and when it came.
local function ask(s, target)
  return fiber.spawn(function()
    local res = s:request("GET", target)
    return res, clock.now()
  end)
end

local function queued(s, count)
  clock.eventually(function()
    return s:metrics():sum "tycho_http_queued" == count
  end, 5, count .. " waiting")
end

-- Asking is a request too.
local function running(s)
  return s:metrics():sum "http_server_active_requests" - 1
end

local function assert_refused(res)
  assert.equal(503, res.status)
  assert.equal("1", res.headers["retry-after"])
  assert.equal("application/problem+json", res.headers["content-type"])
  assert.equal(503, res:json().status)
  assert.is_false(res.closes)
end

describe("a worker with all hands full", function()
  after_each(server.clean_up)

  it("lets a request wait for at most http.queue_timeout", function()
    local s = start { requests_max = 1, queue_timeout = "500ms" }
    local first = ask(s, "/sleep/1500")
    clock.eventually(function() return running(s) == 1 end)

    local began = clock.now()
    local res, ended = ask(s, "/"):join()
    assert_refused(res)
    assert.is_true(ended - began >= 0.49, ended - began)
    figure.at_most(ended - began, 0.8, "seconds of waiting")
    assert.equal(200, (first:join()).status)
    assert.equal(200, s:request("GET", "/").status)
    assert.equal(1, (s:metrics():sum("tycho_http_shed_total", { reason = "queue_timeout" })))
  end)

  it("refuses at once when all places to wait are taken", function()
    local s = start { requests_max = 2, queue_max = 3, queue_timeout = "10s" }
    local asked = {}
    for i = 1, 5 do
      asked[i] = ask(s, "/sleep/1200")
    end
    queued(s, 3)

    local conn, quickest = s:connect(), math.huge
    for _ = 1, 20 do
      local began = clock.now()
      assert_refused(conn:request("GET", "/sleep/1200"))
      quickest = math.min(quickest, clock.now() - began)
    end
    figure.at_most(quickest, 0.01, "seconds to refuse")
    for _, one in ipairs(asked) do
      assert.equal(200, (one:join()).status)
    end
    assert.equal(20, (s:metrics():sum("tycho_http_shed_total", { reason = "queue_full" })))
    assert.equal(3, (s:metrics():sum "tycho_http_queue_wait_seconds_count"))
  end)

  it("loses nobody who waits when it is reloaded, and when it stops", function()
    local s = start { requests_max = 1, queue_timeout = "10s" }
    local asked = {}
    for i = 1, 4 do
      asked[i] = ask(s, "/sleep/300")
    end
    queued(s, 3)
    s:write("app/more.lua", "")
    s:reload()
    for i = 5, 6 do
      asked[i] = ask(s, "/sleep/300")
    end
    clock.eventually(function() return s:metrics():sum "tycho_http_queued" >= 3 end)
    s:stop()
    for _, one in ipairs(asked) do
      assert.equal(200, (one:join()).status)
    end
  end)
end)

describe("a route that is stuck", function()
  after_each(server.clean_up)

  -- What others get in a second, asking one after the other.
  local function rate_of_others(s)
    local count, till, handles = 0, clock.now() + 0.8, {}
    for i = 1, 4 do
      handles[i] = fiber.spawn(function()
        local conn = s:connect()
        while clock.now() < till do
          local res = conn:request("GET", "/")
          assert.equal(200, res.status)
          count = count + 1
        end
        conn:close()
      end)
    end
    for _, handle in ipairs(handles) do
      handle:join()
    end
    return count
  end

  it("leaves others at 95 % of their rate and more", function()
    local s = start { queue_timeout = "300ms", access_log = false }
    local share = 0
    for _ = 1, 8 do -- other work on the machine is no fault of the route
      local before, stuck = rate_of_others(s), {}
      for i = 1, 4 do -- these have the route; they are cancelled when their clients go
        stuck[i] = s:connect()
        stuck[i]:send(http.format("GET", "/stuck/30000"))
      end
      clock.eventually(function() return running(s) == 4 end)
      load.run({ port = s.port, rate = 40, duration = 0.8, connections = 30,
        request = function() return "GET", "/stuck/30000" end,
        check = function(res) return res.status == 503 end }, function(run)
        local during = rate_of_others(s)
        run:stop()
        queued(s, 0) -- or one of them would get the route now
        for _, conn in ipairs(stuck) do
          conn:close()
        end
        share = math.max(share, during / math.max(1, (before + rate_of_others(s)) / 2))
      end)
      if share >= 0.95 then
        break
      end
    end
    figure.at_least(share, 0.95, "share of the rate without it")
    assert.is_true(s:metrics():sum("tycho_http_shed_total", { reason = "queue_timeout" }) > 0)
    assert.equal(200, s:request("GET", "/readyz").status)
  end)

  it("runs no more of its requests than it may", function()
    local s = start { queue_timeout = "10s" }
    local asked = {}
    for i = 1, 10 do
      asked[i] = ask(s, "/stuck/300")
    end
    queued(s, 6)
    assert.equal(4, running(s))
    assert.equal(200, s:request("GET", "/").status)
    for _, one in ipairs(asked) do
      assert.equal(204, (one:join()).status)
    end
  end)
end)

describe("a worker that has been refusing requests for ten seconds", function()
  after_each(server.clean_up)

  it("is not ready any more, and alive, until it refuses none", function()
    local s = start { requests_max = 1, queue_max = 0, request_timeout = "60s" }
    local conn = s:connect()
    conn:send(http.format("GET", "/sleep/60000"))
    clock.eventually(function() return running(s) == 1 end)
    local began = clock.now()
    local run = load.start { port = s.port, rate = 20, duration = 60, connections = 4,
      check = function(res) return res.status == 503 end }

    clock.eventually(function()
      return s:request("GET", "/readyz").status == 503
    end, 15, "unready worker")
    assert.is_true(clock.now() - began > 9.5)
    clock.eventually(function()
      return http.request(s.admin_port, "GET", "/readyz").status == 503
    end, 3, "unready server")
    assert.equal(200, s:request("GET", "/livez").status)
    assert.equal(200, http.request(s.admin_port, "GET", "/livez").status)

    conn:close()
    clock.eventually(function() return s:request("GET", "/readyz").status == 200 end, 5)
    clock.eventually(function()
      return http.request(s.admin_port, "GET", "/readyz").status == 200
    end, 3, "ready server")
    run:stop()
    run:join()
  end)
end)
