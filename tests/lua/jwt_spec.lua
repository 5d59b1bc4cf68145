local crypto = require "tycho.crypto"
local json = require "tycho.json"
local jwt = require "tycho.jwt"
local tycho = require "tycho"

local SECRET = ("s"):rep(32)
local KEY = jwt.key(SECRET)
local NOW = 1700000000

-- A token with any header, any claims (a text is taken as it is), signed with any key.
local function forge(header, claims, secret, mac)
  local function encode(value)
    return crypto.base64url(type(value) == "string" and value or json.encode(value))
  end
  local text = encode(header) .. "." .. encode(claims)
  return text .. "." .. crypto.base64url((mac or crypto.hmac_sha256)(secret or SECRET, text))
end

local HEADER = { alg = "HS256", typ = "JWT" }
local CLAIMS = { sub = "7", exp = NOW + 60 }

local function with(base, changes)
  local all = {}
  for name, value in pairs(base) do all[name] = value end
  for name, value in pairs(changes) do all[name] = value end
  return all
end

local function verify(token, keys, opts)
  return jwt.verify(token, keys or KEY, with({ now = NOW }, opts or {}))
end

local function assert_refused(detail, token, keys, opts)
  local claims, err = tycho.try(verify, token, keys, opts)
  assert.is_nil(claims)
  assert.equal("unauthorized", err.kind)
  assert.equal("jwt." .. detail, err.detail)
end

