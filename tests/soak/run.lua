--- The soak: half of the load that the server can take, with everything going wrong now and then,
--- and in the end a verdict.
---
--- The load comes in rounds. Between two rounds nothing of it is on its way, so that what the
--- server has counted can be compared with what its clients have seen, request by request.

local clock = require "tests.blackbox.support.clock"
local faults = require "tests.soak.faults"
local fiber = require "tycho.fiber"
local ground = require "tests.soak.ground"
local journal = require "tests.soak.journal"
local load = require "tests.blackbox.support.load"
local proc = require "tests.blackbox.support.proc"
local samples = require "tests.soak.samples"
local traffic = require "tests.soak.traffic"

local WORKERS, CONNECTIONS = 3, 24
local SLOPE_MAX = 1 -- MiB in ten minutes

---@class soak.Options
---@field seconds number
---@field round number seconds of load between two reckonings
---@field seed integer
---@field rate? number requests a second; half of the peak by default
---@field rhythm table<string, number> see `faults`
---@field say fun(line: string)

local Soak = {}
Soak.__index = Soak

-- The first time in words, then by number only: a fault seldom comes alone.
function Soak:fail(format, ...)
  local text = format:format(...)
  self.times[text] = (self.times[text] or 0) + 1
  if self.times[text] == 1 then
    self.failures[#self.failures + 1] = text
  end
end

function Soak:load(rate, seconds)
  local t = self.traffic
  local run = load.start {
    port = self.server.port, rate = rate, duration = seconds, connections = CONNECTIONS,
    request = function(id) return t:request(id) end,
    check = function(res, id) return t:check(res, id) end,
    retry = false, timeout = 30,
  }
  t:watch(run.ledger)
  return run
end

-- What client and server manage together, on this machine, now.
function Soak:find_peak(seconds)
  local run = self:load(50000, seconds)
  fiber.sleep(seconds)
  run:stop()
  local result = run:join()
  return result.ledger:count "ok" / (clock.now() - run.began)
end

-- Every kind was counted as often as it was answered; requests without an answer may be counted,
-- and an answer may have left a worker that was killed before it had counted it.
function Soak:reckon(before, kills)
  local wrong
  local ok = pcall(clock.eventually, function()
    local now = self.traffic.counted(self.server:metrics())
    wrong = nil
    for name, kind in pairs(self.traffic.kinds) do
      local counted = now[name] - before[name]
      if counted < kind.answered - kills or counted > kind.sent then
        wrong = ("%s: %d sent, %d answered, %d counted"):format(name, kind.sent, kind.answered,
          counted)
      end
    end
    return not wrong
  end, 2)
  if not ok then
    self:fail("the metrics are not what clients saw: %s", wrong)
  end
end

function Soak:judge_requests()
  local lost = {}
  for _, fault in ipairs(self.traffic.faults) do
    local window = self.faults:explains(fault.at, fault.at)
    local is_loss = fault.outcome == "broken" or window and window.what == "spin"
    if window and is_loss then
      lost[window] = (lost[window] or 0) + 1
    else
      self:fail("a request %s for no reason: %s", fault.outcome, fault.why)
    end
  end
  for window, count in pairs(lost) do
    if window.what == "kill" and count > CONNECTIONS then
      self:fail("a worker's death cost %d requests of %d connections", count, CONNECTIONS)
    end
  end
  return #self.traffic.faults
end

function Soak:sample(run)
  while not run.stopped and run.taken < run.total do
    self.samples:take()
    fiber.sleep(1)
  end
end

function Soak:round(rate, seconds)
  self.traffic:begin()
  local before, windows = self.traffic.counted(self.server:metrics()), #self.faults.windows
  local run = self:load(rate, seconds)
  self:sample(run)
  local ledger = run:join().ledger
  self:reckon(before, #self.faults.windows - windows + 1)
  pcall(self.server.request, self.server, "POST", "/soak/prune") -- caches grow with the data
  local lost = self:judge_requests()
  for _, id in ipairs(ledger:missing()) do
    self:fail("nobody knows what became of request %s", id)
  end
  local counts = self.faults.counts
  self.sent = self.sent + ledger.sent
  self.say(("%5.1f min: %d sent, %d lost; p50 %.1f ms, p99 %.1f ms, worst %.0f ms; %d reloads, "
    .. "%d kills, %d restarts, %d runaways, %d left; %s"):format((clock.now() - self.began) / 60,
    ledger.sent, lost, ledger:percentile(0.5) * 1e3, ledger:percentile(0.99) * 1e3,
    ledger:percentile(1) * 1e3, counts.reload, counts.kill, counts.restart, counts.spin,
    counts.leave, self.samples:line()))
end

-- Nothing is left of all that when nobody asks for anything any more.
function Soak:judge_rest(idle)
  local s, why = self.server, nil
  local ok = pcall(clock.eventually, function()
    local m = s:metrics()
    local active, connections = m:sum "http_server_active_requests", m:sum "tycho_http_connections"
    local generations, fibers = m:sum "tycho_generations_alive", 0
    for _, worker in ipairs(s:status().workers) do
      fibers = fibers + worker.fibers
    end
    self.samples:take(true)
    why = ("%d requests, %d connections, %d fibers, %d generations, %d descriptors (%d before)")
      :format(active, connections, fibers, generations, self.samples:most_fds(), idle.fds)
    return active <= 1 and connections <= 1 and fibers == 0 and generations == 1
      and self.samples:most_fds() <= idle.fds
  end, 40)
  self.say("at rest: " .. why)
  if not ok then
    self:fail("not everything came to rest: %s", why)
  end
end

function Soak:judge_memory()
  local slope, error, points = self.samples:growth(WORKERS)
  self.say(("memory: %+.2f MiB in ten minutes, give or take %.2f (%d points)"):format(slope,
    error, points))
  if slope - error > SLOPE_MAX then
    self:fail("memory grows by %.2f MiB in ten minutes", slope)
  end
end

function Soak:judge_end()
  local exit = self.server:stop(40)
  if exit.code ~= 0 then
    self:fail("the server ended with %d, signal %d", exit.code, exit.signal)
  end
  for _, pid in ipairs(proc.in_folder(self.server.folder)) do
    self:fail("process %d is left: %s", pid, proc.command(pid))
  end
  self.journal:finish()
  if self.journal.access < 0.99 * self.sent then -- what a killed worker had not written is lost
    self:fail("%d requests, and %d records in the access log", self.sent, self.journal.access)
  end
  for _, complaint in ipairs(self.journal.faults) do
    self:fail("%s", complaint)
  end
  for _, complaint in ipairs(self.faults.complaints) do
    self:fail("%s", complaint)
  end
end

function Soak:warm_up()
  local peak = self:find_peak(3)
  clock.eventually(function()
    return self.server:metrics():sum "tycho_http_connections" <= 1
  end, 10, "the end of the first load")
  self.samples:take()
  return peak, { fds = self.samples:most_fds() }
end

local function spins(self)
  local parts = {}
  for how, count in pairs(self.faults.spins) do
    parts[#parts + 1] = ("%d %s"):format(count, how)
  end
  return table.concat(parts, ", ")
end

---Runs it all.
---@async
---@param opts soak.Options
---@return string[] failures none: all is well
---@return table soak with `.sent` and `.faults.counts`
local function run(opts)
  local s = ground.start(WORKERS)
  local self = setmetatable({
    server = s, traffic = traffic.new(s), journal = journal.new(s), failures = {}, times = {},
    sent = 0,
    samples = samples.new(s, math.min(120, opts.seconds / 4)), say = opts.say,
  }, Soak)
  local peak, idle = self:warm_up()
  local rate = opts.rate or peak / 2
  self.say(("seed %d; peak %.0f requests a second, soak at %.0f for %.1f min"):format(opts.seed,
    peak, rate, opts.seconds / 60))

  self.began = clock.now()
  self.faults = faults.start(s, self.journal, opts.seed, opts.rhythm)
  while clock.now() < self.began + opts.seconds and #self.failures == 0 do
    self:round(rate, math.min(opts.round, self.began + opts.seconds - clock.now()))
  end
  self.faults:stop()
  self:judge_rest(idle)
  self:judge_memory()
  self:judge_end()
  self.say(("%d requests; log turned over %d times, %d of the access log; runaways: %s"):format(
    self.sent, self.journal.turns, self.journal.access, spins(self)))
  return self.failures, self
end

return { run = run }
