--- Responses: making them, and making one of whatever a handler returned.

local core = require "tycho.core.http"

local Response, fault_of = core.Response, core.response_fault
local response = { Response = Response }

---A response; raises, blaming the line that called it, when it could not be sent.
---@param status integer
---@param body any
---@param headers? table
---@return table
function response.new(status, body, headers)
  local fault = fault_of(status, headers)
  if fault then
    error("app.response: " .. fault, 2)
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
