-- What is measured and logged of databases: under the same names on each of them.

local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local fiber = require "tycho.fiber"
local mariadb = require "tests.blackbox.support.mariadb"
local postgres = require "tests.blackbox.support.postgres"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"

app.post("/setup", function()
  db.exec "create table measured(id integer primary key, name varchar(40))"
  return {}
end)
app.get("/some", function()
  for i = 1, 3 do
    db.exec("insert into measured(id, name) values ($1, $2)", i, "CANARY")
  end
  db.query "select * from measured where id > 100"
  db.query "select * from measured"
  pcall(db.exec, "insert into measured(id, name) values ($1, $2)", 1, "CANARY")
  db.transaction(function(tx) tx:exec "delete from measured" end)
  return {}
end)
app.get("/batch", function()
  db.batch { { "select 1" }, { "select * from measured" } }
  pcall(db.batch, { { "select 1" }, { "select canary from measured" }, { "select 2" } })
  return {}
end)
app.get("/line", function()
  local function take() db.transaction(function(tx) tx:value "select 1"; fiber.sleep(0.3) end) end
  fiber.all { take, take }
  return {}
end)
local is_free = false
app.get("/hold", function()
  db.transaction(function(tx)
    tx:value "select 1"
    while not is_free do fiber.sleep(0.01) end
  end)
  return {}
end)
app.post("/free", function()
  is_free = true
  return {}
end)
app.get("/late", { timeout = 0.1 }, function()
  db.transaction(function(tx) tx:value "select 1" end)
end)
app.get("/slow", function()
  db.query("SLOW")
  return {}
end)
app.get("/copy", function()
  local rows = {}
  for i = 1, 20000 do rows[i] = i .. "\tCANARY\n" end
  db.copy_in("copy measured from stdin", table.concat(rows))
  return {}
end)
]]

local KINDS = {
  sqlite = {
    url = function() return "sqlite:measured.db" end,
    missing = function() end,
    slow = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000)"
      .. " select max(i), 'CANARY' from n",
    outline = "with recursive n(i) as (select ? union all select i + ? from n where i < ?)"
      .. " select max(i), ? from n",
  },
  postgresql = {
    url = function() local s = postgres.shared() return s:url(s:create()) end,
    missing = postgres.missing,
    start = postgres.start,
    slow = "select pg_sleep(0.1), 'CANARY'",
    outline = "select pg_sleep(?), ?",
  },
  mysql = {
    url = function() local s = mariadb.shared() return s:url(s:create()) end,
    missing = mariadb.missing,
    start = mariadb.start,
    slow = "select sleep(0.1), 'CANARY'",
    outline = "select sleep(?), ?",
  },
}

local OPERATIONS = "db_client_operation_duration_seconds_count"
local WAITS = "db_client_connection_wait_time_seconds_sum"
local ROWS = "db_client_response_returned_rows_"

local function start(kind, settings)
  settings = settings or {}
  settings.url = settings.url or KINDS[kind].url()
  local s = server.start {
    scripts = { ["app/main.lua"] = (APP:gsub("SLOW", (KINDS[kind].slow:gsub("%%", "%%%%")))) },
    config = { databases = { default = settings } },
    workers = 1,
  }
  assert.equal(200, s:request("POST", "/setup").status)
  return s
end

-- How much each series of a metric grew.
local function count(s, fn)
  local before = s:metrics()
  fn()
  local after = s:metrics()
  return function(name, labels)
    return after:sum(name, labels) - before:sum(name, labels)
  end
end

