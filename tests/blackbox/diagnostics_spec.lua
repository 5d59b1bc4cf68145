-- What operators ask of a running server, over its control socket.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local fs = require "tycho.fs"
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

local WORK = [[
local app = require "tycho.app"
local fiber = require "tycho.fiber"
local json = require "tycho.json"

local list = {}
for i = 1, 200 do list[i] = { id = i, name = "number " .. i } end

local function crunch()
  local sum = 0
  for i = 1, 200000 do sum = sum + i % 7 end
  return sum
end

local function encode()
  for _ = 1, 20 do json.encode(list) end
end

app.get("/crunch", function() return { crunch() } end)
app.get("/encode", function() encode() return {} end)
app.get("/children/{n}", function(req)
  local function nap() fiber.sleep(0.05) end
  fiber.sleep(0.02)
  fiber.all { nap, nap }
  return { n = req.params.n }
end)
app.get("/fails", function() error "it does" end)
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

    local found = clock.eventually(function()
      local answer = json.decode((select(2, s:cli("ps", "--stack", "--json"))))
      return answer.workers[1].generations[1].fibers[1]
    end, 5, "the fiber in tycho ps")

    assert.equal("the-one", found.request)
    assert.is_true(found.left > 10 and found.left <= 20)
    local lines = {}
    for _, frame in ipairs(found.stack) do
      lines[#lines + 1] = not frame.library and frame.line or nil
    end
    assert.same({ "scripts/app/main.lua:5", "scripts/app/main.lua:9", "scripts/app/main.lua:14" },
      lines)
    assert.is_true(found.stack[1].library)
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

-- Keeps a few clients busy until `stop` is called; also returns what says how many were answered.
local function keep_busy(s, targets)
  local going, answers = true, 0
  local function client(target)
    return function()
      local conn = s:connect()
      while going do
        conn:send("GET " .. target .. " HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.equal(200, conn:receive().status)
        answers = answers + 1
      end
      conn:close()
    end
  end
  local handles = {}
  for i, target in ipairs(targets) do
    handles[i] = fiber.spawn(client(target))
  end
  return function()
    going = false
    for _, handle in ipairs(handles) do
      handle:join()
    end
  end, function() return answers end
end

-- Folded stacks as { stack, count }, and their sum.
local function read_stacks(path)
  local stacks, total = {}, 0
  for stack, count in fs.read(path):gmatch "([^\n]+) (%d+)\n" do
    stacks[#stacks + 1] = { stack, tonumber(count) }
    total = total + tonumber(count)
  end
  return stacks, total
end

local function share(stacks, pattern)
  local sum = 0
  for _, entry in ipairs(stacks) do
    sum = sum + (entry[1]:find(pattern) and entry[2] or 0)
  end
  return sum
end

describe("tycho profile", function()
  after_each(server.clean_up)

  it("shows compiled Lua by function and line, and C below the line that called it", function()
    local s = server.start { scripts = { ["app/main.lua"] = WORK }, workers = 1 }
    local stop = keep_busy(s, { "/crunch", "/encode" })

    local code, out, err = s:cli("profile", "2", "--output", "p.folded")
    stop()

    assert.equal(0, code, err)
    assert.matches("^p.folded: %d+ samples of 1 worker in 2.0s\n", out)
    local stacks, total = read_stacks(s.folder .. "/p.folded")
    assert.is_true(total > 20, "too few samples: " .. total)
    local crunched = share(stacks, "^worker;GET /crunch;.*;crunch scripts/app/main.lua:8;line %d+$")
    local encoded = share(stacks, "^worker;GET /encode;.*;encode scripts/app/main.lua:14;.*json")
    assert.is_true(crunched > total * 0.05, ("crunch: %d of %d"):format(crunched, total))
    assert.is_true(encoded > total * 0.05, ("encode: %d of %d"):format(encoded, total))
    assert.equal(0, share(stacks, "%(lost%)"))

  end)

  it("draws all workers into one picture that a browser can show", function()
    local s = server.start { scripts = { ["app/main.lua"] = WORK }, workers = 2 }
    local stop = keep_busy(s, { "/crunch", "/crunch", "/crunch", "/crunch" })

    local code, out, err = s:cli("profile", "1")
    stop()

    assert.equal(0, code, err)
    assert.matches("^tycho%-profile.svg: %d+ samples of 2 workers in 1.0s\n", out)
    local svg = fs.read(s.folder .. "/tycho-profile.svg")
    assert.matches("^<svg ", svg)
    assert.matches('data%-n="crunch scripts/app/main.lua:8"', svg)
    assert.matches("</svg>\n$", svg)
  end)

  it("costs a request less than a tenth more CPU time, and nothing once it is over", function()
    if server.is_instrumented() then
      return pending "sanitizers make signals dear"
    end
    local s = server.start { scripts = { ["app/main.lua"] = WORK }, workers = 1,
      config = { http = { access_log = false } } }
    local pid = s:workers()[1]
    local stop, count = keep_busy(s, { "/crunch", "/encode" })

    -- Nanoseconds of CPU time of the worker's loop for each answer, over a second.
    local function cost()
      local function used()
        local text = fs.read(("/proc/%d/task/%d/schedstat"):format(pid, pid))
        return tonumber(text:match "^%d+")
      end
      local cpu, answers = used(), count()
      fiber.sleep(1)
      return (used() - cpu) / (count() - answers)
    end
    cost() -- warm

    figure.at_most(figure.best(1.1, function()
      local before = cost()
      local profile = fiber.spawn(function()
        return (s:cli("profile", "1.3", "--output", "p.folded"))
      end)
      fiber.sleep(0.1)
      local during = cost()
      assert.equal(0, profile:join())
      local after = cost()
      return math.max(during, after) / math.min(before, after)
    end), 1.1, "times as dear")
    stop()
  end)

  it("survives errors, collections and reloads under it", function()
    local s = server.start { scripts = { ["app/main.lua"] = WORK }, workers = 1 }
    local stop = keep_busy(s, { "/crunch", "/encode" })
    local pid = s:workers()[1]

    local profile = fiber.spawn(function()
      return s:cli("profile", "3", "--rate", "2000", "--output", "p.folded")
    end)
    for _ = 1, 3 do
      for _ = 1, 50 do
        assert.equal(500, s:request("GET", "/fails").status)
      end
      s:cli("reload", "--force")
    end
    local code = profile:join()
    stop()

    assert.equal(0, code)
    assert.equal(pid, s:workers()[1])
  end)

  it("does not wait for a worker that was killed, and has what the others saw", function()
    local s = server.start { scripts = { ["app/main.lua"] = WORK }, workers = 2 }
    local pids = s:workers()
    local profile = fiber.spawn(function()
      local began = clock.now()
      local code, out, err = s:cli("profile", "3", "--output", "p.folded")
      return code, out, err, clock.now() - began
    end)
    clock.eventually(function()
      return s:status().observing[1] == "profile"
    end, 3, "a profile that is being made")

    process.run { args = { "kill", "-9", tostring(pids[1]) } }
    local code, out, err, took = profile:join()

    assert.equal(0, code)
    assert.matches("of 1 worker in 3.0s", out)
    assert.matches("^tycho: worker [12] did not answer\n", err)
    figure.at_most(took, 5.5, "seconds")
  end)

  it("makes one at a time, and ends it when its client goes", function()
    local s = server.start { workers = 1 }
    local first = process.spawn {
      args = { server.program(), "profile", "600" }, cwd = s.folder,
      stdout = "/dev/null", stderr = "/dev/null",
    }
    clock.eventually(function()
      return s:status().observing[1] == "profile"
    end, 5, "a profile that is being made")
    local refused, _, err = s:cli("profile", "0.1", "--output", "p.folded")
    assert.equal(1, refused)
    assert.matches("another profile is being made", err)

    first:kill "KILL"
    first:wait(5)

    clock.eventually(function()
      return s:cli("profile", "0.1", "--output", "p.folded") == 0
    end, 5, "a profile after the client of the first was killed")
  end)

  it("refuses what makes no sense", function()
    local s = server.start { workers = 1 }

    assert.equal(2, (s:cli("profile", "soon")))
    assert.equal(1, (s:cli("profile", "1", "--rate", "100000")))
    assert.equal(1, (s:cli("profile", "1", "--worker", "7")))
  end)
end)
