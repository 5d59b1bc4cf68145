--- Moments and durations.
---
--- A moment is a number: seconds since 1970 in UTC, with a fraction. As text it is RFC 3339 in UTC,
--- which sorts as it reads. For measuring use `time.monotonic()`: nobody sets that clock.

local ffi = require "ffi"
local formats = require "tycho._private.formats"

-- Under a name of its own, so that it clashes with nobody's declaration.
ffi.cdef [[int tycho_time_read(int clock, int64_t *now) asm("clock_gettime");]]

local REALTIME, MONOTONIC = 0, 1
local DAY = 86400

local time = {}

local spec = ffi.new "int64_t[2]" -- seconds, nanoseconds

local function read(clock)
  ffi.C.tycho_time_read(clock, spec)
  return tonumber(spec[0]) + tonumber(spec[1]) / 1e9
end

---The moment now.
---
---```lua
---local expires = time.now() + 30 * 60
---```
---@return number seconds since 1970
function time.now()
  return read(REALTIME)
end

---Seconds of a clock that only goes forward; its zero means nothing.
---
---```lua
---local began = time.monotonic()
---work()
---log.info("done", { seconds = time.monotonic() - began })
---```
---@return number seconds
function time.monotonic()
  return read(MONOTONIC)
end

-- Days since 1970 of a date of the Gregorian calendar, and back. Years begin in March here, so
-- that a leap day is the last of its year.
local function days_of(year, month, day)
  local y = month <= 2 and year - 1 or year
  local era = math.floor(y / 400)
  local year_of_era = y - era * 400
  local day_of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  local day_of_era = year_of_era * 365 + math.floor(year_of_era / 4)
    - math.floor(year_of_era / 100) + day_of_year
  return era * 146097 + day_of_era - 719468
end

local function date_of(days)
  days = days + 719468
  local era = math.floor(days / 146097)
  local day_of_era = days - era * 146097
  local year_of_era = math.floor((day_of_era - math.floor(day_of_era / 1460)
    + math.floor(day_of_era / 36524) - math.floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year_of_era + math.floor(year_of_era / 4)
    - math.floor(year_of_era / 100))
  local m = math.floor((5 * day_of_year + 2) / 153)
  local month = m < 10 and m + 3 or m - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return year, month, day_of_year - math.floor((153 * m + 2) / 5) + 1
end

---A moment as text, in UTC, with milliseconds: `2026-01-31T08:30:00.000Z`.
---
---```lua
---order.created_at = time.iso()
---```
---@param seconds? number now by default; the years 0 to 9999
---@return string text
function time.iso(seconds)
  local ms = math.floor((seconds or time.now()) * 1000 + 0.5)
  local days = math.floor(ms / 1000 / DAY)
  local year, month, day = date_of(days)
  if year < 0 or year > 9999 then
    error("time.iso: only the years 0 to 9999 can be written", 2)
  end
  local rest = ms - days * DAY * 1000
  return ("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ"):format(year, month, day,
    math.floor(rest / 3600000), math.floor(rest / 60000) % 60, math.floor(rest / 1000) % 60,
    rest % 1000)
end

---Reads RFC 3339 (`2026-01-31T16:30:00+08:00`); nil if the text is something else.
---
---```lua
---local seconds = time.parse(req.query.since)
---```
---@param text string
---@return number? seconds
function time.parse(text)
  if type(text) ~= "string" or not formats["date-time"](text) then
    return nil
  end
  local year, month, day, hour, minute, second, rest =
    text:match("^(%d+)-(%d+)-(%d+).(%d+):(%d+):(%d+)(.*)$")
  local fraction, offset = rest:match("^(%.%d+)(.+)$")
  local sign, hours, minutes = (offset or rest):match("^([+-])(%d+):(%d+)$")
  local seconds = days_of(tonumber(year), tonumber(month), tonumber(day)) * DAY
    + hour * 3600 + minute * 60 + second + (tonumber(fraction) or 0)
  if sign then
    local away = hours * 3600 + minutes * 60
    seconds = sign == "+" and seconds - away or seconds + away
  end
  return seconds
end

return time