describe("tycho.jwt", function()
  it("verifies the token of RFC 7515, A.1", function()
    local key = jwt.key(crypto.from_base64url(
      "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"))
    local token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4M"
      .. "TkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
      .. "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    local claims = verify(token, key, { now = 1300819370 })
    assert.equal("joe", claims.iss)
    assert.is_true(claims["http://example.com/is_root"])
    assert_refused("expired", token, key, { now = 1300819420 })
  end)

  it("verifies what it signed, with each algorithm", function()
    for alg, len in pairs { HS256 = 32, HS384 = 48, HS512 = 64 } do
      local key = jwt.key(crypto.random(len), { alg = alg, kid = "k1" })
      local token = jwt.sign({ sub = "7", roles = { "admin" } }, key, { expires_in = 60 })

      local claims = jwt.verify(token, key)
      assert.equal("7", claims.sub)
      assert.same({ "admin" }, claims.roles)
      assert.equal(60, claims.exp - claims.iat)
      assert.equal("7", jwt.verify(token, { k1 = key }).sub)
      assert_refused("kid", token, { k2 = key })
    end
  end)

  it("refuses a token without a signature (1)", function()
    for _, alg in ipairs { "none", "None", "NONE", "nOnE" } do
      local text = crypto.base64url(json.encode { alg = alg }) .. "."
        .. crypto.base64url(json.encode(CLAIMS))
      assert_refused("format", text .. ".")
      assert_refused("format", text)
      assert_refused("alg", text .. ".AAAA")
    end
    assert_refused("format", (forge(HEADER, CLAIMS):gsub("[^.]*$", "")))
  end)

  it("refuses a public key as a secret (2)", function()
    assert.error_matches(function()
      jwt.key("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE")
    end, "not a secret")
  end)

  it("refuses an algorithm that is not its key's (3)", function()
    assert_refused("alg", forge(with(HEADER, { alg = "HS512" }), CLAIMS, nil, crypto.hmac_sha512))
    assert_refused("alg", forge(with(HEADER, { alg = "RS256" }), CLAIMS))
    assert_refused("alg", forge(with(HEADER, { alg = "hs256" }), CLAIMS))
  end)

  it("takes no key from a token (4)", function()
    local jwk = { kty = "oct", k = crypto.base64url(SECRET) }
    for name, value in pairs { jwk = jwk, jku = "https://x", x5u = "https://x", x5c = { "MII" } } do
      assert_refused("header", forge(with(HEADER, { [name] = value }), CLAIMS))
    end
  end)

  it("looks kids up among its keys and nowhere else (5)", function()
    local keys = { a = KEY }
    assert.equal("7", verify(forge(with(HEADER, { kid = "a" }), CLAIMS), keys).sub)
    for _, kid in ipairs { "../../dev/null", "' or 1=1 --", "/dev/null", "b", "", "__index" } do
      assert_refused("kid", forge(with(HEADER, { kid = kid }), CLAIMS), keys)
    end
    assert_refused("kid", forge(HEADER, CLAIMS), keys)
    assert_refused("header", forge(with(HEADER, { kid = 1 }), CLAIMS), keys)
    assert_refused("header", forge('{"alg":"HS256","kid":"b","kid":"a"}', CLAIMS), keys)
  end)

  it("refuses what asks for extensions (6)", function()
    local crits = { json.array { "exp" }, json.array {}, json.array { "b64" } }
    for _, crit in ipairs(crits) do
      assert_refused("header", forge(with(HEADER, { crit = crit }), CLAIMS))
    end
    assert_refused("header", forge(with(HEADER, { b64 = false }), CLAIMS))
  end)

  it("refuses other forms (7, 8)", function()
    local token = forge(HEADER, CLAIMS)
    local head, body, signature = token:match("(.*)%.(.*)%.(.*)")
    local wrong = {
      json.encode { payload = body, protected = head, signature = signature },
      "", ".", "..", "...", head, head .. "." .. body, token .. ".", token .. "." .. signature,
      "." .. token, " " .. token, token .. "\n", token .. "=",
      head .. "=." .. body .. "." .. signature, head .. "." .. body .. "." .. "+/" .. signature,
    }
    for _, text in ipairs(wrong) do
      assert_refused("format", text)
    end
    assert_refused("format", nil)
    assert_refused("format", 42)
  end)

  it("refuses a second spelling of a signature (8)", function()
    local token = forge(HEADER, CLAIMS)
    local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    local at = letters:find(token:sub(-1), 1, true)

    -- 32 bytes leave two bits over, which are 0.
    assert_refused("signature", token:sub(1, -2) .. letters:sub(at + 1, at + 1))
  end)

  it("refuses a wrong signature (9)", function()
    local token = forge(HEADER, CLAIMS)

    assert_refused("signature", forge(HEADER, CLAIMS, ("t"):rep(32)))
    assert_refused("signature", token:sub(1, -5))
    assert_refused("signature", token .. "AAAA")
    assert_refused("signature", forge(HEADER, with(CLAIMS, { sub = "8" })):match("(.*)%.") .. "."
      .. token:match("[^.]*$"))
  end)

  it("refuses members that come twice (10)", function()
    assert_refused("header", forge('{"alg":"HS256","alg":"HS256"}', CLAIMS))
    assert_refused("claims", forge(HEADER, '{"sub":"7","sub":"8","exp":1700000060}'))
  end)

  it("refuses headers that are no objects, and too much (11)", function()
    for _, header in ipairs { "[]", '["HS256"]', '"HS256"', "null", "1", "{", "{}",
      '{"alg":null}', '{"alg":256}', '{"alg":["HS256"]}' } do
      assert_refused("header", forge(header, CLAIMS))
    end
    for _, claims in ipairs { "[]", "[1]", '"x"', "null", "1", "{", "" } do
      assert_refused(claims == "" and "format" or "claims", forge(HEADER, claims))
    end
    assert_refused("format", forge(HEADER, with(CLAIMS, { x = ("x"):rep(1000000) })))
    local deep = ("["):rep(2000) .. ("]"):rep(2000)
    assert_refused("header", forge('{"alg":"HS256","x":' .. deep .. "}", CLAIMS))
  end)

  it("refuses wrong moments (12)", function()
    local wrong = { '"1700000060"', "1700000060.5", "-1", "1e400", "null", "true", "[1]",
      "99999999999999999999" }
    for _, exp in ipairs(wrong) do
      assert_refused("claims", forge(HEADER, '{"sub":"7","exp":' .. exp .. "}"))
    end
    assert_refused("claims", forge(HEADER, { sub = "7" }))
    assert_refused("expired", forge(HEADER, { exp = NOW - 30 }))
    assert_refused("not_yet", forge(HEADER, with(CLAIMS, { nbf = NOW + 31 })))
    assert_refused("not_yet", forge(HEADER, with(CLAIMS, { iat = NOW + 31 })))
    assert_refused("claims", forge(HEADER, with(CLAIMS, { nbf = "x" })))
  end)

  it("allows clocks to differ a little (12)", function()
    assert.is_table(verify(forge(HEADER, { exp = NOW - 29, nbf = NOW + 30, iat = NOW + 30 })))
    assert_refused("expired", forge(HEADER, { exp = NOW }), nil, { leeway = 0 })
    assert.error_matches(function() verify("x", KEY, { leeway = 61 }) end, "leeway")
    assert.is_table(verify(forge(HEADER, { sub = "7" }), nil, { no_end = true }))
  end)

  it("refuses what is for somebody else (13)", function()
    local function for_whom(aud)
      return forge(HEADER, with(CLAIMS, { aud = aud }))
    end
    local us = { audience = "api" }

    assert.is_table(verify(for_whom("api"), nil, us))
    assert.is_table(verify(for_whom({ "web", "api" }), nil, us))
    for _, aud in ipairs { "web", "API", "api2", { "web" }, { "api", 1 }, json.array {}, 1,
      { name = "api" } } do
      assert_refused("audience", for_whom(aud), nil, us)
    end
    assert_refused("audience", forge(HEADER, CLAIMS), nil, us)
    assert_refused("audience", for_whom("api")) -- it names somebody, and we have no name
  end)

  it("refuses other issuers (14)", function()
    local token = forge(HEADER, with(CLAIMS, { iss = "https://a.evil" }))

    assert.is_table(verify(token, nil, { issuer = "https://a.evil" }))
    assert_refused("issuer", token, nil, { issuer = "https://a" })
    assert_refused("issuer", forge(HEADER, CLAIMS), nil, { issuer = "https://a" })
  end)

  it("refuses tokens of another purpose (15)", function()
    local refresh = jwt.sign(CLAIMS, KEY, { typ = "refresh+jwt" })

    assert_refused("typ", refresh)
    assert.equal("7", verify(refresh, nil, { typ = "refresh+jwt" }).sub)
    assert_refused("typ", forge(HEADER, CLAIMS), nil, { typ = "refresh+jwt" })
    assert_refused("typ", forge({ alg = "HS256" }, CLAIMS), nil, { typ = "refresh+jwt" })
    assert_refused("header", forge(with(HEADER, { cty = "JWT" }), CLAIMS))
    assert.is_table(verify(forge({ alg = "HS256", typ = "application/jwt" }, CLAIMS)))
  end)

  it("refuses what was revoked (16)", function()
    local opts = { revoked = function(jti) return jti == "stolen" end }

    assert.is_table(verify(forge(HEADER, with(CLAIMS, { jti = "fine" })), nil, opts))
    assert_refused("revoked", forge(HEADER, with(CLAIMS, { jti = "stolen" })), nil, opts)
    assert_refused("claims", forge(HEADER, CLAIMS), nil, opts)
  end)

  it("refuses compression (17)", function()
    assert_refused("header", forge(with(HEADER, { zip = "DEF" }), CLAIMS))
    assert_refused("header", forge(with(HEADER, { p2c = 1e9 }), CLAIMS))
  end)

  it("refuses keys that are too short (18)", function()
    assert.error_matches(function() jwt.key(("s"):rep(31)) end, "at least 32 bytes")
    assert.error_matches(function() jwt.key(("s"):rep(63), { alg = "HS512" }) end, "at least 64")
    assert.error_matches(function() jwt.key(SECRET, { alg = "none" }) end, "unknown algorithm")
    assert.error_matches(function() jwt.key(nil) end, "at least 32")
  end)

  it("asks for claims that are required", function()
    assert.is_table(verify(forge(HEADER, CLAIMS), nil, { require = { "sub" } }))
    assert_refused("claims", forge(HEADER, CLAIMS), nil, { require = { "tenant" } })
  end)

  it("signs nothing without an end, and nothing with a key of another make", function()
    assert.error_matches(function() jwt.sign({ sub = "7" }, KEY) end, "a token ends")
    assert.error_matches(function() jwt.sign(CLAIMS, { alg = "HS256" }) end, "jwt.key")
    assert.error_matches(function() verify("a.b.c", { a = SECRET }) end, "not made with jwt.key")
  end)

  it("does not show its secrets", function()
    assert.same({ alg = "HS256" }, jwt.key(SECRET))
    assert.is_nil(json.encode(jwt.key(SECRET)):find(SECRET, 1, true))
  end)
end)
