-- What `tycho.db` tells developers without being asked, and nobody else.

local postgres = require "tests.blackbox.support.postgres"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"

app.get("/many", function(req)
  for _ = 1, tonumber(req.query.n) do
    db.value "select 1"
  end
  return {}
end)

app.get("/in-transaction", function()
  db.transaction(function(tx)
    for _ = 1, 11 do
      tx:value "select 1"
      db.value "select 1"
    end
  end)
  return {}
end)

app.get("/in-children", function()
  local asking = {}
  for i = 1, 21 do
    asking[i] = function() db.value "select 1" end
  end
  fiber.all(asking)
  return {}
end)

app.get("/held", function()
  db.transaction(function()
    db.value "select 1"
    fiber.sleep(0.001)
    fiber.sleep(0.001)
  end)
  return {}
end)

app.get("/heard", function()
  local listener = db.listen "news"
  db.transaction(function()
    db.value "select 1"
    listener:next(0.01)
  end)
  return {}
end)

app.get("/fine", function()
  db.transaction(function()
    fiber.all { function() return db.value "select 2" end }
  end)
  fiber.sleep(0.001)
  return {}
end)
]]

describe("the log of statements", function()
  after_each(server.clean_up)

  local function start(env, url)
    return server.start {
      scripts = { ["app/main.lua"] = APP },
      config = { env = env, databases = { default = { url = url } } },
    }
  end

  local function count(s, words)
    local _, found = s:log():gsub(words, "")
    return found
  end

  local function assert_said_once(s, words)
    s:wait_log(words)
    assert.equal(1, count(s, words))
  end

  it("names in development what one request repeats too often", function()
    local s = start "dev"
    s:request("GET", "/many?n=20")
    s:request("GET", "/many?n=20")
    assert.equal(0, count(s, "the same statement"))
    s:request("GET", "/many?n=50")

    assert_said_once(s, "the same statement more than 20 times in one request")
    assert.matches('"sql":"select 1"', s:log(), 1, true)
    assert.matches("scripts/app/main.lua:7", s:log(), 1, true)
  end)

  for _, where in ipairs { "in-transaction", "in-children" } do
    it("counts together what belongs to one request: " .. where, function()
      local s = start "dev"
      s:request("GET", "/" .. where)

      assert_said_once(s, "the same statement more than 20 times in one request")
    end)
  end

  it("names in development where a transaction is held without need", function()
    local s = start "dev"
    s:request("GET", "/fine")
    assert.equal(0, count(s, "a transaction is held open"))
    s:request("GET", "/held")

    assert_said_once(s, "a transaction is held open")
    assert.matches("scripts/app/main.lua:34", s:log(), 1, true)
    assert.matches('"request_id":"%x+"', s:log():match "[^\n]*a transaction is held[^\n]*")
  end)

  it("takes waiting for a notification for such a wait", function()
    if postgres.missing() then
      return pending(postgres.missing())
    end
    local pg = postgres.shared()
    local s = start("dev", pg:url(pg:create()))
    assert.equal(200, s:request("GET", "/heard").status)

    s:wait_log 'a transaction is held open.*"waits_for":"notification"'
  end)

  it("says nothing of that in production", function()
    local s = start "production"
    s:request("GET", "/many?n=50")
    s:request("GET", "/held")

    assert.equal(0, count(s, "the same statement"))
    assert.equal(0, count(s, "a transaction is held open"))
  end)
end)
