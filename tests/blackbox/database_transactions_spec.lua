-- However a handler ends, its transaction ends too: committed as a whole, rolled back, or said to
-- be unknown; and its connection is as new.

local chaos = require "tests.blackbox.support.chaos"
local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local load = require "tests.blackbox.support.load"
local proxy = require "tests.blackbox.support.proxy"
local server = require "tests.blackbox.support.server"
local sessions = require "tests.blackbox.support.sessions"

local each = sessions.each(describe, it, pending)

local STALE_MAX, POOL_MAX = 1, 6
local LONG = os.getenv "TYCHO_TEST_LONG" == "1"

-- How a handler may end with a transaction begun and a row written.
local APP = sessions.PRELUDE .. [[
local function write(tx, req)
  tx:exec("insert into rows_of(id) values ($1)", tonumber(req.params.id))
end

local SLEEP = db.system() == "mysql" and "select sleep(20)" or "select pg_sleep(20)"

local ENDINGS = {
  result = function() return { ended = true } end,
  error = function() error "on purpose" end,
  deadline = function() fiber.sleep(20) end,
  statement = function(tx) tx:query(SLEEP) end,
  runaway = function() while true do end end, -- luacheck: ignore
  broken = function(tx) pcall(tx.query, tx, "select nonsense") return {} end,
  spawned = function(tx)
    fiber.spawn(function() tx:query(SLEEP) end)
    error "on purpose"
  end,
}

for name, ending in pairs(ENDINGS) do
  app.get("/" .. name .. "/{id}", { timeout = 0.3 }, function(req)
    return db.transaction(function(tx)
      write(tx, req)
      return ending(tx)
    end)
  end)
end

-- The coroutine is left in the middle, and never comes back.
app.get("/left/{id}", { timeout = 0.3 }, function(req)
  coroutine.wrap(function()
    db.transaction(function(tx)
      write(tx, req)
      coroutine.yield()
    end)
  end)()
  return { ended = true }
end)

-- A fiber is ended in the middle.
app.get("/killed/{id}", { timeout = 5 }, function(req)
  local begun = false
  local child = fiber.spawn(function()
    db.transaction(function(tx)
      write(tx, req)
      begun = true
      fiber.sleep(20)
    end)
  end)
  while not begun do fiber.sleep(0.001) end
  child:cancel()
  pcall(child.join, child)
  return { ended = true }
end)

-- Asks for a second connection while it has one.
app.get("/nested/{id}", function(req)
  return db.transaction(function(tx)
    write(tx, req)
    return fiber.all { function() return { n = db.value("select count(*) from rows_of") } end }[1]
  end)
end)

app.get("/insert/{id}", function(req)
  return db.transaction(function(tx)
    write(tx, req)
    return { ended = true }
  end)
end)
app.get("/single/{id}", function(req)
  db.exec("insert into rows_of(id) values ($1)", tonumber(req.params.id))
  return { ended = true }
end)

local go = {}
app.get("/paused/{id}", function(req)
  return db.transaction(function(tx)
    write(tx, req)
    while not go[req.params.id] do fiber.sleep(0.005) end
    return { ended = true }
  end)
end)
app.get("/go/{id}", function(req) go[req.params.id] = true return {} end)
app.get("/count", function() return { n = db.value("select count(*) from rows_of") } end)
]]

local EXPECTED = {
  result = 200, error = 500, deadline = 504, statement = 504, runaway = 503, broken = 200,
  spawned = 500, left = 200, killed = 200,
}
-- On PostgreSQL an error within a transaction has undone it, and committing says so.
local COMMITTED = { result = true, broken = "maybe" }
local NAMES = { "result", "error", "deadline", "statement", "broken", "spawned", "left", "killed" }

