-- tycho trace, of requests that ask a database: each statement is told, and nothing of its values.

local fiber = require "tycho.fiber"
local json = require "tycho.json"
local mariadb = require "tests.blackbox.support.mariadb"
local postgres = require "tests.blackbox.support.postgres"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"
local LATE = "%s"

app.post("/setup", function()
  db.exec "create table traced(id integer primary key, name varchar(40))"
  return {}
end)
app.get("/plain", function()
  db.value("select name from traced where id = $1", 1) -- CANARY
  db.query "select id, 'CANARY' as name from traced where id < 7654321"
  return {}
end)
app.get("/transaction", function()
  db.transaction(function(tx)
    tx:exec("insert into traced(id, name) values ($1, $2)", 1, "CANARY")
    pcall(db.transaction, function(inner)
      inner:exec("update traced set name = $1", "CANARY")
      error "not that"
    end)
    tx:exec "delete from traced"
  end)
  return {}
end)
app.get("/refused", function()
  db.transaction(function(tx)
    tx:exec("insert into traced(id, name) values ($1, $2)", 7, "CANARY")
    tx:exec("insert into traced(id, name) values ($1, $2)", 7, "CANARY")
  end)
end)
app.get("/batch", function()
  db.batch {
    { "select 1", as = "value" },
    { "select id, name from traced" },
    { "select 'CANARY'", as = "value" },
  }
  return {}
end)
app.get("/broken", function()
  db.batch { { "select 1" }, { "select canary from traced" }, { "select 2" } }
end)
app.get("/copy", function()
  db.copy_in("copy traced from stdin", { "1\tCANARY\n", "2\tCANARY\n" })
  db.exec "delete from traced"
  return {}
end)
app.get("/line", function()
  local function take() db.transaction(function(tx) tx:value "select 1"; fiber.sleep(0.05) end) end
  fiber.all { take, take }
  return {}
end)
app.get("/many", function()
  for _ = 1, 300 do db.value "select 1" end
  return {}
end)
app.get("/pieces", function()
  db.each("select id, name from traced", function() end)
  return {}
end)
app.get("/late", { timeout = 0.2 }, function()
  db.value(LATE)
  return {}
end)
]]

local KINDS = {
  sqlite = {
    url = function() return "sqlite:traced.db" end,
    missing = function() end,
    late = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n",
    conflict = "SQLITE_CONSTRAINT_PRIMARYKEY",
  },
  postgresql = {
    url = function() local s = postgres.shared() return s:url(s:create()) end,
    missing = postgres.missing,
    late = "select pg_sleep(30)",
    conflict = "23505",
  },
  mysql = {
    url = function() local s = mariadb.shared() return s:url(s:create()) end,
    missing = mariadb.missing,
    late = "select sleep(30)",
    conflict = "23000",
  },
}

local function start(kind, settings)
  settings = settings or {}
  settings.url = KINDS[kind].url()
  local s = server.start {
    scripts = { ["app/main.lua"] = APP:format(KINDS[kind].late) },
    config = { databases = { default = settings } },
    workers = 1,
  }
  assert.equal(200, s:request("POST", "/setup").status)
  return s
end

local function trace(s, route, json_or_not)
  local done = false
  local requests = fiber.spawn(function()
    while not done do
      s:request("GET", route)
      fiber.sleep(0.02)
    end
  end)
  local code, out, err = s:cli("trace", route, "--count", "1", "--timeout", "20", json_or_not)
  done = true
  requests:join()
  assert.equal(0, code, err)
  assert.is_nil(out:find "CANARY" or out:find "7654321", out)
  return out
end

