--- Errors that an application raises, with a name, a number, and words for people.
---
--- An error object says by its `kind` what the caller can do about it; the kinds are a closed set
--- (`errors.kinds()`), each with an HTTP status. An application defines its own errors once, by
--- name, and raises them anywhere: nobody has to pass them up, and the answer says the right thing
--- in the caller's language. Faults of the program are no error objects but plain strings.

local core = require "tycho.core.error"
local i18n = require "tycho.i18n"
local options = require "tycho.options"
local suggest = require "tycho._private.suggest"
local place = require "tycho._private.place"

local errors = {}

---@class tycho.errors.Error
---@field kind string one of `errors.kinds()`
---@field message string for people
---@field detail? string the exact name, in the words of whoever reports it (`23505`)
---@field name? string as given to `errors.define`
---@field code? integer the application's number
---@field status? integer of the HTTP answer; the kind's by default
---@field public? boolean whether message and detail may be shown to a client

---@class tycho.errors.Definition
---@field code? integer the application's number for it
---@field status? integer of the HTTP answer; the kind's by default
---@field kind? string the status's by default
---@field msg tycho.i18n.Text `{name}` in it stands for a field given to `errors.raise`

local KINDS = core.kinds()
local DEFINITION = options.set { "code", "status", "kind", "msg" }
local FIELDS_RESERVED = options.set { "kind", "message", "name", "public" }

local KIND_OF_STATUS = {
  [400] = "invalid", [401] = "unauthorized", [403] = "forbidden", [404] = "not_found",
  [409] = "conflict", [413] = "too_large", [422] = "invalid", [429] = "limited",
  [500] = "internal", [503] = "unavailable", [504] = "timeout",
}

---What is said to a client when an error's own words are not meant for it.
local WORDS = {
  invalid = { en = "the request is not valid", zh = "请求无效" },
  unauthorized = { en = "please sign in", zh = "请先登录" },
  forbidden = { en = "not allowed", zh = "没有权限" },
  not_found = { en = "not found", zh = "未找到" },
  conflict = { en = "in conflict with what is there already", zh = "与现有数据冲突" },
  too_large = { en = "too large", zh = "内容过大" },
  limited = { en = "too many requests, try again later", zh = "请求过于频繁，请稍后再试" },
  cancelled = { en = "cancelled", zh = "请求已取消" },
  internal = { en = "something went wrong on our side", zh = "服务器内部错误" },
  unavailable = { en = "not available at the moment, try again later", zh = "服务暂时不可用，请稍后再试" },
  timeout = { en = "this took too long, try again later", zh = "处理超时，请稍后再试" },
  unknown_outcome = {
    en = "it is not known whether this was done: check before trying again",
    zh = "操作结果未知，请先确认再重试",
  },
}

local registry = {}
local codes = {}

local function kind_of(definition)
  if definition.kind then
    return KINDS[definition.kind] and definition.kind
  end
  local status = definition.status or 400
  return KIND_OF_STATUS[status] or (status >= 500 and "internal" or "invalid")
end

local function is_status(value)
  return type(value) == "number" and value >= 400 and value <= 599 and value % 1 == 0
end

-- What is wrong with a definition by itself, or nil.
local function fault_of(definition)
  local status, code, msg = definition.status, definition.code, definition.msg
  if type(msg) ~= "string" and type(msg) ~= "table" then
    return "msg is missing"
  elseif status and not is_status(status) then
    return "status is from 400 to 599"
  elseif code and type(code) ~= "number" then
    return "code is a number"
  elseif not kind_of(definition) then
    return ("unknown kind %q%s"):format(tostring(definition.kind), suggest(definition.kind, KINDS))
  end
end

local function clash_of(name, code)
  if registry[name] then
    return "it was defined at " .. registry[name].where
  elseif codes[code] then
    return ("code %d is %q, which was defined at %s"):format(code, codes[code].name,
      codes[code].where)
  end
end

