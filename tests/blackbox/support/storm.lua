--- More requests than a worker can answer: how many it answers all the same, how quickly, and
--- whether its health can still be asked for.
---
--- The route burns a fixed time, so that what a worker can do at most does not depend on the
--- machine; load comes at random, as from clients that know nothing of each other.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local http = require "tests.blackbox.support.http"
local ledger = require "tests.blackbox.support.ledger"
local load = require "tests.blackbox.support.load"

local storm = {}

---A program with a route that burns 4 ms of processor time.
storm.APP = [[
local app, ffi = require "tycho.app", require "ffi"
ffi.cdef "struct storm_time { long s, ns; }; int clock_gettime(int, struct storm_time *);"
local time = ffi.new "struct storm_time"
local function now()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.s) + tonumber(time.ns) / 1e9
end
app.get("/burn", function()
  local till = now() + 0.004
  while now() < till do end
  return "burned"
end)
]]

---What it may do, and no access log.
storm.CONFIG = {
  scripts = { grants = { "ffi" } }, http = { access_log = false, shed_lag = "50ms" },
}

---@class blackbox.Storm
---@field goodput number right answers a second
---@field shed number refusals a second
---@field p50 number seconds, of right answers
---@field p99 number
---@field settled_p99 number of those sent after the first half second
---@field ledger blackbox.Ledger of the requests
---@field health table<string, blackbox.Ledger> of the probes: "main" and "admin"

local function check(res)
  if res.status == 503 then
    local proper = res.headers["retry-after"] == "1" and not res.closes
    return proper and "shed", not proper and "503 without Retry-After" or nil
  end
  return res.status == 200 and res.body == "burned", "status " .. res.status
end

-- Asks until `run` is stopped; each time on a new connection, as those do who watch.
local function probe(run, port, book)
  local id = 0
  while not run.over do
    id = id + 1
    book:begin(id)
    local began = clock.now()
    local ok, res = pcall(http.request, port, "GET", "/livez")
    local right = ok and res.status == 200
    book:finish(id, right and "ok" or "failed", clock.now() - began, not right and tostring(res))
    fiber.sleep(0.02)
  end
end

---Sends `rate` requests a second for `duration` seconds. Figures are of all of them, from the first
---one on.
---@async
---@param s blackbox.Server one worker of it
---@param rate number
---@param duration number seconds
---@param connections? integer 256 by default
---@return blackbox.Storm
function storm.run(s, rate, duration, connections)
  local health, probes = { main = ledger.new(), admin = ledger.new() }, {}
  local began = clock.now()
  local run = load.start {
    port = s.port, rate = rate, duration = duration, connections = connections or 256,
    random = true, request = function() return "GET", "/burn" end, check = check,
  }
  probes[1] = fiber.spawn(probe, run, s.port, health.main)
  probes[2] = fiber.spawn(probe, run, s.admin_port, health.admin)
  local book = run:join().ledger
  local took = clock.now() - began
  run.over = true
  for _, handle in ipairs(probes) do
    handle:join()
  end
  return {
    goodput = book:count "ok" / took, shed = book:count "shed" / took,
    p50 = book:percentile(0.5), p99 = book:percentile(0.99),
    settled_p99 = book:percentile(0.99, rate * 0.5), ledger = book, health = health,
  }
end

---What a worker can do: right answers a second while there is always somebody waiting.
---@async
---@param s blackbox.Server
---@param duration number seconds
---@return number
function storm.peak(s, duration)
  local stop, answers, handles = clock.now() + duration, 0, {}
  for i = 1, 4 do
    handles[i] = fiber.spawn(function()
      local conn = http.connect(s.port)
      while clock.now() < stop do
        local res = conn:request("GET", "/burn")
        answers = answers + (res.status == 200 and 1 or 0)
      end
      conn:close()
    end)
  end
  for _, handle in ipairs(handles) do
    handle:join()
  end
  return answers / duration
end

return storm
