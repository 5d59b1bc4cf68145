--- The application: its routes, what runs around them, and what its answers look like.
---
--- Everything is declared while the scripts load and takes effect when all of them are loaded, so
--- the order of files does not matter. A wrong declaration is refused with its line, and then
--- nothing of the new version goes live.
---
---```lua
---local app = require "tycho.app"
---
---app.get("/hello/{name}", function(req)
---  return { hello = req.params.name }
---end)
---```

local checks = require "tycho._private.checks"
local options = require "tycho.options"
local place = require "tycho._private.place"
local response = require "tycho._private.response"
local routes = require "tycho._private.routes"

---@class tycho.app
---@field get tycho.app.Declare
---@field post tycho.app.Declare
---@field put tycho.app.Declare
---@field patch tycho.app.Declare
---@field delete tycho.app.Declare
---@field options tycho.app.Declare
---@field head tycho.app.Declare
local app = {}

---@class tycho.app.Request fields are computed when they are first asked for
---@field id string also in the log and in X-Request-Id
---@field method string
---@field path string decoded
---@field route string? the pattern that matched
---@field params table<string, string>
---@field query table<string, string> the last value of each name
---@field query_all table<string, string[]>
---@field headers table<string, string> names in lower case
---@field cookies table<string, string>
---@field body any decoded JSON or form, else the text; nil if there is none
---@field raw_body string?
---@field ip string of the client; a trusted proxy's word is taken
---@field host string
---@field scheme "http"|"https"
---@field target string as sent
---@field trailers table<string, string>
---@field generation string the id of the scripts that serve this request
---@field trace { trace_id: string, span_id: string, parent_id: string? }
---@field user any what the route's authenticator returned
---@field locale string? the caller's language, once it is known

---@class tycho.app.Response
---@field status integer
---@field headers table<string, string|string[]>
---@field body any

---@alias tycho.app.Handler fun(req: tycho.app.Request): any

---@class tycho.app.Middleware
---@field before? fun(req): any what it returns, if anything, is the answer
---@field after? fun(req, res): tycho.app.Response? sees every answer, errors too; may replace it
---@field around? fun(req, next): any calls `next(req)`, which never raises, for the answer
---@field authenticated? boolean runs after authentication: `req.user` is there
---@field name? string

---@class tycho.app.GroupOptions
---@field tags? string[]
---@field auth? string|false the authenticator that lets callers in; false: anybody
---@field timeout? number seconds for the handler
---@field body_max? integer bytes
---@field concurrency? integer requests of each route at once in a worker; more wait for their turn
---@field slice_max? number seconds that its scripts may run without a pause; lua.slice_max if unset
---@field cpu_max? number seconds that its scripts may run in all; lua.cpu_max if unset
---@field use? function|tycho.app.Middleware|(function|tycho.app.Middleware)[]
---@field envelope? boolean false: plain results are sent as they are

---@class tycho.app.RouteOptions: tycho.app.GroupOptions
---@field summary? string
---@field description? string
---@field name? string
---@field deprecated? boolean
---@field params? tycho.schema.Schema of the path's parameters
---@field query? tycho.schema.Schema
---@field body? tycho.schema.Schema
---@field response? tycho.schema.Schema members that it does not declare are left out
---@field status? integer of a plain result; 200 by default

---The methods `get`, `post`, `put`, `patch`, `delete`, `options` and `head` declare a route for
---that method.
---
---```lua
---app.get("/orders/{id}", { params = s.object { id = s.integer() } }, function(req) ... end)
---orders:post("", { body = NewOrder, status = 201 }, function(req) ... end)
---```
---@alias tycho.app.Declare fun(path: string, opts: table|function, handler?: function)
---@alias tycho.app.DeclareIn fun(self, path: string, opts: table|function, fn?: function)

---@class tycho.app.Group
---@field package node table
---@field get tycho.app.DeclareIn
---@field post tycho.app.DeclareIn
---@field put tycho.app.DeclareIn
---@field patch tycho.app.DeclareIn
---@field delete tycho.app.DeclareIn
---@field options tycho.app.DeclareIn
---@field head tycho.app.DeclareIn
local Group = {}
Group.__index = Group

local root = setmetatable({ node = routes.group(nil, "", nil, 1) }, Group)

-- Nothing below may be a tail call: the place of a declaration is found by counting callers.

---Declares a route for several methods.
---
---```lua
---group:route({ "PUT", "PATCH" }, "/{id}", function(req) ... end)
---```
---@param methods string|string[]
---@param path string
---@param opts? tycho.app.RouteOptions may be left out
---@param handler? tycho.app.Handler
function Group:route(methods, path, opts, handler)
  routes.add(self.node, { methods }, path, opts, handler, 2)
end

---As `group:route`, of the app.
---
---```lua
---app.route({ "PUT", "PATCH" }, "/orders/{id}", function(req) ... end)
---```
---@param methods string|string[]
---@param path string
---@param opts? tycho.app.RouteOptions may be left out
---@param handler? tycho.app.Handler
function app.route(methods, path, opts, handler)
  routes.add(root.node, { methods }, path, opts, handler, 2)
end

