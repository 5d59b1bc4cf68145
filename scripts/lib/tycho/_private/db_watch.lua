--- In development: the same statement again and again in one request is worth a word in the log.

local config = require "tycho.config"
local fibers = require "tycho.core.fiber"
local http = require "tycho.core.http"
local log = require("tycho.log").module "db"
local outside = require "tycho._private.outside"

local watch = {}

local REPEATS_MAX = 20

-- Where a request's context keeps how often each statement ran.
local COUNTS = {}

-- The context of the fiber that all others of the request come from: they count together.
local function eldest_context()
  local context = fibers.context()
  local meta = getmetatable(context)
  while meta do
    context = meta.__index
    meta = getmetatable(context)
  end
  return context
end

local function count(name, sql)
  local context = eldest_context()
  local counts = rawget(context, COUNTS)
  if not counts then
    counts = {}
    rawset(context, COUNTS, counts)
  end
  local key = name .. "\0" .. sql
  counts[key] = (counts[key] or 0) + 1
  if counts[key] == REPEATS_MAX + 1 then
    log:warn(("the same statement more than %d times in one request"):format(REPEATS_MAX),
      { db = name, sql = sql:sub(1, 500), at = outside.line(),
        hint = "one query for all, or db.batch" })
  end
end

---Counts a statement of the running request. Costs nothing outside of development.
---@param name string of the database
---@param sql string
function watch.note(name, sql)
  if fibers.running() and http.trace() then
    count(name, sql)
  end
end

if config.get("env") ~= "dev" then
  function watch.note() end
end

return watch
