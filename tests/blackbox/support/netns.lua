--- A network of its own for a server: packets can vanish, as from a pulled cable.
---
--- A namespace with one end of a veth pair; the test process has the other end. A server is
--- started in it and talked to at its address; the test can drop or refuse what passes.

local process = require "tycho.process"
local tycho = require "tycho"

local netns = {}

---@class blackbox.Network
---@field name string
---@field address string of the server's side
---@field prefix string[] words to start a program inside with
local Network = {}
Network.__index = Network

local live = {}
local count = 0

local function run(args)
  local exit, out, err = tycho.try(process.run, { args = args })
  if not exit then
    return false, out.message -- not installed
  end
  return exit.code == 0, (err:gsub("%s+$", ""))
end

-- 198.18.0.0/15 is set aside for tests of networks: nobody lives there. Four addresses for each.
local function addresses(number)
  local base = number * 4
  local third, fourth = math.floor(base / 256) % 256, base % 256
  return ("198.18.%d.%d"):format(third, fourth + 1), ("198.18.%d.%d"):format(third, fourth + 2)
end

local function pid()
  return tonumber(io.open("/proc/self/stat"):read("*l"):match "^(%d+)")
end

local function build(self, outside, inside)
  local ns = { "ip", "-n", self.name }
  local steps = {
    { "ip", "netns", "add", self.name },
    { "ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name },
    { "ip", "address", "add", outside .. "/30", "dev", self.link },
    { "ip", "link", "set", self.link, "up" },
    { ns[1], ns[2], ns[3], "address", "add", inside .. "/30", "dev", "eth0" },
    { ns[1], ns[2], ns[3], "link", "set", "eth0", "up" },
    { ns[1], ns[2], ns[3], "link", "set", "lo", "up" },
  }
  for _, args in ipairs(steps) do
    local ok, err = run(args)
    if not ok then
      return false, table.concat(args, " ") .. ": " .. err
    end
  end
  return true
end

local function remove(self)
  run { "ip", "link", "delete", self.link }
  run { "ip", "netns", "delete", self.name }
end

---Makes one; `netns.clean_up` takes it away.
---
---```lua
---local net, why = netns.new()
---if not net then
---  return pending(why)
---end
---local s = server.start { prefix = net.prefix, address = net.address }
---net:drop()
---```
---@async
---@return blackbox.Network?
---@return string? why there cannot be one here
function netns.new()
  count = count + 1
  local number = (pid() * 8 + count) % 16384
  local name = ("tycho-test-%d"):format(number)
  local outside, inside = addresses(number)
  local self = setmetatable({
    name = name, link = ("tychot%d"):format(number), address = inside,
    prefix = { "nsenter", "--net=/run/netns/" .. name, "--" },
  }, Network)
  local ok, err = build(self, outside, inside)
  if ok then
    ok, err = self:heal()
  end
  if not ok then
    remove(self)
    return nil, "a network namespace cannot be made here: " .. tostring(err)
  end
  live[#live + 1] = self
  return self
end

-- Replaces all rules, in one step.
local function rules(self, input, output)
  return run { "nsenter", "--net=/run/netns/" .. self.name, "--", "nft", ([[
table inet tycho
delete table inet tycho
table inet tycho {
  chain input { type filter hook input priority 0; %s }
  chain output { type filter hook output priority 0; %s }
}
]]):format(input, output) }
end

local function set(self, verdict, direction)
  local function rule(one)
    local hook = one == "in" and "iifname" or "oifname"
    return (not direction or direction == one) and
      ('%s "eth0" meta l4proto tcp %s;'):format(hook, verdict) or ""
  end
  local ok, err = rules(self, rule "in", rule "out")
  if not ok then
    error("nft: " .. err, 3)
  end
end

---Lets every packet vanish: nobody is told anything.
---@async
---@param direction? "in"|"out" seen from the server; both by default
function Network:drop(direction)
  set(self, "drop", direction)
end

---Answers every packet to the server with a reset, as a firewall does that lost its state.
---@async
function Network:refuse()
  set(self, "reject with tcp reset", "in")
end

---All passes again.
---@async
---@return boolean ok
---@return string err
function Network:heal()
  return rules(self, "", "")
end

---Takes all of them away: `after_each(netns.clean_up)`, after the servers inside.
---@async
function netns.clean_up()
  local all = live
  live = {}
  for _, self in ipairs(all) do
    remove(self)
  end
end

return netns
