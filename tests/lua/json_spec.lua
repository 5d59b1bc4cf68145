local errors = require "tycho.errors"
local int64 = require "tycho.int64"
local json = require "tycho.json"

local function refused(text, opts)
  local ok, err = pcall(json.decode, text, opts)
  assert.is_false(ok, "accepted: " .. text:sub(1, 60))
  assert.is_true(errors.is(err, "invalid"), tostring(err))
  return err
end

-- What the program is told that made a mistake; with the place.
local function blamed(...)
  local ok, err = pcall(...)
  assert.is_false(ok)
  assert.is_string(err)
  return err
end

local function not_written(value)
  local ok, err = pcall(json.encode, value)
  assert.is_false(ok)
  assert.is_true(errors.is(err, "internal"), tostring(err))
  local what = err.message:match "^this cannot be JSON: (.*)$"
  return assert(what, err.message)
end

describe("json.decode", function()
  it("accepts every kind of value as a document", function()
    assert.equal(json.null, json.decode "null")
    assert.is_true(json.decode "true")
    assert.is_false(json.decode "false")
    assert.equal("", json.decode '""')
    assert.equal(-0.5, json.decode "-0.5")
    assert.same({}, json.decode "{}")
    assert.same({ 1, { a = { "b" } } }, json.decode ' [ 1 , { "a" : [ "b" ] } ]\r\n\t')
  end)

  it("reads numbers as RFC 8259 writes them", function()
    assert.equal(0, json.decode "0")
    assert.equal(0, json.decode "-0")
    assert.equal(1e10, json.decode "1E+10")
    assert.equal(1.5e-7, json.decode "1.5e-7")
    assert.equal(0.1, json.decode "0.1")
    assert.equal(1.7976931348623157e308, json.decode "1.7976931348623157e308")
    assert.equal(5e-324, json.decode "5e-324")
    for text, number in pairs {
      ["1E2"] = 100, ["100.00"] = 100, ["10e-1"] = 1, ["-1.0"] = -1, ["0.00e5"] = 0,
      ["0e99999999999"] = 0, ["100000000000000000000e-18"] = 100, ["1e300"] = 1e300,
      ["9007199254740991.0"] = 2 ^ 53 - 1, ["9007199254740992.0"] = 2 ^ 53, ["1e22"] = 1e22,
    } do
      assert.equal(number, json.decode(text), text)
    end
  end)

  it("refuses fractions that would be rounded to whole numbers", function()
    for _, text in ipairs { "9007199254740993.0", "9007199254740992.5", "4503599627370497.25",
      "1e-400", "0.99999999999999999999", "1.00000000000000000001",
      "100000000000000000001e-18" } do
      assert.equal("RANGE", refused(text).detail, text)
      assert.equal("RANGE", refused("-" .. text).detail, text)
    end
    assert.equal("number that would be rounded to a whole one at a[2]",
      refused('{"a":[1,1.00000000000000000001]}').message)
  end)

  it("refuses numbers in any other form", function()
    for _, text in ipairs { "01", "-01", "+1", ".5", "1.", "1.e1", "1e", "1e+", "0x1", "-", "--1",
      "1_000", "Infinity", "-Infinity", "NaN", "nan", "٣", "1 2", "1,2" } do
      refused(text)
    end
  end)

  it("keeps integers of 64 bits and refuses larger numbers", function()
    assert.equal("number", type(json.decode "9007199254740992"))
    assert.is_true(json.decode "9007199254740993" == 9007199254740993LL)
    assert.is_true(json.decode "-9223372036854775808" == -9223372036854775808LL)
    assert.is_true(json.decode "18446744073709551615" == 18446744073709551615ULL)
    assert.equal("RANGE", refused("18446744073709551616").detail)
    assert.equal("RANGE", refused("-9223372036854775809").detail)
    assert.equal("number out of range at a[2].b", refused('{"a":[0,{"b":1e400}]}').message)
  end)

  it("reads strings with all escapes", function()
    assert.equal('"\\/\b\f\n\r\t', json.decode [["\"\\\/\b\f\n\r\t"]])
    assert.equal("A\0é中😀", json.decode [["\u0041\u0000\u00e9\u4E2D\ud83d\uDE00"]])
    assert.equal("é中😀\127", json.decode '"é中😀\127"')
  end)

  it("refuses strings in any other form", function()
    for _, text in ipairs { '"', '"a', "'a'", '"\\x41"', '"\\u12"', '"\\u123g"', '"\\ud800"',
      '"\\ud800\\u0041"', '"\\udc00"', '"a\nb"', '"a\tb"', '"\0"', '"\31"', '"\\"', '"\\a"',
      '"\255"', '"\192\175"', '"\237\160\128"', '"\244\144\128\128"', '"\228\184"' } do
      refused(text)
    end
  end)

  it("refuses broken structure", function()
    for _, text in ipairs { "", " ", "[", "]", "{", "}", "[1", "[1,]", "[,1]", "[1 2]", "{,}",
      '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", "{1:1}", '{"a":1 "b":2}', '{"a"::1}', "[1]]",
      "[1}", "nul", "TRUE", "True", "[] []", "// c\n1", "/* c */1", "[1]x", "\239\187\1911",
      "\0", "1\0", "undefined", "[1,\0]" } do
      refused(text)
    end
  end)

  it("says where the fault is", function()
    assert.matches("^line 3, column 8: ", refused('{\n  "a": 1,\n  "b": x\n}').message)
    assert.equal("SYNTAX", refused("[").detail)
    assert.equal("empty, not JSON", refused("").message)
  end)

  it("keeps null and empty arrays apart from nothing and empty objects", function()
    local value = json.decode '{"a":null,"b":[],"c":{}}'

    assert.equal(json.null, value.a)
    assert.is_true(json.is_array(value.b))
    assert.is_false(json.is_array(value.c))
    assert.equal("[]", json.encode(value.b))
    assert.equal("{}", json.encode(value.c))
  end)

  it("bounds the depth", function()
    assert.is_table(json.decode(("["):rep(128) .. ("]"):rep(128)))
    assert.equal("DEPTH", refused(("["):rep(129) .. ("]"):rep(129)).detail)
    assert.equal("DEPTH", refused(('{"a":'):rep(129) .. "1" .. ("}"):rep(129)).detail)
    assert.equal("DEPTH", refused("[[1]]", { depth = 1 }).detail)
    assert.equal("SYNTAX", refused(("["):rep(100000)).detail)
  end)

  it("bounds the names of an object", function()
    local members = {}
    for i = 1, 1001 do
      members[i] = ('"k%d":%d'):format(i, i)
    end
    local thousand = "{" .. table.concat(members, ",", 1, 1000) .. "}"
    local more = "{" .. table.concat(members, ",") .. "}"

    assert.equal(1000, json.decode(thousand).k1000)
    assert.equal("too many names in an object at [1]", refused("[" .. more .. "]").message)
    assert.equal(1001, json.decode(more, { keys = 2000 }).k1001)
    assert.equal("KEYS", refused('{"a":1,"b":2}', { keys = 1 }).detail)
  end)

  it("takes the last of repeated names, or none of them", function()
    assert.same({ a = 2 }, json.decode '{"a":1,"a":2}')
    assert.equal("repeated name at x.a",
      refused('{"x":{"a":1,"\\u0061":2}}', { repeats = "error" }).message)
    assert.same({ a = { a = 1 } }, json.decode('{"a":{"a":1}}', { repeats = "error" }))
  end)

  it("blames the caller for a wrong argument", function()
    assert.matches("string expected", blamed(json.decode, nil))
    assert.matches('json_spec.lua:%d+: unknown option "repeat_"', blamed(function()
      return (json.decode("1", { repeat_ = "error" }))
    end))
    assert.matches("json_spec.lua:%d+: json.decode: repeats", blamed(function()
      return (json.decode("1", { repeats = "first" }))
    end))
  end)

  it("reads 1 MiB quickly", function()
    local parts = {}
    for i = 1, 24000 do
      parts[i] = ('{"id":%d,"name":"n%d","ok":true}'):format(i, i)
    end
    local text = "[" .. table.concat(parts, ",") .. "]"
    collectgarbage "stop" -- its time depends on all that there is
    local start = os.clock()
    local count = #json.decode(text)
    local took = os.clock() - start
    collectgarbage "restart"

    assert.equal(24000, count)
    assert.is_true(took < 1, took)
  end)

  it("works from a finalizer in the middle of itself", function()
    local rest = {}
    for i = 1, 200 do
      local guard = newproxy(true)
      getmetatable(guard).__gc = function()
        rest[i] = json.decode '{"inner":[1,2,3]}'
      end
    end
    local text = "[" .. ('{"a":["xyz",1]},'):rep(20000) .. "0]"

    for _ = 1, 5 do
      local value = json.decode(text)
      assert.equal("xyz", value[19999].a[1])
      assert.equal(0, value[20001])
    end
    collectgarbage()
    assert.same({ inner = { 1, 2, 3 } }, rest[1])
  end)
end)

