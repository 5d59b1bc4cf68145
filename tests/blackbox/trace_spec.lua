-- tycho trace: where the next requests of a route spend their time.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local json = require "tycho.json"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local fiber = require "tycho.fiber"

app.get("/children/{n}", function(req)
  local function nap() fiber.sleep(0.05) end
  fiber.sleep(0.02)
  fiber.all { nap, nap }
  return { n = req.params.n }
end)
app.get("/fails", function()
  fiber.sleep(0.01)
  error "it does"
end)
app.get("/many", function()
  for _ = 1, 2000 do fiber.sleep(0) end
  return {}
end)
app.get("/other", function() return {} end)
app.post("/both", function() return {} end)
app.get("/both", function() return {} end)
]]

local function start(workers)
  return server.start { scripts = { ["app/main.lua"] = APP }, workers = workers or 1 }
end

-- Runs `tycho trace` beside requests for `target`, until it ends.
local function trace(s, route, target, opts, method)
  local done = false
  local requests = fiber.spawn(function()
    while not done do
      s:request(method or "GET", target)
      fiber.sleep(0.02)
    end
  end)
  local args = { "trace", route, "--timeout", "20" }
  for _, arg in ipairs(opts or {}) do
    args[#args + 1] = arg
  end
  local code, out, err = s:cli(unpack(args))
  done = true
  requests:join()
  return code, out, err
end

local function trace_one(s, route, target, method)
  local code, out, err = trace(s, route, target, { "--count", "1", "--json" }, method)
  assert.equal(0, code, err)
  return json.decode(out)
end

-- The steps of one fiber, as text.
local function steps_of(traced, number)
  local list = {}
  for _, step in ipairs(traced.steps) do
    if step.fiber == number then
      list[#list + 1] = step.kind .. (step.what and " " .. step.what or "")
    end
  end
  return table.concat(list, ", ")
end

describe("tycho trace", function()
  after_each(server.clean_up)

  it("tells Lua from waits, by line, and the fibers below the handler", function()
    local traced = trace_one(start(), "/children/{n}", "/children/7")

    assert.equal("GET", traced.method)
    assert.equal("/children/7", traced.target)
    assert.equal(200, traced.status)
    assert.matches("^lua, wait sleep, lua, wait child fibers, lua", steps_of(traced, 0))
    assert.equal("start, lua, wait sleep, lua", steps_of(traced, 1))
    assert.equal("start, lua, wait sleep, lua", steps_of(traced, 2))
    assert.equal("scripts/app/main.lua:6", traced.steps[2].line)
    for _, step in ipairs(traced.steps) do
      if step.kind == "start" then
        assert.equal(0, step.owner)
        assert.equal("scripts/app/main.lua:7", step.line)
      end
    end
  end)

  it("shows no secret that is in the address", function()
    local traced = trace_one(start(), "/children/{n}", "/children/7?a=1&sid=x&%74oken=x&b=2")

    assert.equal("/children/7?a=1&sid=[redacted]&%74oken=[redacted]&b=2", traced.target)
  end)

  it("accounts for all of a request's time", function()
    local traced = trace_one(start(), "GET /children/{n}", "/children/7")

    local sum = traced.before + traced.answer
    for _, step in ipairs(traced.steps) do
      sum = sum + (step.fiber == 0 and step.time or 0)
      assert.is_true(step.at + step.time <= traced.total + 1e-5)
    end
    assert.is_true(traced.total >= 0.07)
    assert.is_true(sum <= traced.total + 1e-4 and sum > traced.total * 0.9,
      ("%.6f of %.6f"):format(sum, traced.total))
  end)

  it("shows a table to people, with request ids", function()
    local code, out = trace(start(2), "/children/{n}", "/children/7", { "--count", "3" })

    assert.equal(0, code)
    local count = 0
    for _ in out:gmatch "GET /children/7  200  %d+%.%d+ ms  request %x+, worker [12]\n" do
      count = count + 1
    end
    assert.equal(3, count)
    assert.matches("\n +%d+%.%d+ +%d+%.%d+  waits for sleep  scripts/app/main.lua:6\n", out)
    assert.matches("\n +%d+%.%d+ +%d+%.%d+    waits for sleep  scripts/app/main.lua:5\n", out)
    assert.matches("in all: Lua %d", out)
  end)

  it("traces what fails, and says so", function()
    local traced = trace_one(start(), "/fails", "/fails")

    assert.equal(500, traced.status)
    assert.equal("lua, wait sleep, lua", steps_of(traced, 0))
  end)

  it("keeps a bounded number of steps, and says how many there were more", function()
    local traced = trace_one(start(), "/many", "/many")

    assert.equal(500, #traced.steps)
    assert.is_true(traced.omitted > 3000)
  end)

  it("takes only the method that was named", function()
    local s = start()

    assert.equal("POST", trace_one(s, "POST /both", "/both", "POST").method)
    local code, _, err = trace(s, "POST /both", "/both", { "--timeout", "0.3" })
    assert.equal(1, code)
    assert.matches("0 of 5 requests came in time", err)
  end)

  it("refuses a route that is not there", function()
    local s = start(2)

    local code, out, err = s:cli("trace", "/nowhere")

    assert.equal(1, code)
    assert.equal("", out)
    assert.equal("tycho: there is no such route: see tycho routes\n", err)
    assert.equal(2, (s:cli("trace", "nowhere")))
  end)

  it("ends when its client goes, and leaves nothing behind", function()
    local s = start()
    local first = process.spawn {
      args = { server.program(), "trace", "/other" }, cwd = s.folder,
      stdout = "/dev/null", stderr = "/dev/null",
    }
    clock.eventually(function()
      return s:status().observing[1] == "trace"
    end, 5, "a trace that is being made")
    local refused, _, err = s:cli("trace", "/other", "--count", "1", "--timeout", "0.1")
    assert.equal(1, refused)
    assert.matches("another trace is being made", err)

    first:kill "KILL"
    first:wait(5)

    clock.eventually(function()
      return #s:status().observing == 0
    end, 5, "the end of the trace")
    assert.equal(200, s:request("GET", "/other").status)
  end)

  it("goes on over a reload", function()
    local s = start()
    local reloads = fiber.spawn(function()
      for _ = 1, 3 do
        s:cli("reload", "--force")
      end
    end)

    local code, out = trace(s, "/children/{n}", "/children/7", { "--count", "8", "--json" })
    reloads:join()

    assert.equal(0, code)
    assert.equal(8, select(2, out:gsub("\n", "")))
  end)
end)
