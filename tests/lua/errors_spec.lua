local errors = require "tycho.errors"
local tycho = require "tycho"

local count = 0

-- The registry is the state's, and specs share one.
local function fresh()
  count = count + 1
  return "spec.error_" .. count
end

local function raised(...)
  return select(2, tycho.try(errors.raise, ...))
end

-- With the place in front, which busted's own assertion cuts off.
local function message_of(fn, ...)
  local arguments = { ... }
  return select(2, pcall(function()
    fn(unpack(arguments))
  end))
end

describe("tycho.errors.define and raise", function()
  it("raises an error object with the definition's name, code and kind", function()
    local name = fresh()
    errors.define(name, { code = 990001, status = 404, msg = { en = "no order", zh = "没有订单" } })

    local err = raised(name, { order_no = "A1" })

    assert.equal("not_found", err.kind)
    assert.equal(990001, err.code)
    assert.equal(name, err.name)
    assert.equal("A1", err.order_no)
    assert.equal("no order", tostring(err))
    assert.equal(404, errors.status(err))
  end)

  for _, status in ipairs { 200, 101, 404.5, 600, 0 / 0, "404", {} } do
    it(("never answers like a success: %.5s"):format(tostring(status)), function()
      assert.equal(409, errors.status(errors.new("conflict", "x", { status = status })))
    end)
  end

  it("fills the fields into the message of each language", function()
    local name = fresh()
    errors.define(name, { status = 409, msg = { en = "{left} left", zh = "还剩 {left}" } })

    local err = raised(name, { left = 3 })

    assert.equal("3 left", err.message)
    assert.equal("还剩 3", errors.message(err, "zh"))
    assert.equal("3 left", errors.message(err, "fr"))
  end)

  it("takes the kind from the status, or the status from the kind", function()
    local by_status, by_kind = fresh(), fresh()
    errors.define(by_status, { status = 422, msg = "a" })
    errors.define(by_kind, { kind = "limited", msg = "b" })

    assert.equal("invalid", raised(by_status).kind)
    assert.equal(422, errors.status(raised(by_status)))
    assert.equal(429, errors.status(raised(by_kind)))
  end)

  it("refuses a name twice and says where it was first", function()
    local name = fresh()
    errors.define(name, { status = 404, msg = "a" })

    assert.matches("errors_spec.lua:%d+: error .* it was defined at .*errors_spec.lua:%d+",
      message_of(errors.define, name, { status = 404, msg = "a" }))
  end)

  it("refuses a code twice", function()
    local first = fresh()
    errors.define(first, { code = 990002, msg = "a" })

    assert.error_matches(function()
      errors.define(fresh(), { code = 990002, msg = "b" })
    end, 'code 990002 is "' .. first .. '"')
  end)

  it("refuses a misspelt part and an unknown kind", function()
    assert.error_matches(function()
      errors.define(fresh(), { stauts = 404, msg = "a" })
    end, 'unknown option "stauts", did you mean "status"')
    assert.error_matches(function()
      errors.define(fresh(), { kind = "notfound", msg = "a" })
    end, 'unknown kind "notfound", did you mean "not_found"')
  end)

  it("refuses to raise what is not defined, at the caller's line", function()
    local name = fresh()
    errors.define(name, { status = 404, msg = "a" })

    assert.matches('errors_spec.lua:%d+: unknown error .* did you mean "' .. name,
      message_of(errors.raise, name .. "x"))
  end)
end)

describe("tycho.errors.new", function()
  it("makes an error object with further fields", function()
    local err = errors.new("conflict", "closed on Sundays", { detail = "SUNDAY", day = 7 })

    assert.is_true(errors.is(err))
    assert.equal("SUNDAY", err.detail)
    assert.equal(7, err.day)
    assert.equal(409, errors.status(err))
  end)

  it("refuses a kind that there is not", function()
    assert.matches("errors_spec.lua:%d+: unknown kind of error", message_of(errors.new, "wrong"))
  end)
end)

describe("tycho.errors.message", function()
  it("keeps a library's own words from clients", function()
    local err = errors.new("conflict", "UNIQUE constraint failed: users.email", { public = false })

    assert.equal("in conflict with what is there already", errors.message(err, "en"))
    assert.equal("与现有数据冲突", errors.message(err, "zh"))
  end)
end)

describe("tycho.errors.check", function()
  it("passes results through and raises the error of nil, err", function()
    local err = errors.new("timeout", "late")

    assert.same({ 1, 2, 3 }, { errors.check(1, 2, 3) })
    assert.is_nil(errors.check(nil))
    local _, caught = tycho.try(errors.check, nil, err)
    assert.equal(err, caught)
  end)
end)

describe("tycho.errors.is", function()
  it("tells by kind, by name, and from other values", function()
    local name = fresh()
    errors.define(name, { status = 403, msg = "a" })
    local err = raised(name)

    assert.is_true(errors.is(err, name))
    assert.is_true(errors.is(err, "forbidden"))
    assert.is_false(errors.is(err, "conflict"))
    assert.is_false(errors.is({ kind = "conflict" }, "conflict"))
    assert.is_false(errors.is("forbidden"))
  end)
end)
