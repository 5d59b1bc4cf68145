-- make soak: half an hour at half load with everything going wrong now and then.
--
--   SOAK_MINUTES=30 SOAK_SEED=1 SOAK_RATE=500 tycho run tests/soak/soak.lua
--
-- Prints a line a minute, and in the end what broke; the exit code is 1 if anything did.

local soak = require "tests.soak.run"
local server = require "tests.blackbox.support.server"

local seed = tonumber(os.getenv "SOAK_SEED") or os.time() % 1000000

local failures = soak.run {
  seconds = (tonumber(os.getenv "SOAK_MINUTES") or 30) * 60, round = 60,
  rate = tonumber(os.getenv "SOAK_RATE"), seed = seed,
  rhythm = {
    reload = 4, leave = 0.1, kill = 60, restart = 45, spin = 75, command = 3, scrape = 5,
    turn = 30,
  },
  say = function(line) io.stdout:write(line, "\n") io.stdout:flush() end,
}
for _, failure in ipairs(failures) do
  print("FAILED: " .. failure)
end
server.clean_up()
print(#failures == 0 and "all is well" or ("%d things broke; seed %d"):format(#failures, seed))
return #failures == 0
