--- The configuration, as a script sees it.
---
--- Everything in force can be read: `http.port`, and whatever the application keeps under `app`.
--- Durations of Tycho's own keys are seconds, sizes bytes. A generation sees one configuration from
--- its start to its end; a reload brings the next. Secrets are readable here: do not log them.

local core = require "tycho.core.config"

local config = {}

local all

local function find(key)
  all = all or core.all()
  local value = all
  for part in key:gmatch("[^.]+") do
    if type(value) ~= "table" then
      return nil
    end
    -- Items of a list have numbers.
    local item = value[part]
    if item == nil then
      item = value[tonumber(part)]
    end
    value = item
  end
  return value
end

-- Whoever changes a table that it was given changes its own.
local function copy(value)
  if type(value) ~= "table" then
    return value
  end
  local twin = {}
  for k, v in pairs(value) do
    twin[k] = copy(v)
  end
  return twin
end

local function check_key(key)
  if type(key) ~= "string" or key == "" then
    error('expected a key such as "app.orders.limit"', 3)
  end
end

---Returns the value of a key, a copy if it is a table; `default`, or nil, if it is not set.
---
---```lua
---local limit = config.get("app.orders.limit", 50)
---local port = config.get("http.port")
---```
---@param key string parts separated by dots
---@param default? any
---@return any value
function config.get(key, default)
  check_key(key)
  local value = find(key)
  if value == nil then
    return default
  end
  return copy(value)
end

---Returns the value of a key that has to be set, and raises where it is not: at the top of a file
---this refuses the generation before it serves anything.
---
---```lua
---local secret = config.need "app.jwt.secret"
---```
---@param key string
---@return any value
function config.need(key)
  check_key(key)
  local value = find(key)
  if value == nil then
    error(("%s is not configured: set it in conf/tycho.yaml, or %s"):format(key,
      "TYCHO_" .. key:upper():gsub("%.", "__")), 2)
  end
  return copy(value)
end

local SECONDS = { ms = 0.001, s = 1, m = 60, h = 3600, d = 86400 }
local BYTES = { B = 1, KiB = 1024, MiB = 1024 ^ 2, GiB = 1024 ^ 3 }

-- A number as it is, text as a number with one of the units.
local function measure(key, default, units, example)
  check_key(key)
  local value = find(key)
  if value == nil then
    return default
  elseif type(value) == "number" then
    return value
  end
  local digits, unit = tostring(value):match("^(%d+)(%a+)$")
  if type(value) ~= "string" or not units[unit] then
    error(("%s: expected %s"):format(key, example), 3)
  end
  return tonumber(digits) * units[unit]
end

---Returns a duration in seconds. The application's own are written with a unit, as Tycho's are.
---
---```lua
----- app: { orders: { expire_after: 30m } }
---config.seconds("app.orders.expire_after") --> 1800
---```
---@param key string
---@param default? number
---@return number? seconds
function config.seconds(key, default)
  return measure(key, default, SECONDS, "a duration such as 250ms, 5s, 30m, 1h or 1d")
end

---Returns a size in bytes.
---
---```lua
----- app: { upload_max: 10MiB }
---config.bytes("app.upload_max") --> 10485760
---```
---@param key string
---@param default? number
---@return number? bytes
function config.bytes(key, default)
  return measure(key, default, BYTES, "a size such as 512B, 64KiB, 10MiB or 1GiB")
end

return config
