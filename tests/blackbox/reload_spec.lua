-- Scripts change while the server runs: all workers or none, and no request notices.
--
-- TYCHO_TEST_LONG=1 reloads a hundred times, which is what docs/promises.md tells of.

local broken = require "tests.blackbox.support.broken"
local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local load = require "tests.blackbox.support.load"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local RELOADS = os.getenv "TYCHO_TEST_LONG" == "1" and 100 or 30

-- Says its version before and after a wait, the second time from a module of its own.
local APP = [[
local app, fiber = require "tycho.app", require "tycho.fiber"
local before = %d
app.get("/", function()
  fiber.sleep(0.003)
  return { before = before, after = require("app.version").number }
end)
app.get("/slow", function()
  fiber.sleep(1)
  return { before = before, after = require("app.version").number }
end)
]]

local function write_version(s, version)
  s:write("app/main.lua", APP:format(version))
  s:write("app/version.lua", ("return { number = %d }\n"):format(version))
end

local function start(opts)
  opts = opts or {}
  opts.scripts = {
    ["app/main.lua"] = APP:format(0), ["app/version.lua"] = "return { number = 0 }\n",
  }
  return server.start(opts)
end

local function version_of(res)
  assert.equal(200, res.status)
  local body = res:json()
  assert.equal(body.before, body.after)
  return body.before
end

-- Often enough to have met every worker.
local function assert_version(s, version)
  for _ = 1, 12 do
    assert.equal(version, version_of(s:request("GET", "/")))
  end
end

-- A check for load.run(): each answer is wholly of one version, and each generation is one version.
local function one_version()
  local versions = {}
  return function(res)
    local version, id = version_of(res), res.headers["tycho-generation"]
    versions[id] = versions[id] or version
    return versions[id] == version, ("%s is %d and %d"):format(id, versions[id], version)
  end
end

local function refused(s)
  local code, out, err = s:cli "reload"
  assert.equal(1, code, out .. err)
  return err
end

describe("a reload", function()
  after_each(server.clean_up)

  it("is live on every worker when it is acknowledged, also on kept-alive connections", function()
    local s = start()
    local conn = s:connect()
    assert.equal(0, version_of(conn:request("GET", "/")))

    write_version(s, 1)
    local began = clock.now()
    s:reload()
    local took = clock.now() - began

    assert.equal(1, version_of(conn:request("GET", "/")))
    assert_version(s, 1)
    figure.at_most(took, 0.5, "seconds to reload")
  end)

  it("lets what runs finish on the old code", function()
    local s = start()
    local slow = fiber.spawn(function() return s:request("GET", "/slow") end)
    clock.eventually(function()
      local workers = s:status().workers
      return workers[1].requests + workers[2].requests == 1
    end)
    write_version(s, 1)
    s:reload()

    assert_version(s, 1)
    assert.equal(0, version_of(slow:join()))
    clock.eventually(function() return s:metrics():sum "tycho_generations_alive" == 1 end)
  end)

  it("by SIGHUP is the same", function()
    local s = start()
    write_version(s, 1)
    s:signal "HUP"

    clock.eventually(function() return version_of(s:request("GET", "/")) == 1 end)
  end)

  it("of nothing new changes nothing", function()
    local s = start()
    assert.is_truthy(s:reload():find("unchanged", 1, true))
    assert.equal(1, s:metrics():sum("tycho_reloads_total", { result = "unchanged" }))
  end)

  it("of a bad configuration is refused, with file and line", function()
    local s = start()
    local conf = s.folder .. "/conf/tycho.yaml"
    local fs = require "tycho.fs"
    fs.write(conf, "http:\n  body_maxx: 1MiB\n")
    write_version(s, 1)

    assert.is_truthy(refused(s):find("conf/tycho.yaml:2", 1, true))
    assert_version(s, 0)
  end)

  it("with a worker killed between prepare and commit brings all to one version", function()
    local s = start()
    local workers = s:status().workers
    local function signal(worker, name)
      process.run { args = { "kill", "-" .. name, tostring(worker.pid) } }
    end
    signal(workers[2], "STOP") -- holds the decision up
    write_version(s, 1)
    local reload = fiber.spawn(function() return s:cli "reload" end)
    clock.eventually(function() return s:status().workers[1].generations == 2 end)
    fiber.sleep(0.2)
    signal(workers[1], "KILL")
    clock.eventually(function()
      local worker = s:status().workers[1]
      return worker.pid ~= workers[1].pid and worker.state == "serving"
    end)
    signal(workers[2], "CONT")

    assert.equal(0, (reload:join()))
    assert_version(s, 1)
    for _, worker in ipairs(s:status().workers) do
      assert.equal(s:status().generation, worker.generation)
    end
  end)
end)

