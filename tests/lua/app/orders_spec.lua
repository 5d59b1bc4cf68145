local db = require "tycho.db"
local errors = require "tycho.errors"
local test = require "tycho.test"
local time = require "tycho.time"
local tycho = require "tycho"
local uuid = require "tycho.uuid"

test.load()
local orders = require "app.orders"
local tokens = require "app.tokens"
local users = require "app.users"

local function new_user()
  local user = users.create(uuid.v4() .. "@example.com", "correct horse battery")
  return user, tokens.issue(user)
end

local function create(token, order)
  return test.request("POST", "/api/client/order/create", { json = order, token = token })
end

local function status(token, order_no)
  return test.request("GET", "/api/client/order/status/" .. order_no, { token = token })
end

local function list(token, query)
  return test.request("GET", "/api/client/order/list?" .. (query or ""), { token = token })
end

describe("placing an order", function()
  it("answers with the order, which is pending", function()
    local _, token = new_user()

    local res = create(token, { product = "茶", amount = 1250 })

    assert.equal(201, res.status)
    assert.equal(10000, res.json.code)
    assert.equal("PENDING", res.json.data.state)
    assert.equal("CNY", res.json.data.currency)
    assert.equal(1250, res.json.data.amount)
    assert.equal("茶", status(token, res.json.data.order_no).json.data.product)
  end)

  it("needs a token", function()
    assert.equal(10003, create(nil, { product = "tea", amount = 1 }).json.code)
  end)

  it("takes amounts in whole units only", function()
    local _, token = new_user()

    for _, body in ipairs {
      '{"product":"tea","amount":0}', '{"product":"tea","amount":-1}',
      '{"product":"tea","amount":0.1}', '{"product":"tea","amount":"1"}',
      '{"product":"tea","amount":"1e2"}', '{"product":"tea","amount":"٣"}',
      '{"product":"tea","amount":9007199254740993}', '{"product":"tea","amount":1e400}',
      '{"product":"tea","amount":18446744073709551616}', '{"product":"tea","amount":null}',
      '{"product":"tea","amount":1,"state":"PAID"}', '{"product":"","amount":1}', "[]", "{",
    } do
      local res = test.request("POST", "/api/client/order/create", {
        body = body, token = token, headers = { ["content-type"] = "application/json" },
      })
      assert.equal(400, res.status, body)
      assert.equal(10001, res.json.code, body)
    end
  end)
end)

describe("an order's status", function()
  it("is for its owner only", function()
    local _, mine = new_user()
    local _, other = new_user()
    local order_no = create(mine, { product = "tea", amount = 1 }).json.data.order_no

    for _, res in ipairs { status(other, order_no), status(mine, "nope") } do
      assert.equal(404, res.status)
      assert.equal(20001, res.json.code)
    end
  end)

  it("is EXPIRED when nobody paid in time", function()
    local user, token = new_user()
    local order = orders.create(user.id, { product = "tea", amount = 1, currency = "CNY" })
    db.exec("update orders set expires_at = $1 where id = $2", db.timestamp(time.now() - 1),
      order.id)

    assert.equal("EXPIRED", status(token, order.order_no).json.data.state)
    assert.equal("EXPIRED", list(token).json.data.items[1].state)
    assert.equal("EXPIRED", db.one("select state from orders where id = $1", order.id).state)
  end)
end)

describe("an order's state", function()
  local function order_in(state)
    local user = new_user()
    local order = orders.create(user.id, { product = "tea", amount = 1, currency = "CNY" })
    return state == "PENDING" and order or orders.move(order, state)
  end

  local LEGAL = { PAID = true, EXPIRED = true, CANCELLED = true }

  for _, from in ipairs { "PENDING", "PAID", "EXPIRED", "CANCELLED" } do
    for _, to in ipairs { "PENDING", "PAID", "EXPIRED", "CANCELLED" } do
      local legal = from == "PENDING" and LEGAL[to] or false
      it(("%s become %s from %s"):format(legal and "can" or "cannot", to, from), function()
        local order = order_in(from)

        local moved, err = tycho.try(orders.move, order, to)

        assert.equal(legal, moved ~= nil)
        assert.equal(not legal, errors.is(err, "order.illegal_move"))
        local now = db.one("select state from orders where id = $1", order.id).state
        assert.equal(legal and to or from, now)
      end)
    end
  end

  it("is changed by one of two that try at once", function()
    local order = order_in "PENDING"
    orders.move(order, "PAID")

    local _, err = tycho.try(orders.move, order, "CANCELLED") -- who has read it before

    assert.equal(20002, err.code)
    assert.equal("an order that is PAID cannot become CANCELLED", err.message)
  end)
end)

describe("the list of orders", function()
  it("is in pages, the newest first, each order once", function()
    local user, token = new_user()
    local wanted, seen = {}, {}
    for i = 1, 7 do
      local order = orders.create(user.id, { product = "p" .. i, amount = i, currency = "CNY" })
      -- some in the same millisecond
      db.exec("update orders set created_at = $1 where id = $2",
        db.timestamp(("2026-01-01T00:00:0%dZ"):format(math.floor(i / 3))), order.id)
      table.insert(wanted, 1, "p" .. i)
    end

    local cursor
    repeat
      local page = list(token, "limit=2" .. (cursor and "&cursor=" .. cursor or "")).json.data
      for _, order in ipairs(page.items) do
        seen[#seen + 1] = order.product
      end
      cursor = type(page.next_cursor) == "string" and page.next_cursor or nil
      -- what comes in between does not move the pages
      orders.create(user.id, { product = "late", amount = 1, currency = "CNY" })
    until not cursor

    assert.same(wanted, seen)
  end)

  it("is an empty array for a new user", function()
    local _, token = new_user()

    local res = list(token)

    assert.equal(200, res.status)
    assert.matches('"items":%[%]', res.body)
    assert.matches('"next_cursor":null', res.body)
  end)

  it("refuses cursors and limits that it did not give", function()
    local _, token = new_user()

    assert.equal(20003, list(token, "cursor=abc").json.code)
    assert.equal(20003, list(token, "cursor=MjAyNg").json.code) -- "2026"
    assert.equal(10001, list(token, "cursor=%FF").json.code)
    assert.equal(10001, list(token, "limit=0").json.code)
    assert.equal(10001, list(token, "limit=1e2").json.code)
    assert.equal(10001, list(token, "page=2").json.code)
  end)

  it("shows nobody else's orders", function()
    local user = new_user()
    local _, other = new_user()
    orders.create(user.id, { product = "tea", amount = 1, currency = "CNY" })

    assert.same({}, list(other).json.data.items)
  end)
end)
