-- Whoever waits no longer has his statement ended at the server, and nobody else's.

local chaos = require "tests.blackbox.support.chaos"
local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"
local sessions = require "tests.blackbox.support.sessions"

local each = sessions.each(describe, it, pending)

local ASKED_MAX, ENDED_MAX, POOL_MAX = 0.1, 1, 6
local TOTAL = os.getenv "TYCHO_TEST_LONG" == "1" and 100000 or 2000

-- Each answer says whose it is: a statement's number comes back from the server itself.
local APP = sessions.PRELUDE .. [[
local SLEEP = "SELECT_SLEEP"
local function ask(source, req)
  local id = tonumber(req.params.id)
  local row = source.one("select cast($1 as " .. "INTEGER" .. ") as id, " .. SLEEP .. " as slept",
    id, tonumber(req.query.s or "0"))
  assert(row.id == id, "the answer of another statement")
  return { id = row.id }
end
app.get("/single/{id}", { timeout = 30 }, function(req) return ask(db, req) end)
app.get("/fast/{id}", { timeout = 30 }, function(req)
  local id = tonumber(req.params.id)
  return { id = db.value("select n from numbers where n = $1", id % 100) + id - id % 100 }
end)
app.get("/tx/{id}", { timeout = 30 }, function(req)
  return db.transaction(function(tx)
    local ok, err = pcall(ask, { one = function(...) return tx:one(...) end }, req)
    if not ok then error(err, 0) end
    tx:exec("update numbers set m = m + 1 where n = $1", tonumber(req.params.id) % 100)
    return { id = tonumber(req.params.id) }
  end)
end)
app.get("/short/{id}", { timeout = 0.3 }, function(req) return ask(db, req) end)
]]

local WORDS = {
  postgres = { SELECT_SLEEP = "pg_sleep($2)", INTEGER = "integer" },
  mariadb = { SELECT_SLEEP = "sleep($2)", INTEGER = "signed" },
}

each("a statement that nobody waits for", function(kind, module)
  local db, name, s

  local function start(own)
    db = own and module.start { settings = own } or module.shared()
    name = db:create()
    db:sql("create table numbers(n int primary key, m int not null)", { database = name })
    local rows = {}
    for i = 0, 99 do
      rows[i + 1] = ("(%d, 0)"):format(i)
    end
    db:sql("insert into numbers values " .. table.concat(rows, ","), { database = name })
    s = server.start {
      scripts = { ["app/main.lua"] = APP:gsub("%u[%u_]+%u", WORDS[kind]) },
      config = {
        databases = { default = {
          url = db:url(name), pool_max = POOL_MAX, query_timeout = "20s", wait_timeout = "10s",
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

  local function until_running(count)
    clock.eventually(function() return sessions.running(db, name, "sleep(") == count end, 5,
      "statements that run")
  end

  for _, route in ipairs { "single", "tx" } do
    it("is ended when its client has gone: " .. route, function()
      start()
      local took = figure.best(ASKED_MAX, function(i)
        local conn = http.connect(s.port)
        conn:send(http.format("GET", ("/%s/%d?s=30"):format(route, i)))
        until_running(1)
        local began = clock.now()
        conn:reset()
        until_running(0)
        local took = clock.now() - began
        figure.at_most(took, ENDED_MAX, "seconds")
        return took
      end)
      figure.at_most(took, ASKED_MAX, "seconds")
      assert.equal(200, s:request("GET", "/fast/1").status)
    end)
  end

  it("is ended when the time for its request is over", function()
    start()
    local took = figure.best(ASKED_MAX, function(i)
      local began = clock.now()
      local res = s:request("GET", ("/short/%d?s=30"):format(i))
      assert.equal(504, res.status)
      until_running(0)
      local took = clock.now() - began - 0.3
      figure.at_most(took, ENDED_MAX, "seconds")
      return took
    end)
    figure.at_most(took, ASKED_MAX, "seconds")
  end)

  if kind == "postgres" then
    it("is asked to end within 100 ms, says the server's own clock", function()
      start { log_line_prefix = "%n ", log_min_messages = "debug1" }
      local began
      local took = figure.best(ASKED_MAX, function(i)
        local conn = http.connect(s.port)
        conn:send(http.format("GET", ("/single/%d?s=30"):format(i)))
        until_running(1)
        began = tonumber(db:sql "select extract(epoch from clock_timestamp())")
        conn:reset()
        until_running(0)
        local last
        for at in db:log():gmatch "(%d+%.%d+) ERROR:%s+canceling statement due to user request" do
          last = tonumber(at)
        end
        return last - began
      end)
      assert.is_true(took > 0)
      figure.at_most(took, ASKED_MAX, "seconds")
    end)
  end

  -- Clients that ask, wait for a moment, and leave; and clients that want all of their answers.
  it("never takes another's along, in thousands of cancellations", function()
    start()
    local cancelled, answered, next_id, wrong = 0, 0, 0, {}
    local function right(res, id)
      answered = answered + 1
      if res.status ~= 200 or res:json().id ~= id then
        wrong[#wrong + 1] = ("%d: %d %s"):format(id, res.status, res.body)
      end
    end
    local function target()
      next_id = next_id + 1
      local route = chaos.pick { "single", "single", "fast", "tx" }
      return ("/%s/%d?s=%.3f"):format(route, next_id, chaos.number(0, 0.02)), next_id
    end
    local clients = {}
    for i = 1, 16 do
      clients[i] = fiber.spawn(function()
        while cancelled < TOTAL do
          local conn = http.connect(s.port, { timeout = 30 })
          local path = target()
          conn:send(http.format("GET", path))
          fiber.sleep(chaos.number(0, 0.015))
          conn:reset()
          cancelled = cancelled + 1
        end
      end)
    end
    for i = 17, 22 do
      clients[i] = fiber.spawn(function()
        local conn = http.connect(s.port, { timeout = 30 })
        while cancelled < TOTAL do
          local path, id = target()
          right(conn:request("GET", path), id)
        end
        conn:close()
      end)
    end
    for _, client in ipairs(clients) do
      client:join()
    end

    assert.same({}, wrong)
    -- MariaDB's sleep() and KILL block each other now and then, for as long as their clients wait.
    local share = kind == "mariadb" and 1000 or server.is_instrumented() and 200 or 20
    assert.is_true(answered > TOTAL / share, answered)
    sessions.wait_idle(db, name, 10)
    local open = #sessions.list(db, name)
    assert.is_true(open <= POOL_MAX + (kind == "mariadb" and 2 or 0), open) -- and the requests' own
    clock.eventually(function()
      return s:metrics():sum("db_client_connection_count",
        { db_client_connection_state = "used" }) == 0
    end, 5, "no connection in use")
    local calls = {}
    for i = 1, 30 do -- all of them are as good as new
      calls[i] = function() right(s:request("GET", ("/tx/%d?s=0.05"):format(i)), i) end
    end
    fiber.all(calls)
    assert.same({}, wrong)
  end)
end)
