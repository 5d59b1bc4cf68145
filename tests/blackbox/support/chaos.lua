--- Kills and stops processes, at random moments that can be had again.
---
--- The first use of chance prints its seed; see tests/support/seed.lua.

local clock = require "tests.blackbox.support.clock"
local ffi = require "ffi"
local fiber = require "tycho.fiber"
local seed = require "tests.support.seed"

ffi.cdef "int kill(int pid, int signal);"

local SIGNALS = { HUP = 1, INT = 2, QUIT = 3, ABRT = 6, KILL = 9, USR1 = 10, SEGV = 11, USR2 = 12,
  TERM = 15, CONT = 18, STOP = 19 }

local chaos = {}

local state

-- xorshift32: the same everywhere, and no other user of math.random disturbs it.
local function next_number()
  if not state then
    state = seed()
    chaos.seed = state
    io.stderr:write(("chaos: TYCHO_TEST_SEED=%d\n"):format(state))
  end
  state = bit.bxor(state, bit.lshift(state, 13))
  state = bit.bxor(state, bit.rshift(state, 17))
  state = bit.bxor(state, bit.lshift(state, 5))
  return state % 0x80000000
end

---A number from `low` to `high`, both included.
---@param low integer
---@param high integer
---@return integer
function chaos.integer(low, high)
  assert(low <= high, "nothing to choose from")
  return low + next_number() % (high - low + 1)
end

---A number of seconds, or of anything else.
---@param low number
---@param high number
---@return number
function chaos.number(low, high)
  return low + (high - low) * next_number() / 0x80000000
end

---One of the list.
---@generic T
---@param list T[]
---@return T
function chaos.pick(list)
  return list[chaos.integer(1, #list)]
end

---Sends a signal.
---
---```lua
---chaos.signal(s.pid, "HUP")
---```
---@param pid integer
---@param name string "KILL", "STOP", ...
---@return boolean sent false when the process is not there any more
function chaos.signal(pid, name)
  assert(pid > 1, "not a process of the test")
  return ffi.C.kill(pid, SIGNALS[name] or error("no signal " .. tostring(name), 2)) == 0
end

---Kills, as the kernel does when memory is out.
---@param pid integer
---@return boolean sent
function chaos.kill(pid)
  return chaos.signal(pid, "KILL")
end

---Holds a process, as a debugger or a swapping machine does; lets it go on after `seconds`.
---
---```lua
---chaos.stop(chaos.pick(s:workers()), 0.3)
---```
---@async
---@param pid integer
---@param seconds number
function chaos.stop(pid, seconds)
  if chaos.signal(pid, "STOP") then
    pcall(fiber.sleep, seconds)
    chaos.signal(pid, "CONT")
  end
end

local Repeated = {}
Repeated.__index = Repeated

---Ends it, and raises what the function raised.
---@async
---@return integer count how often the function was called
function Repeated:stop()
  self.stopped = true
  self.handle:join()
  return self.count
end

---Calls `fn` again and again beside the test. With two numbers the pause is chosen anew each time.
---
---```lua
---local killer = chaos.every({ 0.5, 2 }, function() chaos.kill(chaos.pick(s:workers())) end)
---... -- the test
---assert.is_true(killer:stop() > 3)
---```
---@param interval number|number[] seconds
---@param fn fun()
---@return table running with `:stop()` and `.count`
function chaos.every(interval, fn)
  local self = setmetatable({ count = 0 }, Repeated)
  self.handle = fiber.spawn(function()
    while not self.stopped do
      local pause = type(interval) == "table" and chaos.number(interval[1], interval[2]) or interval
      local due = clock.now() + pause
      while not self.stopped and clock.now() < due do
        fiber.sleep(math.max(0, math.min(0.05, due - clock.now())))
      end
      if not self.stopped then
        fn()
        self.count = self.count + 1
      end
    end
  end)
  return self
end

return chaos
