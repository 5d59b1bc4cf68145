local time = require "tycho.time"

describe("tycho.time", function()
  for text, seconds in pairs {
    ["1970-01-01T00:00:00.000Z"] = 0,
    ["2000-02-29T12:00:00.000Z"] = 951825600,
    ["2024-12-31T23:59:59.999Z"] = 1735689599.999,
    ["1969-12-31T23:59:59.500Z"] = -0.5,
    ["2100-03-01T00:00:00.000Z"] = 4107542400,
    ["0000-01-01T00:00:00.000Z"] = -62167219200,
  } do
    it("writes and reads " .. text, function()
      assert.equal(text, time.iso(seconds))
      assert.equal(seconds, time.parse(text))
    end)
  end

  it("agrees with the C library about every day of 400 years", function()
    for day = 0, 146097 do
      assert.equal(os.date("!%Y-%m-%dT00:00:00.000Z", day * 86400), time.iso(day * 86400))
    end
  end)

  it("reads other offsets", function()
    assert.equal(time.parse("2026-01-31T08:30:00Z"), time.parse("2026-01-31T16:30:00+08:00"))
    assert.equal(time.parse("2026-01-31T08:30:00Z"), time.parse("2026-01-31T03:00:00-05:30"))
  end)

  it("reads nothing else", function()
    for _, text in ipairs {
      "", "2026-01-31", "2026-02-30T00:00:00Z", "2026-01-31T08:30:00", "x",
    } do
      assert.is_nil(time.parse(text))
    end
    assert.is_nil(time.parse(12))
  end)

  it("knows what time it is", function()
    assert.is_true(math.abs(time.now() - os.time()) < 2)
    local before = time.monotonic()
    assert.is_true(time.monotonic() >= before)
  end)
end)
