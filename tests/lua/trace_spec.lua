local fiber = require "tycho.fiber"
local test = require "tycho.test"
local trace = require "tycho.trace"

describe("tycho.trace", function()
  local request = test.application(function(app)
    app.get("/", function(req)
      local child
      fiber.all { function() child = trace.current().trace_id end }
      return { mine = req.trace.trace_id, here = trace.current().trace_id, child = child }
    end)
  end)

  it("is the request's, in its fibers too", function()
    local res = request("GET", "/")

    assert.equal(200, res.status)
    assert.equal(res.json.mine, res.json.here)
    assert.equal(res.json.mine, res.json.child)
  end)

  it("is none outside of requests", function()
    assert.is_nil(trace.current())
  end)

  it("makes a new span for each call", function()
    local first, second = trace.headers().traceparent, trace.headers().traceparent

    assert.matches("^00%-%x+%-%x+%-%x%x$", first)
    assert.equal(55, #first)
    assert.not_equal(first, second)
  end)
end)
