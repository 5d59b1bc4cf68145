--- Log records, with what they are about.
---
--- A record has a level, a message, and fields. The request's id, its trace and the generation of
--- scripts are added by themselves, also in fibers that a request started. Keep messages constant
--- and put what varies into fields: then records can be counted and searched.
---
--- Writing never waits: when the disk is slow, records are dropped and counted. Fields with names
--- such as `password`, `token`, `session` or `authorization` are written as "[redacted]", and so
--- are secrets in URLs; it is better not to log them at all.

local core = require "tycho.core.log"
local fiber = require "tycho.core.fiber"

---@class tycho.log.Logger
local Logger = {}
Logger.__index = Logger

local function write(level, module, message, fields)
  if not core.enabled(level, module) then
    return
  end
  if fields ~= nil and type(fields) ~= "table" then
    error(("log.%s: fields are a table, not a %s"):format(level, type(fields)), 3)
  end
  local more = fiber.running() and fiber.context().log or nil
  core.write(level, module, tostring(message), fields, more)
end

---For following what happens in detail; usually not written.
---
---```lua
---logger:debug("cache miss", { key = key })
---```
---@param message any
---@param fields? table<string, any>
function Logger:debug(message, fields)
  write("debug", self.name, message, fields)
end

---For what happens in normal operation and matters later.
---
---```lua
---logger:info("order created", { order_no = order.order_no })
---```
---@param message any
---@param fields? table<string, any>
function Logger:info(message, fields)
  write("info", self.name, message, fields)
end

---For what is odd, but was dealt with.
---
---```lua
---logger:warn("price list is old", { age = age })
---```
---@param message any
---@param fields? table<string, any>
function Logger:warn(message, fields)
  write("warn", self.name, message, fields)
end

---For what somebody should look into.
---
---```lua
---logger:error("payment not confirmed", { order_no = order_no, error = err })
---```
---@param message any
---@param fields? table<string, any>
function Logger:error(message, fields)
  write("error", self.name, message, fields)
end

local log = {}

---For following what happens in detail; usually not written.
---
---```lua
---log.debug("cache miss", { key = key })
---```
---@param message any
---@param fields? table<string, any>
function log.debug(message, fields)
  write("debug", "app", message, fields)
end

---For what happens in normal operation and matters later.
---
---```lua
---log.info("order created", { order_no = order.order_no })
---```
---@param message any
---@param fields? table<string, any>
function log.info(message, fields)
  write("info", "app", message, fields)
end

---For what is odd, but was dealt with.
---
---```lua
---log.warn("price list is old", { age = age })
---```
---@param message any
---@param fields? table<string, any>
function log.warn(message, fields)
  write("warn", "app", message, fields)
end

---For what somebody should look into.
---
---```lua
---log.error("payment not confirmed", { order_no = order_no, error = err })
---```
---@param message any
---@param fields? table<string, any>
function log.error(message, fields)
  write("error", "app", message, fields)
end

---A logger of its own for a part of the application, whose level the configuration can set by this
---name. Other records are of the module "app".
---
---```lua
---local logger = require("tycho.log").module "orders"
---logger:info("order created", { order_no = order.order_no })
---```
---@param name string a word
---@return tycho.log.Logger
function log.module(name)
  if type(name) ~= "string" or #name > 31 or not name:find "^[%w_.-]+$" then
    error("log.module: a name is a word of at most 31 letters, digits, '_', '-' and '.'", 2)
  end
  return setmetatable({ name = name }, Logger)
end

---Adds fields to every record that this fiber, and each that it starts from now on, writes.
---
---```lua
---log.bind { tenant = req.user.tenant }
---```
---@param fields table<string, any>
function log.bind(fields)
  if type(fields) ~= "table" then
    error("log.bind: fields are a table, not a " .. type(fields), 2)
  end
  local context, all = fiber.context(), {}
  for name, value in pairs(context.log or {}) do
    all[name] = value
  end
  for name, value in pairs(fields) do
    all[name] = value
  end
  context.log = all
end

---Would a record of that level be written? For records that are dear to make.
---
---```lua
---if log.is_enabled "debug" then log.debug("plan", { plan = explain(query) }) end
---```
---@param level "debug"|"info"|"warn"|"error"
---@param module? string "app" by default
---@return boolean
function log.is_enabled(level, module)
  return core.enabled(level, module or "app")
end

return log
