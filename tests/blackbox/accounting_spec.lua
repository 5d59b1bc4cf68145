-- After any storm - aborts, errors, time-outs, kills, reloads, bad networks - all that was taken is
-- given back within seconds: connections, fibers, descriptors, threads, work, files.

local accounts = require "tests.blackbox.support.accounts"
local chaos = require "tests.blackbox.support.chaos"
local clients = require "tests.blackbox.support.clients"
local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local http = require "tests.blackbox.support.http"
local proxy = require "tests.blackbox.support.proxy"
local server = require "tests.blackbox.support.server"

local LONG = os.getenv "TYCHO_TEST_LONG" == "1"
local SECONDS = LONG and 60 or 6

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"
local errors = require "tycho.errors"

local ENDLESS = "with recursive c(n) as (select 1 union all select n + 1 from c)"
  .. " select count(*) from c"

app.get("/", function() return { version = %d } end)
app.get("/error", function() error("on purpose") end)
app.get("/conflict", function()
  error(errors.new("conflict", "on purpose"), 0)
end)
app.get("/late", { timeout = 0.05 }, function() fiber.sleep(10) end)
app.get("/sleep", function() fiber.sleep(0.3) return {} end)
app.get("/query", { timeout = 0.1 }, function() return { n = db.value(ENDLESS) } end)
app.get("/transaction", { timeout = 0.1 }, function()
  db.transaction(function(tx)
    tx:exec("insert into t values (1)")
    fiber.sleep(10)
  end)
end)
app.get("/children", function()
  fiber.all { function() fiber.sleep(0.1) end, function() error("in a child") end }
end)
app.get("/stream", { timeout = 0.5 }, function()
  local n = 0
  return app.response(200, function()
    n = n + 1
    fiber.sleep(0.01)
    return n < 100 and ("x"):rep(10000) or nil
  end)
end)
app.get("/large", function() return ("x"):rep(2e6) end)
app.post("/body", function(req) return { length = #(req.raw_body or "") } end)
app.get("/prepare", function() db.exec "create table if not exists t(n)" return {} end)
]]

local TARGETS = { "/", "/error", "/conflict", "/late", "/sleep", "/query", "/transaction",
  "/children", "/stream", "/large", "/nowhere" }

-- What a client may do to a connection, besides behaving.
local DEEDS = {
  function(conn, target) conn:request("GET", target) end,
  function(conn, target) conn:request("GET", target) end,
  function(conn) conn:request("POST", "/body", { body = ("b"):rep(chaos.integer(1, 100000)) }) end,
  function(conn, target) conn:send(http.format("GET", target)) end, -- and gone
  function(conn, target) -- gone a little later
    conn:send(http.format("GET", target))
    fiber.sleep(chaos.number(0, 0.1))
  end,
  function(conn) conn:send "GET /half HTTP/1.1\r\nHos" end,
  function(conn) conn:send "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\nhalf" end,
  function(conn) conn:send("\0\1\2 nonsense\r\n\r\n"):receive() end,
  function(conn, target) conn:send(http.format("GET", target):rep(20)) end,
  function() end,
}

