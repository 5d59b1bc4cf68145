-- More comes in than a worker can do. One worker, so that the other core is the clients'.
--
-- TYCHO_TEST_LONG=1 sends for longer, which is what docs/promises.md tells of.

local figure = require "tests.blackbox.support.figure"
local server = require "tests.blackbox.support.server"
local storm = require "tests.blackbox.support.storm"

local LONG = os.getenv "TYCHO_TEST_LONG" == "1"
local PEAK, SECONDS = LONG and 5 or 1.5, LONG and 20 or 3.5
-- A storm is noticed within about 0.15 s, and those let in till then wait: that is more than one in
-- a hundred of a few seconds, so beginnings count in the long form only.
local LOADS = { 2, 5 }

local function describe_storm(times, run, peak)
  return ("%.1fx of %.0f/s: %.0f%% answered, p50 %.1f ms, p99 %.1f ms, %.0f/s refused, "
    .. "/livez p99 %.1f ms, on the admin port %.1f ms"):format(times, peak,
    run.goodput / peak * 100, run.p50 * 1e3, run.p99 * 1e3, run.shed,
    run.health.main:percentile(0.99) * 1e3, run.health.admin:percentile(0.99) * 1e3)
end

-- Nothing is lost, everything refused is refused properly, health answers: at any speed.
local function assert_accounted(run)
  local book = run.ledger
  assert.equal(book.sent, book:count "ok" + book:count "shed", book:summary())
  assert.same({}, book:missing())
  run.health.main:assert_all_ok(10)
  run.health.admin:assert_all_ok(10)
end

local function measure(s)
  local peak = storm.peak(s, PEAK)
  local calm = storm.run(s, peak * 0.9, SECONDS)
  local said = { describe_storm(0.9, calm, peak) }
  assert_accounted(calm)
  for _, times in ipairs(LOADS) do
    local run = storm.run(s, peak * times, SECONDS)
    local livez = math.max(run.health.main:percentile(0.99), run.health.admin:percentile(0.99))
    said[#said + 1] = describe_storm(times, run, peak)
    assert_accounted(run)
    local all = table.concat(said, "\n")
    assert.is_true(run.shed > 0, all)
    figure.at_least(run.goodput, 0.9 * peak, all .. "\ngoodput")
    figure.at_most(run.settled_p99, 2 * calm.settled_p99, all .. "\np99")
    figure.at_most(livez, 0.25, all .. "\n/livez")
    if LONG then
      figure.at_most(run.p99, 2 * calm.p99, all .. "\np99 with the beginning")
    end
  end
  if LONG then
    io.stderr:write(table.concat(said, "\n"), "\n")
  end
end

describe("a worker that gets more than it can do", function()
  local s

  setup(function()
    s = server.start {
      workers = 1, scripts = { ["app/main.lua"] = storm.APP }, config = storm.CONFIG,
    }
  end)
  teardown(server.clean_up)

  it("answers as much as it can, quickly, and refuses the rest", function()
    if server.is_instrumented() then
      return pending "a program with sanitizers takes as long to refuse as to answer"
    end
    figure.attempt(function() measure(s) end)
  end)

  it("has every request it refused in its metrics", function()
    local before = s:metrics()
    local run = storm.run(s, 1000, 1.5)
    local after = s:metrics()
    local function grown(name, labels)
      return after:sum(name, labels) - before:sum(name, labels)
    end

    assert_accounted(run)
    assert.is_true(run.ledger:count "shed" > 0)
    assert.equal(run.ledger:count "shed", grown "tycho_http_shed_total")
    assert.equal(run.ledger:count "shed", grown("tycho_http_shed_total", { reason = "lag" }))
    assert.equal(run.ledger:count "ok", grown("http_server_request_duration_seconds_count",
      { http_route = "/burn", http_response_status_class = "2xx" }))
    assert.equal(run.ledger:count "shed", grown("http_server_request_duration_seconds_count",
      { http_route = "/burn", http_response_status_class = "5xx" }))
  end)

  it("refuses nobody any more when the storm is over", function()
    storm.run(s, 1000, 1)
    storm.run(s, 20, 1)
    local run = storm.run(s, 60, 2)

    assert.equal(run.ledger.sent, run.ledger:count "ok", run.ledger:summary())
  end)
end)
