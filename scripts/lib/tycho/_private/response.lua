--- Responses: making them, and making one of whatever a handler returned.

local core = require "tycho.core.http"

local Response = core.Response
local response = { Response = Response }

---A response; raises, blaming the line that called it, when it could not be sent. In C, because
---every answer that is not plain goes through it.
---@type fun(status: integer, body: any, headers: table?): table
response.new = core.response

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
