-- The reference application as its clients see it, on the program's defaults.

local clock = require "tests.blackbox.support.clock"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

local PASSWORD = "correct horse battery staple"

describe("the reference application", function()
  local s

  setup(function()
    s = server.start { config = { scripts = { path = server.root .. "/scripts" } } }
  end)
  teardown(server.clean_up)

  local function call(method, target, json, opts)
    opts = opts or {}
    local headers = { ["Accept-Language"] = opts.language }
    if opts.token then
      headers.Authorization = "Bearer " .. opts.token
    end
    local res = s:request(method, target, { json = json, headers = headers })
    return res.status, res:json(), res
  end

  local people = 0
  local function register()
    people = people + 1
    local email = ("user%d@example.com"):format(people)
    local status, body = call("POST", "/api/client/auth/register",
      { email = email, password = PASSWORD, nickname = "User " .. people })
    assert.equal(201, status, body.msg)
    return email, body.data
  end

  local function login(email, password)
    return call("POST", "/api/client/auth/login",
      { email = email, password = password or PASSWORD })
  end

  local function token_of_new_user()
    local _, body = login((register()))
    return body.data.token
  end

  local function refused(wanted_status, wanted_code, status, body, res)
    assert.equal(wanted_status, status, body.msg)
    assert.equal(wanted_code, body.code)
    assert.is_true(#body.msg > 0)
    assert.equal(res.headers["x-request-id"], body.request_id)
  end

  it("says that it is well", function()
    local status, body = call("GET", "/api/system/health")

    assert.equal(200, status)
    assert.equal(10000, body.code)
    assert.equal("success", body.msg)
  end)

  it("goes the whole way: register, log in, order, read back", function()
    local email, user = register()
    assert.equal(email, user.email)

    local status, session = login(email)
    assert.equal(200, status)
    assert.equal("success", session.msg)
    local token = session.data.token

    local _, me = call("GET", "/api/client/auth/me", nil, { token = token })
    assert.equal(user.id, me.data.id)

    local created, order = call("POST", "/api/client/order/create",
      { product = "tea", amount = 1250, currency = "CNY" }, { token = token })
    assert.equal(201, created)
    assert.equal("PENDING", order.data.state)

    local found, again = call("GET", "/api/client/order/status/" .. order.data.order_no, nil,
      { token = token })
    assert.equal(200, found)
    assert.equal(order.data.order_no, again.data.order_no)
    assert.equal(1250, again.data.amount)

    local _, list = call("GET", "/api/client/order/list", nil, { token = token })
    assert.equal(1, #list.data.items)
    assert.equal(order.data.order_no, list.data.items[1].order_no)
  end)

  it("tells no password and no hash of one", function()
    local email = register()
    local _, _, res = login(email)

    assert.is_nil(res.body:find("password", 1, true))
    assert.is_nil(res.body:find("$2", 1, true))
  end)

  it("refuses wrong passwords and unknown users with the same words", function()
    local email = register()
    local status, body, res = login(email, "wrong password")
    refused(401, 10006, status, body, res)

    local unknown_status, unknown = login("nobody@example.com", "wrong password")
    assert.equal(status, unknown_status)
    assert.equal(body.code, unknown.code)
    assert.equal(body.msg, unknown.msg)
  end)

  it("refuses what is not valid, and says where", function()
    for _, body in ipairs {
      {}, { email = "no address", password = PASSWORD },
      { email = "a@example.com", password = "short" }, { email = 7, password = PASSWORD },
      { email = "a@example.com", password = PASSWORD, is_admin = true },
    } do
      local status, answer, res = call("POST", "/api/client/auth/register", body)
      assert.is_true(status == 400 or status == 422, status)
      refused(status, 10001, status, answer, res)
      assert.is_true(#answer.errors > 0)
    end
  end)

  it("refuses money that is no whole number of the smallest unit", function()
    local token = token_of_new_user()

    for _, amount in ipairs { 0, -1, 1.5, "100", "1e2", 1e300, true } do
      local status, body, res = call("POST", "/api/client/order/create",
        { product = "tea", amount = amount, currency = "CNY" }, { token = token })
      refused(status, 10001, status, body, res)
    end
    for _, text in ipairs { "9007199254740993", "1e400", "01", "1.25", "-0.5" } do
      local res = s:request("POST", "/api/client/order/create", {
        headers = { Authorization = "Bearer " .. token, ["Content-Type"] = "application/json" },
        body = ('{"product":"tea","currency":"CNY","amount":%s}'):format(text),
      })
      assert.is_true(res.status >= 400 and res.status < 500, text)
    end
  end)

  it("has one account for one address", function()
    local email = register()
    local status, body, res = call("POST", "/api/client/auth/register",
      { email = email:upper(), password = PASSWORD })

    assert.equal(409, status)
    refused(409, body.code, status, body, res)
  end)

  it("takes passwords of 64 Chinese characters, whole", function()
    local long = ("密码"):rep(32)
    local email = "long@example.com"
    assert.equal(201,
      (call("POST", "/api/client/auth/register", { email = email, password = long })))

    assert.equal(200, (login(email, long)))
    assert.equal(401, (login(email, long:sub(1, -4) .. "错")))
    assert.equal(401, (login(email, long:sub(1, 72))))
  end)

  it("lets nobody in without a token, or with a bad one", function()
    local token = token_of_new_user()
    local bad = { false, "nonsense", token .. "x", token:gsub("%.[^.]*$", "."),
      token:gsub("^[^.]*", "eyJhbGciOiJub25lIn0") }

    for _, target in ipairs { "/api/client/auth/me", "/api/client/order/list" } do
      for _, one in ipairs(bad) do
        local status, body, res = call("GET", target, nil, { token = one or nil })
        refused(401, body.code, status, body, res)
        assert.is_truthy(res.headers["www-authenticate"])
      end
    end
  end)

  it("shows nobody the orders of others", function()
    local owner, other = token_of_new_user(), token_of_new_user()
    local _, order = call("POST", "/api/client/order/create",
      { product = "tea", amount = 1, currency = "USD" }, { token = owner })
    local target = "/api/client/order/status/" .. order.data.order_no

    assert.equal(200, (call("GET", target, nil, { token = owner })))
    refused(404, 20001, call("GET", target, nil, { token = other }))
    refused(404, 20001, call("GET", "/api/client/order/status/NOSUCH", nil, { token = owner }))
  end)

  it("pages through orders without repeating or missing one", function()
    local token = token_of_new_user()
    local placed, seen, cursor = {}, {}, nil
    for i = 1, 25 do
      local _, order = call("POST", "/api/client/order/create",
        { product = "tea " .. i, amount = i, currency = "CNY" }, { token = token })
      placed[order.data.order_no] = true
    end
    local pages = 0
    repeat
      local _, list = call("GET", "/api/client/order/list?limit=10"
        .. (cursor and "&cursor=" .. cursor or ""), nil, { token = token })
      for _, order in ipairs(list.data.items) do
        assert.is_true(placed[order.order_no])
        assert.is_nil(seen[order.order_no])
        seen[order.order_no] = true
      end
      if pages == 0 then -- a new order does not disturb those who are in the middle
        call("POST", "/api/client/order/create",
          { product = "late", amount = 1, currency = "CNY" }, { token = token })
      end
      pages = pages + 1
      cursor = list.data.next_cursor
    until type(cursor) ~= "string"

    assert.equal(3, pages)
    for order_no in pairs(placed) do
      assert.is_true(seen[order_no])
    end
    local status = call("GET", "/api/client/order/list?cursor=nonsense", nil, { token = token })
    assert.equal(400, status)
  end)

  it("is reloaded within 500 ms", function()
    local began = clock.now()
    local code, said = s:cli("reload", "--force")
    local took = clock.now() - began

    assert.equal(0, code)
    assert.matches("^ok: ", said)
    figure.at_most(took, 0.5, "seconds to reload")
  end)

  it("speaks the caller's language", function()
    local _, english = call("GET", "/api/client/order/status/X", nil,
      { token = token_of_new_user(), language = "en" })
    local _, chinese, res = call("GET", "/api/client/order/status/X", nil,
      { token = token_of_new_user(), language = "zh-CN,zh;q=0.9,en;q=0.5" })

    assert.equal("order not found", english.msg)
    assert.equal("订单不存在", chinese.msg)
    assert.equal("zh", res.headers["content-language"])
  end)

  it("answers in its envelope where no route is, too", function()
    local status, body, res = call("GET", "/nothing/here")
    refused(404, body.code, status, body, res)

    local wrong, wrong_body, wrong_res = call("DELETE", "/api/system/health")
    refused(405, wrong_body.code, wrong, wrong_body, wrong_res)
    assert.is_truthy(wrong_res.headers.allow)
  end)

  it("keeps what it acknowledged when all of it is killed", function()
    local email = register()
    local _, session = login(email)
    local _, order = call("POST", "/api/client/order/create",
      { product = "tea", amount = 1, currency = "CNY" }, { token = session.data.token })

    s:kill()
    s:launch()
    s:wait_ready()

    assert.equal(200, (login(email)))
    assert.equal(200, (call("GET", "/api/client/order/status/" .. order.data.order_no, nil,
      { token = session.data.token })))
    assert.equal(200, http.request(s.port, "GET", "/api/system/health").status)
  end)
end)