describe("after a storm", function()
  after_each(function()
    clients.clean_up()
    proxy.clean_up()
    server.clean_up()
  end)

  local function start(workers)
    local s = server.start {
      scripts = { ["app/main.lua"] = APP:format(1) }, workers = workers,
      config = {
        http = { header_timeout = "1s", body_timeout = "1s", send_timeout = "1s",
          keepalive_timeout = "2s", linger_timeout = "200ms" },
        reload = { drain_timeout = "1s", keep = 1 }, -- each kept one has two descriptors
        databases = { default = { readers = 1 } },
        log = { level = "warn", levels = { app = "off", http = "off" } },
      },
    }
    return s
  end

  -- One client after the other, until the time is over; what happens to them does not matter.
  local function storm(port, seconds, stopped)
    local limit, deeds = clock.now() + seconds, 0
    while clock.now() < limit and not stopped.now do
      pcall(function()
        local conn = http.connect(port, { timeout = 2 })
        pcall(chaos.pick(DEEDS), conn, chaos.pick(TARGETS))
        conn[chaos.pick { "close", "reset" }](conn)
      end)
      deeds = deeds + 1
      fiber.sleep(0)
    end
    return deeds
  end

  -- All kinds of clients at once, and `beside()` with them.
  local function rage(s, seconds, beside)
    local p = proxy.start { to = s.port, slice = 100 }
    local stopped, handles, deeds = {}, {}, 0
    for i = 1, 24 do
      handles[i] = fiber.spawn(storm, i % 4 == 0 and p.port or s.port, seconds, stopped)
    end
    local cutting = chaos.every({ 0.1, 0.5 }, function()
      p[chaos.pick { "cut_all", "reset_all" }](p)
    end)
    local slow = clients.open { port = s.port, count = 100, first = "GET / HTTP/1.1\r\n" }
    local deaf = clients.open { port = s.port, count = 20, reads = false,
      first = http.format("GET", "/large") }
    slow:drip("X: y\r\n", 0.5)
    local ok, err = pcall(beside)
    stopped.now = not ok
    for _, handle in ipairs(handles) do
      deeds = deeds + handle:join()
    end
    cutting:stop()
    slow:close()
    deaf:reset()
    proxy.clean_up()
    return ok or error(err, 0), deeds
  end

  -- Every connection of the database is opened once, and kept.
  local function warm_up(s)
    assert.equal(200, s:request("GET", "/prepare").status)
    rage(s, 1, function() end)
    accounts.wait_idle(s)
  end

  it("of bad clients and reloads, everything is given back within 5 s", function()
    local s = start(2)
    warm_up(s)
    s:write("app/main.lua", APP:format(0))
    s:reload()
    accounts.wait_back(s, { generations = 1, connections = 0, requests = 0, fibers = 0 }, 10)
    local workers, before = s:workers(), accounts.of(s)

    local reloads = 1
    local _, deeds = rage(s, SECONDS, function()
      local limit = clock.now() + SECONDS
      while clock.now() < limit do
        reloads = reloads + 1
        s:write("app/main.lua", APP:format(reloads))
        s:reload()
        fiber.sleep(chaos.number(0.1, 0.5))
      end
    end)
    accounts.wait_back(s, before)

    assert.is_true(deeds > 100 and reloads > 5, ("%d deeds, %d reloads"):format(deeds, reloads))
    assert.same(workers, s:workers())
    assert.equal(reloads, s:request("GET", "/"):json().version)
    assert.equal(0, s:stop().code) -- its workers say so if something is left in their loops
  end)

  it("in which workers are killed and held, the new ones have no more than the old", function()
    local s = start(2)
    warm_up(s)
    local before = accounts.of(s)

    local kills = 0
    rage(s, SECONDS, function()
      local limit = clock.now() + SECONDS
      while clock.now() < limit do
        fiber.sleep(chaos.number(0.5, 1.5))
        local workers = s:workers()
        if #workers < 2 then -- one that keeps dying is started less and less often
          fiber.sleep(0.5)
        elseif chaos.integer(1, 3) == 1 then
          chaos.stop(chaos.pick(workers), 0.3)
        elseif chaos.kill(chaos.pick(workers)) then
          kills = kills + 1
        end
      end
    end)
    clock.eventually(function()
      local serving = 0
      for _, worker in ipairs(s:status().workers) do
        serving = serving + (worker.state == "serving" and 1 or 0)
      end
      return serving == 2
    end, 40, "two workers")
    accounts.wait_back(s, before)

    assert.is_true(kills > 0)
    assert.equal(200, s:request("GET", "/prepare").status)
    assert.equal(0, s:stop().code)
  end)
end)
