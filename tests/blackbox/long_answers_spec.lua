-- Answers that go on for long, such as server-sent events, when scripts are replaced under them.

local clock = require "tests.blackbox.support.clock"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

-- Each event says which version sends it.
local APP = [[
local app, fiber = require "tycho.app", require "tycho.fiber"
local version = "%d"

local function ticks()
  fiber.sleep(0.02)
  return "data: " .. version .. "\n\n"
end

app.get("/events", function()
  return app.response(200, ticks, { ["Content-Type"] = "text/event-stream" })
end)
app.get("/feed", function()
  return app.response(200, ticks, { ["Content-Type"] = "application/x-ndjson" })
end)
app.get("/polite", function()
  local over = false
  return app.response(200, function()
    if over then
      return nil
    end
    local fine, piece = pcall(ticks)
    over = not fine
    return fine and piece or "bye\n"
  end)
end)
app.get("/busy", function()
  return app.response(200, function()
    local from = os.clock()
    while os.clock() - from < 0.01 do end
    return ticks()
  end, { ["Content-Type"] = "text/event-stream" })
end)
app.get("/slow", function()
  fiber.sleep(30)
  return version
end)
app.get("/", function() return version end)
]]

local function start(config)
  return server.start {
    scripts = { ["app/main.lua"] = APP:format(1) }, config = { reload = config }, workers = 1,
  }
end

local function replace(s, version)
  s:write("app/main.lua", APP:format(version))
  s:reload()
  assert.equal(tostring(version), s:request("GET", "/").body)
end

-- A connection whose answer has begun.
local function follow(s, path)
  local conn = s:connect()
  conn:send(http.format("GET", path))
  assert.matches("^HTTP/1.1 200 ", conn.stream:read_until("\r\n\r\n"))
  return conn
end

local function next_piece(conn)
  local size = conn.stream:read_until("\r\n")
  local piece = size and conn.stream:read_exact(tonumber(size, 16))
  assert.equal("\r\n", piece and conn.stream:read_exact(2))
  return piece
end

local function next_version(conn)
  return tonumber(next_piece(conn):match("^data: (%d+)\n\n$"))
end

-- Reads to the end of the answer; false: it was cut off.
local function read_end(conn)
  local pieces = {}
  while true do
    local fine, piece = pcall(next_piece, conn)
    if not fine then
      return false, pieces
    elseif piece == "" then
      return true, pieces
    end
    pieces[#pieces + 1] = piece
  end
end

local function streams(s, which)
  return s:metrics():sum("tycho_streamed_answers", { generation = which })
end

describe("an answer that goes on", function()
  after_each(server.clean_up)

  it("stays on its generation, longer than requests may, and is counted", function()
    local s = start { drain_timeout = "100ms" }
    local conn = follow(s, "/events")
    local slow = s:connect()
    slow:send(http.format("GET", "/slow"))
    clock.eventually(function() return s:status().workers[1].requests == 2 end)
    assert.equal(1, next_version(conn))
    clock.eventually(function() return streams(s, "active") == 1 end)
    replace(s, 2)

    assert.equal(503, slow:receive().status) -- a plain request: cancelled after drain_timeout
    for _ = 1, 10 do
      assert.equal(1, next_version(conn))
    end
    assert.equal(2, next_version(follow(s, "/events")))
    clock.eventually(function()
      return streams(s, "replaced") == 1 and streams(s, "active") == 1
    end)
    local code, out = s:cli "generations"
    assert.equal(0, code)
    assert.matches("1 streamed answers of replaced generations go on", out)
    conn:close()
    clock.eventually(function()
      return streams(s, "replaced") == 0 and s:metrics():sum "tycho_generations_alive" == 1
    end)
  end)

  it("has no budget of processor time in all, only for each piece", function()
    local s = server.start {
      scripts = { ["app/main.lua"] = APP:format(1) }, config = { lua = { cpu_max = "50ms" } },
    }
    local conn = follow(s, "/busy")

    for _ = 1, 20 do
      assert.equal(1, next_version(conn))
    end
  end)

  it("of events is ended as it should be after reload.max_age", function()
    local s = start { drain_timeout = "50ms", max_age = "400ms" }
    local conn = follow(s, "/events")
    local began = clock.now()
    replace(s, 2)

    assert.is_true((read_end(conn)))
    assert.is_true(clock.now() - began >= 0.4)
    assert.equal("2", conn:request("GET", "/").body) -- the connection goes on
    clock.eventually(function() return s:metrics():sum "tycho_generations_alive" == 1 end)
    for _, record in ipairs(s:records()) do
      assert.are_not.equal("error", record.level, record.message)
    end
  end)

  it("of anything else is cut off then, so that nobody takes it for the whole", function()
    local s = start { drain_timeout = "50ms", max_age = "200ms" }
    local conn = follow(s, "/feed")
    replace(s, 2)

    assert.is_false((read_end(conn)))
  end)

  it("may end itself when it is told", function()
    local s = start { drain_timeout = "50ms", max_age = "200ms" }
    local conn = follow(s, "/polite")
    replace(s, 2)

    local whole, pieces = read_end(conn)
    assert.is_true(whole)
    assert.equal("bye\n", pieces[#pieces])
  end)

  it("makes room for another generation, the oldest first", function()
    local s = start { max_alive = 2 }
    local first = follow(s, "/events")
    replace(s, 2)
    local second = follow(s, "/events")
    local began = clock.now()
    replace(s, 3) -- needs the room of the first one

    assert.is_true((read_end(first)))
    figure.at_most(clock.now() - began, 5, "seconds")
    assert.equal(2, next_version(second))
    assert.equal(3, next_version(follow(s, "/events")))
  end)
end)
