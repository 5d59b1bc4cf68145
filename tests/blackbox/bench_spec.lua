-- The faults of the bench: each must do what it says, or the tests that lean on it prove nothing.

local chaos = require "tests.blackbox.support.chaos"
local clients = require "tests.blackbox.support.clients"
local clock = require "tests.blackbox.support.clock"
local disk = require "tests.blackbox.support.disk"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local fs = require "tycho.fs"
local limits = require "tests.blackbox.support.limits"
local netns = require "tests.blackbox.support.netns"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local proxy = require "tests.blackbox.support.proxy"
local server = require "tests.blackbox.support.server"
local stream = require "tycho.stream"
local wall = require "tests.blackbox.support.wall"

-- A server that says again what it hears, and counts how its connections end.
local function echo()
  local listener = stream.listen("127.0.0.1")
  local ends = { fin = 0, rst = 0 }
  local function serve(s)
    local ok, err = pcall(function()
      for bytes in function() return s:read() end do
        s:write(bytes)
      end
    end)
    local how = ok and "fin" or errors.is(err) and err.detail == "ECONNRESET" and "rst" or "other"
    ends[how] = (ends[how] or 0) + 1
    s:close()
  end
  local accepting = fiber.spawn(function()
    local handles = {}
    while true do
      local ok, s = pcall(listener.accept, listener)
      if not ok then
        break
      end
      handles[#handles + 1] = fiber.spawn(serve, s)
    end
    for _, handle in ipairs(handles) do
      handle:join()
    end
  end)
  return listener:port(), ends, function()
    listener:close()
    accepting:join()
  end
end

describe("the proxy", function()
  local port, ends, stop, p, s

  before_each(function()
    port, ends, stop = echo()
  end)
  after_each(function()
    s:close()
    proxy.clean_up()
    stop()
  end)

  local function connect(opts)
    opts = opts or {}
    opts.to = port
    p = proxy.start(opts)
    s = stream.connect("127.0.0.1", p.port, { timeout = 5 })
  end

  local function trip(bytes)
    local began = clock.now()
    s:write(bytes)
    assert.equal(bytes, s:read_exact(#bytes))
    return clock.now() - began
  end

  local function is_silent()
    s:timeout(0.1)
    local ok, err = pcall(s.read, s)
    s:timeout(5)
    return not ok and errors.is(err, "timeout")
  end

  it("passes everything, and counts it", function()
    connect()
    trip(("x"):rep(200000))
    assert.same({ up = 200000, down = 200000 }, p.bytes)
    assert.equal(1, p.accepted)
    assert.equal(1, p:open_count())
    s:shutdown()
    assert.is_nil(s:read())
    clock.eventually(function() return p:open_count() == 0 and ends.fin == 1 end)
  end)

  it("is late when it is told to be", function()
    connect { latency = 0.1 }
    assert.is_true(trip "a" >= 0.2)
    p:set { latency = false }
    figure.at_most(trip "a", 0.2, "seconds")
  end)

  it("stalls one direction, and loses nothing of it", function()
    connect()
    p:stall "down"
    s:write "later"
    assert.is_true(is_silent())
    assert.equal(5, p.bytes.up)
    p:resume "down"
    assert.equal("later", s:read_exact(5))

    p:stall "up"
    s:write "again"
    assert.is_true(is_silent())
    assert.equal(5, p.bytes.up)
    p:resume()
    assert.equal("again", s:read_exact(5))
  end)

  it("cuts, with an end or with a reset, on both sides", function()
    connect()
    trip "a"
    p:cut_all()
    assert.is_nil(s:read())
    clock.eventually(function() return ends.fin == 1 end)

    s = stream.connect("127.0.0.1", p.port, { timeout = 5 })
    trip "a"
    p:reset_all()
    local ok, err = pcall(s.read, s)
    assert.is_false(ok)
    assert.equal("ECONNRESET", err.detail)
    clock.eventually(function() return ends.rst == 1 end)
  end)

  it("hands a client's reset on", function()
    connect()
    trip "a"
    s:reset()
    clock.eventually(function() return ends.rst == 1 end)
  end)

  it("cuts into slices", function()
    connect { slice = 1 }
    s:write "abc"
    assert.equal("a", s:read())
    assert.equal("bc", s:read_exact(2))
  end)

  it("holds to a rate", function()
    connect { rate = 20000 }
    local took = trip(("x"):rep(4000))
    assert.is_true(took > 0.15, tostring(took))
    figure.at_most(took, 2, "seconds")
  end)

  it("drops what is too much", function()
    connect { drop_after = 3 }
    s:write "abcdef"
    assert.equal("abc", s:read_exact(3))
    assert.is_true(is_silent())
    assert.equal(3, p.lost.up)
  end)

  it("resets a client whose server is not there", function()
    local gone = stream.listen("127.0.0.1")
    local gone_port = gone:port()
    gone:close()
    p = proxy.start { to = gone_port }
    s = stream.connect("127.0.0.1", p.port, { timeout = 5 })
    assert.is_false((pcall(s.read_exact, s, 1)))
    assert.equal(1, p.refused)
  end)
end)

describe("chaos", function()
  local child

  before_each(function()
    child = process.spawn { args = { "sleep", "60" } }
  end)
  after_each(function()
    chaos.kill(child.pid)
    child:wait(5)
  end)

  it("kills", function()
    assert.is_true(chaos.kill(child.pid))
    assert.equal(9, child:wait(5).signal)
    assert.is_false(chaos.kill(child.pid))
  end)

  it("stops for a while", function()
    local function state()
      return fs.read(("/proc/%d/stat"):format(child.pid)):match "%) (%u)"
    end
    local stopping = fiber.spawn(chaos.stop, child.pid, 0.2)
    clock.eventually(function() return state() == "T" end)
    stopping:join()
    clock.eventually(function() return state() == "S" end)
  end)

  it("does something again and again, and raises what went wrong", function()
    local count = 0
    local running = chaos.every({ 0.001, 0.005 }, function() count = count + 1 end)
    clock.eventually(function() return count >= 5 end)
    assert.equal(count, running:stop())

    local failing = chaos.every(0.001, function() error "on purpose" end)
    clock.eventually(function() return failing.handle.done end)
    assert.error_matches(function() failing:stop() end, "on purpose")
  end)

  it("chooses within bounds, and everything in them", function()
    local seen = {}
    for _ = 1, 200 do
      seen[chaos.integer(3, 5)] = true
      local number = chaos.number(0.5, 2)
      assert.is_true(number >= 0.5 and number < 2)
    end
    assert.same({ [3] = true, [4] = true, [5] = true }, seen)
  end)
end)

describe("the crowd", function()
  local port, ends, stop

  before_each(function()
    port, ends, stop = echo()
  end)
  after_each(function()
    clients.clean_up()
    stop()
  end)

  it("opens, drips, hears, and says who was ended", function()
    local crowd = clients.open { port = port, count = 50, first = "first " }
    crowd:drip("ab", 0.05)
    clock.eventually(function() return crowd:told "first abab" == 50 end)
    assert.equal(0, crowd.ended)
    crowd:reset()
    clock.eventually(function() return ends.rst == 50 end)
    assert.equal(0, crowd.ended)
  end)

  it("notes when the server ends a connection", function()
    local closing = stream.listen("127.0.0.1")
    local accepting = fiber.spawn(function()
      local s = closing:accept(5)
      fiber.sleep(0.1)
      s:close()
    end)
    local crowd = clients.open { port = closing:port(), count = 1 }
    crowd:wait_ended(5)
    local first, last = crowd:ends()
    assert.is_true(first == last and first >= 0.09, tostring(first))
    figure.at_most(first, 3, "seconds")
    accepting:join()
    closing:close()
  end)
end)

describe("a server in bad surroundings", function()
  local clocks = {}

  after_each(function()
    server.clean_up()
    netns.clean_up()
    disk.clean_up()
    for _, w in ipairs(clocks) do
      w:close()
    end
  end)

  it("has few descriptors, from the start or since", function()
    local function limit(pid)
      return tonumber(fs.read(("/proc/%d/limits"):format(pid)):match "Max open files%s+(%d+)")
    end
    local s = server.start { prefix = limits.prefix { nofile = 300 }, workers = 1 }
    local worker = s:workers()[1]
    assert.equal(300, limit(worker))
    limits.set(worker, { nofile = 200 })
    assert.equal(200, limit(worker))
  end)

  it("has a disk that is full", function()
    local d, why = disk.new "256k"
    if not d then
      return pending(why)
    end
    fs.write(d.path .. "/a", "a")
    d:fill()
    assert.is_false((pcall(fs.write, d.path .. "/b", ("b"):rep(8192))))
    d:free()
    fs.write(d.path .. "/b", ("b"):rep(8192))
  end)

  it("has a network of its own, which can fail", function()
    local net, why = netns.new()
    if not net then
      return pending(why)
    end
    local s = server.start { prefix = net.prefix, address = net.address, workers = 1 }
    local conn = s:connect { timeout = 0.3 }
    assert.equal(200, conn:request("GET", "/").status)

    net:drop()
    local ok, err = pcall(conn.request, conn, "GET", "/")
    assert.is_false(ok)
    assert.is_true(errors.is(err, "timeout"))
    net:heal()
    assert.equal(200, s:request("GET", "/").status)

    net:refuse()
    ok, err = pcall(s.request, s, "GET", "/")
    assert.is_false(ok)
    assert.is_true(errors.is(err, "unavailable"))
  end)

  it("has a wall clock that is wrong, and a monotonic one that is right", function()
    local w, why = wall.new()
    if not w then
      return pending(why)
    end
    clocks[#clocks + 1] = w
    local s = server.start { env = w.env, workers = 1 }
    local function seconds_off()
      local date = s:request("GET", "/").headers.date
      local h, m, sec = date:match "(%d+):(%d+):(%d+)"
      local now = os.date "!*t"
      return (h - now.hour) * 3600 + (m - now.min) * 60 + sec - now.sec
    end
    assert.is_true(math.abs(seconds_off()) <= 5)
    w:step(600)
    clock.eventually(function() return math.abs(seconds_off() % 86400 - 600) <= 5 end, 4)
    assert.is_true(proc.is_alive(s.pid))
  end)
end)
