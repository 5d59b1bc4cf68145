-- A server that has used up its file descriptors: it stops accepting in time, keeps some for
-- itself, waits without work, and goes on as soon as some are back.

local accounts = require "tests.blackbox.support.accounts"
local clients = require "tests.blackbox.support.clients"
local clock = require "tests.blackbox.support.clock"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local fs = require "tycho.fs"
local limits = require "tests.blackbox.support.limits"
local proc = require "tests.blackbox.support.proc"
local server = require "tests.blackbox.support.server"

local LIMIT, RESERVE, CPU_MAX = 200, 32, 0.10

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
app.get("/", function() return { version = %d } end)
app.get("/add", function()
  db.exec "create table if not exists t(n)"
  db.exec "insert into t values (1)"
  return { n = db.value "select count(*) from t" }
end)
]]

describe("a worker at the limit of its descriptors", function()
  after_each(function()
    clients.clean_up()
    server.clean_up()
  end)

  local function start(opts)
    opts.scripts, opts.workers = { ["app/main.lua"] = APP:format(1) }, 1
    return server.start(opts)
  end

  -- Below the limit: one inherited from whoever runs the tests may be above.
  local function free_descriptors(pid)
    local free = LIMIT
    for _, number in ipairs(fs.list(("/proc/%d/fd"):format(pid))) do
      free = free - (tonumber(number) < LIMIT and 1 or 0)
    end
    return free
  end

  local function pauses(s)
    return (s:metrics():sum("tycho_http_limits_total", { limit = "descriptors" }))
  end

  -- Connections until no more are taken, and some that wait; returns one that was.
  local function fill(s)
    local first = s:connect { timeout = 10 }
    assert.equal(200, first:request("GET", "/").status)
    local crowd = clients.open { port = s.port, count = LIMIT + 50 }
    clock.eventually(function() return pauses(s) > 0 end, 10, "accepting paused")
    return first, crowd
  end

  local function is_kept_waiting(s)
    local ok, err = pcall(s.request, s, "GET", "/", { timeout = 0.3 })
    return not ok and errors.is(err, "timeout")
  end

  local function assert_back(s)
    local began = clock.now()
    assert.equal(200, s:request("GET", "/").status)
    figure.at_most(clock.now() - began, 1, "seconds")
    accounts.wait_idle(s)
  end

  it("pauses accepting, keeps 32 for itself, and idles", function()
    local s = start { prefix = limits.prefix { nofile = LIMIT },
      config = { host = { core_dumps = true } } } -- or none but root may count its descriptors
    local worker = s:workers()[1]
    local first, crowd = fill(s)

    assert.is_true(is_kept_waiting(s))
    assert.equal(200, first:request("GET", "/").status)
    local cpu, began = proc.cpu(worker), clock.now()
    fiber.sleep(2) -- the time in which processor time is measured
    local share = (proc.cpu(worker) - cpu) / (clock.now() - began)
    assert.is_true(free_descriptors(worker) >= RESERVE, tostring(free_descriptors(worker)))
    figure.at_most(share, CPU_MAX, "share of a core")
    -- Counted once, however often it looked. When the crowd goes, room comes bit by bit: those who
    -- have waited may take what there is so far, and it comes to it again.
    assert.equal(1, pauses(s))

    crowd:close()
    first:close()
    assert_back(s)
    assert.same({ worker }, s:workers())
  end)

  it("still reloads, logs, and opens its database", function()
    local s = start { prefix = limits.prefix { nofile = LIMIT } }
    local first, crowd = fill(s)

    assert.equal(1, first:request("GET", "/add"):json().n) -- opens it: the first use
    for version = 2, 4 do
      s:write("app/main.lua", APP:format(version))
      s:reload()
      assert.equal(version, first:request("GET", "/"):json().version)
    end
    os.remove(s.folder .. "/tycho.log")
    s:signal "USR1"
    clock.eventually(function() return fs.exists(s.folder .. "/tycho.log") end, 5, "a new log")
    clock.eventually(function() -- the worker hears of it after the master
      first:request("GET", "/?logged=yes")
      return s:log():find("access", 1, true)
    end, 5, "a record in it")
    assert.equal(200, s:metrics() and 200)

    crowd:reset()
    first:close()
    assert_back(s)
  end)

  it("notices a limit that is set while it runs, and that it is lifted", function()
    local s = start {}
    local worker = s:workers()[1]
    limits.set(worker, { nofile = LIMIT })
    local first = fill(s)
    assert.is_true(is_kept_waiting(s))

    limits.set(worker, { nofile = 4096 })
    local began = clock.now()
    assert.equal(200, s:request("GET", "/").status)
    figure.at_most(clock.now() - began, 1, "seconds")
    first:close()
  end)
end)
