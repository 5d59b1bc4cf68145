-- A script that takes too much memory costs one request its answer; the worker lives.

local clock = require "tests.blackbox.support.clock"
local json = require "tycho.json"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"

local hogs = {}

function hogs.list() local t = {} while true do t = { t } end end
function hogs.array() local t = {} while true do t[#t + 1] = { #t } end end
function hogs.strings() local t = {} while true do t[#t + 1] = ("x"):rep(100) .. #t end end
function hogs.closures()
  local f = print
  while true do local g = f f = function() return g end end
end
function hogs.coroutines()
  local t = {}
  while true do t = { t, coroutine.create(print) } end
end
function hogs.children()
  local t
  while true do t = { t } fiber.spawn(fiber.sleep, 60) end
end
function hogs.one_string() return ("x"):rep(1e9) end
function hogs.pcall()
  local t = {}
  while true do pcall(function() while true do t = { t } end end) end
end
function hogs.waits()
  local t = {}
  while true do for _ = 1, 1000 do t = { t } end fiber.sleep(0) end
end
function hogs.transaction()
  db.transaction(function(tx)
    tx:exec "insert into things values (1)"
    hogs.list()
  end)
end

app.get("/ok", function() return { ok = true } end)
app.get("/hog/{how}", function(req) return hogs[req.params.how]() end)
app.get("/garbage", function()
  for i = 1, 1e6 do local _ = { i, tostring(i) } end
  return { ok = true }
end)
app.get("/things", function()
  db.exec "create table if not exists things (x)"
  return { count = db.value "select count(*) from things" }
end)
]]

describe("a request that takes too much memory", function()
  local s, workers

  setup(function()
    s = server.start {
      workers = 1, scripts = { ["app/main.lua"] = APP },
      config = { lua = { memory_max = "8MiB" }, host = { worker_memory_max = "1GiB" } },
    }
    assert.equal(200, s:request("GET", "/things").status)
    workers = s:workers()
  end)
  teardown(server.clean_up)

  for _, how in ipairs {
    "list", "array", "strings", "closures", "coroutines", "children", "one_string", "pcall",
    "waits", "transaction",
  } do
    it("fails, and nothing else does: " .. how, function()
      for _ = 1, 3 do
        assert.equal(500, s:request("GET", "/hog/" .. how).status)
        assert.equal(200, s:request("GET", "/ok").status)
      end
      assert.same(workers, s:workers())
    end)
  end

  it("has its line in the log", function()
    assert.equal(500, s:request("GET", "/hog/list").status)

    s:wait_log "app/main%.lua:7: not enough memory %(lua%.memory_max%)"
  end)

  it("leaves no transaction open", function()
    assert.equal(500, s:request("GET", "/hog/transaction").status)

    assert.equal(0, s:request("GET", "/things"):json().count)
  end)

  it("may make as much garbage as it likes", function()
    assert.equal(200, s:request("GET", "/garbage").status)
  end)

  it("leaves no fiber behind", function()
    clock.eventually(function()
      local _, out = s:cli("ps", "--json")
      return #json.decode(out).workers[1].generations[1].fibers == 0
    end, 5, "no fibers")
  end)
end)