for kind, how in pairs(KINDS) do
  describe("the metrics of a database: " .. kind, function()
    local missing = how.missing()
    if missing then
      return it("is tested", function() pending(missing) end)
    end

    after_each(function()
      server.clean_up()
      database.clean_up()
    end)

    it("count operations by name and error", function()
      local s = start(kind)
      local grown = count(s, function() assert.equal(200, s:request("GET", "/some").status) end)

      local function operations(name, err)
        return grown(OPERATIONS, {
          db_system_name = kind, db_namespace = "default", db_operation_name = name,
          error_type = err,
        })
      end
      assert.same({ 4, 1, 2, 1, 1 }, { operations "INSERT", operations("INSERT", "conflict"),
        operations "SELECT", operations "DELETE", operations "COMMIT" })
    end)

    it("count the rows of each result, also of an empty one", function()
      local s = start(kind)
      local grown = count(s, function() s:request("GET", "/some") end)

      local of = { db_system_name = kind, db_namespace = "default" }
      assert.equal(2, grown(ROWS .. "count", of))
      assert.equal(3, grown(ROWS .. "sum", of))
      of.le = "0"
      assert.equal(1, grown(ROWS .. "bucket", of))
    end)

    it("count a batch, and the one that fails", function()
      local s = start(kind)
      local grown = count(s, function() s:request("GET", "/batch") end)

      if kind == "postgresql" then
        assert.equal(2, grown(OPERATIONS, { db_operation_name = "BATCH" }))
        assert.equal(1, grown(OPERATIONS, { db_operation_name = "BATCH", error_type = "internal" }))
        assert.equal(2, grown(ROWS .. "count"))
      else
        assert.equal(4, grown(OPERATIONS, { db_operation_name = "SELECT" }))
        assert.equal(1, grown(OPERATIONS, { error_type = "internal" }))
      end
    end)

    it("tell who waits for a connection, and for how long", function()
      local s = start(kind, { pool_max = 1, pipelines = 1, readers = 1 })
      local pool = { db_client_connection_pool_name = "default" }
      local grown = count(s, function()
        local request = fiber.spawn(function() s:request("GET", "/line") end)
        clock.eventually(function()
          return s:metrics():sum("db_client_connection_pending_requests", pool) == 1
        end, 5, "one who waits")
        request:join()
      end)

      assert.is_true(grown(WAITS, pool) >= 0.29)
      assert.equal(0, s:metrics():sum("db_client_connection_pending_requests", pool))
      assert.is_true(s:metrics():sum("db_client_connection_max", pool) > 0)
    end)

    it("know of those who gave up waiting", function()
      local s = start(kind, { pool_max = 1, pipelines = 1, readers = 1 })
      local grown = count(s, function()
        local request = fiber.spawn(function() s:request("GET", "/hold") end)
        clock.eventually(function()
          local used = { db_client_connection_state = "used" }
          return s:metrics():sum("db_client_connection_count", used) == 1
        end, 5, "one who has the connection")
        assert.equal(504, s:request("GET", "/late").status)
        s:request("POST", "/free")
        request:join()
      end)

      assert.equal(1, grown "db_client_connection_wait_time_seconds_count")
      assert.equal(0, grown "db_client_connection_timeouts_total")
      assert.equal(1, grown(OPERATIONS, { error_type = "cancelled" }))
    end)

    it("know of those who waited in vain", function()
      local s = start(kind, { pool_max = 1, pipelines = 1, readers = 1, wait_timeout = "10ms" })
      local grown = count(s, function() assert.equal(503, s:request("GET", "/line").status) end)

      assert.equal(1, grown "db_client_connection_timeouts_total")
      assert.equal(1, grown(OPERATIONS, { error_type = "unavailable" }))
    end)

    it("have a bounded number of series", function()
      local s = start(kind)
      s:request("GET", "/some")
      s:request("GET", "/batch")
      local names = {}
      for _, sample in ipairs(s:metrics().samples) do
        for label, value in pairs(sample.name:match "^db_client" and sample.labels or {}) do
          names[label] = true
          assert.is_nil(value:find "measured")
        end
      end

      assert.same({
        db_client_connection_pool_name = true, db_client_connection_state = true,
        db_namespace = true, db_operation_name = true, db_system_name = true, error_type = true,
        le = true,
      }, names)
    end)

    it("are beside a log of slow statements, without what was in them", function()
      local s = start(kind, { slow = "20ms" })
      assert.equal(200, s:request("GET", "/slow").status)

      s:wait_log '"msg":"slow statement"'
      assert.matches('"sql":"' .. how.outline .. '"', s:log(), 1, true)
      assert.matches('"at":"scripts/app/main.lua:%d+","seconds":%d+%.%d+', s:log())
      assert.matches('"request_id":"%x+"', s:log():match "[^\n]*slow statement[^\n]*")
      assert.is_nil(s:log():find "CANARY")
    end)

    if kind ~= "sqlite" then
      it("know of those who were refused while the server was away", function()
        local alone = how.start()
        local s = start(kind, { url = alone:url(alone:create()) })
        alone:kill()
        local grown = count(s, function()
          for _ = 1, 10 do
            assert.equal(503, s:request("GET", "/some").status)
          end
        end)

        assert.is_true(grown(OPERATIONS, { error_type = "unavailable" }) >= 9)
      end)
    end

    if kind == "postgresql" then
      it("are beside a log that has nothing of what is copied", function()
        local s = start(kind, { slow = "1ms" })
        assert.equal(200, s:request("GET", "/copy").status)

        s:wait_log '"operation":"COPY '
        assert.is_nil(s:log():find "CANARY")
      end)
    end
  end)
end
