-- The wall clock is stepped by an hour, both ways, under load: nothing times out, nothing fails,
-- timers stay exact; only what is about the time of day follows.

local clients = require "tests.blackbox.support.clients"
local clock = require "tests.blackbox.support.clock"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local load = require "tests.blackbox.support.load"
local server = require "tests.blackbox.support.server"
local wall = require "tests.blackbox.support.wall"

local HOUR = 3600

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"
local jwt = require "tycho.jwt"
local time = require "tycho.time"
local tycho = require "tycho"

local KEY = jwt.key(("k"):rep(32))

app.get("/sleep", { timeout = 5 }, function()
  local began = time.monotonic()
  fiber.sleep(0.1)
  db.value "select 1"
  return { took = time.monotonic() - began, left = fiber.remaining() }
end)
app.get("/long", { timeout = 20 }, function()
  local began = time.monotonic()
  fiber.sleep(3)
  return { took = time.monotonic() - began }
end)
app.get("/deadline", { timeout = 3 }, function() fiber.sleep(20) end)
app.get("/now", function() return { now = time.now() } end)
app.get("/token", function()
  return { token = jwt.sign({}, KEY, { expires_in = 600 }) }
end)
app.get("/check", function(req)
  return { valid = tycho.try(jwt.verify, req.query.token, KEY) ~= nil }
end)
]]

describe("a step of the wall clock", function()
  local w, why, s

  before_each(function()
    w, why = wall.new()
    s = w and server.start {
      scripts = { ["app/main.lua"] = APP }, env = w.env,
      config = { http = { keepalive_timeout = "20s", header_timeout = "20s" } },
    }
  end)
  after_each(function()
    clients.clean_up()
    server.clean_up()
    if w then
      w:close()
    end
  end)

  local function seconds_off()
    return s:request("GET", "/now"):json().now - os.time()
  end

  local function step(seconds)
    w:step(seconds)
    clock.eventually(function() return math.abs(seconds_off() - seconds) < 5 end, 5, "the step")
  end

  local function hour_of(date)
    return tonumber(date:match " (%d%d):%d%d:%d%d GMT")
  end

  -- Beside load, with connections that are idle and half-sent and requests that wait.
  it("of an hour, both ways, fails no request and moves no timer", function()
    if not w then
      return pending(why)
    end
    local idle = s:connect { timeout = 30 }
    assert.equal(200, idle:request("GET", "/now").status)
    local slow = s:connect { timeout = 30 }:send "GET /now HTTP/1.1\r\n"
    local worst = 0
    local result = load.run({
      port = s.port, rate = 100, duration = 9, connections = 40,
      request = function() return "GET", "/sleep" end,
      check = function(res)
        local answer = res:json()
        worst = math.max(worst, answer.took)
        return res.status == 200 and answer.took >= 0.099 and answer.left > 0 and answer.left <= 5,
          ("%d, slept %.3f s"):format(res.status, answer.took)
      end,
    }, function()
      for _, seconds in ipairs { HOUR, -HOUR } do
        local long = s:connect { timeout = 15 }:send(http.format("GET", "/long"))
        local late = s:connect { timeout = 15 }:send(http.format("GET", "/deadline"))
        local began = clock.now()
        step(seconds)
        local answer = long:receive():json()
        assert.is_true(answer.took >= 2.99, tostring(answer.took))
        figure.at_most(answer.took, 4, "seconds slept")
        assert.equal(504, late:receive().status)
        local took = clock.now() - began
        assert.is_true(took >= 2.9, ("the deadline came after %.1f s"):format(took))
        figure.at_most(took, 4.5, "seconds to the deadline")
        long:close()
        late:close()
      end
    end)

    result.ledger:assert_all_ok(900)
    assert.equal(0, result.reconnects)
    figure.at_most(worst, 2, "seconds slept")
    -- Those that were there before are there still.
    assert.equal(200, slow:send("Host: a\r\n\r\n"):receive().status)
    assert.equal(200, idle:request("GET", "/now").status)
    for _, worker in ipairs(s:status().workers) do
      assert.equal(0, worker.restarts)
    end
    assert.equal(0, (s:metrics():sum "tycho_http_limits_total"))
  end)

  it("is followed by what is about the time of day", function()
    if not w then
      return pending(why)
    end
    local token = s:request("GET", "/token"):json().token
    local function check()
      return s:request("GET", "/check?token=" .. token):json()
    end
    assert.is_true(check().valid)
    local hour = hour_of(s:request("GET", "/now").headers.date)
    step(HOUR)
    clock.eventually(function()
      return hour_of(s:request("GET", "/now").headers.date) == (hour + 1) % 24
    end, 3, "the Date field") -- its minute may just have been the hour's last
    assert.is_false(check().valid)
    step(0)
    assert.is_true(check().valid)
  end)

  it("does not keep the server from stopping or reloading in time", function()
    if not w then
      return pending(why)
    end
    step(-HOUR)
    s:reload()
    s:write("app/main.lua", APP .. "\napp.get('/new', function() return 1 end)\n")
    s:reload()
    assert.equal(200, s:request("GET", "/new").status)
    w:step(HOUR)
    local began = clock.now()
    assert.equal(0, s:stop(10).code)
    figure.at_most(clock.now() - began, 5, "seconds to stop")
  end)
end)
