-- Workers die, hang and stop; clients notice as little as can be.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local load = require "tests.blackbox.support.load"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local APP = [[
local app, ffi, fiber = require "tycho.app", require "ffi", require "tycho.fiber"
ffi.cdef "int pthread_mutex_lock(void *);"
app.get("/", function() return { hello = "world" } end)
app.get("/slow/{ms}", function(req)
  fiber.sleep(tonumber(req.params.ms) / 1000)
  return { slept = req.params.ms }
end)
app.get("/stuck", function()
  local mutex = ffi.new "char[64]"
  ffi.C.pthread_mutex_lock(mutex)
  ffi.C.pthread_mutex_lock(mutex)
end)
]]

local function start(opts)
  opts = opts or {}
  opts.scripts = { ["app/main.lua"] = APP }
  opts.config = opts.config or {}
  opts.config.scripts = { grants = { "ffi" } }
  return server.start(opts)
end

local function send_signal(pid, signal)
  local exit = process.run { args = { "kill", "-" .. signal, tostring(pid) } }
  assert.equal(0, exit.code)
end

local function worker_of(s, slot)
  return s:status().workers[slot]
end

-- Waits until another process serves in the slot; returns how long that took.
local function until_replaced(s, slot, pid, limit)
  local began = clock.now()
  clock.eventually(function()
    local worker = worker_of(s, slot)
    return worker.pid ~= pid and worker.state == "serving"
  end, limit, "another worker")
  return clock.now() - began
end

local function slow_request(id)
  return "GET", "/slow/10?id=" .. id
end

