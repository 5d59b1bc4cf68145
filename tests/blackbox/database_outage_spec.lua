-- A database server that is restarted, killed, or ends sessions: errors while it is away, no
-- hangs; and back to work as soon as it is there.

local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local fs = require "tycho.fs"
local load = require "tests.blackbox.support.load"
local proxy = require "tests.blackbox.support.proxy"
local server = require "tests.blackbox.support.server"
local sessions = require "tests.blackbox.support.sessions"

local each = sessions.each(describe, it, pending)

local POOL_MAX, WAIT, FIRST, CALM = 24, 1, 2, 5
local MARGIN = 0.5 -- a busy machine's

local APP = sessions.PRELUDE .. [[
app.get("/read/{id}", function(req)
  return { n = db.value("select n from numbers where id = $1", tonumber(req.params.id)) }
end)
app.get("/write/{id}", function(req)
  return db.transaction(function(tx)
    tx:exec("update numbers set n = n + 1 where id = $1", tonumber(req.params.id))
    if req.query.hold then
      fiber.sleep(tonumber(req.query.hold))
    end
    return { n = tx:value("select n from numbers where id = $1", tonumber(req.params.id)) }
  end)
end)
]]

local SETTINGS = {
  postgres = { log_connections = "on", log_line_prefix = "%n " },
  mariadb = { ["general-log"] = 1, ["general-log-file"] = "general.log" },
}

-- Transactions last for a moment, so that more sessions are wanted than two.
local function request(id)
  return "GET", ("/%s/%d?hold=0.1"):format(id % 4 == 0 and "write" or "read", id)
end

each("a database server", function(kind, module)
  local db, name, s

  local function start(opts)
    db = db or module.start { settings = SETTINGS[kind] }
    name = db:create()
    db:sql("create table numbers(id int primary key, n int not null)", { database = name })
    local rows = {}
    for i = 1, 10000 do
      rows[i] = ("(%d, 0)"):format(i)
    end
    db:sql("insert into numbers values " .. table.concat(rows, ","), { database = name })
    s = server.start {
      scripts = { ["app/main.lua"] = APP },
      config = {
        databases = { default = {
          url = db:url(name, opts), pool_max = POOL_MAX, slow = "0s",
        } },
        http = { access_log = false },
      },
    }
  end

  after_each(function()
    server.clean_up()
    proxy.clean_up()
    database.clean_up()
    db = nil
  end)

  -- How many sessions this database had since the server's start, and how many at once at most.
  local function reconnects()
    local total, most, moments = 0, 0, {}
    if kind == "mariadb" then -- it tells no moments
      local log = fs.read(db.folder .. "/data/general.log"):match ".*started with:(.*)$"
      return select(2, log:gsub("Connect\t%S+ on " .. name, "")), 0
    end
    local line = "(%d+%.%d+) LOG:%s+connection authorized: user=%S+ database=" .. name
    for at in db:log():gmatch(line) do
      total = total + 1
      local moment = math.floor(tonumber(at) * 100)
      moments[moment] = (moments[moment] or 0) + 1
      most = math.max(most, moments[moment])
    end
    return total, most
  end

  -- Keeps load on it while `outage` takes it away and brings it back. What was seen, in seconds
  -- since it accepted again.
  local function through(outage)
    local seen = { slowest = 0, refused = 0 }
    local sent, up = {}, nil
    local run = load.start {
      port = s.port, rate = 120, duration = 60, connections = 48, timeout = 20,
      request = function(id)
        sent[id] = clock.now()
        return request(id)
      end,
      check = function(res, id)
        local now = clock.now()
        if res.status == 200 then
          seen.first = seen.first or up and sent[id] > up and now - up
          return true
        end
        seen.slowest = math.max(seen.slowest, now - sent[id])
        seen.last_error = now
        seen.refused = seen.refused + 1
        local told = res.status == 503 or res:json().kind == "unknown_outcome"
        return told and "refused", "status " .. res.status
      end,
    }
    local ok, err = pcall(function()
      clock.eventually(function() return run.ledger:count "ok" > 50 end)
      outage()
      up = clock.now()
      clock.eventually(function()
        return seen.first and clock.now() - math.max(seen.last_error or 0, up) > 1
      end, 15, "a second without an error")
    end)
    run:stop()
    run:join()
    assert(ok, err)
    seen.last_error = (seen.last_error or up) - up
    return seen, run.ledger
  end

  local function assert_absorbed(outage)
    local seen, book = through(outage)
    local said = ("%s; %d refused, the slowest after %.2f s; first success after %.2f s, last "
      .. "error after %.2f s"):format(book:summary(), seen.refused, seen.slowest, seen.first,
      seen.last_error)
    if os.getenv "TYCHO_TEST_SAY" then
      print(said:gsub("\n.*;", ";"), reconnects())
    end
    assert.equal(book.sent, book:count "ok" + book:count "refused", said)
    assert.is_true(seen.refused > 0, said)
    figure.at_most(seen.slowest, WAIT + MARGIN, said)
    figure.at_most(seen.first, FIRST, said)
    figure.at_most(seen.last_error, CALM, said)
    local total, at_once = reconnects()
    assert.is_true(total > 1 and total <= POOL_MAX, total .. " sessions since the start; " .. said)
    assert.is_true(at_once <= POOL_MAX / 2, at_once .. " sessions at once; " .. said)
  end

  it("may be restarted: errors, no hangs, and back within two seconds", function()
    start()
    assert_absorbed(function()
      db:stop()
      fiber.sleep(0.5) -- it is away for a while: that is what is tested
      db:start()
    end)
  end)

  it("may be killed: errors, no hangs, and back within two seconds", function()
    start()
    assert_absorbed(function()
      db:kill()
      fiber.sleep(1.5)
      db:start()
    end)
  end)
end)

