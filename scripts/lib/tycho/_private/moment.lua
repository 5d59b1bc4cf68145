--- Moments in the one form that all databases give back: UTC, six digits of a second
--- (`2026-11-21T16:00:00.123456Z`).

local formats = require "tycho._private.formats"
local time = require "tycho.time"

local floor = math.floor

local moment = {}

local SECONDS_MIN, SECONDS_MAX = -62167219200, 253402300799 -- the years 0 to 9999

local function of_seconds(seconds)
  if not (seconds >= SECONDS_MIN and seconds < SECONDS_MAX) then
    return nil
  end
  local whole = floor(seconds)
  local micros = floor((seconds - whole) * 1e6 + 0.5)
  if micros == 1e6 then
    whole, micros = whole + 1, 0
  end
  return ("%s.%06dZ"):format(time.iso(whole):sub(1, 19), micros)
end

-- Digits beyond the sixth are cut off: rounding could lead into the next year.
local function of_text(text)
  local whole, fraction, zone = text:match("^(%d+%-%d+%-%d+.%d+:%d+:%d+)%.?(%d*)(.*)$")
  if not whole or not formats["date-time"](text) then
    return nil
  end
  local seconds = time.parse(whole .. zone)
  if seconds < SECONDS_MIN or seconds > SECONDS_MAX then
    return nil
  end
  return ("%s.%sZ"):format(time.iso(seconds):sub(1, 19), (fraction .. "000000"):sub(1, 6))
end

---@param value any RFC 3339, or seconds since 1970
---@return string? text nil if it is no moment of the years 0 to 9999
function moment.canonical(value)
  if type(value) == "number" then
    return of_seconds(value)
  end
  return type(value) == "string" and of_text(value) or nil
end

return moment