each("a transaction", function(kind, module)
  local db, name, s

  local function start(opts)
    opts = opts or {}
    db = module.shared()
    name = db:create()
    db:sql("create table rows_of(id int primary key)", { database = name })
    s = server.start {
      scripts = { ["app/main.lua"] = APP:gsub("db%.system%(%)", ("%q"):format(
        kind == "mariadb" and "mysql" or "postgresql")) },
      workers = opts.workers,
      config = {
        databases = { default = {
          url = db:url(name, { port = opts.port }), pool_max = opts.pool_max or POOL_MAX,
          wait_timeout = opts.wait_timeout, pipelines = 1, slow = "0s",
        } },
        http = { access_log = false }, lua = { cpu_max = "200ms" },
      },
    }
  end

  after_each(function()
    server.clean_up()
    proxy.clean_up()
  end)

  local function ids()
    local set, count = {}, 0
    for id in db:sql("select id from rows_of", { database = name }):gmatch "%d+" do
      set[tonumber(id)] = true
      count = count + 1
    end
    return set, count
  end

  it("is over when its handler is, however that ended", function()
    start { pool_max = 2 }
    local id = 0
    for ending, status in pairs(EXPECTED) do
      for _ = 1, ending == "runaway" and 1 or 3 do
        id = id + 1
        local res = s:request("GET", ("/%s/%d"):format(ending, id))
        local fits = res.status == status or COMMITTED[ending] == "maybe" and res.status >= 409
          or ending == "spawned" and res.status == 504 -- rolling back waits for what runs
        assert.is_true(fits, ending .. ": " .. res.status .. " " .. res.body)
        sessions.wait_idle(db, name, 1.5)
        local kept = COMMITTED[ending]
        assert.is_true(kept == "maybe" or ids()[id] == kept, ending .. ": the row")
      end
    end
    assert.equal(200, s:request("GET", "/count").status)
  end)

  it("is never left open, with a thousand that end in every way", function()
    start()
    local total = LONG and 10000 or 1000
    local watch = sessions.watch(function() return sessions.stale(db, name) end, 0.1)
    local answers, next_id = {}, 0
    local clients = {}
    for i = 1, 24 do
      clients[i] = fiber.spawn(function()
        while next_id < total do
          next_id = next_id + 1
          local id = next_id
          local ending = chaos.pick(NAMES)
          local conn = http.connect(s.port, { timeout = 20 })
          conn:send(http.format("GET", ("/%s/%d"):format(ending, id)))
          if chaos.integer(1, 3) == 1 then
            fiber.sleep(chaos.number(0, 0.05))
            conn:reset()
          else
            answers[id] = { ending = ending, status = conn:receive("GET").status }
            conn:close()
          end
        end
      end)
    end
    for _, client in ipairs(clients) do
      client:join()
    end
    local stale = watch.stop()
    sessions.wait_idle(db, name, 2)

    figure.at_most(stale, STALE_MAX, "seconds idle in a transaction")
    assert.is_true(watch.count > 10)
    -- MySQL's statements are ended by way of another session of each worker.
    assert.is_true(#sessions.list(db, name) <= POOL_MAX + (kind == "mariadb" and 2 or 0))
    local rows = ids()
    for id, answer in pairs(answers) do
      local well = answer.status == EXPECTED[answer.ending]
      local there = well and COMMITTED[answer.ending] or false -- or there was no connection in time
      if there ~= "maybe" then
        assert.equal(there, rows[id] or false, ("%d, %s: %d"):format(id, answer.ending,
          answer.status))
      end
    end
    assert.equal(200, s:request("GET", "/count").status)
  end)

  it("that wants a second connection when there is none fails in time", function()
    start { workers = 1, pool_max = 3, wait_timeout = "500ms" }
    local calls, kinds = {}, {}
    local began = clock.now()
    for i = 1, 12 do
      calls[i] = function()
        local res = s:request("GET", "/nested/" .. i)
        kinds[res.status] = (kinds[res.status] or 0) + 1
        assert.is_true(res.status == 200 or res.status == 503, res.body)
      end
    end
    fiber.all(calls)
    local took = clock.now() - began

    assert.is_true((kinds[503] or 0) >= 3, "nobody found the pool exhausted")
    figure.at_most(took, 12 / 3 * 0.5 + 1, "seconds")
    assert.equal(200, s:request("GET", "/nested/100").status)
    sessions.wait_idle(db, name, 1)
  end)

  it("whose COMMIT was not answered has an unknown outcome", function()
    local way = proxy.start { to = module.shared().port }
    start { port = way.port, workers = 1 }
    local conn = http.connect(s.port, { timeout = 20 })
    conn:send(http.format("GET", "/paused/7"))
    clock.eventually(function()
      return db:sql("select count(*) from rows_of", { database = name }) == "0"
        and way:open_count() > 0 and way.bytes.up > 200
    end)
    fiber.sleep(0.05) -- the row is written
    way:stall "down"
    assert.equal(200, s:request("GET", "/go/7").status)
    clock.eventually(function() return ids()[7] end, 5, "the row")
    way:resume "down"
    way:reset_all()
    local res = conn:receive "GET"

    assert.is_true(res.status >= 500, res.status)
    assert.equal("unknown_outcome", res:json().kind, res.body)
    assert.equal(1, select(2, ids()))
    assert.equal(200, s:request("GET", "/insert/8").status)
  end)

  it("is never repeated in silence when connections are lost", function()
    local way = proxy.start { to = module.shared().port }
    start { port = way.port }
    local said = {}
    local run = load.start {
      port = s.port, rate = 200, duration = LONG and 30 or 4, connections = 32, timeout = 20,
      retry = false,
      request = function(id) return "GET", (id % 2 == 0 and "/insert/" or "/single/") .. id end,
      check = function(res, id)
        said[id] = res.status == 200 and "ok" or res:json().kind
        return said[id]
      end,
    }
    local killer = chaos.every({ 0.1, 0.4 }, function() way:reset_all() end)
    local book = run:join().ledger
    killer:stop()
    sessions.wait_idle(db, name, 2)

    local rows = ids()
    for id, kind_of in pairs(said) do
      local there = rows[id] or false
      if kind_of == "ok" then
        assert.is_true(there, id .. " was said to be there")
      elseif kind_of ~= "unknown_outcome" then
        assert.is_true(kind_of == "unavailable" or kind_of == "timeout", kind_of) -- not done
        assert.is_false(there, ("%d (%s) was said to have failed"):format(id,
          id % 2 == 0 and "transaction" or "single"))
      end
    end
    if os.getenv "TYCHO_TEST_SAY" then
      print(book:summary())
    end
    assert.is_true(book:count "ok" > 100, book:summary())
    assert.equal(0, book:count "conflict", book:summary())
  end)
end)
