--- What an application has declared: groups, routes, middleware. They are made into routes of the
--- server when everything is loaded, so that the order of files and declarations does not matter.

local answer = require "tycho._private.answer"
local chain = require "tycho._private.chain"
local core = require "tycho.core.http"
local declare = require "tycho._private.declare"
local options = require "tycho.options"
local place = require "tycho._private.place"
local suggest = require "tycho._private.suggest"

local routes = {
  prefix = "", -- before every path; for specs that declare applications of their own
}

local state = {
  routes = {},
  authenticators = {},
  envelope = nil,
  sealed = false,
  development = require("tycho.core.vm").about().development,
}

local fail, check_types, middleware_list = declare.fail, declare.check, declare.middleware

local function check_open(level)
  if state.sealed then
    fail(level + 1, "this is declared while the scripts load, not later")
  end
end

---@param parent table?
---@param prefix string
---@param opts table?
---@param level integer
function routes.group(parent, prefix, opts, level)
  check_open(level + 1)
  if type(prefix) ~= "string" or not (prefix == "" or prefix:find("^/.*[^/]$")) then
    fail(level + 1, 'a prefix is like "/api": %s is not', tostring(prefix))
  end
  opts = options.check(opts, declare.GROUP, level + 2)
  check_types(opts, level + 1)
  return {
    parent = parent, prefix = (parent and parent.prefix or "") .. prefix, options = opts,
    use = middleware_list(opts.use, level + 1),
  }
end