each("a session that is idle", function(_, module)
  local db, name, s

  local function start(opts)
    db = module.shared()
    name = db:create()
    db:sql("create table numbers(id int primary key, n int not null)", { database = name })
    db:sql("insert into numbers values (0, 0), (1, 0), (2, 0)", { database = name })
    s = server.start {
      scripts = { ["app/main.lua"] = APP },
      config = {
        databases = { default = { url = db:url(name, opts), pool_max = POOL_MAX } },
        http = { access_log = false },
      },
    }
  end

  after_each(function()
    server.clean_up()
    proxy.clean_up()
  end)

  -- Several at once, so that there are several sessions, and so that they are used again.
  local function use()
    local calls = {}
    for i = 1, 12 do
      calls[i] = function()
        local res = s:request("GET", (i % 2 == 0 and "/write/" or "/read/") .. i % 3)
        assert.equal(200, res.status, res.body)
      end
    end
    fiber.all(calls)
  end

  it("may be ended by an operator: nobody notices", function()
    start()
    local ended = 0
    for _ = 1, 8 do
      use()
      sessions.wait_idle(db, name)
      ended = ended + sessions.end_idle(db, name)
      use()
    end
    assert.is_true(ended >= 8, ended .. " were ended")
    assert.is_true(#sessions.list(db, name) <= POOL_MAX)
  end)

  it("may be ended by an operator under load: nobody who reads notices", function()
    start()
    local ended = 0
    load.run({
      port = s.port, rate = 100, duration = 4, connections = 16, random = true,
      request = function(id) return "GET", "/read/" .. id % 3 end,
    }, function()
      local limit = clock.now() + 3.5
      while clock.now() < limit do
        ended = ended + sessions.end_idle(db, name)
        fiber.sleep(0.05)
      end
    end).ledger:assert_all_ok(300)
    assert.is_true(ended > 10, ended .. " were ended")
  end)

  for _, how in ipairs { "cut_all", "reset_all" } do
    it("may be lost on the way, nobody notices: " .. how, function()
      local way = proxy.start { to = module.shared().port }
      start { port = way.port }
      for _ = 1, 6 do
        use()
        sessions.wait_idle(db, name)
        way[how](way)
        clock.eventually(function() return way:open_count() == 0 end)
        fiber.sleep(0.02) -- until it has been seen
        use()
      end
      assert.is_true(way.accepted > 6, way.accepted .. " connections")
    end)
  end
end)
