local options = require "tycho.options"

local KNOWN = options.set { "timeout", "family" }

local function api(opts)
  opts = options.check(opts, KNOWN)
  return opts.timeout
end

describe("tycho.options.check", function()
  it("returns the options, and an empty table for none", function()
    assert.equal(2, api { timeout = 2 })
    assert.is_nil(api())
  end)

  it("blames the caller's line for an unknown option and says what was meant", function()
    local _, message = pcall(function()
      api { tiemout = 2 }
    end)

    assert.matches('options_spec.lua:%d+: unknown option "tiemout", did you mean "timeout"%?',
      message)
  end)

  it("suggests nothing when nothing is close", function()
    assert.error_matches(function()
      api { zzz = 2 }
    end, 'unknown option "zzz"$')
  end)

  it("refuses what is no table", function()
    assert.error_matches(function()
      api(2)
    end, "options are a table, not a number")
  end)
end)
