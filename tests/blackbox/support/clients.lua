--- Crowds of dumb clients: thousands of connections that send slowly, or read nothing.
---
--- Cheap for the test process: a reading client is one parked fiber, and what they send is spread
--- evenly over time, so that latencies measured beside it are the server's and not the crowd's.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local options = require "tycho.options"
local stream = require "tycho.stream"

local clients = {}

local SAID_MAX, TICK = 4096, 0.005

---@class blackbox.CrowdOptions
---@field port integer
---@field count integer
---@field address? string 127.0.0.1 by default
---@field rate? number new connections a second; 2,000 by default
---@field first? string each sends this at once
---@field reads? boolean false: they never read, not even the end

---@class blackbox.Client
---@field stream tycho.stream.Stream
---@field opened number `clock.now()`
---@field ended? number seconds from then until the server ended it
---@field said string the first 4 KiB that the server said

---@class blackbox.Crowd
---@field all blackbox.Client[]
---@field ended integer how many the server has ended
local Crowd = {}
Crowd.__index = Crowd

local KNOWN = options.set { "port", "count", "address", "rate", "first", "reads" }

local live = {}

local function listen_to(self, client)
  pcall(function()
    for bytes in function() return client.stream:read() end do
      if #client.said < SAID_MAX then
        client.said = client.said .. bytes:sub(1, SAID_MAX - #client.said)
      end
    end
  end)
  if not self.closing then
    client.ended = clock.now() - client.opened
    self.ended = self.ended + 1
  end
  client.stream:close()
end

-- Calls `each(client)` for all, evenly over `seconds`; stops when the crowd is closed.
local function spread(self, count, seconds, each)
  local began, done = clock.now(), 0
  while done < count and not self.closing do
    local due = math.min(count, math.ceil((clock.now() - began) / seconds * count))
    while done < due do
      done = done + 1
      each(done)
    end
    fiber.sleep(TICK)
  end
end

---Opens the connections and returns when all are there.
---
---```lua
---local crowd = clients.open { port = s.port, count = 5000, first = "GET / HTTP/1.1\r\n" }
---crowd:drip("X-Slow: 1\r\n", 1)
---crowd:wait_ended(15)
---```
---@async
---@param opts blackbox.CrowdOptions
---@return blackbox.Crowd
function clients.open(opts)
  options.check(opts, KNOWN)
  local self = setmetatable({ all = {}, ended = 0, readers = {} }, Crowd)
  live[#live + 1] = self
  spread(self, opts.count, opts.count / (opts.rate or 2000), function(i)
    local client = { said = "", opened = clock.now() }
    client.stream = stream.connect(opts.address or "127.0.0.1", opts.port, { timeout = 10 })
    client.stream:timeout(nil)
    if opts.first then
      client.stream:write(opts.first)
    end
    self.all[i] = client
    if opts.reads ~= false then
      self.readers[#self.readers + 1] = fiber.spawn(listen_to, self, client)
    end
  end)
  return self
end

---From now on each that is still there sends one more byte of `text`, over and over again, every
---so many seconds. Goes on beside the test until the crowd is closed.
---@param text string
---@param every number seconds
function Crowd:drip(text, every)
  self.dripping = fiber.spawn(function()
    local at = 0
    while not self.closing and self.ended < #self.all do
      at = at % #text + 1
      local byte = text:sub(at, at)
      spread(self, #self.all, every, function(i)
        local client = self.all[i]
        if not client.ended then
          pcall(client.stream.write, client.stream, byte)
        end
      end)
    end
  end)
end

---Waits until the server has ended all of them.
---@async
---@param timeout number seconds
function Crowd:wait_ended(timeout)
  clock.eventually(function() return self.ended == #self.all end, timeout,
    ("the end of %d connections"):format(#self.all))
end

---When the server ended them: of those it did.
---@return number first seconds after it was opened
---@return number last
function Crowd:ends()
  local first, last = math.huge, 0
  for _, client in ipairs(self.all) do
    first = math.min(first, client.ended or math.huge)
    last = math.max(last, client.ended or 0)
  end
  return first, last
end

---How many were told something that begins like this.
---@param start string "HTTP/1.1 408 "
---@return integer
function Crowd:told(start)
  local n = 0
  for _, client in ipairs(self.all) do
    n = n + (client.said:sub(1, #start) == start and 1 or 0)
  end
  return n
end

local function finish(self, how)
  self.closing = true
  for _, client in ipairs(self.all) do
    client.stream[how](client.stream)
  end
  if self.dripping then
    self.dripping:join()
    self.dripping = nil
  end
  for _, reader in ipairs(self.readers) do
    reader:join()
  end
  self.readers = {}
end

---All go, as clients do that close (FIN).
---@async
function Crowd:close()
  finish(self, "close")
end

---All go, as clients do that die (RST).
---@async
function Crowd:reset()
  finish(self, "reset")
end

---Ends all crowds: `after_each(clients.clean_up)`.
---@async
function clients.clean_up()
  local all = live
  live = {}
  for _, self in ipairs(all) do
    self:close()
  end
end

return clients
