--- Checks of what is declared: the options of groups and routes, and middleware.
---
--- A `level` says whose fault it is, as for `error()` in the caller.

local node = require "tycho._private.node"
local options = require "tycho.options"

local declare = {}

local MIDDLEWARE = options.set { "before", "after", "around", "authenticated", "name" }

-- What a group and a route may both have; then what only a route may.
local COMMON = {
  "tags", "auth", "timeout", "body_max", "concurrency", "slice_max", "cpu_max", "use", "envelope",
}
local OWN = {
  "summary", "description", "name", "deprecated", "body", "query", "params", "response", "status",
}

declare.GROUP = options.set(COMMON)
declare.ROUTE = options.set { unpack(COMMON) }
for _, name in ipairs(OWN) do
  declare.ROUTE[name] = true
end

local TYPES = {
  tags = "table", summary = "string", description = "string", name = "string",
  deprecated = "boolean", envelope = "boolean", timeout = "number", body_max = "number",
  concurrency = "number", slice_max = "number", cpu_max = "number",
  status = "number",
}
local SCHEMAS = { "body", "query", "params", "response" }

---Raises at `level` of the caller.
function declare.fail(level, text, ...)
  error(select("#", ...) > 0 and text:format(...) or text, level + 1)
end

local fail = declare.fail

local function check_type(name, value, wanted, level)
  if type(value) ~= wanted then
    fail(level + 1, "%s: a %s is wanted, not a %s", name, wanted, type(value))
  elseif wanted == "number" and value <= 0 then
    fail(level + 1, "%s: a positive number is wanted", name)
  end
end

-- What is neither of a wrong type nor negative.
local function check_value(opts, level)
  if opts.auth and type(opts.auth) ~= "string" then
    fail(level + 1, "auth: the name of an authenticator is wanted, or false")
  elseif opts.slice_max and (opts.slice_max < 0.01 or opts.slice_max > 4) then
    fail(level + 1, "slice_max: 0.01 to 4 seconds are possible")
  elseif opts.concurrency and (opts.concurrency % 1 ~= 0 or opts.concurrency > 1e9) then
    fail(level + 1, "concurrency: a whole number is wanted")
  elseif opts.status and (opts.status < 200 or opts.status > 599) then
    fail(level + 1, "status: %s is not a final status", tostring(opts.status))
  end
end

---The values of a group's or route's options.
function declare.check(opts, level)
  for name, wanted in pairs(TYPES) do
    if opts[name] ~= nil then
      check_type(name, opts[name], wanted, level + 1)
    end
  end
  for _, name in ipairs(SCHEMAS) do
    if opts[name] ~= nil and not node.is(opts[name]) then
      fail(level + 1, "%s: a schema is wanted, not a %s", name, type(opts[name]))
    end
  end
  check_value(opts, level + 1)
end

local function middleware_of(value, level)
  if type(value) == "function" then
    return { around = value }
  elseif type(value) ~= "table" then
    fail(level + 1, "middleware is a function or a table, not a %s", type(value))
  end
  options.check(value, MIDDLEWARE, level + 2)
  if not (value.before or value.after or value.around) then
    fail(level + 1, "middleware: before, after or around is wanted")
  end
  for _, name in ipairs { "before", "after", "around" } do
    if value[name] ~= nil and type(value[name]) ~= "function" then
      fail(level + 1, "middleware: %s is a function, not a %s", name, type(value[name]))
    end
  end
  return value
end

---Middleware as a list, whether one, several or none are given.
function declare.middleware(value, level)
  if value == nil then
    return {}
  elseif type(value) ~= "table" or value[1] == nil then
    return { (middleware_of(value, level + 1)) }
  end
  local list = {}
  for i, item in ipairs(value) do
    list[i] = middleware_of(item, level + 1)
  end
  return list
end

return declare
