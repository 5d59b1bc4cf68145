--- What goes wrong during the soak: each kind of fault is an actor with a rhythm and luck of its
--- own.
---
--- An actor that costs requests says from when to when (`windows`); a failure of the steady load
--- outside of these is a fault of the server.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local ground = require "tests.soak.ground"
local http = require "tests.blackbox.support.http"
local process = require "tycho.process"
local random = require "tests.soak.random"

local Faults = {}
Faults.__index = Faults

local SETTLE = 1 -- seconds after a fault in which a client may still find out about it

local function write_all(s, files)
  for path, text in pairs(files) do
    s:write(path, text)
  end
end

local function send_signal(pid, name)
  return process.run({ args = { "kill", "-" .. name, tostring(pid) } }).code == 0
end

function Faults:complain(format, ...)
  self.complaints[#self.complaints + 1] = format:format(...)
end

-- Whether requests may have been lost at some time in between.
---@param from number
---@param till number
function Faults:explains(from, till)
  for _, window in ipairs(self.windows) do
    if from <= (window.till or math.huge) + SETTLE and till >= window.from then
      return window
    end
  end
  return nil
end

function Faults:serving()
  local workers = self.server:status().workers
  for _, worker in ipairs(workers) do
    if worker.state ~= "serving" then
      return nil
    end
  end
  return workers
end

-- Runs `fn` while requests may be lost, until all workers serve again.
function Faults:with_window(what, fn)
  local window = { what = what, from = clock.now() }
  self.windows[#self.windows + 1] = window
  local ok, err = pcall(fn)
  clock.eventually(function() return self:serving() end, 40, "all workers after " .. what)
  window.till = clock.now()
  if not ok then
    error(err, 0)
  end
end

-- Each takes the faults and its own luck, and does its thing once.

local actors = {}

function actors.reload(self, luck)
  local s, what, began = self.server, luck:upto(8), clock.now()
  local code, out, err
  if what == 1 then
    s:write("app/version.lua", "error 'no ink in the printer'\n")
    code, out, err = s:cli "reload"
    if code ~= 1 then
      self:complain("broken scripts were not refused (%d): %s%s", code, out, err)
    end
    write_all(s, ground.version(self.version))
    return
  elseif what == 2 and self.version > 1 then
    code, out, err = s:cli "rollback"
  else
    self.version = self.version + 1
    write_all(s, ground.version(self.version))
    code, out, err = s:cli "reload"
  end
  if code ~= 0 and not self:explains(began, clock.now()) then
    self:complain("a reload failed (%d): %s%s", code, out, err)
  end
end

local HALF_HEAD = "GET /soak/pair HTTP/1.1\r\nHost: a\r\nX-Half"
local HALF_BODY = "POST /soak/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nhalf"
local HALF_CHUNK = "POST /soak/upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
  .. "20\r\nha"

-- How far a client gets before it leaves.
local LEAVES = {
  function() end,
  function(conn) conn:send(HALF_HEAD) end,
  function(conn) conn:send(HALF_BODY) end,
  function(conn) conn:send(HALF_CHUNK) end,
  function(conn) conn:send(http.format("GET", "/soak/wait")) end,
  function(conn) conn:send(http.format("GET", "/soak/wait")) fiber.sleep(0.02) end,
  function(conn) conn:send(http.format("GET", "/soak/children")) fiber.sleep(0.01) end,
  function(conn) conn:send(http.format("GET", "/soak/pair")) end,
  function(conn) conn:send(http.format("GET", "/soak/pair"):rep(20)) conn:receive "GET" end,
  function(conn) conn:send(http.format("GET", "/soak/stream")) conn.stream:read(100000) end,
  function(conn) conn:send(http.format("GET", "/soak/stream")):receive "GET" end,
  function(conn) conn:send(http.format("GET", "/soak/odd?how=nil")):receive "GET" end,
  function(conn) conn:send(http.format("GET", "/soak/odd?how=table")):receive "GET" end,
  function(conn) conn:send(http.format("GET", "/soak/odd")):receive "GET" end,
}

function actors.leave(self, luck)
  local leave, is_reset, began = luck:pick(LEAVES), luck:upto(2) == 1, clock.now()
  local ok, err = pcall(function()
    local conn = http.connect(self.server.port)
    leave(conn)
    if is_reset then
      conn:reset()
    else
      conn:close()
    end
  end)
  if not ok and not self:explains(began, clock.now()) then
    self:complain("a client that was about to leave: %s", tostring(err))
  end
end

-- Slots 1 and 2 in turn, so that the others live long enough to show whether they grow.
function actors.kill(self)
  local worker = self.server:status().workers[self.counts.kill % 2 + 1]
  self:with_window("kill", function() send_signal(worker.pid, "KILL") end)
end

function actors.restart(self)
  local worker = self:serving()[self.counts.restart % 2 + 1]
  send_signal(worker.pid, "TERM")
  clock.eventually(function()
    local now = self.server:status().workers[worker.slot]
    return now.pid ~= worker.pid and now.state == "serving"
  end, 40, "another worker")
end

-- Stopped, or its worker is killed; either way the server lives.
function actors.spin(self)
  self:with_window("spin", function()
    local ok, res = pcall(http.request, self.server.port, "GET", "/soak/spin", { timeout = 30 })
    local how = ok and ("status " .. res.status) or "killed"
    self.spins[how] = (self.spins[how] or 0) + 1
  end)
end

local COMMANDS = {
  { "status" }, { "status", "--json" }, { "ps" }, { "ps", "--json" }, { "generations" },
  { "routes" }, { "config", "show" }, { "check" },
}

function actors.command(self, luck)
  local command = luck:pick(COMMANDS)
  local code, out, err = self.server:cli(unpack(command))
  -- Some look at the scripts on disk, which are broken now and then.
  if code ~= 0 and not (out .. err):find("no ink", 1, true) then
    self:complain("tycho %s (%d): %s%s", table.concat(command, " "), code, out, err)
  end
end

-- Scraped strictly; no counter of the server goes back.
function actors.scrape(self)
  local m = self.server:metrics()
  local last, now = self.scraped or {}, {}
  for _, sample in ipairs(m.samples) do
    local of = m.types[sample.name] or m.types[sample.name:gsub("_count$", "")]
    local is_of_process = sample.name:find "^process_" -- begins anew with it
    if (of == "counter" or of == "histogram") and not is_of_process then
      local labels = {}
      for name, value in pairs(sample.labels) do
        labels[#labels + 1] = name .. "=" .. value
      end
      table.sort(labels)
      local key = sample.name .. "{" .. table.concat(labels, ",") .. "}"
      now[key] = sample.value
      if (last[key] or 0) > sample.value then
        self:complain("%s went back from %g to %g", key, last[key], sample.value)
      end
    end
  end
  self.scraped = now
end

function actors.turn(self)
  self.journal:turn()
end

function Faults:pause(seconds)
  local till = clock.now() + seconds
  while not self.stopped and clock.now() < till do
    fiber.sleep(math.min(0.2, math.max(0.001, till - clock.now())))
  end
  return not self.stopped
end

-- Kills, restarts and runaways take turns: two at once would leave nobody to serve.
function Faults:act(name, luck, every)
  while self:pause(luck:between(0.5, 1.5) * every) do
    local is_violent = name == "kill" or name == "restart" or name == "spin"
    while is_violent and self.violent and not self.stopped do
      self:pause(0.2)
    end
    self.violent = is_violent or self.violent
    local ok, err = pcall(actors[name], self, luck)
    self.violent = not is_violent and self.violent or false
    self.counts[name] = self.counts[name] + 1
    if not ok then
      self:complain("%s: %s", name, tostring(err))
    end
  end
end

---Sets the actors going.
---
---@param s blackbox.Server
---@param journal table that `turn` turns over
---@param seed integer
---@param rhythm table<string, number> seconds from one to the next, by actor
---@return table faults with `:stop()`, `.complaints`, `.windows`, `.counts`
local function start(s, journal, seed, rhythm)
  local self = setmetatable({
    server = s, journal = journal, version = 0, windows = {}, complaints = {}, counts = {},
    spins = {}, handles = {},
  }, Faults)
  local names = {}
  for name in pairs(rhythm) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    self.counts[name] = 0
    local luck = random.new(seed * 31 + i)
    self.handles[i] = fiber.spawn(function() self:act(name, luck, rhythm[name]) end)
  end
  return self
end

---Lets each end what it does.
---@async
function Faults:stop()
  self.stopped = true
  for _, handle in ipairs(self.handles) do
    handle:join()
  end
end

return { start = start }
