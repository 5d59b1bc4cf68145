--- From an error to the answer that the client gets: RFC 9457, or the application's own envelope.
---
--- A client is told what it can act on, in its language. What went wrong inside is in the log,
--- under the request's id, and nowhere else - except in development, where the traceback is shown.

local devpage = require "tycho._private.devpage"
local errors = require "tycho.errors"
local faults = require "tycho._private.faults"
local i18n = require "tycho.i18n"
local Response = require("tycho._private.response").Response
local is_error = require("tycho.core.error").is

local answer = {}

local TITLES = {
  [400] = "Bad Request", [401] = "Unauthorized", [402] = "Payment Required", [403] = "Forbidden",
  [404] = "Not Found", [405] = "Method Not Allowed", [406] = "Not Acceptable",
  [409] = "Conflict", [410] = "Gone", [412] = "Precondition Failed",
  [413] = "Content Too Large", [415] = "Unsupported Media Type",
  [422] = "Unprocessable Content", [423] = "Locked", [428] = "Precondition Required",
  [429] = "Too Many Requests", [499] = "Client Closed Request",
  [500] = "Internal Server Error", [501] = "Not Implemented", [502] = "Bad Gateway",
  [503] = "Service Unavailable", [504] = "Gateway Timeout",
}

local INTERNAL = { kind = "internal" }

-- The list of faults in the caller's language, ready to be sent.
local function described(list, locale)
  local out = {}
  for i, item in ipairs(list) do
    local fault = item.fault
    out[i] = fault and {
      location = item.location, pointer = item.pointer, detail = faults.text(fault, locale),
    } or item
  end
  return out
end

---The default body of an error answer: application/problem+json.
local function problem(err, req, message, status)
  return status, {
    type = "about:blank", title = TITLES[status] or "Error", status = status, detail = message,
    request_id = req.id, code = err.code, errors = err.errors,
  }
end

local function headers_of(err, status, locale)
  local headers = { ["Content-Language"] = locale, Vary = "Accept-Language" }
  for name, value in pairs(err.headers or {}) do
    headers[name] = value
  end
  if status == 401 and not headers["WWW-Authenticate"] then
    headers["WWW-Authenticate"] = "Bearer"
  end
  if err.retry_after then
    headers["Retry-After"] = tostring(math.ceil(err.retry_after))
  end
  return headers
end

local function is_browser(req)
  return (req.headers.accept or ""):find("text/html", 1, true) ~= nil
end

local function body_of(err, req, message, status, envelope)
  if not envelope then
    return problem(err, req, message, status)
  end
  local own, body = envelope(err, req, message)
  return own or status, body
end

-- Of `cancelled` only a client hears that is still there: it was the server that gave up.
local function status_of(err)
  local status = errors.status(err)
  return status == 499 and 503 or status
end

---The answer to whatever a handler raised.
---@param raised any an error object, or any other value: a fault of the program
---@param req table
---@param traceback? string given in development only
---@param envelope? fun(err, req, message): integer, any the application's own form
---@return table response
function answer.to(raised, req, traceback, envelope)
  local err = is_error(raised) and raised or INTERNAL
  local locale = i18n.locale(req)
  local status = status_of(err)
  local body

  traceback = status >= 500 and traceback or nil
  if traceback and is_browser(req) then
    return devpage.render(req, TITLES[status] or "Error", tostring(raised), traceback)
  end
  if err.errors then
    err.errors = described(err.errors, locale)
  end
  local headers = headers_of(err, status, locale)
  status, body = body_of(err, req, errors.message(err, locale), status, envelope)
  if not envelope then
    headers["Content-Type"] = "application/problem+json"
  end
  if traceback and type(body) == "table" then
    body.exception, body.traceback = tostring(raised), traceback
  end
  return setmetatable({ status = status, headers = headers, body = body }, Response)
end

errors.define("http.method_not_allowed", {
  status = 405, kind = "invalid", msg = { en = "this method is not allowed here", zh = "不支持该请求方法" },
})
errors.define("http.not_found", {
  status = 404, msg = { en = "there is nothing here", zh = "请求的地址不存在" },
})

---Where a request that no route takes keeps the methods that its path has, through middleware.
answer.ALLOW = {}

---Answers requests that no route takes.
---@param req table
function answer.unmatched(req)
  local allow = rawget(req, answer.ALLOW)
  if not allow then
    errors.raise "http.not_found"
  elseif req.method == "OPTIONS" then
    return setmetatable({ status = 204, headers = { Allow = allow } }, Response)
  end
  errors.raise("http.method_not_allowed", { headers = { Allow = allow } })
end

return answer
