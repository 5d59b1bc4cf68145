--- Figures that are promised: how long something takes, what it costs, which share is left.
---
--- `make test-long`, on a machine with nothing else to do, holds them to the letter. Other runs
--- share their machine, and figures have room there: what takes four times as long is a fault that
--- somebody made, what takes a little longer may be the neighbour's. Sanitizers slow down by more.

local server = require "tests.blackbox.support.server"

local figure = {}

local ROOM, ROOM_SANITIZED = 4, 20

---Whether figures are held to the letter.
---@return boolean
function figure.is_strict()
  return os.getenv "TYCHO_TEST_LONG" == "1" and not server.is_instrumented()
end

local function room()
  return figure.is_strict() and 1 or server.is_instrumented() and ROOM_SANITIZED or ROOM
end

local function judge(is_good, value, word, limit, what)
  if not is_good then
    error(("%s%.4g, promised is %s %.4g (x%d)"):format(what and what .. ": " or "", value, word,
      limit, room()), 3)
  end
end

---Fails when `value` is above `limit`.
---
---```lua
---figure.at_most(clock.now() - began, 0.5, "seconds to reload")
---```
---@param value number
---@param limit number what is promised
---@param what? string
function figure.at_most(value, limit, what)
  judge(value <= limit * room(), value, "at most", limit, what)
end

---Fails when `value` is below `limit`.
---@param value number
---@param limit number what is promised
---@param what? string
function figure.at_least(value, limit, what)
  judge(value >= limit / room(), value, "at least", limit, what)
end

---Measures and judges, and does both once more, twice at most, when something is not as promised.
---@param measure fun() raises when it is not
function figure.attempt(measure)
  for left = 2, 0, -1 do
    local ok, err = pcall(measure)
    if ok then
      return
    elseif left == 0 then
      error(err, 0)
    end
  end
end

---The smallest of a few measurements, as what else the machine does only adds to them: measures
---until one is within `limit`, five times at most.
---
---```lua
---figure.at_most(figure.best(0.1, time_to_start), 0.1, "seconds to the first answer")
---```
---@param limit number
---@param measure fun(attempt: integer): number
---@return number smallest
function figure.best(limit, measure)
  local best = math.huge
  for attempt = 1, 5 do
    best = math.min(best, measure(attempt))
    if best <= limit then
      break
    end
  end
  return best
end

return figure
