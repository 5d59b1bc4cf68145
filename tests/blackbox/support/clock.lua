--- Time for tests: monotonic seconds, and waiting for conditions instead of for time.

local ffi = require "ffi"
local fiber = require "tycho.fiber"

ffi.cdef [[
  struct ty_test_timespec { long tv_sec; long tv_nsec; };
  int clock_gettime(int clock, struct ty_test_timespec *out);
]]

local MONOTONIC = 1

-- A machine that others use is waited for (see figure.lua); only what fails takes longer by it.
local PATIENCE = os.getenv "TYCHO_TEST_LONG" == "1" and 1 or 4

local clock = {}

local spec = ffi.new "struct ty_test_timespec"

---@return number seconds monotonic
function clock.now()
  ffi.C.clock_gettime(MONOTONIC, spec)
  return tonumber(spec.tv_sec) + tonumber(spec.tv_nsec) / 1e9
end

---Calls `condition` again and again until it returns something true and raises nothing.
---
---```lua
---clock.eventually(function() return #server:workers() == 2 end, 1, "two workers")
---```
---@async
---@param condition fun(): any
---@param timeout? number seconds; 5 by default
---@param what? string for the error
---@return any value what the condition returned
function clock.eventually(condition, timeout, what)
  timeout = (timeout or 5) * PATIENCE
  local limit = clock.now() + timeout
  local ok, value
  repeat
    ok, value = pcall(condition)
    if ok and value then
      return value
    end
    fiber.sleep(0.01)
  until clock.now() > limit
  error(("%s: not within %g s (last: %s)"):format(what or "the condition", timeout,
    tostring(value)), 2)
end

return clock
