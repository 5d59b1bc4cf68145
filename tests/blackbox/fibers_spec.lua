-- Waiting requests, from outside: seen, cancelled, bounded.

local clock = require "tests.blackbox.support.clock"
local figure = require "tests.blackbox.support.figure"
local json = require "tycho.json"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local fiber = require "tycho.fiber"

local ended = { count = 0 }

app.get("/wait", function()
  local ok, err = pcall(fiber.sleep, 60)
  ended.count = ended.count + 1
  ended.kind = not ok and err.kind or "slept"
  if not ok then error(err, 0) end
  return {}
end)
app.get("/children", function()
  fiber.all {
    function() fiber.sleep(60) end,
    function() fiber.sleep(60) end,
  }
end)
app.get("/stubborn", function()
  while true do
    local ok, err = pcall(fiber.sleep, 60)
    if not ok then
      ended.count, ended.kind = ended.count + 1, err.kind
      for _ = 1, 3 do pcall(fiber.sleep, 60) end
      return { gave_up = true }
    end
  end
end)
app.get("/bounded", { timeout = 0.1 }, function() fiber.sleep(60) end)
app.get("/shielded", { timeout = 0.05 }, function()
  fiber.shield(function() fiber.sleep(0.15) ended.shielded = true end)
  return {}
end)
app.get("/ended", function() return ended end)

local go_on
app.get("/busy", function()
  go_on = true
  while go_on do fiber.sleep(0) end
  return { rested = true }
end)
app.get("/enough", function()
  go_on = false
  return {}
end)
]]

local LINE = 0
for line in (APP:match "^(.*)pcall%(fiber%.sleep, 60%)\n  ended" .. "x"):gmatch "[^\n]*\n" do
  LINE = LINE + #line:gsub("[^\n]", "")
end
LINE = LINE + 1

