local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local process = require "tycho.process"

local function is_alive(pid)
  local file = io.open("/proc/" .. pid .. "/stat")
  local state = file and file:read("*a"):match("%) (%a)")
  if file then
    file:close()
  end
  return state ~= nil and state ~= "Z"
end

describe("tycho.process", function()
  it("tells how a program ended", function()
    assert.same({ code = 7, signal = 0 },
      process.spawn({ args = { "sh", "-c", "exit 7" } }):wait(5))

    local sleeper = process.spawn { args = { "sleep", "1000" } }
    assert.is_true(sleeper:kill "INT")
    assert.same({ code = 0, signal = 2 }, sleeper:wait(5))
    assert.is_false(sleeper:kill "KILL")
  end)

  it("lets several fibers wait for the same end", function()
    local sleeper = process.spawn { args = { "sleep", "1000" } }
    local one = fiber.spawn(function() return sleeper:wait(5).signal end)
    local two = fiber.spawn(function() return sleeper:wait(5).signal end)

    sleeper:kill()
    assert.same({ 15, 15 }, { one:join(), two:join() })
  end)

  it("stops waiting after the timeout", function()
    local sleeper = process.spawn { args = { "sleep", "1000" } }
    local ok, err = pcall(sleeper.wait, sleeper, 0.02)

    assert.is_false(ok)
    assert.is_true(errors.is(err, "timeout"))
    sleeper:kill "KILL"
    assert.equal(9, sleeper:wait(5).signal)
  end)

  it("connects a child's input and output by streams", function()
    local child = process.spawn { args = { "tr", "a-z", "A-Z" }, stdin = "pipe", stdout = "pipe" }

    child.stdin:write("loud")
    child.stdin:close()
    assert.equal("LOUD", child.stdout:read_all())
    assert.equal(0, child:wait(5).code)
    assert.is_nil(child.stderr)
  end)

  it("runs a program to its end and returns what it said", function()
    local exit, out, err = process.run {
      args = { "sh", "-c", "echo $GREETING; pwd >&2; exit 3" },
      env = { GREETING = "hello", PATH = os.getenv "PATH" },
      cwd = "/usr",
    }

    assert.equal(3, exit.code)
    assert.equal("hello\n", out)
    assert.equal("/usr\n", err)
  end)

  it("kills a run that takes too long", function()
    local ok, err = pcall(process.run, { args = { "sleep", "1000" } }, 0.05)

    assert.is_false(ok)
    assert.is_true(errors.is(err, "timeout"), tostring(err))
  end)

  it("writes a child's output to a file", function()
    local path = os.tmpname()
    process.spawn({ args = { "echo", "filed" }, stdout = path }):wait(5)
    local file = assert(io.open(path))

    assert.equal("filed\n", file:read "*a")
    file:close()
    os.remove(path)
  end)

  it("kills a child that nobody refers to", function()
    local pid = process.spawn({ args = { "sleep", "1000" } }).pid

    collectgarbage()
    collectgarbage()
    for _ = 1, 500 do
      if not is_alive(pid) then
        return
      end
      fiber.sleep(0.01)
    end
    error("the child lives")
  end)

  it("says that there is no such program", function()
    local ok, err = pcall(process.spawn, { args = { "tycho-no-such-program" } })

    assert.is_false(ok)
    assert.equal("not_found", err.kind)
    assert.matches("tycho%-no%-such%-program", tostring(err))
  end)

  it("throws on what is no list of strings", function()
    assert.error_matches(function() process.spawn { args = {} } end, "must name a program")
    assert.error_matches(function() process.spawn { args = { "echo", {} } } end, "list of strings")
    assert.error_matches(function() process.spawn { arg = { "echo" } } end, "unknown option")
  end)
end)
