-- A worker that has grown too large makes room for another, and nobody notices.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local load = require "tests.blackbox.support.load"
local proc = require "tests.blackbox.support.proc"
local server = require "tests.blackbox.support.server"

local APP = [[
local app, fiber = require "tycho.app", require "tycho.fiber"
local held = {}
app.get("/", function() return { hello = "world" } end)
app.get("/slow/{ms}", function(req)
  fiber.sleep(tonumber(req.params.ms) / 1000)
  return { slept = req.params.ms }
end)
app.get("/grow/{mib}", function(req)
  for i = 1, tonumber(req.params.mib) do
    held[#held + 1] = ("x"):rep(1048576 - 64) .. #held .. i
  end
  return { held = #held }
end)
]]

local function start(opts)
  opts.scripts = { ["app/main.lua"] = APP }
  return server.start(opts)
end

local function recycles(s)
  return s:metrics():sum("tycho_worker_recycles_total", { reason = "memory" })
end

-- Grows these workers until each holds more than 100 MiB, or is gone already.
local function grow_all(s, pids)
  clock.eventually(function()
    local small = 0
    for _, pid in ipairs(pids) do
      local is_small = proc.is_alive(pid) and proc.rss(pid) < 100 * 1048576
      small = small + (is_small and 1 or 0)
    end
    if small > 0 then
      local res = s:request("GET", "/grow/100")
      assert.is_true(res.status == 200 or res.status == 500)
    end
    return small == 0
  end, 10, "all workers to grow")
end

describe("a worker with more memory than host.worker_memory_max", function()
  after_each(server.clean_up)

  it("finishes and is replaced, one after the other, without a failed request", function()
    if server.is_instrumented() then
      pending "what a sanitizer needs is no measure"
    end
    local s = start { config = {
      host = { worker_memory_max = "90MiB" }, lua = { memory_max = "2GiB" },
    } }
    local before = s:workers()
    local serving_min = 2

    local result = load.run({ port = s.port, rate = 100, duration = 6, connections = 8,
      retry = false, request = function(id) return "GET", "/slow/20?id=" .. id end }, function()
      grow_all(s, before)
      clock.eventually(function()
        local serving = s:metrics():sum "tycho_worker_up"
        serving_min = math.min(serving, serving_min)
        local left = 0
        for _, pid in ipairs(before) do
          left = left + (proc.is_alive(pid) and 1 or 0)
        end
        return left == 0
      end, 8, "both to be replaced")
    end)

    result.ledger:assert_all_ok(500)
    assert.is_true(serving_min >= 1)
    assert.is_true(recycles(s) >= 2) -- a new one may have grown, too
    s:wait_log "web worker %d holds %d+ MiB, more than 90 MiB %(host%.worker_memory_max%)"
  end)

  it("lets what runs finish, and is not replaced again within ten seconds", function()
    local s = start { workers = 1, config = { host = { worker_memory_max = "1MiB" } } }
    clock.eventually(function() return recycles(s) == 1 end, 5, "the first")
    clock.eventually(function() return s:status().workers[1].restarts == 1 end, 5)

    local conn = s:connect()
    conn:send "GET /slow/10 HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.equal(200, conn:receive("GET").status)
    fiber.sleep(3) -- it is over the limit all the time, and must stay
    assert.equal(1, recycles(s))
    assert.equal(1, s:status().workers[1].restarts)
  end)

  it("is one with more than one and a half times lua.memory_max, if nothing is said", function()
    if server.is_instrumented() then
      pending "what a sanitizer needs is no measure"
    end
    local s = start { workers = 1, config = { lua = { memory_max = "128MiB" } } }
    local slow = {}
    for generation = 1, 3 do -- each may hold that much, as long as something runs in it
      assert.equal(200, s:request("GET", "/grow/90").status)
      slow[generation] = fiber.spawn(s.request, s, "GET", "/slow/3000")
      s:write("app/main.lua", APP .. "-- " .. generation)
      if generation < 3 then
        s:reload()
      end
    end
    clock.eventually(function() return recycles(s) == 1 end, 5, "a replacement")
    s:wait_log "more than 192 MiB %(host%.worker_memory_max%)"
    for _, handle in ipairs(slow) do
      assert.equal(200, handle:join().status)
    end
  end)
end)