for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD" } do
  local methods = { method }
  app[method:lower()] = function(path, opts, handler)
    routes.add(root.node, methods, path, opts, handler, 2)
  end
  Group[method:lower()] = function(self, path, opts, handler)
    routes.add(self.node, methods, path, opts, handler, 2)
  end
end

---A group within the group: a longer prefix, and options that its routes share.
---
---```lua
---local orders = api:group("/orders", { auth = "user", tags = { "orders" } })
---```
---@param prefix string
---@param opts? tycho.app.GroupOptions
---@return tycho.app.Group
function Group:group(prefix, opts)
  local node = routes.group(self.node, prefix, opts, 2)
  return setmetatable({ node = node }, Group)
end

---A group of routes with a common prefix and common options.
---
---```lua
---local orders = app.group("/api/orders", { auth = "user" })
---orders:get("/{id}", function(req) return find(req.params.id) end)
---```
---@param prefix string
---@param opts? tycho.app.GroupOptions
---@return tycho.app.Group
function app.group(prefix, opts)
  local node = routes.group(root.node, prefix, opts, 2)
  return setmetatable({ node = node }, Group)
end

---Adds middleware to the group, inside what it has already.
---
---```lua
---orders:use { before = function(req) ... end }
---```
---@param middleware function|tycho.app.Middleware a bare function is `around`
function Group:use(middleware)
  routes.use(self.node, middleware, 2)
end

---Adds middleware to the app: it runs for every request, also for those that no route takes.
---
---```lua
---app.use(function(req, next)
---  local res = next(req)
---  res.headers["Cache-Control"] = "no-store"
---  return res
---end)
---```
---@param middleware function|tycho.app.Middleware a bare function is `around`
function app.use(middleware)
  routes.use(root.node, middleware, 2)
end

---Options for all routes that do not say otherwise.
---
---```lua
---app.defaults { auth = "user", timeout = 10 }
---```
---@param opts tycho.app.GroupOptions
function app.defaults(opts)
  routes.configure(root.node, opts, 2)
end

---Says who a caller is. A route with `auth = name` calls it first; what it returns is `req.user`.
---Returning nothing, or raising, is the answer 401, or whatever was raised.
---
---```lua
---app.auth("user", function(req)
---  return sessions.user_of(req.headers.authorization)
---end)
---```
---@param name string
---@param fn fun(req: tycho.app.Request): any
function app.auth(name, fn)
  routes.authenticator(name, fn, 2)
end

local ENVELOPE = options.set { "success", "error" }

---The form of all answers. Without it a plain result is sent as it is, and an error as
---`application/problem+json` (RFC 9457).
---
---```lua
---app.envelope {
---  success = function(data, req) return { code = 10000, data = data, msg = "success" } end,
---  error = function(err, req, message)
---    return nil, { code = err.code or 10500, msg = message, request_id = req.id }
---  end,
---}
---```
---@param envelope { success?: function, error?: function } `error` returns a status (nil: the
---error's own) and a body, and must not wait; `message` is in the caller's language and fit for it
function app.envelope(envelope)
  options.check(envelope, ENVELOPE, 3)
  for name, fn in pairs(envelope) do
    if type(fn) ~= "function" then
      error(("app.envelope: %s is a function, not a %s"):format(name, type(fn)), 2)
    end
  end
  routes.envelope(envelope, 2)
end

---Declares what must hold before this version of the scripts goes live. It may wait; raising
---refuses the version.
---
---```lua
---app.check(function()
---  assert(config.get "app.auth.secret", "app.auth.secret is not set")
---end)
---```
---@async
---@param fn function
function app.check(fn)
  if type(fn) ~= "function" then
    error(("app.check: a function is wanted, not a %s"):format(type(fn)), 2)
  end
  checks.add(fn, place(2))
end

---An answer with a status and headers of its own. It is checked here and now, and the envelope
---leaves it alone.
---
---```lua
---return app.response(201, order, { Location = "/orders/" .. order.id })
---```
---@type fun(status: integer, body?: any, headers?: table): tycho.app.Response
app.response = response.new -- as it is: a frame between would be blamed for faults

local REDIRECTIONS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

---Sends the client to another address; what is not allowed in one is escaped.
---
---```lua
---return app.redirect("/orders/" .. id, 303)
---```
---@param url string
---@param status? integer 301, 302 (default), 303, 307 or 308
---@return tycho.app.Response
function app.redirect(url, status)
  status = status or 302
  if type(url) ~= "string" or url == "" then
    error("app.redirect: an address is wanted", 2)
  elseif not REDIRECTIONS[status] then
    error(("app.redirect: %s is not a redirection"):format(tostring(status)), 2)
  end
  local location = url:gsub("[^%w%-._~:/?#%[%]@!$&'()*+,;=%%]", function(char)
    return ("%%%02X"):format(char:byte())
  end)
  local made = response.new(status, nil, { Location = location })
  return made
end

---The routes that were declared.
---
---```lua
---for _, route in ipairs(app.routes()) do print(route.path, route.where) end
---```
---@return { methods: string[], path: string, where: string, options: table }[]
function app.routes()
  return routes.list()
end

---@package the loader calls it when everything is loaded
function app.seal()
  routes.seal(root.node)
end

---@package for tycho.test
function app.answer_the_rest()
  routes.answer_the_rest(root.node)
end

return app
