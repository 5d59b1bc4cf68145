-- The reference application is sent what attackers send, in every place where it takes something:
-- it stays data, or is refused.

local clock = require "tests.blackbox.support.clock"
local crypto = require "tycho.crypto"
local database = require "tests.blackbox.support.database"
local figure = require "tests.blackbox.support.figure"
local json = require "tycho.json"
local mariadb = require "tests.blackbox.support.mariadb"
local postgres = require "tests.blackbox.support.postgres"
local server = require "tests.blackbox.support.server"
local texts = require "tests.db.injections"

local PASSWORD = "correct horse battery staple"
local KINDS = {
  { name = "SQLite" },
  { name = "PostgreSQL", module = postgres },
  { name = "MariaDB", module = mariadb },
}

local function encoded(text)
  return (text:gsub("[^%w]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

for _, kind in ipairs(KINDS) do
  describe("the reference application on " .. kind.name, function()
    local missing = kind.module and kind.module.missing()
    if missing then
      return it("is attacked", function() pending(missing) end)
    end
    local s, token, orders

    local function call(method, target, body, bearer)
      local res = s:request(method, target, { json = body, headers = {
        Authorization = (bearer or token) and "Bearer " .. (bearer or token) } })
      local answer = res:json()
      assert(res.status < 500, ("%s %s: %d %s"):format(method, target, res.status, res.body))
      return res.status, answer.data, answer
    end

    setup(function()
      local url
      if kind.module then
        local own = kind.module.start()
        url = own:url(own:create())
      end
      s = server.start {
        config = { scripts = { path = server.root .. "/scripts" },
          databases = url and { default = { url = url } } },
      }
      orders = 0
      assert.equal(201, (call("POST", "/api/client/auth/register",
        { email = "owner@example.com", password = PASSWORD, nickname = "owner" })))
      local _, session = call("POST", "/api/client/auth/login",
        { email = "owner@example.com", password = PASSWORD })
      token = session.token
    end)

    teardown(function()
      server.clean_up()
      database.clean_up()
    end)

    it("lets nobody in for a clever name or password", function()
      local began = clock.now()
      for _, text in ipairs(texts) do
        for _, body in ipairs {
          { email = text, password = PASSWORD }, { email = "owner@example.com", password = text },
          { email = "owner@example.com" .. text, password = PASSWORD },
          { email = text, password = text },
        } do
          assert.is_true(call("POST", "/api/client/auth/login", body) ~= 200, text)
        end
        local header = text:gsub("%c", " ")
        assert.equal(401, (call("GET", "/api/client/auth/me", nil, header)), text)
      end
      -- Those that sleep in the database do not.
      figure.at_most(clock.now() - began, 25, "seconds")
    end)

    it("keeps what it is sent as it is", function()
      for i, text in ipairs(texts) do
        local email = ("user%d@example.com"):format(i)
        local nickname = text:sub(1, 24)
        if nickname == text then
          local status, user = call("POST", "/api/client/auth/register",
            { email = email, password = PASSWORD, nickname = nickname })
          assert.equal(201, status, text)
          assert.equal(nickname, user.nickname)
        end
        local status, order = call("POST", "/api/client/order/create",
          { product = text, amount = i, currency = "CNY" })
        assert.equal(201, status, text)
        orders = orders + 1
        local _, found = call("GET", "/api/client/order/status/" .. order.order_no)
        assert.equal(text, found.product)
      end
    end)

    it("finds nothing by it", function()
      for _, text in ipairs(texts) do
        assert.is_true(call("GET", "/api/client/order/status/" .. encoded(text)) >= 400, text)
        for _, name in ipairs { "cursor", "limit", "order", "where" } do
          local target = ("/api/client/order/list?%s=%s"):format(name, encoded(text))
          local status, list = call("GET", target)
          assert(status >= 400 or #list.items <= orders, target)
        end
        for _, body in ipairs {
          { product = "tea", amount = text, currency = "CNY" },
          { product = "tea", amount = 1, currency = text },
          { product = { text }, amount = 1, currency = "CNY" },
          { product = "tea", amount = 1, currency = "CNY", state = text },
        } do
          assert.is_true(call("POST", "/api/client/order/create", body) >= 400, text)
        end
      end
    end)

    it("takes no place in a cursor for anything but a place", function()
      local _, list = call("GET", "/api/client/order/list?limit=1")
      local place = json.decode(crypto.from_base64url(list.next_cursor))
      for _, text in ipairs(texts) do
        for i = 1, #place do
          local forged = json.array { unpack(place) }
          forged[i] = text
          local cursor = crypto.base64url(json.encode(forged))
          local status = call("GET", "/api/client/order/list?limit=1&cursor=" .. encoded(cursor))
          assert.equal(400, status, ("%d: %s"):format(i, text))
        end
      end
    end)

    it("has everything that it had, and no error in its log", function()
      local seen, cursor = 0, nil
      repeat
        local _, list = call("GET", "/api/client/order/list?limit=100"
          .. (cursor and "&cursor=" .. encoded(cursor) or ""))
        seen = seen + #list.items
        cursor = type(list.next_cursor) == "string" and list.next_cursor or nil
      until not cursor
      assert.equal(orders, seen)
      local _, me = call("GET", "/api/client/auth/me")
      assert.equal("owner", me.nickname)
      assert.is_nil(s:log():find('"level":"error"', 1, true))
    end)
  end)
end
