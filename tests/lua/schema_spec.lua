local json = require "tycho.json"
local s = require "tycho.schema"
local tycho = require "tycho"

-- The faults of a value as "pointer rule", sorted by the schema's own order.
local function faults(schema, value)
  local _, err = tycho.try(s.check, schema, value)
  local list = {}
  for i, item in ipairs(err and err.errors or {}) do
    list[i] = item.pointer .. " " .. item.fault.rule
  end
  return list
end

local function fault(schema, value)
  return faults(schema, value)[1]
end

-- With the place in front, which busted's own assertion cuts off.
local function message_of(fn)
  return select(2, pcall(fn))
end

describe("s.string", function()
  it("counts characters, not bytes", function()
    local name = s.string { min = 2, max = 3 }

    assert.equal("订单号", s.check(name, "订单号"))
    assert.equal("# length_max", fault(name, "订单编号"))
    assert.equal("# length_min", fault(name, "订"))
    assert.equal("# empty", fault(s.string { min = 1 }, ""))
  end)

  it("refuses what is not UTF-8", function()
    for _, text in ipairs {
      "\255", "\192\175", "\224\128\175", "\237\160\128", "\244\144\128\128", "\195", "a\226\130",
    } do
      assert.equal("# utf8", fault(s.string(), text))
    end
    assert.equal("\244\143\191\191", s.check(s.string { max = 1 }, "\244\143\191\191"))
  end)

  it("converts nothing", function()
    assert.equal("# string", fault(s.string(), 12))
    assert.equal("# string", fault(s.string(), json.null))
  end)

  it("matches a pattern against the whole text", function()
    local code = s.string { pattern = "[A-Z]+%d+" }

    assert.equal("AB12", s.check(code, "AB12"))
    assert.equal("# pattern", fault(code, "xAB12"))
    assert.equal("# pattern", fault(code, "AB12\n"))
  end)

  it("tells an anchor from the character", function()
    local texts = { ["^a$"] = "a", ["5%%$"] = "5%", ["5%%%$"] = "5%$", ["a$b"] = "a$b" }
    for pattern, text in pairs(texts) do
      assert.equal(text, s.check(s.string { pattern = pattern }, text))
      assert.equal("# pattern", fault(s.string { pattern = pattern }, text .. "$"))
    end
  end)

  it("refuses patterns that hostile text makes slow, where they are written", function()
    assert.matches("schema_spec.lua:%d+: s.string: the pattern has more than two unbounded",
      message_of(function() s.string { pattern = ".-.-.-x" } end))
    for _, pattern in ipairs { "(a)", "%b()", "%f[a]", "a%1", "[a", "é", "a%", "%", "[%",
      ("a?"):rep(13) } do
      assert.matches("which a schema may not", message_of(function()
        s.string { pattern = pattern }
      end))
    end
  end)

  for format, cases in pairs {
    email = {
      good = { "a@b.co", "first.last+tag@sub.example.com" },
      bad = { "a", "a@b", "@b.co", "a@b..co", ".a@b.co", "a..b@c.de", "a@-b.co", "a b@c.de",
        "a@b.co\n", "订@b.co", ("a"):rep(65) .. "@b.co" },
    },
    uuid = {
      good = { "123e4567-e89b-12d3-a456-426614174000" },
      bad = { "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g" },
    },
    date = {
      good = { "2024-02-29", "2000-02-29" },
      bad = { "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01", "2024-1-1", "2024-04-31" },
    },
    ["date-time"] = {
      good = { "2024-02-29T23:59:60Z", "2024-01-01T00:00:00.123+08:00" },
      bad = { "2024-01-01T00:00:00", "2024-01-01 00:00:00Z", "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:00+24:00", "2024-01-01T00:30:60Z" },
    },
    uri = {
      good = { "https://example.com/a?b=c#d", "http://[::1]:8080/" },
      bad = { "ftp://example.com", "example.com", "https:///x", "https://a b",
        "javascript:alert(1)" },
    },
  } do
    it("knows a good " .. format .. " from a bad one", function()
      for _, text in ipairs(cases.good) do
        assert.equal(text, s.check(s.string { format = format }, text))
      end
      for _, text in ipairs(cases.bad) do
        assert.equal("# " .. format, fault(s.string { format = format }, text))
      end
    end)
  end
end)

