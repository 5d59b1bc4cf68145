-- A client that goes away frees, within 100 ms, what its request had: whatever the handler waits
-- for, and however the client goes.

local accounts = require "tests.blackbox.support.accounts"
local clock = require "tests.blackbox.support.clock"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

local SEEN_MAX = 0.1

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"
local time = require "tycho.time"

local waiting, ended = {}, {}

-- Runs fn, and notes under the request's name when it has begun and how and when it ended.
local function noted(name, fn, ...)
  waiting[name] = true
  return fiber.finally(fn, function(err)
    ended[name] = { at = time.monotonic(), kind = type(err) == "table" and err.kind or nil,
      reason = fiber.cancelled() }
  end, ...)
end

local ENDLESS = "with recursive c(n) as (select 1 union all select n + 1 from c)"
  .. " select count(*) from c"

local WAYS = {
  sleep = function() fiber.sleep(60) end,
  query = function() db.value(ENDLESS) end,
  statement = function() db.exec("create table if not exists t(n)")
    db.exec("insert into t " .. ENDLESS) end,
  transaction = function()
    db.transaction(function(tx)
      tx:exec("create table if not exists t(n)")
      fiber.sleep(60)
    end)
  end,
  children = function()
    fiber.all { function() fiber.sleep(60) end, function() fiber.sleep(61) end }
  end,
  coroutine = function()
    coroutine.wrap(function() fiber.sleep(60) end)()
  end,
}

app.get("/wait/{how}", { timeout = 50 }, function(req)
  noted(req.query.name, WAYS[req.params.how])
end)

app.get("/stream", { timeout = 50 }, function(req)
  local name, first = req.query.name, true
  return app.response(200, function()
    if first then
      first = false
      return "first"
    end
    noted(name, fiber.sleep, 60)
  end)
end)

app.get("/waiting/{name}", function(req) return { waits = waiting[req.params.name] or false } end)
app.get("/ended/{name}", function(req)
  return { ended = ended[req.params.name], now = time.monotonic() }
end)
app.get("/read", function() return { n = db.value "select 1" } end)
app.get("/write", function()
  db.transaction(function(tx) tx:exec("create table if not exists w(n)") end)
  return { n = 1 }
end)
]]

describe("a client that goes away", function()
  local s, before
  local count = 0

  setup(function()
    s = server.start {
      scripts = { ["app/main.lua"] = APP }, workers = 1,
      config = { databases = { default = { readers = 1, wait_timeout = "5s" } } },
    }
  end)
  teardown(server.clean_up)

  local function leave(target, how, more)
    count = count + 1
    local name = "n" .. count
    local conn = s:connect():send(http.format("GET", target .. "?name=" .. name) .. (more or ""))
    local asking = s:connect()
    local function ask(what)
      return asking:request("GET", what .. name):json()
    end
    clock.eventually(function() return ask("/waiting/").waits end, 5, "the wait")
    local left = clock.now() -- the same clock as the server's time.monotonic()
    conn[how](conn)
    local ended = clock.eventually(function() return ask("/ended/").ended end, 5, "the end")
    asking:close()
    return ended, ended.at - left
  end

  -- Database connections are opened at the first use, and kept.
  setup(function()
    leave("/wait/transaction", "close")
    assert.equal(200, s:request("GET", "/read").status)
    assert.equal(200, s:request("GET", "/write").status)
    accounts.wait_idle(s)
    before = accounts.of(s)
  end)

  local TARGETS = {
    ["fiber.sleep"] = "/wait/sleep", ["a query"] = "/wait/query",
    ["a statement that writes"] = "/wait/statement", ["a transaction"] = "/wait/transaction",
    ["its children"] = "/wait/children", ["a coroutine"] = "/wait/coroutine",
    ["a stream"] = "/stream",
  }
  for what, target in pairs(TARGETS) do
    for name, how in pairs { FIN = "close", RST = "reset" } do
      local title = "is seen within 100 ms while the handler waits for %s (%s)"
      it(title:format(what, name), function()
        figure.at_most(figure.best(SEEN_MAX, function()
          local ended, took = leave(target, how)
          assert.equal("cancelled", ended.kind)
          assert.equal("the client is gone", ended.reason)
          return took
        end), SEEN_MAX, "seconds until it is seen")

        -- What it had is free: the only reader, the only writer, the thread.
        local began = clock.now()
        assert.equal(200, s:request("GET", "/read").status)
        assert.equal(200, s:request("GET", "/write").status)
        figure.at_most(clock.now() - began, 2, "seconds")
        accounts.wait_back(s, before)
      end)
    end
  end

  for name, how in pairs { FIN = "close", RST = "reset" } do
    it("is seen although it has sent more than is read ahead: " .. name, function()
      local more = http.format("GET", "/read"):rep(3000)
      assert.is_true(#more > 64 * 1024)
      local ended, took = leave("/wait/sleep", how, more)
      assert.equal("cancelled", ended.kind)
      figure.at_most(took, 1, "seconds") -- looked after every 100 ms
      accounts.wait_back(s, before)
    end)
  end

  it("is counted, and is no error in the log", function()
    local aborted = s:metrics():sum "tycho_http_aborted_total"
    leave("/wait/sleep", "reset")
    assert.equal(aborted + 1, (s:metrics():sum "tycho_http_aborted_total"))
    for _, record in ipairs(s:records()) do
      assert.is_true(record.level ~= "error", record.msg)
    end
  end)
end)
