-- What a client sends is a value, whatever it looks like: no parameter of the application becomes
-- a part of a statement.

local crypto = require "tycho.crypto"
local db = require "tycho.db"
local fs = require "tycho.fs"
local json = require "tycho.json"
local test = require "tycho.test"
local uuid = require "tycho.uuid"

test.load()
local tokens = require "app.tokens"
local users = require "app.users"

local EVIL = {
  "'", '"', "`", "\\", ";", "--", "/*", "' or '1'='1", '" or ""="', "1 or 1=1",
  "1; drop table users; --",
  "'; drop table orders; --", "' union select password_hash from users --", "x') or ('x'='x",
  "$1", "$2", "%", "_", "%27%20or%201=1", "\\' or 1=1 --", "0x27", "sleep(5)", "'||pg_sleep(5)||'",
  "null", "nil", "{{7*7}}", "x' and randomblob(1000000000) --", "'; select load_extension('x') --",
}

local function escaped(text)
  return (text:gsub("[^%w]", function(char) return ("%%%02X"):format(char:byte()) end))
end

local function counts()
  return db.value "select count(*) from users", db.value "select count(*) from orders"
end

describe("a client that sends SQL", function()
  local token, order_no

  setup(function()
    local user = users.create(uuid.v4() .. "@example.com", "correct horse battery")
    token = tokens.issue(user)
    local made = test.request("POST", "/api/client/order/create",
      { json = { product = "tea", amount = 1 }, token = token })
    order_no = made.json.data.order_no
  end)

  -- Each of them is answered as a value that is wrong or unknown, or was stored as it is.
  local function harmless(method, target, opts)
    local res = test.request(method, target, opts)
    assert.is_true(res.status < 500, target .. " " .. res.body)
    assert.is_nil(res.body:find("SQL", 1, true), res.body)
    return res
  end

  it("finds nothing, and breaks nothing, in any parameter", function()
    local before_users, before_orders = counts()

    for _, evil in ipairs(EVIL) do
      local path = escaped(evil)
      assert.is_true(harmless("GET", "/api/client/order/status/" .. path, { token = token }).status
        >= 400)
      assert.is_true(harmless("GET", "/api/client/order/status/" .. order_no .. path,
        { token = token }).status >= 400)
      assert.equal(400, harmless("GET", "/api/client/order/list?limit=" .. path,
        { token = token }).status)
      assert.equal(400, harmless("GET", "/api/client/order/list?cursor=" .. path,
        { token = token }).status)
      local forged = crypto.base64url(json.encode { "orders,-created_at,-id", evil, evil })
      assert.equal(400, harmless("GET", "/api/client/order/list?cursor=" .. forged,
        { token = token }).status)
      assert.equal(401, harmless("POST", "/api/client/auth/login",
        { json = { email = evil, password = evil } }).status)
      assert.equal(400, harmless("POST", "/api/client/auth/register",
        { json = { email = evil, password = "long enough" } }).status)
      assert.equal(401, harmless("GET", "/api/client/auth/me", { token = evil }).status)
      assert.equal(400, harmless("POST", "/api/client/order/create",
        { json = { product = "x", amount = 1, currency = evil }, token = token }).status)
    end

    assert.is_nil(harmless("GET", "/api/client/auth/me", { token = token }).body
      :find("password_hash", 1, true))
    local after_users, after_orders = counts()
    assert.same({ before_users, before_orders }, { after_users, after_orders })
  end)

  it("gets back as it is what may be stored", function()
    for _, evil in ipairs(EVIL) do
      local made = harmless("POST", "/api/client/order/create",
        { json = { product = evil, amount = 1 }, token = token })

      assert.equal(201, made.status)
      local got = test.request("GET", "/api/client/order/status/" .. made.json.data.order_no,
        { token = token })
      assert.equal(evil, got.json.data.product)
    end
  end)
end)

describe("the application's own code", function()
  it("never puts text together that becomes a statement", function()
    local seen = 0
    for _, folder in ipairs { "scripts/app/", "scripts/app/routes/", "scripts/tasks/" } do
      for _, file in ipairs(fs.list(folder)) do
        local text = file:find "%.lua$" and fs.read(folder .. file) or ""
        seen = seen + #text
        for call in text:gmatch "%f[%w_](d?b?t?x?[.:]%l+%b())" do
          local first = call:match "^%w+[.:]%l+(%b())"
          assert.is_nil(first:find("^%([^,]*%.%."), folder .. file .. ": " .. call)
          assert.is_nil(first:find("^%([^,]*:format"), folder .. file .. ": " .. call)
        end
      end
    end
    assert.is_true(seen > 0)
  end)
end)