---Defines an error; each name and each code once.
---
---```lua
---errors.define("order.not_found", {
---  code = 20001, status = 404, msg = { en = "order not found", zh = "订单不存在" },
---})
---```
---@param name string
---@param definition tycho.errors.Definition
function errors.define(name, definition)
  if type(name) ~= "string" or name == "" then
    error("an error's name is a string", 2)
  end
  options.check(definition, DEFINITION, 3)
  local fault = fault_of(definition) or clash_of(name, definition.code)
  if fault then
    error(("error %q: %s"):format(name, fault), 2)
  end
  local entry = {
    name = name, code = definition.code, msg = definition.msg, kind = kind_of(definition),
    status = definition.status, where = place(2),
  }
  registry[name] = entry
  if entry.code then
    codes[entry.code] = entry
  end
end

---Raises a defined error. The fields become the object's, and fill the `{name}`s in its message.
---
---```lua
---errors.raise("order.not_found", { order_no = order_no })
---```
---@param name string
---@param fields? table<string, any>
function errors.raise(name, fields)
  local entry = registry[name]
  if not entry then
    error(("unknown error %q%s"):format(tostring(name), suggest(name, registry)), 2)
  end
  local all = { name = name, code = entry.code, status = entry.status, public = true }
  for key, value in pairs(fields or {}) do
    if FIELDS_RESERVED[key] then
      error(("error %q: field %q is the error's own"):format(name, key), 2)
    end
    all[key] = value
  end
  error(core.new(entry.kind, i18n.text(entry.msg, i18n.default, all), all.detail, all), 0)
end

---Makes an error object without raising it: for errors that need no name.
---
---```lua
---error(errors.new("conflict", "the shop is closed on Sundays"), 0)
---```
---@param kind string one of `errors.kinds()`
---@param message string for people; shown to the client unless `opts.public` is false
---@param opts? table<string, any> further fields: `detail`, `code`, `status`, `public`, any other
---@return tycho.errors.Error
function errors.new(kind, message, opts)
  if not KINDS[kind] then
    error(("unknown kind of error %q%s"):format(tostring(kind), suggest(kind, KINDS)), 2)
  end
  if type(message) ~= "string" then
    error("an error's message is a string", 2)
  end
  local fields = { public = true }
  for key, value in pairs(opts or {}) do
    fields[key] = value
  end
  return core.new(kind, message, fields.detail, fields)
end

local function check(first, second, ...)
  if first == nil and second ~= nil then
    error(second, 0)
  end
  return first, second, ...
end

---Passes results through; raises the error of `nil, err`.
---
---```lua
---return errors.check(core.resolve(host))
---```
---@param ... any
---@return any ...
function errors.check(...)
  return check(...)
end

---Is it an error object - of this name, or of this kind?
---
---```lua
---if errors.is(err, "conflict") then ... end
---```
---@param value any
---@param what? string a name or a kind; any by default
---@return boolean
function errors.is(value, what)
  return core.is(value) and (what == nil or value.name == what or value.kind == what)
end

---The HTTP status that stands for an error object: its own, if that is one of an error.
---
---```lua
---errors.status(err) -- 404
---```
---@param err tycho.errors.Error
---@return integer status
function errors.status(err)
  return is_status(err.status) and err.status or KINDS[err.kind] or 500
end

---What to tell a client, in its language: the error's own words where an application wrote them,
---the kind's words where a library did (those may name tables and hosts).
---
---```lua
---errors.message(err, "zh") -- "订单不存在"
---```
---@param err tycho.errors.Error
---@param locale? string
---@return string
function errors.message(err, locale)
  local entry = registry[err.name]
  if entry then
    return i18n.text(entry.msg, locale, err)
  end
  if err.public then
    return i18n.text(err.msg or err.message, locale, err)
  end
  return i18n.text(WORDS[err.kind] or WORDS.internal, locale)
end

---Kinds and their HTTP statuses.
---
---```lua
---errors.kinds().conflict -- 409
---```
---@return table<string, integer>
function errors.kinds()
  return KINDS
end

---All definitions, by name.
---
---```lua
---for name, definition in pairs(errors.defined()) do print(definition.code, name) end
---```
---@return table<string, tycho.errors.Definition>
function errors.defined()
  return registry
end

return errors