describe("s.integer", function()
  it("takes whole numbers only", function()
    assert.equal(7, s.check(s.integer(), 7))
    assert.equal(math.huge, 1 / s.check(s.integer(), -0.0)) -- as 0, which has no sign
    for _, value in ipairs { 0.5, 0 / 0, 1 / 0, "7", true } do
      assert.equal("# integer", fault(s.integer(), value))
    end
  end)

  it("keeps boxed integers exact", function()
    local checked = s.check(s.integer { min = 1 }, 9007199254740993LL)

    assert.equal("9007199254740993LL", tostring(checked))
  end)

  it("refuses what does not fit into 64 bits, and doubles that are not exact", function()
    assert.equal("# range", fault(s.integer(), 18446744073709551615ULL))
    assert.equal("# range", fault(s.integer(), 1e300))
    assert.equal("# range", fault(s.integer(), 2 ^ 53 + 2))
  end)

  it("has bounds", function()
    assert.equal("# min", fault(s.integer { min = 1 }, 0))
    assert.equal("# max", fault(s.integer { max = 5 }, 6LL))
    assert.equal("# min", fault(s.integer { min = 1 }, -9007199254740993LL))
  end)
end)

describe("s.number", function()
  it("takes finite numbers", function()
    assert.equal(0.5, s.check(s.number { min = 0 }, 0.5))
    assert.equal("# number", fault(s.number(), 0 / 0))
    assert.equal("# number", fault(s.number(), -1 / 0))
    assert.equal("# number", fault(s.number(), "1"))
  end)
end)

describe("s.decimal", function()
  local money = s.decimal { scale = 2, min = "0.01", max = "9999999999999999.99" }

  it("keeps decimals as they are written", function()
    for _, text in ipairs { "0.01", "12.34", "12.3", "12", "9999999999999999.99" } do
      assert.equal(text, s.check(money, text))
    end
  end)

  it("refuses numbers and everything that is not plain digits", function()
    for _, value in ipairs { 12.34, 12, "1e2", "٣", "+1", " 1", "1.", ".5", "01", "0x1f", "", "1,0",
      "NaN", "1_0", "１" } do
      assert.equal("# decimal", fault(money, value))
    end
  end)

  it("compares without rounding", function()
    assert.equal("# max", fault(money, "10000000000000000"))
    assert.equal("# min", fault(money, "0.00"))
    assert.equal("# min", fault(money, "-5"))
    assert.equal("# min", fault(s.decimal { min = "-0.00" }, "-0.01"))
    assert.equal("0", s.check(s.decimal { min = "-0.00" }, "0"))
    assert.equal("-3", s.check(s.decimal { max = "-2.5" }, "-3"))
  end)

  it("bounds the digits", function()
    assert.equal("# scale", fault(money, "1.234"))
    assert.equal("# digits", fault(s.decimal(), ("9"):rep(39)))
  end)
end)

describe("s.enum and s.boolean", function()
  it("take their values only", function()
    assert.equal("CNY", s.check(s.enum { "CNY", "USD" }, "CNY"))
    assert.equal("# enum", fault(s.enum { "CNY", "USD" }, "cny"))
    assert.equal("# enum", fault(s.enum { 1, 2 }, "1"))
    assert.equal("# enum", fault(s.enum { 1, 2 }, 0 / 0))
    assert.is_false(s.check(s.boolean(), false))
    assert.equal("# boolean", fault(s.boolean(), "false"))
  end)
end)

describe("s.object", function()
  local Order = s.object {
    product = s.string { min = 1 },
    amount = s.integer { min = 1 },
    note = s.optional(s.string { max = 5 }),
    currency = s.enum({ "CNY", "USD" }, { default = "CNY" }),
    paid_at = s.nullable(s.string()),
  }

  it("fills in defaults and leaves optional members out", function()
    assert.same({ product = "tea", amount = 3, currency = "CNY", paid_at = json.null },
      s.check(Order, { product = "tea", amount = 3, paid_at = json.null }))
  end)

  it("reports every fault, each with a pointer", function()
    assert.same({ "#/amount min", "#/note length_max", "#/paid_at required", "#/product required" },
      faults(Order, { amount = 0, note = "longer" }))
  end)

  it("refuses members that it does not know, in the order of their names", function()
    assert.same({ "#/admin unknown", "#/role~1x unknown" }, faults(Order, {
      product = "tea", amount = 1, paid_at = json.null, ["role/x"] = 1, admin = true,
    }))
  end)

  it("writes pointers as fragments of an address", function()
    assert.same({ "#/%E5%A4%87%20%23 unknown" }, faults(s.object {}, { ["备 #"] = 1 }))
  end)

  it("lets them through when it is open", function()
    local open = s.object({ id = s.integer() }):open()

    assert.same({ id = 1, more = 2 }, s.check(open, { id = 1, more = 2 }))
  end)

  it("refuses null where it was not allowed", function()
    assert.same({ "#/note string" }, faults(Order, {
      product = "tea", amount = 1, paid_at = json.null, note = json.null,
    }))
  end)

  it("refuses arrays and other values", function()
    assert.equal("# object", fault(Order, json.array {}))
    assert.equal("# object", fault(Order, { 1 }))
    assert.equal("# object", fault(Order, "x"))
  end)

  it("never hands out the default itself", function()
    local tagged = s.object { tags = s.array(s.string(), { default = {} }) }

    table.insert(s.check(tagged, {}).tags, "x")

    assert.equal('{"tags":[]}', json.encode(s.check(tagged, {})))
  end)
end)

