-- databases.*.pool_max is what the server sees at most, of all workers together, at every moment;
-- who waits for a connection waits for his turn, and not for long.

local chaos = require "tests.blackbox.support.chaos"
local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local load = require "tests.blackbox.support.load"
local server = require "tests.blackbox.support.server"
local sessions = require "tests.blackbox.support.sessions"

local each = sessions.each(describe, it, pending)

local POOL_MAX, WAIT = 6, 1

local APP = sessions.PRELUDE .. [[
local time = require "tycho.time"
app.get("/hold/{ms}", function(req)
  local began, waited = time.monotonic(), nil
  db.transaction(function(tx)
    tx:value("select 1")
    waited = time.monotonic() - began
    fiber.sleep(tonumber(req.params.ms) / 1000)
  end)
  return { waited = waited }
end)
app.get("/read", function() return { n = db.value("select 1") } end)
]]

-- A user who may have so many sessions and no more: the server itself refuses what is above.
local USER = {
  postgres = "create role narrow login connection limit %d",
  mariadb = "create user narrow@'127.0.0.1' with max_user_connections %d;"
    .. " grant all on *.* to narrow@'127.0.0.1'",
}
local COUNT = {
  postgres = "select count(*) from pg_stat_activity where usename = 'narrow'",
  mariadb = "select count(*) from information_schema.processlist where user = 'narrow'",
}
local REFUSED = { "too many connections", "max_user_connections" }

each("the number of connections", function(kind, module)
  local db, s

  local function start(opts)
    db = module.start()
    local name = db:create()
    -- MySQL's statements are ended by way of another session of each worker; nothing is here.
    db:sql(USER[kind]:format(POOL_MAX))
    s = server.start {
      scripts = { ["app/main.lua"] = APP }, workers = opts.workers,
      config = {
        databases = { default = {
          url = db:url(name, { user = "narrow" }), pool_max = opts.pool_max or POOL_MAX,
          slow = "0s",
        } },
        http = { access_log = false },
      },
    }
  end

  after_each(function()
    server.clean_up()
    database.clean_up()
  end)

  local function assert_never_refused()
    for _, words in ipairs(REFUSED) do
      assert.is_nil(s:output():find(words, 1, true), s:output())
      assert.is_nil(db:log():find(words, 1, true), db:log())
    end
  end

  -- Load on all workers, more than the connections can serve, while something happens to them.
  local function under_load(seconds, beside)
    local watch = sessions.watch(function() return tonumber((db:sql(COUNT[kind]))) end)
    local run = load.start {
      port = s.port, rate = 100, duration = 120, connections = 32, timeout = 20, random = true,
      request = function(id) return "GET", id % 3 == 0 and "/read" or "/hold/60" end,
      check = function(res)
        if res.status == 503 then
          return "shed"
        end
        return res.status == 200, res.body
      end,
    }
    local ok, err = pcall(function()
      clock.eventually(function() return run.ledger:count "ok" > 30 end, 10)
      beside()
      local now = run.ledger:count "ok"
      local limit = clock.now() + seconds
      clock.eventually(function()
        return clock.now() > limit and run.ledger:count "ok" > now + 30
      end, seconds + 10)
    end)
    run:stop()
    local book = run:join().ledger
    local most = watch.stop()
    assert(ok, err)
    if os.getenv "TYCHO_TEST_SAY" then
      print(("most %d in %d looks; %s"):format(most, watch.count, book:summary()))
    end
    assert.is_true(watch.count > 8)
    assert.is_true(most > 1 and most <= POOL_MAX, most)
    assert_never_refused()
    return book
  end

  it("is never above the maximum: load on two workers, and reloads", function()
    start { workers = 2 }
    local book = under_load(1, function()
      for _ = 1, 4 do
        s:reload()
      end
    end)
    assert.equal(0, book:count "failed" + book:count "broken", book:summary())
  end)

  it("is never above the maximum: workers are killed", function()
    start { workers = 2 }
    under_load(1, function()
      for _ = 1, 4 do
        chaos.kill(chaos.pick(s:workers()))
        clock.eventually(function() return #s:workers() == 2 end, 5)
        fiber.sleep(0.3)
      end
    end)
  end)

  it("is never above the maximum: the program is upgraded", function()
    start { workers = 2 }
    local book = under_load(1, function()
      assert.equal(0, (s:cli "upgrade"))
      s:follow(20)
    end)
    assert.equal(0, book:count "failed" + book:count "broken", book:summary())
  end)

  it("is reached by a line: first come, first served, and nobody much longer", function()
    start { workers = 1, pool_max = 3 }
    local holds = 5
    figure.at_most(figure.best(1, function()
      local order, calls = {}, {}
      for i = 1, 45 do
        calls[i] = function()
          local res = s:request("GET", ("/hold/%d"):format(holds))
          assert.equal(200, res.status, res.body)
          order[#order + 1] = i
        end
      end
      -- One after the other into the line, all of them before the first is done.
      local handles = {}
      for i, call in ipairs(calls) do
        handles[i] = fiber.spawn(call)
        fiber.sleep(0.001)
      end
      for _, handle in ipairs(handles) do
        handle:join()
      end
      local strays = 0
      for place, i in ipairs(order) do
        strays = strays + (math.abs(place - i) > 6 and 1 or 0)
      end
      return strays
    end), 1, "requests that were not in their turn")
  end)

  it("is waited for about as long by everybody, and for a second at most", function()
    start { workers = 1, pool_max = 3 }
    figure.at_most(figure.best(2, function()
      -- Twelve that always want one: each waits for about three others.
      local waits, clients, stop = {}, {}, clock.now() + 1.5
      for i = 1, 12 do
        clients[i] = fiber.spawn(function()
          local conn = s:connect()
          local mine, count = 0, 0
          while clock.now() < stop do
            mine = mine + conn:request("GET", "/hold/10"):json().waited
            count = count + 1
          end
          conn:close()
          waits[i] = mine / count
        end)
      end
      for _, client in ipairs(clients) do
        client:join()
      end
      table.sort(waits)
      return waits[#waits] / waits[1]
    end), 2, "the longest waits, in terms of the shortest")

    local calls = {}
    local longest, refused = 0, 0
    for i = 1, 8 do
      calls[i] = function()
        local began = clock.now()
        local res = s:request("GET", "/hold/2500")
        if res.status == 503 then
          refused = refused + 1
          longest = math.max(longest, clock.now() - began)
        end
      end
    end
    fiber.all(calls)
    assert.equal(5, refused)
    assert.is_true(longest > WAIT * 0.9, longest)
    figure.at_most(longest, WAIT + 0.5, "seconds of waiting")
  end)
end)
