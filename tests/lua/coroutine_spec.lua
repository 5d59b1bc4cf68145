local fiber = require "tycho.fiber"

describe("waiting inside a coroutine", function()
  it("waits, and passes values both ways", function()
    local co = coroutine.create(function(a)
      fiber.sleep(0.001)
      local b = coroutine.yield(a + 1)
      fiber.sleep(0.001)
      return b + 1
    end)

    assert.same({ true, 2 }, { coroutine.resume(co, 1) })
    assert.same({ true, 11 }, { coroutine.resume(co, 10) })
    assert.equal("dead", coroutine.status(co))
  end)

  it("works in an iterator, and through several coroutines", function()
    local function count(n)
      return coroutine.wrap(function()
        for i = 1, n do
          fiber.sleep(0.0001)
          coroutine.yield(i)
        end
      end)
    end
    local doubled = coroutine.wrap(function()
      for i in count(3) do
        coroutine.yield(2 * i)
      end
    end)

    assert.same({ 2, 4, 6 }, { doubled(), doubled(), doubled() })
  end)

  it("keeps errors as they were raised", function()
    local raised = {}
    local step = coroutine.wrap(function()
      fiber.sleep(0.0001)
      error(raised)
    end)

    local ok, caught = pcall(step)

    assert.is_false(ok)
    assert.equal(raised, caught)
  end)

  it("does not let another fiber resume it meanwhile", function()
    local co = coroutine.create(function()
      fiber.sleep(0.05)
      return "slept"
    end)
    local first, second
    fiber.all {
      function() first = { coroutine.resume(co) } end,
      function() second = { coroutine.resume(co) } end,
    }

    assert.same({ true, "slept" }, first)
    assert.is_false(second[1])
    assert.matches("waits in another fiber", second[2])
  end)
end)
