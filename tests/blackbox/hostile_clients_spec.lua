-- Clients that send slowly, or read slowly, or not at all: they cost little, they are ended in
-- time, and the others do not notice. TYCHO_TEST_LONG=1: with the full figures.

local accounts = require "tests.blackbox.support.accounts"
local clients = require "tests.blackbox.support.clients"
local clock = require "tests.blackbox.support.clock"
local errors = require "tycho.errors"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local load = require "tests.blackbox.support.load"
local netns = require "tests.blackbox.support.netns"
local proc = require "tests.blackbox.support.proc"
local proxy = require "tests.blackbox.support.proxy"
local server = require "tests.blackbox.support.server"
local fs = require "tycho.fs"

local LONG = os.getenv "TYCHO_TEST_LONG" == "1"
local KIB = 1024

local function clean_up()
  clients.clean_up()
  proxy.clean_up()
  server.clean_up()
  netns.clean_up()
end

local function gauge(s, name, labels)
  return (s:metrics():sum(name, labels))
end

describe("slow headers", function()
  after_each(clean_up)

  local COUNT, TIMEOUT = LONG and 5000 or 1000, LONG and 10 or 5
  local EACH_MAX, CPU_MAX, FLOOR = 16 * KIB, 0.05, 0.005

  it("do not hold a worker: each is ended in time, and the others do not notice", function()
    local open_max = tonumber(fs.read("/proc/self/limits"):match "Max open files%s+(%d+)")
    if server.is_instrumented() then
      return pending "a program with sanitizers needs more time and memory"
    elseif open_max < COUNT + 500 then
      return pending(("needs `ulimit -n` of %d, has %d"):format(COUNT + 500, open_max))
    end
    local config = { http = { header_timeout = TIMEOUT .. "s", access_log = false } }
    local s = server.start { workers = 1, config = config }
    local quiet = server.start { workers = 1, config = config }
    local worker = s:workers()[1]

    -- Over so many seconds: the p99 of others, the worker's processor time, and the p99 of a server
    -- at the same time that has no such clients. What else the machine does slows both down.
    local function others(seconds)
      local cpu = proc.cpu(worker)
      local beside = load.start { port = quiet.port, rate = 100, duration = seconds }
      local result = load.run { port = s.port, rate = 100, duration = seconds }
      result.ledger:assert_all_ok(100 * seconds)
      return result.ledger:percentile(0.99), (proc.cpu(worker) - cpu) / seconds,
        beside:join().ledger:percentile(0.99)
    end

    local function measure()
      local seconds = TIMEOUT - 2
      others(1)
      local rss = proc.rss(worker)
      local p99_before, cpu_before = others(seconds)
      local crowd = clients.open {
        port = s.port, count = COUNT, rate = COUNT,
        first = "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
      }
      crowd:drip("slow", 1)
      local p99, cpu, p99_quiet = others(seconds)
      assert.equal(0, crowd.ended)
      local each = (proc.rss(worker) - rss) / COUNT
      crowd:wait_ended(TIMEOUT + 5)
      local first, last = crowd:ends()
      local figures = ("p99 %.1f ms, before %.1f ms, elsewhere %.1f ms; %.1f %% of a core;"
        .. " %.0f bytes each; ended after %.2f to %.2f s"):format(p99 * 1e3, p99_before * 1e3,
        p99_quiet * 1e3, (cpu - cpu_before) * 100, each, first, last)

      assert.equal(COUNT, crowd:told "HTTP/1.1 408 ", figures)
      assert.is_true(first >= TIMEOUT - 0.2, figures)
      figure.at_most(last - TIMEOUT, 1.5, figures)
      assert.is_true(each <= EACH_MAX, figures)
      figure.at_most(cpu - cpu_before, CPU_MAX, figures)
      figure.at_most(p99, math.max(1.5 * p99_before, 1.5 * p99_quiet, FLOOR), figures)
      if LONG then
        io.stderr:write(("\n%d slow clients: %s\n"):format(COUNT, figures))
      end
    end

    figure.attempt(measure)
    accounts.wait_idle(s)
  end)
end)

describe("slow bodies", function()
  after_each(clean_up)

  local APP = [[
local app = require "tycho.app"
local runs = 0
app.post("/upload", function() runs = runs + 1 return { runs = runs } end)
app.get("/runs", function() return { runs = runs } end)
]]
  local COUNT = LONG and 2000 or 200
  local HEAD = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"

  it("get 408 and the end, never a handler, and leave nothing", function()
    local s = server.start {
      scripts = { ["app/main.lua"] = APP }, workers = 1,
      config = { http = { body_timeout = "1s" } },
    }
    local crowd = clients.open { port = s.port, count = COUNT, first = HEAD:format(100000) }
    crowd:drip("x", 0.1) -- 10 bytes a second
    crowd:wait_ended(10)

    assert.equal(COUNT, crowd:told "HTTP/1.1 408 ")
    local first, last = crowd:ends()
    assert.is_true(first >= 0.9, ("%.2f to %.2f s"):format(first, last))
    figure.at_most(last, 6, "seconds until all are ended")
    assert.equal(COUNT, gauge(s, "tycho_http_limits_total", { limit = "body_timeout" }))
    assert.equal(0, s:request("GET", "/runs"):json().runs)
    accounts.wait_idle(s)
  end)

  it("are in order when they are faster than 1 KiB/s", function()
    local s = server.start {
      scripts = { ["app/main.lua"] = APP }, workers = 1,
      config = { http = { body_timeout = "1s" } },
    }
    local p = proxy.start { to = s.port, rate = 4 * KIB }
    local conn = http.connect(p.port):send(HEAD:format(16 * KIB) .. ("x"):rep(16 * KIB))

    assert.equal(200, conn:receive().status) -- after four times the limit
    conn:close()
  end)
end)

