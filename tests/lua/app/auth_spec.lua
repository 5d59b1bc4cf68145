local db = require "tycho.db"
local jwt = require "tycho.jwt"
local test = require "tycho.test"
local time = require "tycho.time"
local uuid = require "tycho.uuid"

local PASSWORD = "correct horse battery"

local function new_email()
  return uuid.v4() .. "@example.com"
end

local function register(email, password)
  return test.request("POST", "/api/client/auth/register", {
    json = { email = email, password = password or PASSWORD },
  })
end

local function login(email, password, language)
  return test.request("POST", "/api/client/auth/login", {
    json = { email = email, password = password or PASSWORD },
    headers = { ["accept-language"] = language },
  })
end

local function me(token)
  return test.request("GET", "/api/client/auth/me", { token = token })
end

describe("registering", function()
  it("makes an account and shows what others may see of it", function()
    local email = new_email()

    local res = register(email:upper())

    assert.equal(201, res.status)
    assert.equal(10000, res.json.code)
    assert.equal("success", res.json.msg)
    assert.equal(email, res.json.data.email)
    assert.is_nil(res.json.data.password_hash)
    assert.is_nil(res.json.data.login_count)
  end)

  it("takes an address once, whatever its case", function()
    local email = new_email()
    register(email)

    local res = register(email:upper())

    assert.equal(409, res.status)
    assert.equal(10101, res.json.code)
  end)

  it("lists everything that is wrong", function()
    local res = test.request("POST", "/api/client/auth/register", {
      json = { email = "nobody", password = "short", role = "admin" },
    })

    assert.equal(400, res.status)
    assert.equal(10001, res.json.code)
    local pointers = {}
    for i, item in ipairs(res.json.errors) do
      pointers[i] = item.pointer
    end
    assert.same({ "#/email", "#/password", "#/role" }, pointers)
  end)

  it("takes passwords of 64 Chinese characters and looks at all of them", function()
    local email, password = new_email(), ("密"):rep(64)
    register(email, password)

    assert.equal(200, login(email, password).status)
    assert.equal(401, login(email, ("密"):rep(63) .. "码").status)
  end)
end)

describe("logging in", function()
  it("exchanges a password for a token", function()
    local email = new_email()
    register(email)

    local res = login(email)

    assert.equal(200, res.status)
    assert.equal("Bearer", res.json.data.token_type)
    assert.equal(86400, res.json.data.expires_in)
    assert.equal(email, res.json.data.user.email)
    assert.equal(email, me(res.json.data.token).json.data.email)
  end)

  it("says the same about a wrong password and an unknown address", function()
    local email = new_email()
    register(email)

    local wrong, unknown = login(email, "wrong password", "zh"), login(new_email(), nil, "zh")

    assert.equal(401, wrong.status)
    assert.equal(10006, wrong.json.code)
    assert.equal("邮箱或密码错误", wrong.json.msg)
    wrong.json.request_id, unknown.json.request_id = nil, nil
    assert.same(wrong.json, unknown.json)
    assert.equal(wrong.status, unknown.status)
  end)

  it("counts", function()
    local email = new_email()
    register(email)
    login(email)
    login(email)

    local user = db.one("select * from users where email = $1", email)

    assert.equal(2, user.login_count)
    assert.is_number(time.parse(user.last_login_at))
  end)
end)

describe("who am I", function()
  it("is answered to the bearer of a token only", function()
    local forged = jwt.sign({ sub = "1", iss = "tycho-reference" }, jwt.key(("k"):rep(32)),
      { expires_in = 60 })

    for _, token in ipairs { "", "x", "a.b.c", forged } do
      local res = me(token)

      assert.equal(401, res.status)
      assert.equal(10003, res.json.code)
      assert.equal("Bearer", res.headers["www-authenticate"])
    end
  end)

  it("is 10104 when the account is gone", function()
    local email = new_email()
    register(email)
    local token = login(email).json.data.token
    db.exec("delete from users where email = $1", email)

    local res = me(token)

    assert.equal(404, res.status)
    assert.equal(10104, res.json.code)
  end)
end)
