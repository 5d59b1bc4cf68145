-- check: allow FACADE-ONLY because what no facade offers is tested, too
local core = require "tycho.core.fiber"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local tycho = require "tycho"

local function kind_of(fn, ...)
  local _, err = tycho.try(fn, ...)
  return err and err.kind
end

-- What is said to be wrong, with the position, which luassert's own would cut off.
local function fault(fn, ...)
  return select(2, pcall(fn, ...))
end

-- Waits, without a clock, until `condition` holds: other fibers run meanwhile.
local function wait_until(condition)
  for _ = 1, 1000 do
    if condition() then
      return
    end
    fiber.sleep(0.001)
  end
  error("the condition never came true", 2)
end

describe("fiber.spawn", function()
  it("returns what the child returns", function()
    local handle = fiber.spawn(function(a, b)
      fiber.sleep(0)
      return a + b, "and more"
    end, 1, 2)

    assert.same({ 3, "and more" }, { handle:join() })
  end)

  it("runs the child until it first waits", function()
    local steps = {}
    local handle = fiber.spawn(function()
      steps[#steps + 1] = "child"
      fiber.sleep(0)
      steps[#steps + 1] = "later"
    end)
    steps[#steps + 1] = "owner"
    handle:join()

    assert.same({ "child", "owner", "later" }, steps)
  end)

  it("keeps nil results in their places", function()
    local handle = fiber.spawn(function() return nil, 2, nil end)

    assert.equal(3, select("#", handle:join()))
  end)

  it("raises the child's error where it is joined", function()
    local handle = fiber.spawn(function()
      error(errors.new("conflict", "taken"))
    end)

    assert.equal("conflict", kind_of(handle.join, handle))
  end)

  it("brings an error that nobody joined to the owner", function()
    local owner = fiber.spawn(function()
      fiber.spawn(function() error("lost?", 0) end)
      return "fine"
    end)

    assert.error_matches(function() owner:join() end, "lost?")
  end)

  it("cancels children that outlive their owner", function()
    local reason
    local owner = fiber.spawn(function()
      fiber.spawn(function()
        local _, err = tycho.try(fiber.sleep, 60)
        reason = err.kind
      end)
    end)
    owner:join()
    wait_until(function() return reason end)

    assert.equal("cancelled", reason)
  end)
end)

describe("a handle", function()
  it("is joined by its owner only", function()
    local handle = fiber.spawn(fiber.sleep, 0)
    local stranger = fiber.spawn(function() handle:join() end)

    assert.matches("^tests/lua/fiber_spec%.lua:%d+: only the fiber that started another",
      fault(stranger.join, stranger))
  end)

  it("cannot be forged", function()
    local json = require "tycho.json"
    local handle = fiber.spawn(fiber.sleep, 0)
    local copy = setmetatable({ fiber = json.null }, getmetatable(handle))
    for name, value in pairs(handle) do
      copy[name] = value
    end
    handle:join()
    copy:cancel()
    handle:cancel()
  end)
end)

describe("what is no function or number", function()
  local cases = {
    spawn = function() fiber.spawn(5) end,
    all = function() fiber.all(5) end,
    race = function() fiber.race { 5 } end,
    timeout = function() fiber.timeout(1) end,
    shield = function() fiber.shield() end,
    sleep = function() fiber.sleep "1" end,
  }
  for name, call in pairs(cases) do
    it("is refused by fiber." .. name .. ", in the caller's line", function()
      assert.matches("^tests/lua/fiber_spec%.lua:%d+: fiber%." .. name .. ": ", fault(call))
    end)
  end
end)

describe("a cancelled fiber", function()
  it("cannot go on waiting by swallowing the error", function()
    local seen = {}
    local handle = fiber.spawn(function()
      for i = 1, 3 do
        seen[i] = kind_of(fiber.sleep, 60)
      end
    end)
    handle:cancel()
    handle:join()

    assert.same({ "cancelled", "cancelled", "cancelled" }, seen)
  end)

  it("ends, even if it tries for ever", function()
    local handle = fiber.spawn(function()
      while true do
        pcall(fiber.sleep, 60)
      end
    end)
    handle:cancel()

    assert.equal("cancelled", kind_of(handle.join, handle))
  end)

  it("knows why", function()
    local why
    local handle = fiber.spawn(function()
      tycho.try(fiber.sleep, 60)
      why = fiber.cancelled()
    end)
    handle:cancel()
    handle:join()

    assert.equal("cancelled by its owner", why)
  end)

  it("finishes what is shielded", function()
    local finished
    local handle = fiber.spawn(function()
      fiber.shield(function()
        fiber.sleep(0.01)
        finished = true
      end)
      fiber.sleep(60)
    end)
    handle:cancel()

    assert.equal("cancelled", kind_of(handle.join, handle))
    assert.is_true(finished)
  end)
end)

describe("fiber.timeout", function()
  it("returns what comes in time", function()
    assert.same({ 1, 2 }, { fiber.timeout(5, function() return 1, 2 end) })
  end)

  it("raises timeout when it takes too long", function()
    assert.equal("timeout", kind_of(fiber.timeout, 0.01, fiber.sleep, 60))
  end)

  it("lets the fiber go on waiting afterwards", function()
    tycho.try(fiber.timeout, 0, fiber.sleep, 60)

    assert.has_no.errors(function() fiber.sleep(0) end)
  end)

  it("cannot be widened from inside", function()
    for _, longer in ipairs { 60, math.huge } do
      assert.equal("timeout", kind_of(fiber.timeout, 0.01, fiber.timeout, longer, fiber.sleep, 60))
    end
  end)

  it("bounds the children too", function()
    local kind = kind_of(fiber.timeout, 0.01, function()
      return fiber.spawn(fiber.sleep, 60):join()
    end)

    assert.equal("timeout", kind)
  end)

  it("tells how much is left", function()
    fiber.timeout(10, function()
      local left = fiber.remaining()
      assert.is_true(left > 9 and left <= 10)
    end)
  end)
end)

describe("fiber.all", function()
  it("gives the results in order, not as they come", function()
    local results = fiber.all {
      function() fiber.sleep(0.02) return "slow" end,
      function() return "fast" end,
    }

    assert.same({ "slow", "fast" }, results)
  end)

  it("cancels the others when one fails", function()
    local other
    local kind = kind_of(fiber.all, {
      function() other = kind_of(fiber.sleep, 60) end,
      function() fiber.sleep(0) error(errors.new("invalid", "no")) end,
    })

    assert.equal("invalid", kind)
    assert.equal("cancelled", other)
  end)
end)

describe("fiber.race", function()
  it("takes the first that ends well and cancels the rest", function()
    local loser
    local winner = fiber.race {
      function() loser = kind_of(fiber.sleep, 60) end,
      function() error(errors.new("unavailable", "broken")) end,
      function() fiber.sleep(0.01) return "winner" end,
    }

    assert.equal("winner", winner)
    assert.equal("cancelled", loser)
  end)

  it("raises the first error when all fail", function()
    local kind = kind_of(fiber.race, {
      function() error(errors.new("conflict", "one")) end,
      function() fiber.sleep(0) error(errors.new("invalid", "two")) end,
    })

    assert.equal("conflict", kind)
  end)
end)

describe("fiber.context", function()
  it("is its owner's for a child that began before there was one", function()
    local seen = fiber.spawn(function()
      local child = fiber.spawn(function()
        fiber.sleep(0)
        return fiber.context().tenant
      end)
      fiber.context().tenant = "a"
      return child:join()
    end):join()

    assert.equal("a", seen)
  end)

  it("is read by children, which keep what they write", function()
    local inner
    local owner = fiber.spawn(function()
      fiber.context().tenant = "a"
      fiber.spawn(function()
        inner = fiber.context().tenant
        fiber.context().tenant = "b"
      end):join()
      return fiber.context().tenant
    end)

    assert.equal("a", owner:join())
    assert.equal("a", inner)
  end)

  it("starts empty in a recycled coroutine", function()
    fiber.spawn(function() fiber.context().secret = "s" end):join()

    assert.is_nil(fiber.spawn(function() return fiber.context().secret end):join())
  end)
end)

describe("fiber.finally", function()
  it("returns what the function returns, behind its clean-up", function()
    local cleaned
    local function clean_up(...)
      cleaned = select("#", ...) == 1 and ... == nil
    end
    local function sum(a, b)
      fiber.sleep(0)
      return a + b, "more"
    end

    assert.same({ 3, "more" }, { fiber.finally(sum, clean_up, 1, 2) })
    assert.is_true(cleaned)
  end)

  it("cleans up behind an error, and raises it", function()
    local seen
    local ok, err = pcall(fiber.finally, function() error({ why = "on purpose" }) end,
      function(e) seen = e end)

    assert.is_false(ok)
    assert.same({ why = "on purpose" }, err)
    assert.equal(err, seen)
  end)

  it("cleans up in a fiber that was cancelled, and lets that wait", function()
    local cleaned, reason
    local handle = fiber.spawn(function()
      fiber.finally(function() fiber.sleep(10) end, function(err)
        fiber.sleep(0.001)
        cleaned, reason = err.kind, fiber.cancelled()
      end)
    end)
    handle:cancel()

    assert.equal("cancelled", kind_of(handle.join, handle))
    assert.equal("cancelled", cleaned)
    assert.equal("cancelled by its owner", reason)
  end)

  it("cleans up behind a time-out", function()
    local cleaned
    local kind = kind_of(fiber.timeout, 0.01, function()
      fiber.finally(function() fiber.sleep(10) end, function(err)
        fiber.sleep(0.02)
        cleaned = err.kind
      end)
    end)

    assert.equal("timeout", kind)
    assert.equal("timeout", cleaned)
  end)

  it("raises what the clean-up raises, unless there is an error already", function()
    local function fail()
      error("the clean-up", 0)
    end

    assert.equal("the clean-up", fault(fiber.finally, function() end, fail))
    assert.equal("the function", fault(fiber.finally, function() error("the function", 0) end,
      fail))
  end)

  it("says what it wants", function()
    assert.matches("fiber.finally: a function is wanted, not a nil",
      fault(fiber.finally, function() end))
  end)
end)

describe("waiting", function()
  it("works across pcall", function()
    local ok, value = pcall(function()
      fiber.sleep(0)
      return 1
    end)
    assert.same({ true, 1 }, { ok, value })
  end)

  it("works in an iterator", function()
    local sum = 0
    for i in (function(n)
      return function()
        fiber.sleep(0)
        n = n + 1
        return n <= 3 and n or nil
      end
    end)(0) do
      sum = sum + i
    end
    assert.equal(6, sum)
  end)

  it("works in a metamethod", function()
    local t = setmetatable({}, {
      __index = function(_, k) fiber.sleep(0) return k .. "!" end,
      __add = function() fiber.sleep(0) return 42 end,
    })
    assert.equal("x!", t.x)
    assert.equal(42, t + 1)
  end)

  it("works in coroutines inside coroutines", function()
    local outer = coroutine.wrap(function()
      local inner = coroutine.wrap(function()
        fiber.sleep(0)
        coroutine.yield("first")
        fiber.sleep(0)
        coroutine.yield("second")
      end)
      coroutine.yield(inner())
      fiber.sleep(0)
      coroutine.yield(inner())
    end)

    assert.same({ "first", "second" }, { outer(), outer() })
  end)

  for name, call in pairs {
    ["table.sort"] = function() table.sort({ 2, 1, 3 }, function() fiber.sleep(0) end) end,
    ["string.gsub"] = function() ("x"):gsub("x", function() fiber.sleep(0) end) end,
  } do
    it("is refused with a clear message inside " .. name, function()
      assert.matches("^tests/lua/fiber_spec%.lua:%d+: cannot wait here", fault(call))
    end)
  end

  it("is refused in a bare yield", function()
    local handle = fiber.spawn(function() coroutine.yield(1) end)

    assert.matches("^tests/lua/fiber_spec%.lua:%d+: coroutine%.yield%(%) outside a coroutine",
      fault(handle.join, handle))
  end)

  it("leaves no fiber behind", function()
    local before = core.count()
    for _ = 1, 100 do
      fiber.spawn(fiber.sleep, 0):join()
    end
    assert.equal(before, core.count())
  end)
end)