local function steps_of(s, route)
  local traced = json.decode(trace(s, route, "--json"))
  local spans = {}
  for _, step in ipairs(traced.steps) do
    if step.kind == "statement" or step.kind == "transaction" then
      spans[#spans + 1] = step
    end
  end
  return spans, traced
end

local function words(spans, ...)
  local list = {}
  for i, span in ipairs(spans) do
    local parts = {}
    for j, name in ipairs { ... } do
      parts[j] = tostring(span[name])
    end
    list[i] = table.concat(parts, " ")
  end
  return list
end

for kind, how in pairs(KINDS) do
  describe("the trace of a request on " .. kind, function()
    local missing = how.missing()
    if missing then
      return it("is tested", function() pending(missing) end)
    end

    after_each(server.clean_up)

    it("has each statement, with its line, its rows and its time, and no value", function()
      local spans, traced = steps_of(start(kind), "/plain")

      assert.same({
        "statement default SELECT select name from traced where id = $1 scripts/app/main.lua:11",
        "statement default SELECT select id, ? as name from traced where id < ?"
          .. " scripts/app/main.lua:12",
      }, words(spans, "kind", "database", "operation", "sql", "line"))
      assert.same({ "0 nil", "0 nil" }, words(spans, "rows", "error"))
      for _, step in ipairs(traced.steps) do
        assert.is_true(step.kind ~= "wait" or step.span == 1 or step.span == 2)
      end
      for _, span in ipairs(spans) do
        assert.is_true(span.ran > 0 and span.waited + span.ran <= span.time + 1e-5)
      end
    end)

    it("has transactions above their statements, and how they ended", function()
      local spans = steps_of(start(kind), "/transaction")

      assert.equal("transaction committed nil", words(spans, "kind", "outcome", "parent")[1])
      table.remove(spans, 1)
      assert.same({ "INSERT 1", "SAVEPOINT 1", "UPDATE 1", "DELETE 1", "COMMIT 1" },
        words(spans, "operation", "parent"))
      assert.same({ "1", "nil", "1", "1", "nil" }, words(spans, "changes"))
    end)

    it("says which statement failed, and why", function()
      local s = start(kind)
      local spans, traced = steps_of(s, "/refused")

      assert.equal(409, traced.status)
      assert.equal("rolled back", spans[1].outcome)
      assert.same({ "1 nil nil", "nil conflict " .. how.conflict },
        words({ spans[2], spans[3] }, "changes", "error", "detail"))
      assert.is_nil(spans[4])
      assert.matches("(conflict " .. how.conflict .. ", waited ", trace(s, "/refused"), 1, true)
    end)

    it("has a batch in one piece where it is sent so", function()
      local s = start(kind)
      local spans = steps_of(s, "/batch")

      if kind == "postgresql" then
        assert.same({ "statement BATCH 3 2 select ?" },
          words(spans, "kind", "operation", "statements", "rows", "sql"))
        assert.same({ "BATCH internal 42703 2" },
          words(steps_of(s, "/broken"), "operation", "error", "detail", "failed"))
      else
        assert.same({ "nil", "SELECT", "SELECT", "SELECT", "COMMIT" }, words(spans, "operation"))
        assert.same({ "nil", "1", "0", "1", "nil" }, words(spans, "rows"))
      end
    end)

    it("tells waiting for a connection from the work of the database", function()
      local spans = steps_of(start(kind, { pool_max = 1, pipelines = 1 }), "/line")
      local first, second

      for _, span in ipairs(spans) do
        if span.kind == "transaction" then
          first, second = first or span, first and span
        end
      end
      assert.is_true(first.waited < second.waited and second.waited > 0.04)
    end)

    it("says how long one waited in vain", function()
      local settings = { pool_max = 1, pipelines = 1, wait_timeout = "20ms" }
      local spans = steps_of(start(kind, settings), "/line")

      local span = spans[3].error and spans[3] or spans[2]
      assert.same({ "transaction unavailable pool.timeout" },
        words({ span }, "kind", "error", "detail"))
      assert.is_true(span.waited >= 0.02)
    end)

    it("has a bounded number of them, and says how many there were more", function()
      local s = start(kind)
      local spans, traced = steps_of(s, "/many")

      assert.equal(500, #traced.steps)
      assert.is_true(#spans > 100)
      assert.equal(300, #spans + traced.statements_omitted)
      assert.matches("and %d+ steps more, %d+ of them statements\n", trace(s, "/many"))
    end)

    it("has the pieces of what is read in pieces", function()
      local spans = steps_of(start(kind), "/pieces")

      assert.same({ "nil", "SELECT", "FETCH", "CLOSE" }, words(spans, "operation"))
      assert.equal(0, spans[3].rows)
    end)

    it("says of a statement that is not over yet that it was given up", function()
      local s = start(kind)
      local spans, traced = steps_of(s, "/late")

      assert.equal(504, traced.status)
      assert.equal("cancelled", spans[1].error)
      assert.is_true(spans[1].time > 0.15)
      assert.matches("(cancelled, not over)", trace(s, "/late"), 1, true)
    end)

    if kind == "postgresql" then
      it("has nothing of what is copied", function()
        local spans = steps_of(start(kind, { slow = "1ms" }), "/copy")

        assert.same({ "nil nil", "COPY copy traced from stdin", "COPY DATA nil", "COPY DATA nil",
          "COPY END nil", "COMMIT nil", "DELETE delete from traced" },
          words(spans, "operation", "sql"))
        assert.equal(2, spans[5].changes)
      end)
    end
  end)
end

describe("a trace that nobody asks for", function()
  after_each(server.clean_up)

  it("leaves nothing behind in requests that go on when it ends", function()
    local s = start "sqlite"
    assert.equal(1, (s:cli("trace", "/line", "--count", "1", "--timeout", "0.1")))

    assert.equal(200, s:request("GET", "/line").status)
    assert.equal(200, s:request("GET", "/many").status)
  end)
end)
