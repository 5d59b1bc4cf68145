-- An idle connection costs next to nothing.

local clock = require "tests.blackbox.support.clock"
local http = require "tests.blackbox.support.http"
local proc = require "tests.blackbox.support.proc"
local server = require "tests.blackbox.support.server"
local fs = require "tycho.fs"

local CONNECTIONS, EACH_MAX = 10000, 8 * 1024

describe("ten thousand idle connections", function()
  teardown(server.clean_up)

  it("cost at most 8 KiB each, and go when they are closed", function()
    local limit = tonumber(fs.read("/proc/self/limits"):match "Max open files%s+(%d+)")
    if not limit or limit < CONNECTIONS + 500 then
      return pending(("needs `ulimit -n` of %d, has %s"):format(CONNECTIONS + 500, limit))
    elseif server.is_instrumented() then
      return pending "a program with sanitizers needs more memory"
    end
    local s = server.start {
      workers = 1, config = { http = { max_connections = CONNECTIONS + 100,
        keepalive_timeout = "10m" } },
    }
    local worker = s:workers()[1]
    local function open(count)
      local connections = {}
      for i = 1, count do
        connections[i] = http.connect(s.port)
        assert.equal(200, connections[i]:request("GET", "/").status)
      end
      return connections
    end

    local warm = open(200)
    local fds, before = proc.fds(worker), proc.rss(worker)
    local idle = open(CONNECTIONS - #warm)
    local each = (proc.rss(worker) - before) / #idle
    assert.equal(fds + #idle, proc.fds(worker))
    assert.is_true(each <= EACH_MAX, ("%.0f bytes each"):format(each))
    assert.equal(200, idle[1]:request("GET", "/").status)

    for _, conn in ipairs(idle) do
      conn:close()
    end
    clock.eventually(function() return proc.fds(worker) <= fds end, 10, "no descriptors left")
  end)
end)