describe("slow readers", function()
  after_each(clean_up)

  local APP = [[
local app = require "tycho.app"
local PIECE = ("x"):rep(64 * 1024)
local made, running = 0, 0
app.get("/endless", { timeout = 3600 }, function()
  running = running + 1
  return app.response(200, function()
    made = made + #PIECE
    return PIECE
  end)
end)
app.get("/large", function() return ("y"):rep(3e6) end)
local HUGE = ("z"):rep(1e7)
app.get("/huge", function() return HUGE end)
app.get("/made", function() return { made = made } end)
]]
  local COUNT = LONG and 200 or 40
  -- What the kernel takes for a connection on both sides at most, as its defaults are.
  local KERNEL_MAX = 4 * 1024 * KIB + 6 * 1024 * KIB

  local function start(config, opts)
    opts = opts or {}
    opts.scripts, opts.workers, opts.config = { ["app/main.lua"] = APP }, 1, { http = config }
    return server.start(opts)
  end

  local function made(s)
    return s:request("GET", "/made"):json().made
  end

  -- When the writers wait, nothing is made any more.
  local function settled(s)
    local last, since = made(s), clock.now()
    clock.eventually(function()
      local now = made(s)
      if now ~= last then
        last, since = now, clock.now()
      end
      return clock.now() - since > 0.2
    end, 10, "the writers waiting")
    return last
  end

  it("hold the writer up, within bounded memory", function()
    local s = start { send_timeout = "1m" }
    local worker = s:workers()[1]
    settled(s)
    local rss = proc.rss(worker)
    local crowd = clients.open {
      port = s.port, count = COUNT, reads = false, first = http.format("GET", "/endless"),
    }
    local each = settled(s) / COUNT
    assert.is_true(each <= KERNEL_MAX + 512 * KIB, ("%.0f bytes made for each"):format(each))
    if not server.is_instrumented() then
      local cost = (proc.rss(worker) - rss) / COUNT
      assert.is_true(cost <= 512 * KIB, ("%.0f bytes of memory for each"):format(cost))
    end
    assert.equal(200, s:request("GET", "/made").status)

    crowd:reset()
    accounts.wait_idle(s)
  end)

  for what, target in pairs { ["a body in pieces"] = "/endless", ["a body in one"] = "/large" } do
    it("are reset when they take nothing for so long: " .. what, function()
      local s = start { send_timeout = "1s" }
      local p = proxy.start { to = s.port }
      p:stall "down"
      local began = clock.now()
      local conn = http.connect(p.port, { timeout = 5 }):send(http.format("GET", target))
      -- A body in one may fit into the kernel: then there is nothing to wait for.
      local more = http.connect(p.port, { timeout = 5 }):send(http.format("GET", target):rep(8))
      clock.eventually(function()
        return gauge(s, "tycho_http_limits_total", { limit = "send_timeout" }) >= 1
      end, 6, "a reset")
      assert.is_true(clock.now() - began >= 0.9)
      p:resume()
      clock.eventually(function()
        local ok, err = pcall(more.stream.read, more.stream)
        return not ok and errors.is(err, "unavailable") and err.detail == "ECONNRESET"
      end, 5, "the reset at the client")
      conn:close()
      accounts.wait_idle(s)
    end)
  end

  it("have bounded memory together: the slowest are cut off", function()
    local most = 16 * KIB * KIB
    local s = start { send_total_max = "16MiB", send_timeout = "1m" }
    local worker = s:workers()[1]
    assert.equal(200, s:request("GET", "/huge").status)
    local rss = proc.rss(worker)
    local crowd = clients.open {
      port = s.port, count = COUNT, reads = false, first = http.format("GET", "/huge"),
    }
    clock.eventually(function()
      return gauge(s, "tycho_http_limits_total", { limit = "send_total" }) >= COUNT - 4
    end, 10, "most of them cut off")
    assert.equal(1e7, #s:request("GET", "/huge").body)
    if not server.is_instrumented() then
      -- The allocator keeps some of what was freed; without the bound they would have 7 MB each.
      local more = proc.rss(worker) - rss
      assert.is_true(more <= 5 * most, ("%.0f bytes of memory"):format(more))
    end

    crowd:close()
    accounts.wait_idle(s)
  end)

  it("are served for as long as they take something", function()
    local s = start { send_timeout = "1s" }
    local p = proxy.start { to = s.port, rate = 1024 * KIB }
    local conn = http.connect(p.port)

    assert.equal(3e6, #conn:request("GET", "/large").body) -- three times as long as send_timeout
    conn:close()
  end)

  it("are reset even when they vanish without a word", function()
    local net, why = netns.new()
    if not net then
      return pending(why)
    end
    local s = start({ send_timeout = "1s" }, { prefix = net.prefix, address = net.address })
    local conn = s:connect():send(http.format("GET", "/endless"))
    conn.stream:read_exact(100 * KIB)
    net:drop()
    -- /metrics is behind the same cable: the fibers are seen through the control socket.
    clock.eventually(function() return s:status().workers[1].connections == 0 end, 10,
      "the connection's end")
    clock.eventually(function() return s:status().workers[1].fibers == 0 end, 5, "the fiber's end")
    conn:close()
  end)
end)
