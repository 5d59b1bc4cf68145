--- For specs: requests to the application without a socket.
---
--- `tycho test` runs busted inside the runtime, so specs call waiting functions as handlers do.
--- A request made here goes through the router, middleware, authentication, validation and the
--- error answers of the real application; only the HTTP parser is left out.

local core = require "tycho.core.http"
local json = require "tycho.json"
local loader = require "tycho._private.loader"
local migrate = require "tycho.migrate"
local options = require "tycho.options"
local routes = require "tycho._private.routes"

local test = {}

-- This module is loaded anew for each file of specs; the application is not.
local app = require "tycho.app"

---Applies the migrations and loads the application (app/ and tasks/), once; `test.request` does it
---by itself.
---
---```lua
---test.load()
---local orders = require "app.orders"
---```
---@async
function test.load()
  if routes.is_sealed() then
    return
  end
  migrate.run_on_start()
  local faults = loader.load_all()
  if faults then
    error(faults, 2)
  end
end

---@class tycho.test.Options
---@field headers? table<string, string>
---@field json? any sent as a JSON body
---@field body? string sent as it is
---@field token? string sent as `Authorization: Bearer ...`

local KNOWN = options.set { "headers", "json", "body", "token" }

---@class tycho.test.Response
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string
---@field json any the decoded body where it is JSON

local function send(method, target, opts)
  local headers, body = {}, opts.body
  for name, value in pairs(opts.headers or {}) do
    headers[name] = value
  end
  if opts.json ~= nil then
    body = json.encode(opts.json)
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  if opts.token then
    headers.authorization = "Bearer " .. opts.token
  end

  local status, answer_headers, text = core.simulate(method, target, headers, body)
  local response = { status = status, headers = answer_headers, body = text }
  if (answer_headers["content-type"] or ""):find("json", 1, true) then
    response.json = json.decode(text)
  end
  return response
end

---Sends one request through the application.
---
---```lua
---local res = test.request("POST", "/api/orders", { json = { product = "tea" } })
---assert.equal(201, res.status)
---```
---@async
---@param method string
---@param target string path and query
---@param opts? tycho.test.Options
---@return tycho.test.Response
function test.request(method, target, opts)
  opts = options.check(opts, KNOWN)
  test.load()
  return send(method, target, opts)
end

-- The modules that hold what an application has declared.
local STATEFUL = { "tycho.app", "tycho._private.routes", "tycho._private.checks" }

local function fresh_application()
  local prefix = routes.next_prefix()
  local kept = {}
  for _, name in ipairs(STATEFUL) do
    kept[name], package.loaded[name] = package.loaded[name], nil
  end
  require("tycho._private.routes").prefix = prefix
  local fresh = require "tycho.app"
  for _, name in ipairs(STATEFUL) do
    package.loaded[name] = kept[name]
  end
  return fresh, prefix
end

---An application of its own, for specs of middleware and the like. Returns a function that sends
---requests to it, with the arguments of `test.request`.
---
---```lua
---local request = test.application(function(app)
---  app.use(my_middleware)
---  app.get("/", function() return "hello" end)
---end)
---assert.equal("hello", request("GET", "/").body)
---```
---@param declare fun(app: table)
---@return fun(method: string, target: string, opts?: tycho.test.Options): tycho.test.Response
function test.application(declare)
  local fresh, prefix = fresh_application()
  declare(fresh)
  fresh.seal()
  app.answer_the_rest()

  return function(method, target, opts)
    opts = options.check(opts, KNOWN)
    fresh.answer_the_rest()
    local ok, response = pcall(send, method, prefix .. target, opts)
    app.answer_the_rest()
    if not ok then
      error(response, 0)
    end
    return response
  end
end

return test
