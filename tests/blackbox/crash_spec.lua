-- A process that dies leaves evidence, costs its own requests, and gives no secret away.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local fs = require "tycho.fs"
local load = require "tests.blackbox.support.load"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local APP = [[
local app, ffi, fiber = require "tycho.app", require "ffi", require "tycho.fiber"
ffi.cdef "int pthread_mutex_lock(void *); void *memset(void *, int, size_t);"

local function write_to_null()
  ffi.cast("int *", 0)[0] = 1
end

app.get("/", function() return { hello = "world" } end)
app.get("/null/{id}", function()
  write_to_null()
end)
app.get("/coroutine", function()
  coroutine.wrap(function()
    coroutine.wrap(function() write_to_null() end)()
  end)()
end)
app.get("/memset", function()
  ffi.C.memset(nil, 0, 10)
end)
app.get("/broken", function()
  local address = tonumber(tostring(coroutine.running()):match "0x%x+")
  ffi.C.memset(ffi.cast("void *", address), 0xff, 64)
end)
app.get("/stuck", function()
  local mutex = ffi.new "char[64]"
  ffi.C.pthread_mutex_lock(mutex)
  ffi.C.pthread_mutex_lock(mutex)
end)
app.get("/busy", function()
  while true do end
end)
app.get("/sleep", function() fiber.sleep(20) end)
]]

local function start(opts)
  opts = opts or {}
  opts.scripts = opts.scripts or { ["app/main.lua"] = APP }
  opts.config = opts.config or {}
  opts.config.scripts = { grants = { "ffi" } }
  opts.expects = "crash"
  return server.start(opts)
end

local function needs_the_handler()
  if server.is_instrumented() then
    pending "sanitizers report crashes for themselves"
  end
end

