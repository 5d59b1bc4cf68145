local int64 = require "tycho.int64"

describe("tycho.int64", function()
  it("reads integers exactly", function()
    assert.equal(42, int64.parse "42")
    assert.equal(-9007199254740992, int64.parse "-9007199254740992")
    assert.is_true(int64.parse "9007199254740993" == 9007199254740993LL)
    assert.is_true(int64.parse "-9223372036854775808" == -9223372036854775808LL)
    assert.is_true(int64.parse "18446744073709551615" == 18446744073709551615ULL)
  end)

  it("boxes only what a number cannot hold", function()
    assert.equal("number", type(int64.parse "9007199254740992"))
    assert.is_false(int64.is(int64.parse "9007199254740992"))
    assert.is_true(int64.is(int64.parse "9007199254740993"))
    assert.is_true(int64.is(int64.parse "-9007199254740993"))
  end)

  it("refuses what is no integer of 64 bits", function()
    for _, text in ipairs { "", "-", "+1", "1.0", "1e3", " 1", "1 ", "0x1", "٣", "1LL", "1\0",
      "18446744073709551616", "-9223372036854775809" } do
      assert.is_nil(int64.parse(text))
    end
  end)

  it("formats without suffix", function()
    assert.equal("9007199254740993", int64.format(9007199254740993LL))
    assert.equal("-9223372036854775808", int64.format(-9223372036854775808LL))
    assert.equal("18446744073709551615", int64.format(18446744073709551615ULL))
    assert.equal("-7", int64.format(-7))
    assert.error_matches(function()
      int64.format(0.5)
    end, "not an exact integer")
    assert.error_matches(function()
      int64.format("7")
    end, "not an exact integer")
    assert.error_matches(function()
      int64.format(2 ^ 60)
    end, "not an exact integer")
  end)

  it("calculates exactly", function()
    local big = int64.parse "9007199254740993"

    assert.is_true(big + 2 == 9007199254740995LL)
    assert.is_true(big > 1)
  end)

  it("knows boxes from everything else", function()
    assert.is_true(int64.is(1LL))
    assert.is_true(int64.is(1ULL))
    for _, value in ipairs { 1, "1", {}, true, 2i } do
      assert.is_false(int64.is(value))
    end
    assert.is_false(int64.is(nil))
  end)
end)
