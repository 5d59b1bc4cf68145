-- A database with a replica: who reads where, and what happens when the replica is gone.

local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local postgres = require "tests.blackbox.support.postgres"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"

local reads = db.use("default", { replica = true })
local WHERE = "select pg_is_in_recovery()"

app.get("/plain", function() return { replica = db.value(WHERE) } end)
app.get("/read", function() return { replica = reads.value(WHERE) } end)
app.get("/each", function()
  local found
  reads.each(WHERE, function(row) found = row.pg_is_in_recovery end)
  return { replica = found }
end)
app.get("/snapshot", function()
  return { replica = db.transaction(function(tx) return tx:value(WHERE) end, { read_only = true }) }
end)
app.get("/transaction", function()
  return { replica = db.transaction(function(tx) return tx:value(WHERE) end) }
end)
app.get("/own", function()
  db.exec "insert into t values (1)"
  local child = fiber.spawn(function() return reads.value(WHERE) end)
  return {
    replica = reads.value(WHERE), child = child:join(),
    snapshot = db.transaction(function(tx) return tx:value(WHERE) end, { read_only = true }),
  }
end)
]]

describe("a database with a replica", function()
  local missing = postgres.missing()
  if missing then
    return it("is tested", function() pending(missing) end)
  end

  local primary, standby, s

  setup(function()
    primary = postgres.start()
    primary:sql "create table t(n int)"
    standby = primary:standby()
    standby:follow(primary)
    s = server.start {
      scripts = { ["app/main.lua"] = APP },
      config = { databases = {
        default = { url = primary:url(), replicas = { "follower" } },
        follower = { url = standby:url(), migrate = "manual" },
      } },
    }
  end)
  teardown(function()
    server.clean_up()
    database.clean_up()
  end)

  local function ask(path)
    local res = s:request("GET", path)
    assert.equal(200, res.status, res.body)
    return res:json()
  end

  it("reads there only what may be read there", function()
    assert.is_false(ask("/plain").replica)
    assert.is_false(ask("/transaction").replica)
    assert.is_true(ask("/read").replica)
    assert.is_true(ask("/each").replica)
    assert.is_true(ask("/snapshot").replica)
  end)

  it("reads from itself what the same request wrote", function()
    local found = ask "/own"
    assert.same({ false, false, false }, { found.replica, found.child, found.snapshot })
    assert.is_true(ask("/read").replica) -- the next request is another one
  end)

  it("reads from itself while the replica is away", function()
    standby:kill()
    clock.eventually(function()
      local res = s:request("GET", "/read")
      return res.status == 200 and res:json().replica == false
    end, 5, "reads without the replica")
    for _ = 1, 20 do
      assert.is_false(ask("/read").replica)
    end

    standby:start()
    clock.eventually(function() return ask("/read").replica end, 10, "the replica's return")
  end)
end)
