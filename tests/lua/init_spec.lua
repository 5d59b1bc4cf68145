local errors = require "tycho.errors"
local tycho = require "tycho"

describe("tycho.try", function()
  it("returns what the function returns", function()
    assert.same({ 1, nil, 3, n = 3 }, {
      n = select("#", tycho.try(function(...) return ... end, 1, nil, 3)),
      tycho.try(function(...) return ... end, 1, nil, 3),
    })
  end)

  it("turns an error object into nil and the error", function()
    local err = errors.new("conflict", "taken")

    local value, caught = tycho.try(function()
      error(err, 0)
    end)

    assert.is_nil(value)
    assert.equal(err, caught)
  end)

  it("lets faults of the program pass", function()
    assert.error_matches(function()
      tycho.try(function()
        return nil + 1
      end)
    end, "arithmetic")
  end)
end)

describe("tycho.version", function()
  it("is the version of the program", function()
    assert.matches("^%d+%.%d+%.%d+", tycho.version)
  end)
end)
