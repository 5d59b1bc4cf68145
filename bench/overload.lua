-- What becomes of a worker that gets more than it can do, as a table.
--
-- The server's worker has one core and the clients the other. They come at random, at a fixed
-- rate, whether or not earlier ones were answered, and latency counts from when a request was due.
--
--   tycho run bench/overload.lua [SECONDS [PROGRAM]]

package.path = (os.getenv "PWD" or ".") .. "/?.lua;" .. package.path

local seconds = tonumber(arg[1]) or 15

local server = require "tests.blackbox.support.server"
local storm = require "tests.blackbox.support.storm"

if arg[2] then
  function server.program()
    return arg[2]:sub(1, 1) == "/" and arg[2] or server.root .. "/" .. arg[2]
  end
end

local s = server.start {
  workers = 1, scripts = { ["app/main.lua"] = storm.APP }, config = storm.CONFIG,
}
local peak = storm.peak(s, 5)

print(("a handler that burns 4 ms; at most %.0f requests a second\n"):format(peak))
print "         offered  answered  of peak   p50 ms   p99 ms  refused  /livez p99 ms  and admin"
for _, times in ipairs { 0.9, 1, 2, 5 } do
  local run = storm.run(s, peak * times, seconds)
  print(("%5.1fx  %7.0f/s %7.0f/s   %5.1f%%  %7.1f  %7.1f %6.0f/s  %13.1f  %9.1f"):format(
    times, peak * times, run.goodput, run.goodput / peak * 100, run.p50 * 1e3, run.p99 * 1e3,
    run.shed, run.health.main:percentile(0.99) * 1e3, run.health.admin:percentile(0.99) * 1e3))
  if run.ledger:count "ok" + run.ledger:count "shed" ~= run.ledger.sent then
    print("        " .. run.ledger:summary())
  end
end
server.clean_up()
