--- What became of each request: an id is written down before it is sent, and in the end every id
--- is accounted for.

local ledger = {}

---@class blackbox.Ledger
---@field counts table<string, integer> by outcome
---@field sent integer
---@field faults string[] the first few things that went wrong
local Ledger = {}
Ledger.__index = Ledger

local FAULTS_MAX = 20

---@return blackbox.Ledger
function ledger.new()
  return setmetatable({
    open = {}, counts = {}, sent = 0, faults = {}, latencies = {}, ids = {},
  }, Ledger)
end

---Writes an id down; before anything of it is sent.
---@param id string|integer
function Ledger:begin(id)
  if self.open[id] then
    error(("id %s was used before"):format(id), 2)
  end
  self.open[id] = true
  self.sent = self.sent + 1
end

---Accounts for an id.
---@param id string|integer
---@param outcome "ok"|"failed"|"refused"|"timed_out"|"broken"|string
---@param latency? number seconds, from when it should have been sent
---@param why? string for the summary, if it is a fault
function Ledger:finish(id, outcome, latency, why)
  if not self.open[id] then
    error(("id %s is accounted for twice, or was never sent"):format(id), 2)
  end
  self.open[id] = nil
  self.counts[outcome] = (self.counts[outcome] or 0) + 1
  if outcome == "ok" then
    local n = #self.latencies + 1
    self.latencies[n], self.ids[n] = latency, id
  elseif why and #self.faults < FAULTS_MAX then
    self.faults[#self.faults + 1] = ("%s: %s: %s"):format(id, outcome, why)
  end
end

---@param outcome string
---@return integer
function Ledger:count(outcome)
  return self.counts[outcome] or 0
end

---Ids that were sent and never accounted for.
---@return (string|integer)[]
function Ledger:missing()
  local ids = {}
  for id in pairs(self.open) do
    ids[#ids + 1] = id
  end
  return ids
end

---Latency that this share of the requests that went well did not exceed.
---@param share number 0.99 for p99
---@param after? number only of requests with a higher id, if ids are numbers
---@return number seconds
function Ledger:percentile(share, after)
  local list = {}
  for i, latency in ipairs(self.latencies) do
    if not after or self.ids[i] > after then
      list[#list + 1] = latency
    end
  end
  table.sort(list)
  return list[math.max(1, math.ceil(#list * share))] or 0
end

---@return string
function Ledger:summary()
  local parts = { ("%d sent"):format(self.sent) }
  for outcome, n in pairs(self.counts) do
    parts[#parts + 1] = ("%d %s"):format(n, outcome)
  end
  parts[#parts + 1] = ("p50 %.1f ms, p99 %.1f ms, worst %.1f ms"):format(
    self:percentile(0.5) * 1e3, self:percentile(0.99) * 1e3, self:percentile(1) * 1e3)
  return table.concat(parts, ", ") .. "\n  " .. table.concat(self.faults, "\n  ")
end

---Raises, with the summary, unless every request went well and at least `least` were sent.
---@param least? integer 1 by default
function Ledger:assert_all_ok(least)
  if self:count "ok" ~= self.sent or self.sent < (least or 1) or next(self.open) then
    error("not every request went well: " .. self:summary(), 2)
  end
end

return ledger
