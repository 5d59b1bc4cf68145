-- Another program takes the place of the one that runs: no client notices, whatever goes wrong.
-- TYCHO_TEST_LONG=1: a hundred times in a row.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local fs = require "tycho.fs"
local json = require "tycho.json"
local load = require "tests.blackbox.support.load"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"
local upgrade = require "tests.blackbox.support.upgrade"

local LONG = os.getenv "TYCHO_TEST_LONG" == "1"

-- An upgrade that must fail, and leave everything as it was; returns what it said.
local function refused(s, ...)
  local pid, workers = s.pid, s:workers()
  local code, out, err = s:cli("upgrade", ...)

  assert.equal(1, code, out .. err)
  assert.equal(pid, s:status().pid)
  assert.same(workers, s:workers())
  assert.equal(json.null, s:status().upgrade)
  assert.equal(("%d\n"):format(pid), fs.read(s.folder .. "/tycho.pid"))
  assert.is_false(fs.exists(s.folder .. "/.tycho/control.sock~"))
  assert.is_false(fs.exists(s.folder .. "/tycho.pid~"))
  assert.equal(200, s:request("GET", "/").status)
  return err
end

-- Half of the requests a second that this machine, with what else it does, can make and answer;
-- 5,000 at most, because in the next moment it may do more.
local function half_load(s)
  local began = clock.now()
  local run = load.start { port = s.port, rate = 20000, duration = 1, connections = 16 }
  fiber.sleep(1)
  run:stop()
  local result = run:join()
  return math.min(5000, result.ledger:count "ok" / (clock.now() - began) / 2)
end