describe("json.encode", function()
  it("writes every kind of value", function()
    assert.equal("null", json.encode(nil))
    assert.equal("null", json.encode(json.null))
    assert.equal("true", json.encode(true))
    assert.equal('"a"', json.encode "a")
    assert.equal('[1,"b",[{}]]', json.encode { 1, "b", { {} } })
    assert.equal('{"a":{"b":null}}', json.encode { a = { b = json.null } })
  end)

  it("writes numbers in the shortest exact form", function()
    local forms = {
      ["0"] = 0, ["-0.0"] = -1 / math.huge, ["7"] = 7, ["-12"] = -12, ["9.5"] = 9.5,
      ["-0.1"] = -0.1,
      ["100.25"] = 100.25, ["0.001"] = 0.001, ["1234567.89"] = 1234567.89,
      ["0.30000000000000004"] = 0.1 + 0.2, ["9007199254740992"] = 2 ^ 53,
      ["-9007199254740992"] = -2 ^ 53,
      ["1e300"] = 1e300, ["0.3333333333333333"] = 1 / 3,
      ["9007199254740993"] = 9007199254740993LL,
      ["-9223372036854775808"] = -9223372036854775808LL,
      ["18446744073709551615"] = 18446744073709551615ULL,
    }

    for text, number in pairs(forms) do
      assert.equal(text, json.encode(number))
    end
  end)

  it("writes numbers that read back the same", function()
    local seed = 42
    local function random()
      seed = (seed * 16807) % 2147483647
      return seed / 2147483647
    end

    for _ = 1, 20000 do
      local number = (random() - 0.5) * 10 ^ math.floor(random() * 40 - 20)
      local rounded = tonumber(("%.4f"):format(number))
      assert.equal(number, json.decode(json.encode(number)))
      assert.equal(rounded, json.decode(json.encode(rounded)))
    end
    for _, number in ipairs { 5e-324, 1.7976931348623157e308, 2 ^ 63, 2 ^ 64, -2 ^ 70, 1e23 } do
      assert.equal(number, json.decode(json.encode(number)))
    end
  end)

  it("escapes what must be escaped, wherever it is", function()
    assert.equal([["\"\\/\b\f\n\r\t\u0000\u001f]] .. '\127"', json.encode '"\\/\b\f\n\r\t\0\31\127')
    assert.equal('"é中😀"', json.encode "é中😀")
    for before = 0, 17 do
      local text = ("x"):rep(before) .. '"' .. ("y"):rep(9) .. "\n中" .. ("z"):rep(before)
      assert.equal(text, json.decode(json.encode(text)))
    end
    for byte = 0, 127 do
      local text = ("a"):rep(5) .. string.char(byte) .. ("b"):rep(11)
      assert.equal(text, json.decode(json.encode(text)))
    end
  end)

  it("marks empty arrays", function()
    assert.equal("{}", json.encode {})
    assert.equal("[]", json.encode(json.array()))
    assert.equal('{"a":[]}', json.encode { a = json.array {} })
    assert.equal("[1]", json.encode(json.array { 1 }))
  end)

  it("writes arrays whose elements came in any order", function()
    local t = {}
    for i = 20, 1, -1 do
      t[i] = i
    end

    assert.equal("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]", json.encode(t))
  end)

  it("writes integer keys of objects as strings", function()
    assert.equal('{"7":"a"}', json.encode { [7] = "a" })
    assert.equal('{"-1":"a"}', json.encode { [-1] = "a" })
  end)

  it("refuses what JSON has no form for, and says where", function()
    assert.equal("function at a.b[2]", not_written { a = { b = { 1, print } } })
    assert.equal("not a number at x", not_written { x = 0 / 0 })
    assert.equal("infinity at [1]", not_written { -math.huge })
    assert.equal("array with holes at a", not_written { a = { 1, nil, 3 } })
    assert.equal("array that has names too", not_written { 1, 2, n = 2 })
    assert.equal("array that has names too", not_written(json.array { a = 1 }))
    assert.equal("array with holes", not_written(json.array { [3] = 1 }))
    assert.equal("array with holes", not_written { [0] = 0, [1] = 1 })
    assert.matches("neither a string nor an integer at a", not_written { a = { [0.5] = 1 } })
    assert.matches("neither a string nor an integer", not_written { [true] = 1 })
    assert.equal("string that is not UTF-8 at s", not_written { s = "\255" })
    assert.equal("string that is not UTF-8", not_written "12345678\237\160\12812345678")
    assert.equal("name that is not UTF-8", not_written { ["\255"] = 1 })
    assert.equal("cdata", not_written(2i))
    assert.equal("thread", not_written(coroutine.create(print)))
  end)

  it("writes 64 MiB and 4 million tables at most, of however small a table", function()
    local function everywhere(t)
      for _ = 1, 40 do
        t = { t, t }
      end
      return t
    end

    assert.matches("^more than 64 MiB at ", not_written(everywhere { ("x"):rep(1e6) }))
    assert.matches("^more than 4 million tables at ", not_written(everywhere {}))
  end)

  it("does not go round in circles", function()
    local circle = {}
    circle.self = circle

    assert.matches("^nested too deeply, or in a circle at ", not_written(circle))
    local deep = 1
    for _ = 1, 128 do
      deep = { deep }
    end
    assert.same(deep, json.decode(json.encode(deep)))
    assert.matches("nested too deeply", not_written { deep })
  end)

  it("gives back what was read", function()
    local text = '{"a":[],"b":{},"c":[1,2.5,"x",null,true,[[]],{"d":9007199254740993}]}'

    assert.same(json.decode(text), json.decode(json.encode(json.decode(text))))
    assert.equal(18446744073709551615ULL, json.decode(json.encode { 18446744073709551615ULL })[1])
    assert.is_true(int64.is(json.decode(json.encode { 9007199254740993LL })[1]))
  end)

  it("marks only tables", function()
    assert.matches("json_spec.lua:%d+: json.array: expected a table, not a string",
      blamed(function()
        return (json.array "a")
      end))
  end)
end)
