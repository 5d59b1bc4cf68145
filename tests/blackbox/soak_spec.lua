-- The soak in its short form; `make soak` is the long one.

local server = require "tests.blackbox.support.server"
local soak = require "tests.soak.run"

describe("half load with reloads, kills, runaways and clients that leave", function()
  after_each(server.clean_up)

  it("loses no request that no fault explains, counts each, and comes to rest", function()
    local lines = {}
    local failures, run = soak.run {
      seconds = 15, round = 5, seed = 1, say = function(line) lines[#lines + 1] = line end,
      rhythm = {
        reload = 1, leave = 0.05, kill = 5, restart = 6, spin = 8, command = 1, scrape = 1,
        turn = 4,
      },
    }

    assert.same({}, failures, table.concat(lines, "\n"))
    assert.is_true(run.sent > 1000)
    for actor, count in pairs(run.faults.counts) do
      assert.is_true(count > 0, actor .. " never came to it")
    end
  end)
end)
