--- One function out of a route's middleware, authentication, schemas and handler.
---
--- From the outside in: middleware of the app, the groups and the route; authentication; middleware
--- that wants to know the user (`authenticated = true`); schemas; the handler. It is composed once,
--- when everything is loaded; a route that has none of these is its handler, unwrapped.

local answer = require "tycho._private.answer"
local core = require "tycho.core.http"
local errors = require "tycho.errors"
local response = require "tycho._private.response"
local validate = require "tycho._private.validate"

local Response, response_of = response.Response, response.of
local traceback = debug.traceback

local chain = {}

local function with_traceback(raised)
  return { raised = raised, traceback = traceback("", 2):sub(2) } -- without the line break
end

-- `inner`, but errors come out as the answers that they lead to: what is outside sees those too.
local function guard(inner, status, envelope, development)
  return function(req)
    local ok, result = xpcall(inner, with_traceback, req)
    if ok then
      return response_of(result, status)
    end
    if type(result) ~= "table" then -- out of memory, even for a traceback
      result = { raised = result, traceback = "" }
    end
    core.failed(result.raised, result.traceback)
    return answer.to(result.raised, req, development and result.traceback or nil, envelope)
  end
end

local function around_of(around, guarded)
  local function continue(req)
    if type(req) ~= "table" then
      error("next(req): the request is missing", 2)
    end
    return guarded(req)
  end
  return function(req)
    return around(req, continue)
  end
end

local function after_of(after, guarded)
  return function(req)
    local res = guarded(req)
    local other = after(req, res)
    if other ~= nil then
      return other
    end
    return res
  end
end

local function before_of(before, inner, success)
  return function(req)
    local result = before(req)
    if result == nil then
      return inner(req)
    elseif success and getmetatable(result) ~= Response then
      return success(result, req)
    end
    return result
  end
end

local function wrap(middleware, inner, context)
  local function guarded(fn)
    return guard(fn, context.status, context.failure, context.development)
  end
  if middleware.around then
    inner = around_of(middleware.around, guarded(inner))
  end
  if middleware.before then
    inner = before_of(middleware.before, inner, context.success)
  end
  if middleware.after then
    inner = after_of(middleware.after, guarded(inner))
  end
  return inner
end

local function wrap_all(list, authenticated, inner, context)
  for i = #list, 1, -1 do
    if (list[i].authenticated or false) == authenticated then
      inner = wrap(list[i], inner, context)
    end
  end
  return inner
end

local function authenticated(authenticate, inner)
  return function(req)
    local user = authenticate(req)
    if user == nil or user == false then
      error(errors.new("unauthorized", "please sign in", {
        msg = { en = "please sign in", zh = "请先登录" },
      }), 0)
    end
    req.user = user
    return inner(req)
  end
end

local function filtered(filter, result)
  if result == nil then
    return nil
  elseif getmetatable(result) ~= Response then
    return filter(result)
  end
  if type(result.body) == "table" and result.status < 300 then
    result.body = filter(result.body)
  end
  return result
end

-- The handler between the checks of what comes in and what goes out.
local function checked(handler, check, filter, success)
  if not (check or filter or success) then
    return handler
  end
  return function(req)
    if check then
      check(req)
    end
    local result = handler(req)
    if filter then
      result = filtered(filter, result)
    end
    if success and getmetatable(result) ~= Response then
      return success(result, req)
    end
    return result
  end
end

---@class tycho.chain.Context
---@field where string the route's place
---@field status? integer
---@field use table[] middleware, the outermost first
---@field authenticate? fun(req: table): any
---@field success? function of the envelope
---@field failure? function of the envelope
---@field development boolean

---@param handler fun(req: table): any
---@param schemas { params?: table, query?: table, body?: table, response?: table }
---@param context tycho.chain.Context
---@return fun(req: table): any
function chain.compose(handler, schemas, context)
  local filter = schemas.response and validate.answer(schemas.response, context.where)
  local inner = checked(handler, validate.request(schemas), filter, context.success)
  inner = wrap_all(context.use, true, inner, context)
  if context.authenticate then
    inner = authenticated(context.authenticate, inner)
  end
  return (wrap_all(context.use, false, inner, context))
end

return chain
