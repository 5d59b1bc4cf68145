-- What only reads may be answered by a server that follows another; whoever wrote reads what he
-- wrote.

local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local postgres = require "tests.blackbox.support.postgres"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"

local near = db.use("default", { replica = true })
local PORT = "select inet_server_port()"

local function where()
  return {
    plain = db.value(PORT), near = near.value(PORT),
    batch = near.batch { { PORT, as = "value" } }[1],
    each = (function()
      local port
      near.each(PORT, function(row) port = row.inet_server_port end)
      return port
    end)(),
    read_only = db.transaction(function() return db.value(PORT) end, { read_only = true }),
    child = fiber.spawn(function() return near.value(PORT) end):join(),
  }
end

local function insert(n)
  near.exec("insert into notes values ($1)", n)
end

local writes = {
  none = function() end,
  exec = function() insert(1) end,
  query = function()
    db.query "with n as (insert into notes values (2) returning n) select n from n"
  end,
  batch = function() near.batch { { "select 1" }, { "insert into notes values (3)" } } end,
  transaction = function() db.transaction(function() insert(4) end) end,
  script = function() near.script "select 1; insert into notes values (5)" end,
  copy = function() db.copy_in("copy notes from stdin", "6\n") end,
  notify = function() near.notify("news", "7") end,
  child = function() fiber.spawn(insert, 9):join() end,
}

app.get("/after/{what}", function(req)
  writes[req.params.what]()
  return where()
end)

app.get("/inside", function()
  return db.transaction(function(tx)
    tx:exec "insert into notes values (8)"
    return { port = near.value(PORT), count = near.value "select count(*) from notes where n = 8" }
  end)
end)
]]

describe("replicas", function()
  local missing = postgres.missing()
  if missing then
    return it("are asked", function() pending(missing) end)
  end
  local primary, standby, s

  setup(function()
    primary = postgres.start()
    local name = primary:create()
    primary:sql("create table notes(n int)", { database = name })
    standby = primary:standby()
    standby:follow(primary)
    s = server.start {
      workers = 1, scripts = { ["app/main.lua"] = APP },
      config = { databases = {
        default = { url = primary:url(name), replicas = { "copy", "gone" } },
        copy = { url = standby:url(name) },
        gone = { url = ("postgres://tycho@127.0.0.1:%d/%s"):format(server.free_port(), name) },
      } },
    }
  end)

  teardown(function()
    server.clean_up()
    database.clean_up()
  end)

  local function after(what)
    local res = s:request("GET", "/after/" .. what)
    assert(res.status == 200, res.body)
    return res:json()
  end

  local function all(port)
    return { plain = primary.port, near = port, batch = port, each = port, read_only = port,
      child = port }
  end

  it("answer what only reads, passing over the one that is gone", function()
    clock.eventually(function() return after("none").near == standby.port end, 10, "a replica")
    for _ = 1, 10 do
      assert.same(all(standby.port), after "none")
    end
  end)

  for _, what in ipairs { "exec", "query", "batch", "transaction", "script", "copy", "child" } do
    it("are not asked by a request that has written: " .. what, function()
      assert.same(all(primary.port), after(what))
      assert.same(all(standby.port), after "none")
    end)
  end

  it("send no notifications: the database does", function()
    assert.same(all(standby.port), after "notify")
  end)

  it("are not asked inside of a transaction", function()
    assert.same({ port = primary.port, count = 1 }, s:request("GET", "/inside"):json())
  end)

  it("are not needed: without them the database answers", function()
    standby:kill()

    clock.eventually(function()
      local res = s:request("GET", "/after/none")
      return res.status == 200 and res:json().near == primary.port
    end, 10, "the database itself")
    standby:start()
    clock.eventually(function() return after("none").near == standby.port end, 10, "a replica")
  end)
end)