-- All crash records that there are, once there are so many.
local function crashes(s, count)
  local found
  clock.eventually(function()
    found = {}
    for _, record in ipairs(s:records()) do
      found[#found + 1] = record.module == "crash" and record or nil
    end
    return #found >= count
  end, 5, "crash records")
  assert.equal(count, #found)
  return found
end

local function send_signal(pid, signal)
  local exit = process.run { args = { "kill", "-" .. signal, tostring(pid) } }
  assert.equal(0, exit.code)
end

local function ask(s, target)
  local conn = s:connect()
  conn:send(("GET %s HTTP/1.1\r\nHost: a\r\nX-Request-Id: the-one\r\n\r\n"):format(target))
  return conn
end

-- The master's own record comes a moment later.
local function until_logged(s, pattern)
  clock.eventually(function() return s:log():find(pattern) end, 5, pattern)
end

local function until_all_serve(s)
  clock.eventually(function()
    for _, worker in ipairs(s:status().workers) do
      if worker.state ~= "serving" then
        return false
      end
    end
    return true
  end, 5, "all workers to serve")
end

-- The worker whose slot says that it has a request.
local function busy_worker(s)
  local found
  clock.eventually(function()
    for _, worker in ipairs(s:status().workers) do
      found = worker.requests > 0 and worker or found
    end
    return found
  end, 2, "a busy worker")
  return found
end

describe("a worker that crashes", function()
  after_each(server.clean_up)

  it("leaves one record that says where in Lua and in C it was", function()
    needs_the_handler()
    local s = start()
    ask(s, "/null/7")

    local record = crashes(s, 1)[1]
    assert.equal("error", record.level)
    assert.equal("SIGSEGV", record.signal)
    assert.equal("0x0", record.address)
    assert.equal("web", record.role)
    assert.equal("GET /null/{id}", record.route)
    assert.equal("the-one", record.request_id)
    assert.equal(s:status().generation, record.generation)
    assert.matches("app/main%.lua:5 in function 'write_to_null'", record.lua[2])
    assert.matches("app/main%.lua:10 in", record.lua[3])
    assert.matches("^tycho%+0x%x+", record.backtrace[1])
    assert.matches("uv_run%+0x%x+", table.concat(record.backtrace, "\n"))

    until_logged(s, "killed by signal 11 .-it was running GET /null/{id}")
  end)

  it("in a C function names that", function()
    needs_the_handler()
    local s = start()
    ask(s, "/memset")

    local record = crashes(s, 1)[1]
    assert.matches("^libc%.so%.6%+0x%x+", record.backtrace[1])
    assert.matches("^%[C%] in function 'memset'", record.lua[1])
    assert.matches("app/main%.lua:18 ", record.lua[2])
  end)

  it("in a coroutine within a coroutine of a fiber names the lines of all", function()
    needs_the_handler()
    local s = start()
    ask(s, "/coroutine")

    local text = table.concat(crashes(s, 1)[1].lua, "\n")
    assert.matches("main%.lua:5 .-main%.lua:14 .-main%.lua:14 .-main%.lua:15 ", text)
  end)

  it("leaves a record even when its Lua stack is broken", function()
    needs_the_handler()
    local s = start()
    ask(s, "/broken")

    local record = crashes(s, 1)[1]
    assert.equal("GET /broken", record.route)
    assert.is_true(#record.backtrace > 3)
    until_logged(s, "killed by signal 11")
  end)

  it("by a signal from outside says who sent it, and what ran: nothing, or a loop", function()
    needs_the_handler()
    local s = start { config = { lua = { slice_max = "4s" } } }
    send_signal(s:workers()[1], "SEGV")
    local first = crashes(s, 1)[1]
    assert.matches("sent by process %d+", first.msg)
    assert.is_nil(first.route)
    assert.is_nil(first.lua)

    until_all_serve(s)
    ask(s, "/busy")
    local pid
    clock.eventually(function()
      for _, worker in ipairs(s:workers()) do
        pid = proc.cpu(worker) > 0.15 and worker or pid
      end
      return pid
    end, 4, "a worker in the loop")
    send_signal(pid, "BUS")
    local second = crashes(s, 2)[2]
    assert.equal("SIGBUS", second.signal)
    assert.equal("GET /busy", second.route)
    assert.matches("app/main%.lua:30 ", second.lua[1])
  end)

  it("is told on standard error, for people", function()
    needs_the_handler()
    local s = start { config = { log = { path = "-", format = "pretty" } } }
    ask(s, "/null/7")

    clock.eventually(function()
      return s:output():find("ERROR crash: web worker %d died of SIGSEGV")
    end, 2, "the record")
    clock.eventually(function() return s:output():find "killed by signal 11" end, 2)
    assert.matches("\n    | Lua [^\n]*app/main%.lua:5 in function 'write_to_null'\n", s:output())
    assert.matches("\n    | C   tycho%+0x", s:output())
  end)

  it("fails no request of the others, is back within a second, and is no zombie", function()
    local s = start()
    local took, pid

    local result = load.run({ port = s.port, rate = 300, duration = 3, connections = 16,
      retry = false }, function()
      fiber.sleep(0.5)
      local conn = ask(s, "/sleep")
      pid = busy_worker(s).pid
      local began = clock.now()
      send_signal(pid, server.is_instrumented() and "KILL" or "SEGV")
      clock.eventually(function()
        for _, worker in ipairs(s:status().workers) do
          if worker.restarts == 1 and worker.state == "serving" then
            return true
          end
        end
      end, 20, "another worker")
      took = clock.now() - began
      conn:close()
    end)

    figure.at_most(took, 1, "seconds until it is back")
    assert.equal(0, result.ledger:count "refused", result.ledger:summary())
    assert.equal(0, result.ledger:count "timed_out", result.ledger:summary())
    assert.is_true(result.ledger:count "broken" <= 16, result.ledger:summary())
    assert.same({}, result.ledger:missing())
    assert.is_false(proc.is_alive(pid))
    assert.is_false(fs.exists("/proc/" .. pid))
  end)
end)

describe("a worker that is stuck in C", function()
  after_each(server.clean_up)

  it("says where before it is killed", function()
    needs_the_handler()
    local s = start { config = {
      host = { heartbeat_timeout = "1s" }, reload = { load_timeout = "100ms" },
      lua = { slice_max = "500ms" },
    } }
    local began = clock.now()
    ask(s, "/stuck")

    local record = crashes(s, 1)[1]
    figure.at_most(clock.now() - began, 4, "seconds")
    assert.equal("stuck", record.reason)
    assert.equal("GET /stuck", record.route)
    assert.matches("app/main%.lua:27 ", record.lua[2])
    assert.matches("pthread_mutex_lock", table.concat(record.backtrace, "\n"))
    until_logged(s, "not answered for 1%d%d%d ms: killing it; it was running GET /stuck")
    until_logged(s, "was killed by signal")
    until_all_serve(s)
    assert.equal(200, s:request("GET", "/").status)
  end)
end)

describe("other processes that crash", function()
  after_each(server.clean_up)

  it("leave a record too: a trial, whose scripts do not go live", function()
    needs_the_handler()
    local s = start()
    s:write("app/crash.lua", [[require "ffi".cast("int *", 0)[0] = 1]])
    local code, _, err = s:cli "reload"

    assert.equal(1, code)
    assert.matches("killed by signal 11", err)
    local record = crashes(s, 1)[1]
    assert.equal("trial", record.role)
    assert.matches("app/crash%.lua:1 in the main chunk", table.concat(record.lua, "\n"))
    assert.equal(200, s:request("GET", "/").status)
  end)

  it("leave a record too: the master, which takes the workers along", function()
    needs_the_handler()
    local s = start()
    s:signal "SEGV"
    s.stopped = true

    assert.equal(11, s.process:wait(5).signal)
    local record = crashes(s, 1)[1]
    assert.equal("master", record.role)
    assert.matches("^the master died of SIGSEGV", record.msg)
    clock.eventually(function() return #proc.in_folder(s.folder) == 0 end, 2)
  end)
end)

-- A server of a user who is not root: root may look into everything.
local function start_as_nobody(opts)
  local s = server.prepare(opts)
  local program = s.folder .. "/tycho"
  process.run { args = { "cp", server.program(), program } }
  local exit = process.run { args = { "chown", "-R", "65534:65534", s.folder } }
  if exit.code ~= 0 then
    pending "only root can start a server as somebody else"
  end
  s.opts.prefix = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig",
    "KILL", "--", "sh", "-c", [[exec "$0" serve]], program }
  s:launch()
  s:wait_ready()
  return s
end

local function read_as_nobody(path)
  local _, out = process.run { args = { "setpriv", "--reuid=65534", "--regid=65534",
    "--clear-groups", "--", "cat", path } }
  return out
end

describe("a process's memory", function()
  after_each(server.clean_up)

  it("is written into no core file, and open to nobody of the same user", function()
    local s = start_as_nobody { env = { A_SECRET = "canary-4711" } }
    local pids = s:workers()
    pids[#pids + 1] = s.pid

    for _, pid in ipairs(pids) do
      local soft = fs.read(("/proc/%d/limits"):format(pid)):match "Max core file size%s+(%S+)"
      assert.equal("0", soft)
      for _, name in ipairs { "environ", "maps", "mem" } do
        assert.equal("", read_as_nobody(("/proc/%d/%s"):format(pid, name)))
      end
    end
    assert.equal(3, #pids)
    for worker = 0, 2 do -- and still the figures are there
      local labels = { worker = tostring(worker) }
      assert.is_true(s:metrics():sum("process_resident_memory_bytes", labels) > 1048576)
      assert.is_true(s:metrics():sum("process_cpu_seconds_total", labels) > 0)
    end
  end)

  it("can be opened for whoever looks for a fault: host.core_dumps", function()
    local s = start_as_nobody {
      env = { A_SECRET = "canary-4711" }, config = { host = { core_dumps = true } },
    }
    for _, pid in ipairs(s:workers()) do
      local path = ("/proc/%d/environ"):format(pid)
      assert.is_truthy(read_as_nobody(path):find("canary-4711", 1, true))
    end
  end)
end)

describe("when the machine's memory ends", function()
  after_each(server.clean_up)

  it("the kernel takes a worker, not the master", function()
    local s = start()
    local function score(pid)
      return tonumber(fs.read(("/proc/%d/oom_score_adj"):format(pid)))
    end

    local own = tonumber(fs.read "/proc/self/oom_score_adj")
    assert.equal(own, score(s.pid))
    for _, pid in ipairs(s:workers()) do
      assert.equal(math.min(own + 300, 1000), score(pid))
    end
  end)
end)