describe("a reload in which somebody dies", function()
  after_each(server.clean_up)

  local function is_settled(s)
    local status = s:status()
    for _, worker in ipairs(status.workers) do
      if worker.state ~= "serving" or worker.generation ~= status.generation
        or worker.generations ~= 1 then
        return false
      end
    end
    return not status.reloading
  end

  it("ends on one version, whoever it is and whenever that happens", function()
    local s = start()
    for version = 1, 5 do
      write_version(s, version)
      local reload = fiber.spawn(function() return s:cli "reload" end)
      fiber.sleep(version * 0.007) -- somewhere between the first step and the last
      local children = proc.children(s.pid) -- the trial is one of them while it lasts
      process.run { args = { "kill", "-9", tostring(children[version % #children + 1]) } }
      local code = reload:join()

      clock.eventually(function() return is_settled(s) end, 20, "agreement")
      local serving = version_of(s:request("GET", "/"))
      assert.is_true(code ~= 0 or serving == version)
      assert_version(s, serving)
    end
  end)

  it("ends with the server when that is told to stop", function()
    local s = start()
    for version = 1, 4 do
      write_version(s, version)
      local reload = fiber.spawn(function() return pcall(s.cli, s, "reload") end)
      fiber.sleep(version * 0.01)
      assert.equal(0, s:stop(5).code)
      reload:join()
      assert.same({}, proc.in_folder(s.folder))
      s:launch()
      s:wait_ready()
      assert_version(s, version)
    end
  end)
end)

describe("a broken application", function()
  after_each(server.clean_up)

  it("is refused with file and line, thirty times, while the old one serves", function()
    local s = start()
    assert.is_true(#broken >= 30)

    local result = load.run({ port = s.port, rate = 200, duration = 8, check = one_version(),
      retry = false }, function()
      for _, mistake in ipairs(broken) do
        s:write("app/main.lua", mistake.text)
        local said = refused(s)
        local place = ("scripts/app/main.lua:%d: "):format(mistake.line)
        assert.equal(place, said:sub(1, #place), mistake.name .. ": " .. said)
        assert.is_truthy(said:find(mistake.words, 1, true), mistake.name .. ": " .. said)
      end
    end)

    result.ledger:assert_all_ok(1000)
    assert_version(s, 0)
    assert.equal(#broken, s:metrics():sum("tycho_reloads_total", { result = "refused" }))
    assert.equal(1, s:metrics():sum "tycho_generations_alive")
  end)
end)

describe("a rollback", function()
  after_each(server.clean_up)

  it("goes back to what served before, though the files are newer, and says so", function()
    local s = start()
    write_version(s, 1)
    s:reload()

    local code, out, err = s:cli "rollback"
    assert.equal(0, code, err)
    assert.is_truthy((out .. err):find("on disk", 1, true))
    assert_version(s, 0)
    s:reload()
    assert_version(s, 1)
  end)

  it("goes to any generation that is listed", function()
    local s = start()
    local first = s:status().generation
    for version = 1, 3 do
      write_version(s, version)
      s:reload()
    end
    local _, out = s:cli "generations"
    assert.is_truthy(out:find(first, 1, true))

    assert.equal(0, (s:cli("rollback", first)))
    assert_version(s, 0)
    assert.equal(first, s:status().generation)
  end)

  it("to nowhere is refused", function()
    local s = start()
    assert.equal(1, (s:cli "rollback"))
    assert.equal(1, (s:cli("rollback", "ffffffffffff")))
    assert_version(s, 0)
  end)
end)

describe("reloads, a hundred in a minute, under load", function()
  after_each(server.clean_up)

  local function memory(s)
    local bytes = proc.rss(s.pid)
    for _, pid in ipairs(s:workers()) do
      bytes = bytes + proc.rss(pid)
    end
    return bytes
  end

  -- Reloads from `version` on, at the rate of a hundred in a minute, while there is load.
  local function reload_under_load(s, version, count, each)
    return load.run({ port = s.port, rate = 300, duration = count * 0.6, check = one_version(),
      retry = false }, function(run)
      for i = 1, count do
        clock.eventually(function() return clock.now() >= run.began + i * 0.58 end, 60)
        write_version(s, version + i)
        s:reload()
        assert.equal(version + i, version_of(s:request("GET", "/")))
        each(i)
      end
    end)
  end

  it("fail no request, slow none down, mix no versions, and leave memory flat", function()
    local s = start()
    local before

    local result = reload_under_load(s, 0, RELOADS, function(i)
      before = i == 10 and memory(s) or before
    end)
    local grown = (memory(s) - before) / 1024 / 1024

    result.ledger:assert_all_ok(RELOADS * 150)
    assert.equal(RELOADS + 1, s:metrics():sum("tycho_reloads_total", { result = "committed" }))
    clock.eventually(function() return s:metrics():sum "tycho_generations_alive" == 1 end)
    if server.is_instrumented() then
      return
    end
    assert.is_true(grown < 2, ("three processes grew by %.1f MiB"):format(grown))
    local round = 0
    figure.attempt(function()
      round = round + 1
      local base = load.run { port = s.port, rate = 300, duration = 3 }
      local beside = reload_under_load(s, 1000 * round, 5, function() end)
      beside.ledger:assert_all_ok(500)
      figure.at_most(beside.ledger:percentile(0.99),
        math.max(2 * base.ledger:percentile(0.99), 0.02), "p99")
    end)
  end)
end)
