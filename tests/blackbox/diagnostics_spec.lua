-- What operators ask of a running server, over its control socket.

local clock = require "tests.blackbox.support.clock"
local json = require "tycho.json"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local NESTED = [[
local app = require "tycho.app"
local fiber = require "tycho.fiber"

local function innermost()
  fiber.sleep(30)
end

local function middle()
  innermost()
  return 1
end

app.get("/deep", { timeout = 20 }, function()
  return { middle() }
end)
]]

local BUSY = [[
local app = require "tycho.app"
local log = require("tycho.log").module "orders"

local function burn(seconds)
  local limit = os.clock() + seconds
  while os.clock() < limit do end
end

app.get("/held", function()
  burn(0.15)
  return {}
end)
app.get("/say", function(req)
  log:debug("said " .. req.query.what)
  return {}
end)
]]

describe("tycho ps --stack", function()
  after_each(server.clean_up)

  it("shows every Lua line of a fiber, its request and the time it has left", function()
    local s = server.start { scripts = { ["app/main.lua"] = NESTED }, workers = 1 }
    local conn = s:connect()
    conn:send "GET /deep HTTP/1.1\r\nHost: a\r\nX-Request-Id: the-one\r\n\r\n"

    local out = clock.eventually(function()
      local code, text = s:cli("ps", "--stack")
      return code == 0 and text:find("/deep", 1, true) and text
    end, 5, "the fiber in tycho ps")

    assert.matches("^GET /deep  worker 1, generation %x+, request the%-one, age %d+.-, "
      .. "left [12]%d%.%ds\n", out)
    assert.matches("\n  waits for sleep ", out)
    assert.matches("scripts/app/main.lua:5  innermost\n +scripts/app/main.lua:9  middle\n"
      .. " +scripts/app/main.lua:14", out)
  end)

  it("says the same in JSON, library lines marked", function()
    local s = server.start { scripts = { ["app/main.lua"] = NESTED }, workers = 1 }
    local conn = s:connect()
    conn:send "GET /deep HTTP/1.1\r\nHost: a\r\nX-Request-Id: the-one\r\n\r\n"

    local fiber = clock.eventually(function()
      local answer = json.decode((select(2, s:cli("ps", "--stack", "--json"))))
      return answer.workers[1].generations[1].fibers[1]
    end, 5, "the fiber in tycho ps")

    assert.equal("the-one", fiber.request)
    assert.is_true(fiber.left > 10 and fiber.left <= 20)
    local lines = {}
    for _, frame in ipairs(fiber.stack) do
      lines[#lines + 1] = not frame.library and frame.line or nil
    end
    assert.same({ "scripts/app/main.lua:5", "scripts/app/main.lua:9", "scripts/app/main.lua:14" },
      lines)
    assert.is_true(fiber.stack[1].library)
  end)
end)

describe("tycho lag", function()
  after_each(server.clean_up)

  it("names the line that held a loop, of all workers together", function()
    local s = server.start { scripts = { ["app/main.lua"] = BUSY }, workers = 2 }
    local code, out = s:cli "lag"
    assert.equal(0, code)
    assert.matches("No line has held a loop", out)

    for _ = 1, 8 do
      assert.equal(200, s:request("GET", "/held").status)
    end

    code, out = s:cli "lag"
    assert.equal(0, code)
    assert.matches("How late the loops ran", out)
    assert.matches("GET /held +scripts/app/main.lua:6\n", out)
    local answer, times = json.decode((select(2, s:cli("lag", "--json")))), 0
    for _, worker in ipairs(answer.workers) do
      for _, line in ipairs(worker.generations) do
        times = times + (line.route == "GET /held" and line.count or 0)
        assert.is_true(line.max > 0.04)
      end
    end
    assert.equal(8, times)
    local late = 0
    for _, bucket in ipairs(answer.buckets) do
      late = late + ((bucket.most == json.null or bucket.most > 0.05) and bucket.count or 0)
    end
    assert.is_true(late > 0)
  end)
end)

describe("tycho log-level", function()
  after_each(server.clean_up)

  local function has_said(s, what)
    return s:log():find("said " .. what, 1, true) ~= nil
  end

  local function ask(s, what)
    assert.equal(200, s:request("GET", "/say?what=" .. what).status)
  end

  it("changes one module of the application while it runs", function()
    local s = server.start { scripts = { ["app/main.lua"] = BUSY }, workers = 1 }
    ask(s, "before")

    local code, out = s:cli("log-level", "debug", "orders")
    ask(s, "during")
    s:cli("log-level", "info", "orders")
    ask(s, "after")
    s:cli("log-level", "debug", "orders")
    ask(s, "last")

    assert.equal(0, code)
    assert.matches("%(all%) +info\norders +debug\n", out)
    clock.eventually(function() return has_said(s, "last") end, 5, "the last record")
    assert.is_true(has_said(s, "during"))
    assert.is_false(has_said(s, "before"))
    assert.is_false(has_said(s, "after"))
    assert.matches("log level +info, orders debug\n", (select(2, s:cli "status")))
  end)

  it("holds for a worker that replaces a killed one, and over a reload", function()
    local s = server.start { scripts = { ["app/main.lua"] = BUSY }, workers = 1 }
    s:cli("log-level", "debug", "orders")
    local pid = s:workers()[1]

    process.run { args = { "kill", "-9", tostring(pid) } }
    clock.eventually(function() return not proc.is_alive(pid) end, 5, "its end")
    s:wait_ready()
    ask(s, "reborn")
    clock.eventually(function() return has_said(s, "reborn") end, 5, "the new worker's record")

    s:cli("reload", "--force")
    ask(s, "reloaded")
    clock.eventually(function() return has_said(s, "reloaded") end, 5, "the record after a reload")
  end)

  it("refuses what is no level", function()
    local s = server.start { workers = 1 }

    local code, _, err = s:cli("log-level", "loud")

    assert.equal(1, code)
    assert.matches("loud.* is no level", err)
  end)
end)
