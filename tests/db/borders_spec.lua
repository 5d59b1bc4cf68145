-- The first and the last value that there is of a kind, and what lies behind them.

local db = require "tycho.db"
local support = require "tests.db.support"

local SYSTEM = support.system

describe("at the borders of " .. SYSTEM, function()
  setup(function()
    support.create("edges", "id {id}, at {timestamp}, day {date}, price {decimal}, text_ {text}")
  end)

  local function back(column, value)
    db.exec "delete from edges"
    db.exec(("insert into edges(%s) values ($1)"):format(column), value)
    return db.value(("select %s from edges"):format(column))
  end

  it("are moments of the first day and of the last one", function()
    for _, text in ipairs { "1000-01-01T00:00:00.000000Z", "1582-10-15T00:00:00.000000Z",
                            "1899-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z",
                            "1970-01-01T00:00:00.000000Z", "2000-02-29T12:00:00.000001Z",
                            "2038-01-19T03:14:08.000000Z", "9999-12-31T23:59:59.999999Z" } do
      assert.equal(text, back("at", db.timestamp(text)))
    end
  end)

  it("are moments with more digits than are kept: they are cut, and never a year later", function()
    assert.equal("9999-12-31T23:59:59.999999Z",
      back("at", db.timestamp "9999-12-31T23:59:59.9999999Z"))
    assert.equal("2026-11-21T16:00:00.123456Z",
      back("at", db.timestamp "2026-11-21T18:00:00.1234567+02:00"))
  end)

  it("are moments that a zone leads over a border: they are none", function()
    assert.matches("is no moment", support.fault(db.timestamp, "9999-12-31T23:59:59-01:00"))
    assert.matches("is no moment", support.fault(db.timestamp, 1e12))
    assert.matches("is no moment", support.fault(db.timestamp, 0 / 0))
  end)

  it("are days", function()
    for _, text in ipairs { "1000-01-01", "1600-02-29", "1970-01-01", "9999-12-31" } do
      assert.equal(text, back("day", text))
    end
  end)

  it("are decimals of thirty digits and ten", function()
    local nines = ("9"):rep(30)
    for _, text in ipairs { nines .. "." .. ("9"):rep(10), "-" .. nines .. ".0000000001",
                            "0.0000000000", "0.0000000001" } do
      assert.equal(text, back("price", text))
    end
    if SYSTEM ~= "sqlite" then
      assert.equal("invalid", support.failure(back, "price", ("9"):rep(31)).kind)
    end
  end)

  it("are texts of a million bytes", function()
    local text = ("好"):rep(349525)
    assert.equal(text, back("text_", text))
  end)

  if SYSTEM == "postgresql" then
    it("have moments before and after all others, as the server writes them", function()
      assert.equal("infinity", db.value "select timestamptz 'infinity'")
      assert.equal("-infinity", db.value "select date '-infinity'")
      assert.equal("infinity", db.value("select $1::timestamptz", "infinity"))
      assert.equal("0044-03-15 12:00:00+00 BC",
        db.value "select timestamptz '0044-03-15 12:00:00+00 BC'")
      assert.matches("^294276%-12%-31 23:59:59",
        db.value "select timestamptz '294276-12-31 23:59:59Z'")
    end)

    it("have decimals of a thousand digits, and what is no number among them", function()
      local text = ("7"):rep(1000) .. "." .. ("3"):rep(1000)
      assert.equal(text, db.value("select $1::numeric", text))
      assert.equal("NaN", db.value("select $1::numeric", 0 / 0))
      assert.equal("-Infinity", db.value("select $1::numeric", -math.huge))
    end)

    it("have numbers of single precision, as short as they are exact", function()
      assert.equal(0.1, db.value "select 0.1::real")
      assert.equal(16777216, db.value "select 16777216::real")
    end)
  elseif SYSTEM == "mysql" then
    it("have decimals of 65 digits", function()
      local text = ("9"):rep(35) .. "." .. ("1"):rep(30)
      assert.equal(text, db.value("select cast($1 as decimal(65, 30))", text))
    end)

    it("have integers beyond 2^63, and moments up to 2038", function()
      support.create("unsigned_", "n bigint unsigned, at timestamp(6) null")
      local int64 = require "tycho.int64"
      db.exec("insert into unsigned_ values ($1, $2)", int64.parse "18446744073709551615",
        db.timestamp "2038-01-19T03:14:07.999999Z")
      local row = db.one "select * from unsigned_"
      assert.equal("18446744073709551615", int64.format(row.n))
      assert.equal("2038-01-19T03:14:07.999999Z", row.at)
    end)
  end
end)