describe("a worker that is killed", function()
  after_each(server.clean_up)

  it("is back within a second, and takes only its own requests along", function()
    local s = start()
    local connections = 16

    local result = load.run({ port = s.port, rate = 300, duration = 4, request = slow_request,
      connections = connections, retry = false }, function()
      fiber.sleep(1)
      local pid = worker_of(s, 1).pid
      send_signal(pid, "KILL")
      local took = until_replaced(s, 1, pid, 5)
      figure.at_most(took, 1, "seconds until it is back")
    end)

    assert.equal(0, result.ledger:count "refused", result.ledger:summary())
    assert.equal(0, result.ledger:count "timed_out", result.ledger:summary())
    assert.is_true(result.ledger:count "broken" <= connections, result.ledger:summary())
    assert.equal(result.ledger.sent,
      result.ledger:count "ok" + result.ledger:count "broken", result.ledger:summary())
    assert.same({}, result.ledger:missing())
  end)

  it("refuses nobody, even when it is the only one", function()
    local s = start { workers = 1 }

    local result = load.run({ port = s.port, rate = 200, duration = 3, connections = 8 }, function()
      fiber.sleep(0.5)
      local pid = worker_of(s, 1).pid
      send_signal(pid, "KILL")
      until_replaced(s, 1, pid, 5)
    end)

    assert.equal(0, result.ledger:count "refused", result.ledger:summary())
    assert.equal(0, result.ledger:count "timed_out", result.ledger:summary())
  end)

  it("leaves no zombie, and is counted", function()
    local s = start()
    local pid = worker_of(s, 2).pid
    send_signal(pid, "KILL")
    until_replaced(s, 2, pid, 5)

    assert.is_false(proc.is_alive(pid))
    assert.equal(2, #s:workers())
    assert.equal(1, worker_of(s, 2).restarts)
    assert.equal(1, s:metrics():sum("tycho_worker_restarts_total", { worker = "2" }))
    s:wait_log "was killed by signal 9"
  end)

  it("again and again is started less and less often", function()
    local s = start { workers = 1 }
    local took
    for _ = 1, 4 do -- at once, then after 1, 2, 4 seconds
      local pid = worker_of(s, 1).pid
      send_signal(pid, "KILL")
      took = until_replaced(s, 1, pid, 10)
    end

    assert.is_true(took > 3.9, ("the fourth was back after %.3f s"):format(took))
    figure.at_most(took, 5.5, "seconds until the fourth is back")
    s:wait_log "keeps dying: next start in 4 s"
  end)
end)

describe("workers that are restarted a hundred times under load", function()
  after_each(server.clean_up)

  it("refuse nobody and fail no request", function()
    local s = start()

    local result = load.run({ port = s.port, rate = 300, duration = 15, connections = 16,
      retry = false }, function()
      for i = 1, 100 do
        local slot = i % 2 + 1
        local pid = worker_of(s, slot).pid
        send_signal(pid, "TERM")
        until_replaced(s, slot, pid, 5)
      end
    end)

    result.ledger:assert_all_ok(4000)
    assert.equal(100, s:metrics():sum "tycho_worker_restarts_total")
  end)
end)

describe("a worker that is stuck", function()
  after_each(server.clean_up)

  it("has its connections accepted by its neighbour", function()
    local s = start()
    local pid = worker_of(s, 1).pid
    send_signal(pid, "STOP")

    local began = clock.now()
    for _ = 1, 20 do -- they are spread over both sockets: some are for the stuck one
      assert.equal(200, s:request("GET", "/").status)
    end
    local took = clock.now() - began
    send_signal(pid, "CONT")

    figure.at_most(took, 2, "seconds for twenty requests")
    assert.equal(pid, worker_of(s, 1).pid)
  end)

  it("is killed, and the log says what it was running", function()
    local s = start { workers = 2, config = {
      host = { heartbeat_timeout = "1s" }, reload = { load_timeout = "100ms" },
      lua = { slice_max = "500ms" },
    } }
    local before = {}
    for _, worker in ipairs(s:status().workers) do
      before[worker.pid] = true
    end
    local conn = s:connect()
    conn:send "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n"

    clock.eventually(function()
      local fresh = 0
      for _, worker in ipairs(s:status().workers) do
        fresh = fresh + (worker.state == "serving" and not before[worker.pid] and 1 or 0)
      end
      return fresh == 1
    end, 8, "a new worker")
    assert.equal(200, s:request("GET", "/").status)
    s:wait_log "killing it; it was running GET /stuck"
  end)
end)

-- Waits until that many requests run.
local function until_running(s, count)
  clock.eventually(function()
    local running = 0
    for _, worker in ipairs(s:status().workers) do
      running = running + worker.requests
    end
    return running == count
  end)
end

describe("SIGTERM", function()
  after_each(server.clean_up)

  -- Some kernels let nobody but an administrator filter what sockets hear.
  local UNPRIVILEGED = { "sh", "-c", [[setpriv --bounding-set=-all true 2>/dev/null || exec "$@"
    exec setpriv --bounding-set=-all "$@"]], "sh" }
  for whom, prefix in pairs { [""] = {}, [" of an ordinary user's server"] = UNPRIVILEGED } do
    it("under load fails no request" .. whom, function()
      local s = start { prefix = prefix }
      local told

      local result = load.run({ port = s.port, rate = 400, duration = 4, request = slow_request,
        connections = 24, retry = false }, function(run)
        fiber.sleep(1.5)
        told = run.taken
        assert.equal(0, s:stop(10).code)
      end)

      -- After it, and only after it, there is nobody to talk to.
      local ledger = result.ledger
      assert.equal(ledger.sent, ledger:count "ok" + ledger:count "refused", ledger:summary())
      assert.is_true(ledger:count "ok" >= told - 24 and told > 100, ledger:summary())
      assert.is_true(ledger:count "refused" <= ledger.sent - told + 24, ledger:summary())
      assert.same({}, ledger:missing())
    end)
  end

  it("lets what runs finish, and says so meanwhile", function()
    local s = start()
    local conn = s:connect()
    conn:send "GET /slow/1000 HTTP/1.1\r\nHost: a\r\n\r\n"
    until_running(s, 1)
    s:signal "TERM"
    s.stopped = true
    clock.eventually(function()
      return http.request(s.admin_port, "GET", "/readyz").status == 503
    end, 1)

    local res = conn:receive "GET"
    assert.equal(200, res.status)
    assert.is_true(res.closes)
    assert.equal(0, s.process:wait(5).code)
  end)

  it("ends when the time for it is over", function()
    local s = start { config = { host = { shutdown_timeout = "500ms" } } }
    local conn = s:connect()
    conn:send "GET /slow/20000 HTTP/1.1\r\nHost: a\r\n\r\n"
    until_running(s, 1)

    local began = clock.now()
    assert.equal(0, s:stop(5).code)
    local took = clock.now() - began
    assert.is_true(took > 0.45, ("took %.3f s"):format(took))
    figure.at_most(took, 2.5, "seconds to stop")
  end)

  it("a second time kills", function()
    local s = start()
    local conn = s:connect()
    conn:send "GET /slow/20000 HTTP/1.1\r\nHost: a\r\n\r\n"
    until_running(s, 1)
    s:signal "TERM"
    s.stopped = true
    clock.eventually(function()
      return http.request(s.admin_port, "GET", "/readyz").status == 503
    end, 2)
    s:signal "TERM"

    assert.equal(1, s.process:wait(2).code)
    assert.same({}, proc.in_folder(s.folder))
  end)
end)

describe("a master that is killed", function()
  after_each(server.clean_up)

  it("takes its workers along, and can be started again at once", function()
    local s = start()
    s.process:kill "KILL"
    s.process:wait(5)
    clock.eventually(function() return #proc.in_folder(s.folder) == 0 end, 2)

    local began = clock.now()
    s:launch()
    s:wait_ready()
    figure.at_most(clock.now() - began, 2, "seconds")
    assert.equal(200, s:request("GET", "/").status)
  end)
end)
