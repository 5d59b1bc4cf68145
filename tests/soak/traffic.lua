--- The steady load: requests of a shop, one kind after the other, and what became of each kind.

local clock = require "tests.blackbox.support.clock"

local PASSWORD = "correct horse battery staple"
local USERS = 8

local Traffic = {}
Traffic.__index = Traffic

-- What: how often among all, the route, the status, the request.
local KINDS = {
  { name = "health", share = 6, route = "/api/system/health", status = 200 },
  { name = "me", share = 3, route = "/api/client/auth/me", status = 200, is_private = true },
  { name = "create", share = 2, route = "/api/client/order/create", status = 201,
    method = "POST", is_private = true, json = { product = "tea", amount = 1250 } },
  { name = "invalid", share = 1, route = "/api/client/order/create", status = 400,
    method = "POST", is_private = true, json = { product = "", amount = 0.5 } },
  { name = "list", share = 2, route = "/api/client/order/list", status = 200,
    target = "/api/client/order/list?limit=5", is_private = true },
  { name = "stranger", share = 1, route = "/api/client/order/list", status = 401 },
  { name = "stock", share = 1, route = "/soak/stock", status = 200 },
  { name = "version", share = 2, route = "/soak/version", status = 200 },
  { name = "error", share = 1, route = "/soak/error", status = 500 },
  { name = "late", share = 1, route = "/soak/late", status = 504 },
}

local order = {}
for _, kind in ipairs(KINDS) do
  for _ = 1, kind.share do
    order[#order + 1] = kind
  end
end

local function kind_of(id)
  return order[id * 7 % #order + 1] -- 7 and 20 have no factor in common: every kind has its share
end

---What clients are; makes a few accounts.
---@async
---@param s blackbox.Server
---@return table traffic
local function new(s)
  local self = setmetatable({ tokens = {} }, Traffic)
  for i = 1, USERS do
    local account = { email = ("soak%d@example.com"):format(i), password = PASSWORD }
    local made = s:request("POST", "/api/client/auth/register", { json = account })
    assert(made.status == 201, made.body)
    local session = s:request("POST", "/api/client/auth/login", { json = account })
    self.tokens[i] = session:json().data.token
  end
  self:begin()
  return self
end

---Starts counting from nothing.
function Traffic:begin()
  self.faults = {}
  self.kinds = {}
  for _, kind in ipairs(KINDS) do
    self.kinds[kind.name] = { sent = 0, answered = 0 }
  end
end

---For `load`: the request with this number.
---@param id integer
---@return string method
---@return string target
---@return table opts
function Traffic:request(id)
  local kind = kind_of(id)
  self.kinds[kind.name].sent = self.kinds[kind.name].sent + 1
  local headers = kind.is_private
    and { Authorization = "Bearer " .. self.tokens[id % #self.tokens + 1] } or nil
  return kind.method or "GET", kind.target or kind.route, { headers = headers, json = kind.json }
end

---For `load`: whether that was the right answer.
---@param res blackbox.Response
---@param id integer
---@return boolean
---@return string why
function Traffic:check(res, id)
  local kind = kind_of(id)
  if res.status ~= kind.status then
    return false, ("%s: status %d"):format(kind.name, res.status)
  end
  self.kinds[kind.name].answered = self.kinds[kind.name].answered + 1
  if kind.name == "version" then
    local body = res:json()
    return body.before == body.after, "two versions in one answer"
  end
  return not res.body:find("on purpose", 1, true), "the answer discloses the error"
end

---Notes when something went wrong; put in the place of a ledger's `finish`.
---@param ledger blackbox.Ledger
function Traffic:watch(ledger)
  local finish = ledger.finish
  ledger.finish = function(_, id, outcome, latency, why)
    if outcome ~= "ok" then
      self.faults[#self.faults + 1] = { at = clock.now(), outcome = outcome, why = why or "" }
    end
    return finish(ledger, id, outcome, latency, why)
  end
end

local COUNT = "http_server_request_duration_seconds_count"

---How often the server has answered each kind, by route, method and class of status.
---@param m blackbox.Metrics
---@return table<string, number> by kind
function Traffic.counted(m)
  local counts = {}
  for _, kind in ipairs(KINDS) do
    counts[kind.name] = m:sum(COUNT, {
      http_route = kind.route, http_request_method = kind.method or "GET",
      http_response_status_class = ("%dxx"):format(math.floor(kind.status / 100)),
    })
  end
  return counts
end

return { new = new }
