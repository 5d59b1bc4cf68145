-- A route that kills workers is closed before it has killed all of them again and again.

local clock = require "tests.blackbox.support.clock"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local APP = [[
local app, ffi = require "tycho.app", require "ffi"
app.get("/", function() return { hello = "world" } end)
app.get("/null/{id}", function()
  ffi.cast("int *", 0)[0] = 1
end)
]]

-- A sanitizer would have something to say about the crashes.
local function silenced(name)
  return (os.getenv(name) or "") .. ":handle_segv=0"
end

local function start(lua)
  return server.start {
    expects = "crash",
    scripts = { ["app/main.lua"] = APP }, config = { lua = lua, scripts = { grants = { "ffi" } } },
    env = { ASAN_OPTIONS = silenced "ASAN_OPTIONS", TSAN_OPTIONS = silenced "TSAN_OPTIONS" },
  }
end

local function restarts(s)
  local sum = 0
  for _, worker in ipairs(s:status().workers) do
    sum = sum + worker.restarts
  end
  return sum
end

local function until_all_serve(s)
  clock.eventually(function()
    for _, worker in ipairs(s:status().workers) do
      if worker.state ~= "serving" then
        return false
      end
    end
    return true
  end, 10, "all workers to serve")
end

-- Asks for what kills the worker, and waits until that is replaced.
local function crash(s)
  local before = restarts(s)
  local conn = s:connect()
  conn:send "GET /null/1 HTTP/1.1\r\nHost: a\r\n\r\n"
  clock.eventually(function() return restarts(s) == before + 1 end, 5, "a worker to die")
  conn:close()
  until_all_serve(s)
end

-- Every worker answers, and none dies.
local function assert_closed(s)
  local before = restarts(s)
  for _ = 1, 8 do
    local res = s:request("GET", "/null/1")
    assert.equal(503, res.status)
    assert.is_truthy(tonumber(res.headers["retry-after"]))
  end
  assert.equal(before, restarts(s))
end

describe("a route that kills workers", function()
  after_each(server.clean_up)

  it("is closed on all of them, said so, and opened by a reload", function()
    local s = start { strikes_max = 2, quarantine = "1h" }
    crash(s)
    assert.same({}, s:status().quarantined)
    crash(s)

    assert_closed(s)
    assert.equal(200, s:request("GET", "/").status)
    local closed = s:status().quarantined
    assert.equal(1, #closed)
    assert.equal("GET /null/{id}", closed[1].route)
    assert.is_true(closed[1].left > 3500 and closed[1].left <= 3600)
    local _, text = s:cli "status"
    assert.matches("GET /null/{id} is closed for another", text)
    assert.equal(1, s:metrics():sum "tycho_quarantined_routes")
    s:wait_log "GET /null/{id} is closed for 3600 s: it had to be stopped 2 times"

    -- who comes later is told
    local pid, before = s:workers()[1], restarts(s)
    process.run { args = { "kill", "-9", tostring(pid) } }
    clock.eventually(function() return restarts(s) == before + 1 end, 5, "another worker")
    until_all_serve(s)
    assert_closed(s)

    -- other scripts, another chance
    s:write("app/main.lua", APP .. "-- better\n")
    s:reload()
    assert.same({}, s:status().quarantined)
    assert.equal(0, s:metrics():sum "tycho_quarantined_routes")
    crash(s)
  end)

  it("is open again after lua.quarantine", function()
    local s = start { strikes_max = 1, quarantine = "2s" }
    crash(s)
    assert_closed(s)

    clock.eventually(function() return #s:status().quarantined == 0 end, 4, "the route to open")
    assert.equal(0, s:metrics():sum "tycho_quarantined_routes")
    crash(s)
  end)

  it("goes on being served when no limit is set", function()
    local s = start {}
    for _ = 1, 3 do
      crash(s)
    end
    assert.same({}, s:status().quarantined)
  end)
end)