describe("an upgrade", function()
  after_each(server.clean_up)

  it("again and again at half load refuses, resets and fails nothing", function()
    local s = upgrade.start()
    local times, took = LONG and 100 or 20, {}
    local rate = half_load(s)

    local result = load.run({ port = s.port, rate = rate, duration = 600, connections = 16,
      retry = false }, function(run)
      for i = 1, times do
        local began = clock.now()
        assert.equal(i == 1 and 0 or nil, upgrade.run(s).code)
        took[i] = clock.now() - began
      end
      run:stop()
    end)

    table.sort(took)
    print(("%d upgrades, median %.0f ms, worst %.0f ms; %.0f requests a second: %s"):format(times,
      took[math.ceil(times / 2)] * 1e3, took[times] * 1e3, rate, result.ledger:summary()))
    result.ledger:assert_all_ok(times)
    assert.equal(2, #s:workers())
  end)

  it("refuses and resets nobody who comes anew for each request", function()
    local s = upgrade.start()
    local times = LONG and 100 or 10

    local result = load.run({ port = s.port, rate = 200, duration = 600, connections = 16,
      request = function(id)
        return "GET", "/?id=" .. id, { headers = { connection = "close" } }
      end, retry = false }, function(run)
      for _ = 1, times do
        upgrade.run(s)
      end
      run:stop()
    end)

    result.ledger:assert_all_ok(times)
  end)

  it("lets what runs finish in the old program, and says so until then", function()
    local s = upgrade.start()
    local old = s.pid
    local conn = s:connect()
    conn:send "GET /slow/1500 HTTP/1.1\r\nHost: a\r\n\r\n"
    upgrade.until_running(s)
    local command = upgrade.begin(s)

    clock.eventually(function() return s:status().pid ~= old end, 5, "a new master")
    local status = s:status()
    assert.equal(old, status.upgrade.pid)
    assert.equal("the server before this one finishes what it runs", status.upgrade.state)
    assert.equal(200, s:request("GET", "/").status)
    assert.is_true(proc.is_alive(old))
    local _, _, again = s:cli "upgrade"
    assert.is_truthy(again:find("still finishes what it runs", 1, true), again)

    local res = conn:receive()
    assert.equal(200, res.status)
    assert.is_true(res.closes)
    assert.equal(0, command:join()[1])
    assert.equal(0, s:follow().code)
    clock.eventually(function() return s:status().upgrade == json.null end)
    assert.equal(("%d\n"):format(s.pid), fs.read(s.folder .. "/tycho.pid"))
  end)

  it("comes with SIGUSR2 too", function()
    local s = upgrade.start()
    local old = s.pid
    s:signal "USR2"
    assert.equal(0, s:follow().code)
    assert.is_true(s.pid ~= old)
    assert.equal(200, s:request("GET", "/").status)
    assert.equal(("%d\n"):format(s.pid), fs.read(s.folder .. "/tycho.pid"))
  end)

  it("follows a symbolic link anew each time", function()
    local s = upgrade.start()
    local link = s.folder .. "/current"
    local function point_to(path)
      assert.equal(0, process.run { args = { "ln", "-sfn", path, link } }.code)
    end
    point_to(server.program())
    assert.equal(0, s:cli("upgrade", "--program", "current"))
    s:follow()

    point_to(upgrade.program(s, "next", "echo this is the next one >&2\nexit 1\n"))
    assert.is_truthy(refused(s):find("this is the next one", 1, true))
    point_to(server.program())
    upgrade.run(s)
  end)

  it("goes on watching the files in development", function()
    local s = upgrade.start { command = "dev" }
    upgrade.run(s)
    s:write("app/main.lua", upgrade.APP:gsub("world", "new world"))
    clock.eventually(function()
      return s:request("GET", "/"):json().hello == "new world"
    end, 5, "the saved file")
  end)

  it("may bring more workers, and fewer", function()
    local s = upgrade.start { workers = 2 }
    local conf = fs.read(s.folder .. "/conf/tycho.yaml")

    local result = load.run({ port = s.port, rate = 300, duration = 600, retry = false,
      request = upgrade.slow_request }, function(run)
      for _, workers in ipairs { 4, 1, 3 } do
        local changed = conf:gsub("workers: %d+", "workers: " .. workers)
        fs.write(s.folder .. "/conf/tycho.yaml", changed)
        upgrade.run(s)
        assert.equal(workers, #s:workers())
        fiber.sleep(0.5) -- some load on each
      end
      run:stop()
    end)

    result.ledger:assert_all_ok(300)
  end)

  it("may bring other ports, and what came through the old ones is answered", function()
    local s = upgrade.start()
    local old, old_admin = s.port, s.admin_port
    local conn = s:connect()
    conn:send "GET /slow/500 HTTP/1.1\r\nHost: a\r\n\r\n"
    upgrade.until_running(s)
    local conf = fs.read(s.folder .. "/conf/tycho.yaml")
    s.port, s.admin_port = server.free_port(), server.free_port()
    conf = conf:gsub("port: " .. old, "port: " .. s.port)
      :gsub("port: " .. old_admin, "port: " .. s.admin_port)
    fs.write(s.folder .. "/conf/tycho.yaml", conf)

    upgrade.run(s)
    assert.equal(200, conn:receive().status)
    assert.equal(200, s:request("GET", "/").status)
    assert.equal(2, s:metrics():sum "tycho_worker_up")
    s.port = old
    assert.is_false(pcall(s.request, s, "GET", "/"))
  end)

  it("has the operators' listener answer throughout", function()
    local s = upgrade.start()
    local result = load.run({ port = s.admin_port, rate = 50, duration = 600, connections = 2,
      request = function() return "GET", "/readyz" end }, function(run)
      for _ = 1, 5 do
        upgrade.run(s)
      end
      run:stop()
    end)
    result.ledger:assert_all_ok(10)
  end)
end)

describe("an upgrade to a program that", function()
  after_each(server.clean_up)

  -- Under load, of which nothing may be lost.
  local function refused_under_load(s, ...)
    local args, said = { ... }, nil
    local run = load.start { port = s.port, rate = 200, duration = 20, connections = 8,
      request = upgrade.slow_request, retry = false }
    local ok, err = pcall(function() said = refused(s, unpack(args)) end)
    run:stop()
    local result = run:join()
    if not ok then
      error(err, 0)
    end
    result.ledger:assert_all_ok()
    return said
  end

  it("ends at once is given up, with its last word", function()
    local s = upgrade.start()
    local path = upgrade.program(s, "broken", "echo first >&2\necho it is broken >&2\nexit 1\n")

    local said = refused_under_load(s, "--program", path)
    assert.equal("the new program ended with code 1: it is broken\n", said)
    s:wait_log "upgrade refused: the new program ended with code 1: it is broken"
    upgrade.run(s)
  end)

  it("cannot be executed is given up", function()
    local s = upgrade.start()
    assert.is_truthy(refused(s, "--program", "nothing/here"):find("cannot be executed", 1, true))
  end)

  it("hangs is killed after host.upgrade_timeout", function()
    local s = upgrade.start { config = { host = { upgrade_timeout = "1s" } } }
    local path = upgrade.program(s, "hanging", "exec sleep 600\n")
    local began = clock.now()

    local said = refused_under_load(s, "--program", path)
    figure.at_most(clock.now() - began, 5, "seconds")
    assert.is_truthy(said:find("not ready within 1 s (host.upgrade_timeout)", 1, true), said)
    for _, pid in ipairs(proc.in_folder(s.folder)) do
      assert.is_nil(proc.command(pid):find("sleep", 1, true))
    end
  end)

  it("crashes after a while is given up", function()
    local s = upgrade.start()
    local path = upgrade.program(s, "crashing", "sleep 1\nkill -SEGV $$\n")

    local said = refused_under_load(s, "--program", path)
    assert.is_truthy(said:find("killed by signal 11", 1, true), said)
  end)

  it("writes without end is given up, and does not keep the old one from serving", function()
    local s = upgrade.start { config = { host = { upgrade_timeout = "1s" } } }
    local path = upgrade.program(s, "loud", "exec yes nonsense >&2\n")

    local said = refused_under_load(s, "--program", path)
    assert.is_truthy(said:find("not ready within 1 s", 1, true), said)
  end)

  it("refuses the configuration or the scripts is given up, with file and line", function()
    local s = upgrade.start()
    local conf = fs.read(s.folder .. "/conf/tycho.yaml")
    fs.write(s.folder .. "/conf/tycho.yaml", conf .. "nonsense: 1\n")
    local code, _, err = s:cli "upgrade" -- the command reads it too
    assert.equal(1, code)
    assert.is_truthy(err:find("conf/tycho.yaml:", 1, true), err)
    s:signal "USR2"
    clock.eventually(function()
      return s:log():find("upgrade refused: the new program ended with code 1: .*nonsense")
    end)
    fs.write(s.folder .. "/conf/tycho.yaml", conf)

    s:write("app/main.lua", upgrade.APP .. "oops(\n")
    local said = refused_under_load(s)
    assert.is_truthy(said:find("app/main.lua:", 1, true), said)
  end)

  it("cannot write its log is given up, and says why", function()
    local s = upgrade.start()
    local conf = fs.read(s.folder .. "/conf/tycho.yaml")
    local changed, count = conf:gsub("/tycho%.log", "/nowhere/tycho.log")
    assert.equal(1, count)
    fs.write(s.folder .. "/conf/tycho.yaml", changed)

    assert.matches("log file .*/nowhere/tycho%.log: No such file or directory", refused(s))
  end)

  it("is still getting ready is the only one, and reloads wait for another time", function()
    local s = upgrade.start()
    local command = upgrade.begin(s, "--program", upgrade.late_program(s, 1))
    clock.eventually(function() return s:status().upgrade ~= json.null end, 5, "an upgrade")

    local code, _, err = s:cli "upgrade"
    assert.equal(1, code)
    assert.is_truthy(err:find("an upgrade is under way already", 1, true), err)
    code, _, err = s:cli("reload", "--force")
    assert.equal(1, code)
    assert.is_truthy(err:find("an upgrade is under way", 1, true), err)
    assert.is_truthy(s:status().upgrade.state:find("starting", 1, true))
    assert.equal(0, command:join()[1])
    s:follow()
    assert.equal(0, s:cli("reload", "--force"))
  end)
end)
