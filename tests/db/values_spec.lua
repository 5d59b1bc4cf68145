-- Values go into a database and come back as they were, on every database.

local db = require "tycho.db"
local int64 = require "tycho.int64"
local json = require "tycho.json"
local support = require "tests.db.support"
local time = require "tycho.time"

local SYSTEM = support.system

describe("values of " .. SYSTEM, function()
  setup(function()
    support.create("kept", [[id {id}, big {bigint}, real_ {real}, text_ {text}, bytes_ {bytes},
      ok {boolean}, doc {json}, at {timestamp}, day {date}, price {decimal}, uid {uuid}]])
  end)

  local function back(column, value)
    db.exec("delete from kept")
    db.exec(("insert into kept(%s) values ($1)"):format(column), value)
    return db.value(("select %s from kept"):format(column))
  end

  it("are integers of 64 bits, exactly", function()
    for _, text in ipairs { "0", "-1", "9007199254740991", "9007199254740992", "9007199254740993",
                            "-9007199254740993", "9223372036854775807", "-9223372036854775808" } do
      assert.equal(text, int64.format(back("big", int64.parse(text))))
    end
    for _ = 1, 50 do
      local random = int64.parse(("%d%09d%09d"):format(math.random(0, 8), math.random(0, 999999999),
        math.random(0, 999999999)))
      assert.equal(int64.format(random), int64.format(back("big", random)))
    end
  end)

  it("are whole numbers beyond 2^53, as they are", function()
    for _, number in ipairs { 2 ^ 53 + 2, 1e18, -2 ^ 62 } do
      assert.equal(number, tonumber(back("big", number)))
      assert.equal(number, back("real_", number))
    end
  end)

  it("are floating-point numbers, exactly", function()
    for _, number in ipairs { 0.1, -1.5e300, 5e-324, 1 / 3, 2 ^ 53 + 2, 123456.789 } do
      assert.equal(number, back("real_", number))
    end
    for _ = 1, 50 do
      local number = (math.random() - 0.5) * 10 ^ math.random(-200, 200)
      assert.equal(number, back("real_", number))
    end
  end)

  it("are infinite, and not numbers, only where the database knows that", function()
    if SYSTEM == "postgresql" then
      assert.equal(math.huge, back("real_", math.huge))
      assert.equal(-math.huge, back("real_", -math.huge))
      local nan = back("real_", 0 / 0)
      assert.are_not.equal(nan, nan)
    else
      assert.equal("invalid", support.failure(back, "real_", 0 / 0).kind)
    end
  end)

  it("are texts, of any kind but not of any bytes", function()
    for _, text in ipairs { "", "schön 好 🐫", "'\"`\\%_$1", ("x"):rep(100000), "\n\t\r\1" } do
      assert.equal(text, back("text_", text))
    end
    for _, text in ipairs { "a\0b", "\255", "\237\160\128" } do
      assert.equal("invalid", support.failure(back, "text_", text).kind)
    end
  end)

  it("are bytes of any kind", function()
    local all = {}
    for i = 0, 255 do
      all[#all + 1] = string.char(i)
    end
    for _, bytes in ipairs { "", "\0", table.concat(all), ("\0\255\\x"):rep(30000) } do
      assert.equal(bytes, back("bytes_", db.blob(bytes)))
    end
  end)

  it("are booleans", function()
    assert.equal(true, back("ok", true))
    assert.equal(false, back("ok", false))
    assert.equal(1, db.value("select count(*) from kept where ok = $1", false))
  end)

  it("are missing", function()
    for _, column in ipairs { "big", "real_", "text_", "bytes_", "ok", "doc", "at", "day", "price",
                              "uid" } do
      assert.is_nil(back(column, nil))
      assert.is_nil(back(column, db.null))
    end
    assert.same({ b = 2 }, db.one("select null as a, 2 as b"))
  end)

  it("are documents", function()
    local doc = {
      list = { 1, 2.5, "three", true, json.null }, empty = json.array {}, object = { a = {} },
      text = "quote \" backslash \\ 好", big = int64.parse "9007199254740993",
    }
    local found = back("doc", db.json(doc))

    assert.same(doc.list, found.list)
    assert.is_true(json.is_array(found.empty))
    assert.equal(doc.text, found.text)
    assert.equal("9007199254740993", int64.format(found.big))
    assert.equal("just text", back("doc", db.json "just text"))
    assert.equal(json.null, back("doc", db.json(json.null)))
  end)

  it("are moments, to the microsecond, in UTC", function()
    for given, text in pairs {
      ["2026-11-21T16:00:00.123456Z"] = "2026-11-21T16:00:00.123456Z",
      ["2026-11-21T16:00:00Z"] = "2026-11-21T16:00:00.000000Z",
      ["2026-11-22T00:30:00.5+08:00"] = "2026-11-21T16:30:00.500000Z",
      ["1999-12-31T23:59:59.999999Z"] = "1999-12-31T23:59:59.999999Z",
    } do
      assert.equal(text, back("at", db.timestamp(given)))
    end
    local now = time.now()
    assert.is_true(math.abs(time.parse(back("at", db.timestamp(now))) - now) < 1e-5)
    assert.matches("values_spec.lua:%d+: db.timestamp: \"yesterday\" is no moment",
      support.fault(function() db.timestamp "yesterday" end))
  end)

  it("are days", function()
    assert.equal("2028-02-29", back("day", "2028-02-29"))
  end)

  it("are decimals, never rounded", function()
    for _, text in ipairs { "0.1000000000", "-123456789012345678901234567890.1234567890" } do
      assert.equal(text, back("price", text))
    end
  end)

  it("are UUIDs", function()
    assert.equal("0189d3e4-7c6b-7f3a-9c0d-1e2f3a4b5c6d",
      back("uid", "0189d3e4-7c6b-7f3a-9c0d-1e2f3a4b5c6d"))
  end)

  it("are lists", function()
    if SYSTEM ~= "postgresql" then
      local list = back("doc", db.array { 1, "two", db.null })
      assert.same({ 1, "two", json.null }, list)
      return
    end
    local function array(type, list)
      return db.value(("select $1::%s[]"):format(type), db.array(list))
    end
    assert.same({ 1, json.null, 3 }, array("bigint", { 1, db.null, 3 }))
    assert.same({ 'a"b', "c,d", "{e}", "\\", "", "NULL", " x " },
      array("text", { 'a"b', "c,d", "{e}", "\\", "", "NULL", " x " }))
    assert.same({ true, false }, array("boolean", { true, false }))
    assert.same({ 0.5, math.huge }, array("double precision", { 0.5, math.huge }))
    assert.same({ { 1, 2 }, { 3, 4 } }, array("int", { { 1, 2 }, { 3, 4 } }))
    assert.is_true(json.is_array(array("int", {})))
    assert.same({ "2026-11-21T16:00:00.500000Z" },
      array("timestamptz", { "2026-11-21T16:00:00.5Z" }))
    assert.same({ 2, 3 }, db.value(
      "select array_agg(n) from unnest($1::int[]) n where n > 1", db.array { 1, 2, 3 }))
  end)

  it("are made by every database alike", function()
    local reports = db.use "reports"

    for _, name in ipairs { "null", "blob", "json", "array", "timestamp", "use" } do
      assert.is_true(rawequal(db[name], reports[name]), name)
    end
    assert.equal("7", reports.value("select $1", "7"))
  end)

  it("are the program's fault when no column can hold them", function()
    assert.matches("values_spec.lua:%d+: db.blob: expected a string, not a nil",
      support.fault(function() db.blob(nil) end))
    assert.matches("values_spec.lua:%d+: %$1 is a table",
      support.fault(function() db.value("select $1", {}) end))
  end)
end)
