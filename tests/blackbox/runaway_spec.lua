-- A script that does not end costs one request its answer; neighbours in the same worker finish.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local server = require "tests.blackbox.support.server"

-- Each shape takes a number of rounds, so that it can be compiled before it runs for ever.
local APP = [[
local app, fiber, json = require "tycho.app", require "tycho.fiber", require "tycho.json"

local shapes = {}

function shapes.while_true(n) local i = 0 while i < n do i = i + 1 end end
function shapes.counting(n) local sum = 0 for i = 1, n do sum = sum + i % 7 end return sum end
function shapes.goto_loop(n)
  local i = 0
  ::again::
  i = i + 1
  if i < n then goto again end
end
function shapes.repeat_until(n) local i = 0 repeat i = i + 1 until i >= n end
function shapes.table_writes(n)
  local t, i = {}, 0
  while i < n do t[i % 100] = i i = i + 1 end
end
function shapes.strings(n) local i = 0 while i < n do local _ = ("x"):rep(9) .. i i = i + 1 end end
function shapes.pairs_loop(n)
  local t, i = { a = 1, b = 2, c = 3 }, 0
  while i < n do for _, v in pairs(t) do i = i + v end end
end
function shapes.ipairs_loop(n)
  local t, i = { 1, 2, 3 }, 0
  while i < n do for _, v in ipairs(t) do i = i + v end end
end
local function tail(i, n) if i < n then return tail(i + 1, n) end end
function shapes.tail_calls(n) return tail(0, n) end
local function deep(i) if i > 0 then return 1 + deep(i - 1) end return 0 end
function shapes.recursion(n) local i = 0 while i < n do deep(50) i = i + 50 end end
function shapes.overflow(n)
  local function endless() return 1 + endless() end
  local i = 0
  while i < n do pcall(endless) i = i + 1e4 end
end
function shapes.pcall(n)
  local i = 0
  while i < n do pcall(function() while i < n do i = i + 1 end end) end
end
function shapes.xpcall(n)
  local i = 0
  local function on_error() while i < n do i = i + 1 end end
  while i < n do xpcall(error, on_error) end
end
function shapes.xpcall_caught(n) -- LuaJIT forgets then that a handler runs
  local i = 0
  local function on_error() pcall(error) while i < n do i = i + 1 end end
  while i < n do xpcall(error, on_error) end
end
function shapes.error_objects(n)
  local i = 0
  while i < n do pcall(error, { i }) i = i + 1 end
end
function shapes.coroutines(n)
  local i = 0
  while i < n do coroutine.wrap(function() i = i + 1 end)() end
end
function shapes.in_coroutine(n)
  local co = coroutine.create(function() local i = 0 while i < n do i = i + 1 end end)
  coroutine.resume(co)
end
function shapes.yields(n)
  local co = coroutine.wrap(function() while true do coroutine.yield() end end)
  for _ = 1, n do co() end
end
local function count(_, n) local i = 0 while i < n do i = i + 1 end end
function shapes.index(n) return setmetatable({}, { __index = count })[n] end
function shapes.newindex(n) setmetatable({}, { __newindex = count })[n] = 1 end
function shapes.tostring(n)
  local i, t = 0, nil
  t = setmetatable({}, { __tostring = function()
    i = i + 1
    if i < n then return tostring(t) end
    return ""
  end })
  return tostring(t)
end
function shapes.concat(n)
  local i = 0
  local t = setmetatable({}, { __concat = function() while i < n do i = i + 1 end return "" end })
  return t .. ""
end
function shapes.sort_callback(n)
  local i = 0
  table.sort({ 3, 2 }, function(a, b) while i < n do i = i + 1 end return a < b end)
end
function shapes.gsub_callback(n)
  local i = 0
  return (("abc"):gsub(".", function() while i < n do i = i + 1 end end))
end
function shapes.load_reader(n)
  local i = 0
  load(function() i = i + 1 return i < n and " " or nil end)
end
function shapes.format(n) local i = 0 while i < n do i = i + #string.format("%d", i) end end
function shapes.json(n) local i = 0 while i < n do json.decode(json.encode { i }) i = i + 1 end end
function shapes.child(n)
  local handle = fiber.spawn(function() local i = 0 while i < n do i = i + 1 end end)
  return handle:join()
end
function shapes.shielded(n)
  fiber.shield(function() local i = 0 while i < n do i = i + 1 end end)
end
-- Loops of the library in C, which execute no instruction of Lua.
function shapes.backtracking(n)
  return ("a"):rep(40):find(("a-"):rep(n > 1e9 and 20 or 2) .. "b")
end
function shapes.greedy(n) return ("a"):rep(40):match(("a*"):rep(n > 1e9 and 20 or 2) .. "b") end
function shapes.gmatch(n)
  for _ in ("a"):rep(40):gmatch(("a?"):rep(n > 1e9 and 40 or 2) .. ("a"):rep(41)) do end
end
function shapes.balanced(n) return (("("):rep(n > 1e9 and 1e6 or 9)):gsub("%b()", "") end
function shapes.sorting(n)
  local t = {}
  for i = 1, 2e5 do t[i] = (i * 7919) % 200003 end
  for _ = 1, n > 1e9 and 1e9 or 1 do table.sort(t) table.sort(t, nil) end
end

app.get("/cold/{shape}", function(req) shapes[req.params.shape](math.huge) end)
app.get("/warm/{shape}", function(req)
  for _ = 1, 60 do shapes[req.params.shape](200) end
  shapes[req.params.shape](math.huge)
end)
app.get("/ok", function() return { ok = true } end)
app.get("/sleep/{ms}", function(req) fiber.sleep(req.params.ms / 1000) return { ok = true } end)
app.get("/short", { slice_max = 0.1 }, function() while true do end end)
app.get("/long", { slice_max = 4 }, function()
  local until_ms = require "tycho.time".monotonic() + 1.4
  while require "tycho.time".monotonic() < until_ms do end
  return { ok = true }
end)
app.get("/busy", function()
  local until_ms = require "tycho.time".monotonic() + 0.12
  while require "tycho.time".monotonic() < until_ms do end
  return { ok = true }
end)
app.get("/greedy", { cpu_max = 0.5 }, function()
  while true do
    local sum = 0
    for i = 1, 2e6 do sum = sum + i % 3 end
    fiber.sleep(0)
  end
end)
]]