describe("s.array, s.map and s.union", function()
  it("check every item and say which is wrong", function()
    local list = s.object { items = s.array(s.object { id = s.integer() }) }

    assert.same({ "#/items/1/id integer" },
      faults(list, { items = { { id = 1 }, { id = "2" } } }))
  end)

  it("bound the number of items", function()
    assert.equal("# items_max", fault(s.array(s.any(), { max = 2 }), { 1, 2, 3 }))
    assert.equal("# items_min", fault(s.array(s.any(), { min = 1 }), json.array {}))
    assert.equal("# array", fault(s.array(s.any()), { a = 1 }))
    assert.equal("# array", fault(s.array(s.any()), {})) -- which is an object in JSON
    assert.equal("# unique", fault(s.array(s.any(), { unique = true }), { 1, "1", 1 }))
    assert.equal("# items_max", fault(s.map(s.any(), { max = 1 }), { a = 1, b = 2 }))
  end)

  it("stop reporting at a bounded number of faults", function()
    local items = {}
    for i = 1, 10000 do
      items[i] = "x"
    end

    assert.equal(50, #faults(s.array(s.integer()), items))
  end)

  it("take the first alternative that fits", function()
    local id = s.union { s.integer(), s.enum { "all" } }

    assert.equal(1, s.check(id, 1))
    assert.equal("all", s.check(id, "all"))
    assert.equal("# union", fault(id, "none"))
  end)
end)

describe("a schema's error", function()
  it("is of kind invalid and names the first fault", function()
    local _, err = tycho.try(s.check, s.object { age = s.integer() }, { age = "x" })

    assert.equal("invalid", err.kind)
    assert.equal("#/age must be an integer", err.message)
    assert.equal("must be an integer", err.errors[1].detail)
  end)
end)

describe("a schema that is written wrong", function()
  it("is refused at its line", function()
    for wanted, fn in pairs {
      ['unknown option "minimum"'] = function() s.integer { minimum = 1 } end,
      ["s.object: age: a schema is wanted, not a string"] = function() s.object { age = "x" } end,
      ["the default is none of its values"] = function() s.integer { min = 1, default = 0 } end,
      ["s.string: max is a number, not a string"] = function() s.string { max = "5" } end,
      ["s.array: min is above max"] = function() s.array(s.any(), { min = 3, max = 2 }) end,
      ["s.decimal: min is a decimal number"] = function() s.decimal { min = 0.5 } end,
      ['unknown format "mail"'] = function() s.string { format = "mail" } end,
      ["s.array: a schema is wanted"] = function() s.array() end,
    } do
      local message = message_of(fn)
      assert.matches("schema_spec.lua:%d+: ", message)
      assert.matches(wanted, message, 1, true)
    end
  end)
end)

describe("s.json_schema", function()
  it("says the same as the schema, in the words of JSON Schema", function()
    assert.same({
      ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
      type = "object",
      additionalProperties = false,
      required = json.array { "amount", "price" },
      properties = {
        amount = { type = "integer", minimum = 1, description = "in fen" },
        price = {
          type = "string", format = "decimal", pattern = "^-?(0|[1-9][0-9]*)(\\.[0-9]{1,2})?$",
        },
        code = { type = json.array { "string", "null" }, pattern = "^[A-Z]+[0-9]*?\\.$" },
        tags = { type = "array", items = { enum = json.array { "a", "b" } }, uniqueItems = true },
        currency = { enum = json.array { "CNY" }, default = "CNY" },
      },
    }, s.json_schema(s.object {
      amount = s.integer { min = 1, description = "in fen" },
      price = s.decimal { scale = 2 },
      code = s.optional(s.nullable(s.string { pattern = "[A-Z]+%d-%." })),
      tags = s.optional(s.array(s.enum { "a", "b" }, { unique = true })),
      currency = s.enum({ "CNY" }, { default = "CNY" }),
    }))
  end)
end)
