--- Responses: making them, and making one of whatever a handler returned.

local core = require "tycho.core.http"

local Response = core.Response
local check_header = core.check_header

local response = { Response = Response }

-- The server's own; it adds them itself.
local RESERVED = {
  connection = true, ["content-length"] = true, date = true, ["transfer-encoding"] = true,
  ["x-request-id"] = true, traceparent = true,
}

local function header_fault(name, value)
  if type(name) ~= "string" then
    return "names of headers are strings"
  elseif RESERVED[name:lower()] then
    return ("header %q is the server's own"):format(name)
  elseif type(value) == "number" then
    value = tostring(value)
  elseif type(value) ~= "string" then
    return ("header %q: a string is wanted, not a %s"):format(name, type(value))
  end
  local ok, why = check_header(name, value)
  if not ok then
    return ("header %q: %s"):format(name, why)
  end
end

local function headers_fault(headers)
  if type(headers) ~= "table" then
    return "headers are a table"
  end
  for name, value in pairs(headers) do
    local fault
    if type(value) == "table" then
      for _, item in ipairs(value) do
        fault = fault or header_fault(name, item)
      end
    else
      fault = header_fault(name, value)
    end
    if fault then
      return fault
    end
  end
end

---A response; raises in the caller's caller when it could not be sent.
---@param status integer
---@param body any
---@param headers? table
---@return table
function response.new(status, body, headers)
  if type(status) ~= "number" or status % 1 ~= 0 or status < 200 or status > 599 then
    error(("app.response: %s is not a final status"):format(tostring(status)), 3)
  end
  local fault = headers and headers_fault(headers)
  if fault then
    error("app.response: " .. fault, 3)
  end
  return setmetatable({ status = status, body = body, headers = headers }, Response)
end

---What a handler returned, as a response with headers that may be added to.
---@param result any
---@param status? integer the route's own, for a plain result
---@return table
function response.of(result, status)
  if getmetatable(result) == Response then
    result.headers = result.headers or {}
    return result
  end
  if result == nil then
    return setmetatable({ status = status or 204, headers = {} }, Response)
  end
  return setmetatable({ status = status or 200, body = result, headers = {} }, Response)
end

return response
