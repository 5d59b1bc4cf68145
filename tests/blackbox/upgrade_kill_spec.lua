-- Masters are killed in the middle of upgrades, reloads and starts: somebody serves, or can be
-- started at once. TYCHO_TEST_LONG=1: with the full figures.

local chaos = require "tests.blackbox.support.chaos"
local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local fs = require "tycho.fs"
local json = require "tycho.json"
local load = require "tests.blackbox.support.load"
local proc = require "tests.blackbox.support.proc"
local server = require "tests.blackbox.support.server"
local upgrade = require "tests.blackbox.support.upgrade"

local LONG = os.getenv "TYCHO_TEST_LONG" == "1"

describe("a signal in the middle of an upgrade", function()
  after_each(server.clean_up)

  it("that stops the server stops both", function()
    local s = upgrade.start()
    local command = upgrade.begin(s, "--program", upgrade.late_program(s, 5))
    clock.eventually(function() return s:status().upgrade ~= json.null end, 5, "an upgrade")

    assert.equal(0, s:stop().code)
    assert.equal(1, command:join()[1])
    clock.eventually(function() return #proc.in_folder(s.folder) == 0 end, 5, "nobody")
    assert.is_false(fs.exists(s.folder .. "/.tycho/control.sock"))
    assert.is_false(fs.exists(s.folder .. "/tycho.pid"))
  end)

  -- Begins an upgrade that cannot be over before the request on the connection is answered.
  local function begin_upgrade(s)
    local slow = s:connect()
    slow:send "GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n"
    upgrade.until_running(s)
    return upgrade.begin(s), slow
  end

  -- The new master, as soon as it is there.
  local function heir_of(s)
    return clock.eventually(function()
      local status = s:status()
      return status.pid ~= s.pid and status.pid or status.upgrade.pid
    end, 5, "a new master")
  end

  it("that kills the new master costs at most what that had begun", function()
    local s = upgrade.start()
    local rounds, taken_back, connections = LONG and 40 or 6, 0, 16

    local result = load.run({ port = s.port, rate = 300, duration = 600,
      connections = connections, request = upgrade.slow_request, retry = false }, function(run)
      for _ = 1, rounds do
        local command, slow = begin_upgrade(s)
        local heir = heir_of(s)
        fiber.sleep(chaos.number(0, 0.1))
        assert.is_true(chaos.kill(heir))
        assert.equal(1, command:join()[1])
        assert.equal(200, slow:receive().status)
        clock.eventually(function()
          local status = s:status()
          return status.state == "serving" and status.workers[1].state == "serving"
            and status.workers[2].state == "serving"
        end, 5, "service")
        assert.equal(("%d\n"):format(s.pid), fs.read(s.folder .. "/tycho.pid"))
      end
      run:stop()
    end)

    for _ in s:log():gmatch "serving again" do
      taken_back = taken_back + 1
    end
    print(("%d times serving again; %s"):format(taken_back, result.ledger:summary()))
    assert.equal(0, result.ledger:count "refused", result.ledger:summary())
    assert.equal(0, result.ledger:count "timed_out", result.ledger:summary())
    assert.is_true(result.ledger:count "broken" <= rounds * connections, result.ledger:summary())
    clock.eventually(function() return #s:workers() == 2 end)
  end)

  it("that kills the old master leaves the new one, which takes over as soon as it can", function()
    local s = upgrade.start()
    local rounds = LONG and 30 or 5

    for _ = 1, rounds do
      local old = s.pid
      local command = begin_upgrade(s)
      local heir = heir_of(s)
      fiber.sleep(chaos.number(0, 0.05))
      local began = clock.now()
      chaos.kill(old)
      command:join()
      clock.eventually(function()
        return s:request("GET", "/").status == 200 and s:status().state == "serving"
      end, 5, "service")
      figure.at_most(clock.now() - began, 2, "seconds until it serves")
      s:follow()
      assert.equal(heir, s.pid)
      assert.equal(("%d\n"):format(s.pid), fs.read(s.folder .. "/tycho.pid"))
      assert.is_false(fs.exists(s.folder .. "/.tycho/control.sock~"))
      assert.equal(2, #s:workers())
    end
  end)
end)

describe("a server whose master is killed at any moment", function()
  after_each(server.clean_up)

  it("can be started again within two seconds", function()
    local s = upgrade.start { wait = false }
    local worst = 0
    local deeds = {
      start = function() end,
      reload = function() return fiber.spawn(function() s:cli("reload", "--force") end) end,
      upgrade = function() return upgrade.begin(s) end,
    }

    for _ = 1, LONG and 200 or 20 do
      local deed = chaos.pick { "start", "reload", "upgrade" }
      if deed ~= "start" then
        s:wait_ready()
      end
      local running = deeds[deed]()
      fiber.sleep(chaos.number(0, 0.08))
      chaos.kill(s.pid)
      if running then
        running:join()
      end
      if deed == "upgrade" then
        clock.eventually(function() -- a new master, which would go on
          local pids = proc.in_folder(s.folder)
          for _, pid in ipairs(pids) do
            chaos.kill(pid)
          end
          return #pids == 0
        end)
      end
      s.process:wait(5)
      local began = clock.now()
      s:launch()
      clock.eventually(function()
        return not proc.is_alive(s.pid) or s:request("GET", "/").status == 200
      end, 5, "service after a kill while doing: " .. deed)
      assert.is_true(proc.is_alive(s.pid), deed .. ": " .. s:output())
      local took = clock.now() - began
      figure.at_most(took, 2, "seconds until it serves after: " .. deed)
      worst = math.max(worst, took)
    end
    s:wait_ready()
    print(("worst start after a kill: %.0f ms"):format(worst * 1e3))
  end)
end)
