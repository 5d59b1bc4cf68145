--- A TCP proxy that misbehaves on demand: what is between a client and a server in real life.
---
--- It runs in the test process. Faults are switched while it runs and hold for connections that
--- exist and for those that come. "up" is from the client to the server, "down" the way back.

local fiber = require "tycho.fiber"
local options = require "tycho.options"
local stream = require "tycho.stream"

local proxy = {}

local READ_MAX, LOOK_AGAIN, SLICE_GAP = 64 * 1024, 0.002, 0.001

---@class blackbox.ProxyFaults all may be changed with `p:set`; false ends one
---@field latency? number seconds that each piece (of at most 64 KiB) is late
---@field slice? integer bytes: what passes is cut into pieces of so many, each a write of its own
---@field rate? number bytes a second in each direction of each connection
---@field drop_after? integer bytes in each direction of each connection; what follows vanishes

---@class blackbox.ProxyOptions : blackbox.ProxyFaults
---@field to integer port of the server
---@field address? string 127.0.0.1 by default

---@class blackbox.Proxy
---@field port integer where clients connect
---@field accepted integer connections so far
---@field refused integer of them, those that found no server
---@field bytes { up: integer, down: integer } that passed
---@field lost { up: integer, down: integer } that were dropped
local Proxy = {}
Proxy.__index = Proxy

local FAULTS = options.set { "latency", "slice", "rate", "drop_after" }
local KNOWN = options.set { "to", "address", "latency", "slice", "rate", "drop_after" }

local live = {}

-- Sends in pieces, no faster than the rate allows.
local function forward(self, to, bytes, direction)
  local step = self.faults.slice or #bytes
  for at = 1, #bytes, step do
    local piece = bytes:sub(at, at + step - 1)
    to:write(piece)
    self.bytes[direction] = self.bytes[direction] + #piece
    if self.faults.rate then
      fiber.sleep(#piece / self.faults.rate)
    elseif self.faults.slice then
      fiber.sleep(SLICE_GAP) -- each arrives by itself
    end
  end
end

-- With a rate, no more is taken than passes in a moment, so that the sender feels it.
local function read_max(self)
  local rate = self.faults.rate
  return rate and math.max(1, math.min(READ_MAX, math.floor(rate / 20))) or READ_MAX
end

local function pump(self, from, to, direction)
  local seen = 0
  while true do
    while self.stalled[direction] do
      fiber.sleep(LOOK_AGAIN)
    end
    local bytes = from:read(read_max(self))
    while self.stalled[direction] do -- since
      fiber.sleep(LOOK_AGAIN)
    end
    if not bytes then
      return to:shutdown()
    end
    if self.faults.latency then
      fiber.sleep(self.faults.latency)
    end
    local limit = self.faults.drop_after
    local pass = limit and bytes:sub(1, math.max(0, limit - seen)) or bytes
    seen = seen + #bytes
    self.lost[direction] = self.lost[direction] + #bytes - #pass
    forward(self, to, pass, direction)
  end
end

-- Both directions, until both have ended or one has failed: a reset is handed on.
local function serve(self, client)
  local server
  local ok = pcall(function()
    server = stream.connect(self.address, self.to)
  end)
  if not ok then
    self.refused = self.refused + 1
    return client:reset()
  end
  local pair = { client = client, server = server }
  self.pairs[pair] = true
  ok = pcall(fiber.all, {
    function() pump(self, client, server, "up") end,
    function() pump(self, server, client, "down") end,
  })
  self.pairs[pair] = nil
  for _, s in pairs { client, server } do
    if ok then
      s:close()
    else
      s:reset()
    end
  end
end

---Starts a proxy; `proxy.clean_up` ends it.
---
---```lua
---local p = proxy.start { to = s.port, latency = 0.05 }
---local conn = http.connect(p.port)
---p:stall "down"
---```
---@param opts blackbox.ProxyOptions
---@return blackbox.Proxy
function proxy.start(opts)
  options.check(opts, KNOWN)
  local self = setmetatable({
    to = opts.to, address = opts.address or "127.0.0.1", accepted = 0, refused = 0,
    bytes = { up = 0, down = 0 }, lost = { up = 0, down = 0 }, pairs = {}, stalled = {},
    serving = {},
    faults = { latency = opts.latency, slice = opts.slice, rate = opts.rate,
      drop_after = opts.drop_after },
  }, Proxy)
  self.listener = stream.listen("127.0.0.1")
  self.port = self.listener:port()
  self.accepting = fiber.spawn(function()
    while true do
      local ok, client = pcall(self.listener.accept, self.listener)
      if not ok then
        return
      end
      self.accepted = self.accepted + 1
      self.serving[#self.serving + 1] = fiber.spawn(serve, self, client)
    end
  end)
  live[#live + 1] = self
  return self
end

---Changes faults: `p:set { rate = 1000, latency = false }`.
---@param faults blackbox.ProxyFaults
function Proxy:set(faults)
  options.check(faults, FAULTS)
  for name, value in pairs(faults) do
    self.faults[name] = value or nil
  end
end

---Lets nothing pass any more, and nothing be seen: no bytes, no end.
---@param direction? "up"|"down" both by default
function Proxy:stall(direction)
  for _, one in ipairs { "up", "down" } do
    self.stalled[one] = self.stalled[one] or not direction or direction == one
  end
end

---Lets it pass again, in order, nothing lost.
---@param direction? "up"|"down" both by default
function Proxy:resume(direction)
  for _, one in ipairs { "up", "down" } do
    if not direction or direction == one then
      self.stalled[one] = nil
    end
  end
end

local function end_all(self, how)
  for pair in pairs(self.pairs) do
    pair.client[how](pair.client)
    pair.server[how](pair.server)
  end
  self.pairs = {}
end

---Ends all connections as a peer does that closes (FIN).
function Proxy:cut_all()
  end_all(self, "close")
end

---Ends all connections as a peer does that died (RST).
function Proxy:reset_all()
  end_all(self, "reset")
end

---Connections that are open now.
---@return integer
function Proxy:open_count()
  local n = 0
  for _ in pairs(self.pairs) do
    n = n + 1
  end
  return n
end

---Ends the proxy and all that goes through it.
---@async
function Proxy:stop()
  self.listener:close()
  self.accepting:join()
  self:resume()
  self:reset_all()
  for _, handle in ipairs(self.serving) do
    handle:cancel()
    pcall(handle.join, handle)
  end
end

---Ends all proxies: `after_each(proxy.clean_up)`.
---@async
function proxy.clean_up()
  local all = live
  live = {}
  for _, self in ipairs(all) do
    self:stop()
  end
end

return proxy