describe("a request that waits", function()
  local s

  before_each(function()
    s = server.start { scripts = { ["app/main.lua"] = APP }, workers = 1 }
  end)
  after_each(server.clean_up)

  local function fibers()
    local code, out = s:cli("ps", "--json")
    assert.equal(0, code, out)
    local list = {}
    for _, worker in ipairs(json.decode(out).workers) do
      for _, generation in ipairs(worker.generations) do
        for _, one in ipairs(generation.fibers) do
          list[#list + 1] = one
        end
      end
    end
    return list
  end

  it("is shown by `tycho ps`, with its line", function()
    local conn = s:connect()
    conn:send "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"

    local found = clock.eventually(function()
      for _, fiber in ipairs(fibers()) do
        if fiber.owner == "GET /wait" then
          return fiber
        end
      end
    end, 5, "the fiber in ps")
    assert.equal("sleep", found.waits_for)
    assert.equal("scripts/app/main.lua:" .. LINE, found.line)

    local _, shown = s:cli "ps"
    assert.is_truthy(shown:find("scripts/app/main.lua:" .. LINE, 1, true), shown)
    conn:close()
  end)

  local function ended_within(limit, kind, count)
    local began = clock.now()
    clock.eventually(function()
      local seen = s:request("GET", "/ended"):json()
      return seen.count >= (count or 1) and seen.kind == kind
    end, limit, "the end of the handler")
    return clock.now() - began
  end

  for how in pairs { close = true, reset = true } do
    it("is cancelled when its client is gone: " .. how, function()
      local conn = s:connect()
      conn:send "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
      clock.eventually(function() return #fibers() >= 1 end, 5, "the fiber")

      conn[how](conn)
      ended_within(1, "cancelled")
      assert.equal(1, (s:metrics():sum "tycho_http_aborted_total"))
    end)
  end

  it("is cancelled with its children", function()
    local conn = s:connect()
    conn:send "GET /children HTTP/1.1\r\nHost: a\r\n\r\n"
    clock.eventually(function() return #fibers() >= 3 end)

    conn:close()
    clock.eventually(function() return #fibers() == 0 end, 2, "no fibers")
  end)

  it("cannot go on waiting once it is cancelled", function()
    local conn = s:connect()
    conn:send "GET /stubborn HTTP/1.1\r\nHost: a\r\n\r\n"
    clock.eventually(function() return #fibers() >= 1 end)

    conn:close()
    clock.eventually(function() return #fibers() == 0 end, 2, "no fibers")
  end)

  it("is answered 504 when its deadline passes", function()
    local began = clock.now()
    local res = s:request("GET", "/bounded")

    assert.equal(504, res.status)
    figure.at_most(clock.now() - began, 1, "seconds")
  end)

  it("finishes what is shielded first", function()
    local res = s:request("GET", "/shielded")

    assert.is_true(res.status == 200 or res.status == 504)
    assert.is_true(s:request("GET", "/ended"):json().shielded)
  end)

  it("for nothing but its turn lets others have theirs, also those at the network", function()
    local conn = s:connect()
    conn:send "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n"
    clock.eventually(function() return #fibers() == 1 end)

    assert.equal(200, s:request("GET", "/enough").status)
    assert.is_true(conn:receive():json().rested)
    conn:close()
  end)

  it("leaves no fiber behind after a storm of clients that leave", function()
    for _ = 1, 5 do
      local connections = {}
      for i = 1, 100 do
        connections[i] = s:connect():send "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
      end
      for i, conn in ipairs(connections) do
        if i % 2 == 0 then conn:close() else conn:reset() end
      end
    end

    clock.eventually(function() return #fibers() == 0 end, 5, "no fibers")
    clock.eventually(function() return s:metrics():sum "tycho_http_connections" <= 1 end, 5)
    assert.equal(200, s:request("GET", "/ended").status)
  end)
end)

-- Spawns until it is refused, and says how far it came.
local GREEDY = [[
local app, fiber = require "tycho.app", require "tycho.fiber"

app.get("/greedy", function()
  local count, err = 0, nil
  repeat
    local fine, problem = pcall(fiber.spawn, fiber.sleep, 60)
    count, err = fine and count + 1 or count, problem
  until not fine
  return { count = count, kind = err.kind, detail = err.detail, message = err.message }
end)
app.get("/all", function()
  local many = {}
  for i = 1, 200 do
    many[i] = function() fiber.sleep(60) end
  end
  fiber.all(many)
end)
app.get("/wait", function() fiber.sleep(60) end)
app.get("/", function() return {} end)
]]

describe("work beside the requests", function()
  after_each(server.clean_up)

  local function start()
    return server.start {
      scripts = { ["app/main.lua"] = GREEDY }, config = { lua = { fibers_max = 50 } }, workers = 1,
    }
  end

  local function live(s)
    return s:metrics():sum "tycho_worker_fibers"
  end

  it("is bounded by lua.fibers_max: one more is an error that says so, and counted", function()
    local s = start()
    local res = s:request("GET", "/greedy"):json()

    assert.equal(49, res.count) -- the request is the fiftieth
    assert.equal("unavailable", res.kind)
    assert.matches("lua.fibers_max", res.message)
    assert.equal(1, s:metrics():sum "tycho_fibers_refused_total")
    clock.eventually(function() return live(s) == 0 end) -- what it started ended with it
    assert.equal(200, s:request("GET", "/").status)
  end)

  it("of all at once fails as a whole, and leaves nothing behind", function()
    local s = start()

    assert.equal(503, s:request("GET", "/all").status)
    clock.eventually(function() return live(s) == 0 end)
    assert.equal(200, s:request("GET", "/").status)
  end)

  it("that uses all there is leaves a 503 for further requests, and health to say so", function()
    local s = start()
    local waiting = {}
    for i = 1, 50 do
      waiting[i] = s:connect()
      waiting[i]:send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    end
    clock.eventually(function() return live(s) == 50 end)

    assert.equal(503, s:request("GET", "/").status)
    assert.equal(200, s:request("GET", "/livez").status)
    for _, conn in ipairs(waiting) do
      conn:close()
    end
    clock.eventually(function() return s:request("GET", "/").status == 200 end)
  end)
end)