local SHAPES = {
  "while_true", "counting", "goto_loop", "repeat_until", "table_writes", "strings", "pairs_loop",
  "ipairs_loop", "tail_calls", "recursion", "overflow", "pcall", "xpcall", "xpcall_caught",
  "error_objects", "coroutines", "in_coroutine", "yields", "index", "newindex", "tostring",
  "concat", "sort_callback", "gsub_callback", "load_reader", "format", "json", "child", "shielded",
  "backtracking", "greedy", "gmatch", "balanced", "sorting",
}

-- Of one request, or of all.
local function records_of(s, module, level, id)
  local found = {}
  for _, record in ipairs(s:records()) do
    local is_such = record.module == module and record.level == level
    if is_such and (not id or record.request_id == id) then
      found[#found + 1] = record.msg
    end
  end
  return found
end

-- How long the answer took, with the answer.
local function timed(s, target)
  local began = clock.now()
  local res = s:request("GET", target)
  return clock.now() - began, res
end

describe("a script that does not end", function()
  local s, workers

  setup(function()
    s = server.start {
      workers = 1, scripts = { ["app/main.lua"] = APP },
      config = { lua = { slice_max = "300ms" }, host = { heartbeat_timeout = "10s" } },
    }
    workers = s:workers()
  end)
  teardown(server.clean_up)

  for _, temperature in ipairs { "cold", "warm" } do
    for _, shape in ipairs(SHAPES) do
      it(("is stopped, and its neighbours finish: %s, %s"):format(shape, temperature), function()
        local neighbour = fiber.spawn(timed, s, "/sleep/50")
        local waiting = fiber.spawn(timed, s, "/ok")

        local took, res = timed(s, "/" .. temperature .. "/" .. shape)

        assert.equal(503, res.status, res.body)
        assert.is_true(took >= 0.25, ("stopped too early: %.3f s"):format(took))
        for _, handle in ipairs { neighbour, waiting } do
          local delay, answer = handle:join()
          assert.equal(200, answer.status)
          figure.at_most(delay, took + 1, "seconds that a neighbour waits")
        end
        assert.same(workers, s:workers())
      end)
    end
  end

  it("is named in the log with its line, once", function()
    local res = s:request("GET", "/cold/while_true")
    assert.equal(503, res.status)

    local found
    clock.eventually(function()
      found = records_of(s, "guard", "error", res.headers["x-request-id"])
      return #found > 0
    end, 5, "a record of it")
    assert.equal(1, #found)
    assert.matches("GET /cold/{shape} was stopped after %d+ ms", found[1])
    assert.matches("scripts/app/main%.lua:5", found[1])
    assert.matches("lua%.slice_max", found[1])
  end)

  it("is stopped earlier or later where its route says so", function()
    local took, res = timed(s, "/short")
    assert.equal(503, res.status)
    figure.at_most(took, 0.28, "seconds until it is stopped")

    assert.equal(200, s:request("GET", "/long").status)
  end)

  it("may not go on in small pieces either", function()
    local took, res = timed(s, "/greedy")

    assert.equal(503, res.status)
    assert.is_true(took > 0.3, ("stopped after %.3f s"):format(took))
    assert.is_true(s:metrics():sum("tycho_scripts_stopped_total", { limit = "cpu_max" }) > 0)
    s:wait_log "lua%.cpu_max"
  end)

  it("is logged with its line when it is only slow", function()
    assert.equal(200, s:request("GET", "/busy").status)

    clock.eventually(function()
      return table.concat(records_of(s, "guard", "warn"), "\n")
        :match "GET /busy held the loop for %d+ ms: scripts/app/main%.lua:%d+"
    end, 5, "a warning about /busy")
  end)
end)

describe("a runaway with the default limits", function()
  after_each(server.clean_up)

  it("is stopped within about a second, and nobody beside it waits longer than 1.2 s", function()
    local s = server.start { workers = 1, scripts = { ["app/main.lua"] = APP } }
    local slowest = 0

    local runaway = fiber.spawn(timed, s, "/warm/while_true")
    local until_time = clock.now() + 1.5
    while clock.now() < until_time do
      local took, res = timed(s, "/ok")
      assert.equal(200, res.status)
      slowest = math.max(slowest, took)
    end

    local took, res = runaway:join()
    assert.equal(503, res.status)
    figure.at_most(took, 1.2, "seconds until it is stopped")
    figure.at_most(slowest, 1.2, "seconds that a neighbour waits")
  end)

  it("does not count while the process is stopped", function()
    local s = server.start { workers = 1, scripts = { ["app/main.lua"] = APP } }
    local busy = fiber.spawn(timed, s, "/long")
    fiber.sleep(0.3)
    local worker = s:workers()[1]
    local process = require "tycho.process"

    process.run { args = { "kill", "-STOP", tostring(worker) } }
    fiber.sleep(1)
    process.run { args = { "kill", "-CONT", tostring(worker) } }

    local _, res = busy:join()
    assert.equal(200, res.status)
    assert.equal(200, s:request("GET", "/busy").status)
  end)
end)

describe("a route that has to be stopped again and again", function()
  after_each(server.clean_up)

  it("is closed for a while, on every worker, and opened again", function()
    local s = server.start {
      workers = 2, scripts = { ["app/main.lua"] = APP },
      config = { lua = { strikes_max = 3, quarantine = "2s" } },
    }
    for _ = 1, 3 do
      assert.equal(503, s:request("GET", "/short").status)
    end

    clock.eventually(function()
      for _ = 1, 8 do
        local took, res = timed(s, "/short")
        if took > 0.09 or res.status ~= 503 or not res.headers["retry-after"] then
          return false
        end
      end
      return true
    end, 1.5, "the route to be closed everywhere")
    assert.equal(200, s:request("GET", "/ok").status)

    clock.eventually(function() return timed(s, "/short") > 0.09 end, 5, "the route to open again")
  end)
end)
