local uuid = require "tycho.uuid"

describe("tycho.uuid", function()
  it("makes random ones", function()
    assert.matches("^%x+%-%x+%-4%x%x%x%-[89ab]%x%x%x%-%x+$", uuid.v4())
    assert.not_equal(uuid.v4(), uuid.v4())
  end)

  it("makes ordered ones", function()
    local before = uuid.v7()

    for _ = 1, 1000 do
      local now = uuid.v7()
      assert.is_true(before < now)
      before = now
    end
    assert.matches("^%x+%-%x+%-7%x%x%x%-[89ab]%x%x%x%-%x+$", before)
  end)

  it("puts the time in front", function()
    local ms = tonumber((uuid.v7():sub(1, 13):gsub("-", "")), 16)

    assert.is_true(math.abs(ms / 1000 - os.time()) < 5)
  end)

  it("knows one when it sees it", function()
    assert.is_true(uuid.is_valid(uuid.v4()))
    assert.is_true(uuid.is_valid("018F3A5E-7C3B-7E21-9D0A-5B6C7D8E9F00"))
    assert.is_false(uuid.is_valid("018f3a5e"))
    assert.is_false(uuid.is_valid(uuid.v4() .. "\n"))
    assert.is_false(uuid.is_valid(nil))
    assert.is_false(uuid.is_valid(42))
  end)
end)
