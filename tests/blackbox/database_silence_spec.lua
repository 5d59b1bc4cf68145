-- A database server that says nothing any more: everything that waits for it ends in time, and
-- what does not need it does not notice.

local chaos = require "tests.blackbox.support.chaos"
local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local load = require "tests.blackbox.support.load"
local process = require "tycho.process"
local proxy = require "tests.blackbox.support.proxy"
local server = require "tests.blackbox.support.server"
local sessions = require "tests.blackbox.support.sessions"

local each = sessions.each(describe, it, pending)

-- The limit of a statement is the configuration's; the others are what it says by default.
local QUERY, CONNECT, BACK, KEEPALIVE = 1, 2, 2, 30
local MARGIN = 0.5

local APP = sessions.PRELUDE .. [[
local other = db.use "other"
app.get("/read", function() return { n = db.value "select 1" } end)
app.get("/write", function()
  return db.transaction(function(tx)
    tx:exec "update numbers set n = n + 1"
    return { n = tx:value "select n from numbers" }
  end)
end)
app.get("/other", function() return { n = other.value "select 2" } end)
app.get("/plain", function() return { n = 3 } end)
]]

each("a database server that falls silent", function(_, module)
  local db, s, way

  local function start(own)
    db = own and module.start() or module.shared()
    local name = db:create()
    db:sql("create table numbers(n int); insert into numbers values (0)", { database = name })
    way = proxy.start { to = db.port }
    s = server.start {
      scripts = { ["app/main.lua"] = APP },
      config = {
        databases = {
          default = {
            url = db:url(name, { port = not own and way.port or nil }), query_timeout = "1s",
            pool_max = 8, slow = "0s",
          },
          other = { url = module.shared():url(), pool_max = 8, slow = "0s" },
        },
        http = { access_log = false },
      },
    }
  end

  after_each(function()
    server.clean_up()
    proxy.clean_up()
    database.clean_up()
  end)

  -- Asks all at once; the longest that one took, and how many went wrong.
  local function ask(targets)
    local calls, longest, failed = {}, 0, 0
    for i, target in ipairs(targets) do
      calls[i] = function()
        local began = clock.now()
        local res = s:request("GET", target)
        longest = math.max(longest, clock.now() - began)
        failed = failed + (res.status == 200 and 0 or 1)
        assert.is_true(res.status == 200 or res.status == 503 or res.status == 504,
          target .. ": " .. res.status .. " " .. res.body)
      end
    end
    fiber.all(calls)
    return longest, failed
  end

  local MIX = { "/read", "/write", "/read", "/write", "/read", "/write", "/read", "/read" }

  -- The server is made silent, and heard again; others are asked all the time.
  local function through(silence, hearing)
    local _, wrong = ask(MIX)
    assert.equal(0, wrong)
    local before = load.run { port = s.port, rate = 80, duration = 1, connections = 8,
      request = function(id) return "GET", id % 2 == 0 and "/other" or "/plain" end }
    local run = load.start { port = s.port, rate = 80, duration = 60, connections = 16,
      request = function(id) return "GET", id % 2 == 0 and "/other" or "/plain" end }
    local ok, err = pcall(function()
      silence()
      local slowest, failed = ask(MIX) -- on the connections that there are
      assert.is_true(failed > 0)
      figure.at_most(slowest, QUERY + MARGIN * 2, "seconds for statements")
      slowest, failed = ask(MIX) -- on none
      assert.is_true(failed > 0)
      figure.at_most(slowest, CONNECT + MARGIN, "seconds to connect")

      hearing()
      local heard = clock.now()
      clock.eventually(function() return select(2, ask(MIX)) == 0 end, 5, "answers")
      figure.at_most(clock.now() - heard, BACK + MARGIN, "seconds until all is well")
    end)
    run:stop()
    local others = run:join().ledger
    assert(ok, err)
    others:assert_all_ok(100)
    local p99, usual = others:percentile(0.99), before.ledger:percentile(0.99)
    figure.at_most(p99, usual * 3 + 0.1, "seconds of others")
  end

  it("holds nobody up for longer than the limits, and others not at all: the network", function()
    start()
    through(function() way:stall() end, function() way:resume() end)
  end)

  it("holds nobody up for longer than the limits, and others not at all: its processes", function()
    start(true)
    through(function()
      for _, pid in ipairs(db:pids()) do
        chaos.signal(pid, "STOP")
      end
    end, function()
      for _, pid in ipairs(db:pids()) do
        chaos.signal(pid, "CONT")
      end
    end)
  end)

  it("is looked after by the kernel, too: idle sockets are probed", function()
    start()
    assert.equal(200, s:request("GET", "/read").status)
    local ok, exit, out = pcall(process.run, {
      args = { "ss", "-Htno", "state", "established", "dport", "=", tostring(way.port) },
    })
    if not ok or exit.code ~= 0 then
      return pending "ss is not installed: tools/setup.sh test"
    end
    local seconds = out:match "timer:%(keepalive,(%d+)"
    assert.is_truthy(seconds, out)
    assert.is_true(tonumber(seconds) <= KEEPALIVE, out)
  end)
end)
