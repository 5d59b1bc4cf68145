--- Open-loop load: requests are sent when they are due, whether or not earlier ones were answered,
--- and latency counts from when they were due. A server that stalls cannot slow its clients down
--- and look fast.

local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local clock = require "tests.blackbox.support.clock"
local http = require "tests.blackbox.support.http"
local ledger = require "tests.blackbox.support.ledger"

local load = {}

---@class blackbox.LoadOptions
---@field port integer
---@field address? string 127.0.0.1 by default
---@field rate number requests a second
---@field duration? number seconds; 5 by default
---@field connections? integer 16 by default; also how many requests are in flight at most
---@field timeout? number seconds for one answer; 10 by default
---@field request? fun(id: integer): string, string, table? method, target, options of `http.format`
---@field check? fun(res: blackbox.Response, id: integer): boolean|string|nil, string? raises, or
---returns false and why, when the answer is wrong; or returns the name of another outcome, to be
---counted; by default any 2xx is right
---@field random? boolean requests come at random, as from many clients that know nothing of each
---other, not at equal intervals
---@field retry? boolean a request on a reused connection that ends without a byte of answer is sent
---again on a new one, once, as browsers and HTTP libraries do; true by default

---@class blackbox.Load
---@field ledger blackbox.Ledger
---@field reconnects integer connections opened beyond the first ones
---@field retried integer

local function default_request(id)
  return "GET", "/?id=" .. id
end

local function default_check(res)
  return res.status >= 200 and res.status < 300, "status " .. res.status
end

local function outcome_of(err, connecting)
  if errors.is(err, "timeout") then
    return "timed_out"
  elseif connecting then
    return "refused"
  elseif errors.is(err, "unavailable") then
    return "broken"
  end
  return "failed"
end

local Worker = {}
Worker.__index = Worker

function Worker:connection()
  if not self.conn then
    local opts = self.run.opts
    self.conn = http.connect(opts.port, { timeout = opts.timeout or 10, address = opts.address })
    self.run.opened = self.run.opened + 1
  end
  return self.conn
end

function Worker:drop()
  if self.conn then
    self.conn:close()
    self.conn = nil
  end
end

-- Returns the answer, or nil, the outcome and the error.
function Worker:exchange(method, bytes, may_retry)
  local connected, conn = pcall(self.connection, self)
  if not connected then
    return nil, outcome_of(conn, true), conn
  end
  local reused = conn.answers > 0
  local ok, res = pcall(function() return conn:send(bytes):receive(method) end)
  if ok then
    if res.closes then
      self:drop()
    end
    return res
  end
  self:drop()
  local detail = errors.is(res) and res.detail
  local unanswered = detail == "NO_ANSWER" or detail == "ECONNRESET" or detail == "EPIPE"
  if reused and may_retry and unanswered then
    self.run.retried = self.run.retried + 1
    return self:exchange(method, bytes, false)
  end
  return nil, outcome_of(res), res
end

function Worker:one(id, due)
  local run = self.run
  local method, target, opts = run.request(id)
  run.ledger:begin(id)
  local res, outcome, why = self:exchange(method, http.format(method, target, opts), run.retry)
  if res then
    local ok, right, wrong = pcall(run.check, res, id)
    if not ok then
      right, wrong = false, right
    end
    outcome = right == false and "failed" or type(right) == "string" and right or "ok"
    why = wrong
  end
  run.ledger:finish(id, outcome, clock.now() - due, why and tostring(why))
end

-- Whoever is free takes the next request that is due.
function Worker:work()
  local run = self.run
  while not run.stopped and run.taken < run.total do
    run.taken = run.taken + 1
    local id = run.taken
    local due = run.due
    run.due = due + (run.opts.random and -math.log(1 - math.random()) or 1) / run.opts.rate
    local wait = due - clock.now()
    if wait > 0 then
      fiber.sleep(wait)
    end
    if run.stopped then
      break
    end
    self:one(id, due)
  end
  self:drop()
end

local Run = {}
Run.__index = Run

---Waits until all requests are sent and answered.
---
---```lua
---local result = load.start { port = server.port, rate = 300, duration = 10 }:join()
---result.ledger:assert_all_ok()
---```
---@async
---@return blackbox.Load
function Run:join()
  for _, handle in ipairs(self.handles) do
    handle:join()
  end
  return { ledger = self.ledger, retried = self.retried,
    reconnects = math.max(0, self.opened - #self.handles) }
end

---Sends no more requests than are on their way.
function Run:stop()
  self.stopped = true
end

---Starts load beside the test, which goes on.
---@async
---@param opts blackbox.LoadOptions
---@return table run with `:join()`, `:stop()` and `.ledger`
function load.start(opts)
  local run = setmetatable({
    opts = opts, ledger = ledger.new(), handles = {}, taken = 0, opened = 0, retried = 0,
    total = math.floor(opts.rate * (opts.duration or 5)), began = clock.now(),
    request = opts.request or default_request, check = opts.check or default_check,
    retry = opts.retry ~= false,
  }, Run)
  run.due = run.began
  for i = 1, opts.connections or 16 do
    local worker = setmetatable({ run = run }, Worker)
    run.handles[i] = fiber.spawn(worker.work, worker)
  end
  return run
end

---Runs load to its end, and `beside(run)` at the same time.
---
---```lua
---local result = load.run({ port = server.port, rate = 300, duration = 60 }, function(run)
---  for _ = 1, 100 do server:reload() end
---end)
---result.ledger:assert_all_ok(10000)
---```
---@async
---@param opts blackbox.LoadOptions
---@param beside? fun(run: table)
---@return blackbox.Load
function load.run(opts, beside)
  local run = load.start(opts)
  if beside then
    local ok, err = pcall(beside, run)
    if not ok then
      run:stop()
      run:join()
      error(err, 0)
    end
  end
  return run:join()
end

return load