---More middleware for a group.
function routes.use(group, middleware, level)
  check_open(level + 1)
  for _, item in ipairs(middleware_list(middleware, level + 1)) do
    group.use[#group.use + 1] = item
  end
end

---More options for a group: the app itself is one.
function routes.configure(group, opts, level)
  check_open(level + 1)
  opts = options.check(opts, declare.GROUP, level + 2)
  check_types(opts, level + 1)
  for name, value in pairs(opts) do
    if name == "use" then
      routes.use(group, value, level + 1)
    else
      group.options = setmetatable({ [name] = value }, { __index = group.options })
    end
  end
end

local function check_params(pattern, params, level)
  if params == nil then
    return
  end
  for name in pairs(params.fields or {}) do
    if not (pattern:find("{" .. name .. "}", 1, true)
      or pattern:find("{" .. name .. "...}", 1, true)) then
      fail(level + 1, "params: %q is not in %s", name, pattern)
    end
  end
end

local function check_path(group, path, level)
  if group == nil then
    fail(level + 1, "a group's functions are called with a colon: group:get(path, handler)")
  elseif type(path) == "table" then
    fail(level + 1, "the app's functions are called with a dot: app.get(path, handler)")
  elseif type(path) ~= "string" or not (path == "" or path:find("^/")) then
    fail(level + 1, 'a path is like "/orders/{id}": %s is not', tostring(path))
  elseif path:find("/:[%a_]") then
    fail(level + 1, "%s: a parameter is {%s}", path, path:match("/:([%w_]+)"))
  end
end

---Declares one route of a group.
function routes.add(group, methods, path, opts, handler, level)
  check_open(level + 1)
  if handler == nil and type(opts) == "function" then
    opts, handler = nil, opts
  end
  check_path(group, path, level + 1)
  if type(handler) ~= "function" then
    fail(level + 1, "%s: the handler is a function, not a %s", path, type(handler))
  end
  opts = options.check(opts, declare.ROUTE, level + 2)
  check_types(opts, level + 1)
  check_params(group.prefix .. path, opts.params, level + 1)
  if type(methods[1]) == "table" then
    methods = methods[1]
  end
  state.routes[#state.routes + 1] = {
    group = group, methods = methods, pattern = group.prefix .. path, options = opts,
    use = middleware_list(opts.use, level + 1), handler = handler, where = place(level + 1),
  }
end

function routes.authenticator(name, fn, level)
  check_open(level + 1)
  if type(name) ~= "string" or type(fn) ~= "function" then
    fail(level + 1, "app.auth: a name and a function are wanted")
  elseif state.authenticators[name] then
    fail(level + 1, "app.auth: %q was declared at %s", name, state.authenticators[name].where)
  end
  state.authenticators[name] = { fn = fn, where = place(level + 1) }
end

function routes.envelope(envelope, level)
  check_open(level + 1)
  if state.envelope then
    fail(level + 1, "app.envelope: it was declared at %s", state.envelope.where)
  end
  state.envelope = {
    success = envelope.success, error = envelope.error, where = place(level + 1),
  }
end

-- The nearest value of an option: the route's, its group's, and so on to the app's.
local function option(route, name)
  if route.options[name] ~= nil then
    return route.options[name]
  end
  local group = route.group
  while group do
    if group.options[name] ~= nil then
      return group.options[name]
    end
    group = group.parent
  end
end

local function middleware_chain(route)
  local lists, all = { route.use }, {}
  local group = route.group
  while group do
    table.insert(lists, 1, group.use)
    group = group.parent
  end
  for _, list in ipairs(lists) do
    for _, item in ipairs(list) do
      all[#all + 1] = item
    end
  end
  return all
end

local function authenticator_of(route)
  local name = option(route, "auth")
  if not name then
    return nil
  end
  local found = state.authenticators[name]
  if not found then
    error(("%s: unknown authenticator %q%s"):format(route.where, name,
      suggest(name, state.authenticators)), 0)
  end
  return found.fn
end

local function compose(route)
  local envelope = option(route, "envelope") ~= false and state.envelope or {}
  return chain.compose(route.handler, route.options, {
    where = route.where, status = route.options.status, use = middleware_chain(route),
    authenticate = authenticator_of(route), success = envelope.success,
    failure = state.envelope and state.envelope.error, development = state.development,
  })
end

local function register(route)
  core.route(route.methods, routes.prefix .. route.pattern, route.where, {
    body_max = option(route, "body_max"), timeout = option(route, "timeout"),
    concurrency = option(route, "concurrency"),
    slice_max = option(route, "slice_max"), cpu_max = option(route, "cpu_max"),
    status = route.options.status, strict = option(route, "auth") and true or false,
  }, compose(route))
end

-- A message with the place of the route in it, once.
local function located(message, route)
  message = tostring(message):gsub("^tycho/[^\n:]+:%d+: ", "")
  if message:find(route.where, 1, true) then
    return message
  end
  return route.where .. ": " .. message
end

---@return boolean
function routes.is_sealed()
  return state.sealed
end

local applications = 0

---A prefix that nobody has, for an application of a spec.
---@return string
function routes.next_prefix()
  applications = applications + 1
  return "/application" .. applications
end

---Everything is loaded: hands all routes to the server, and allows no more.
---@param root table the app's own group
function routes.seal(root)
  check_open(1)
  local faults = {}
  for _, route in ipairs(state.routes) do
    local ok, err = pcall(register, route)
    if not ok then
      faults[#faults + 1] = located(err, route)
    end
  end
  if faults[1] then
    error(table.concat(faults, "\n"), 0)
  end
  state.sealed = true
  routes.answer_the_rest(root)
end

---From now on this application answers what no route takes, and errors.
---@param root table
function routes.answer_the_rest(root)
  local failure = state.envelope and state.envelope.error
  local development = state.development
  local handler = chain.compose(answer.unmatched, {}, {
    where = "tycho", use = middleware_chain { use = {}, group = root }, failure = failure,
    development = development,
  })
  core.unmatched(function(req, allow)
    if allow then
      req[answer.ALLOW] = allow
    end
    return handler(req)
  end)
  core.on_error(function(err, req, traceback)
    return answer.to(err, req, development and traceback or nil, failure)
  end)
end

---What was declared, in order.
---@return table[]
function routes.list()
  local list = {}
  for i, route in ipairs(state.routes) do
    list[i] = {
      methods = route.methods, path = route.pattern, where = route.where,
      options = route.options, auth = option(route, "auth"), tags = option(route, "tags"),
    }
  end
  return list
end

return routes
