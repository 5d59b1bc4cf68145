local cookie = require "tycho.cookie"
local test = require "tycho.test"

describe("tycho.cookie.format", function()
  it("is careful unless it is told otherwise", function()
    assert.equal("session=abc; Path=/; HttpOnly; SameSite=Lax", cookie.format("session", "abc"))
    assert.equal("a=b; Path=/x; Max-Age=60; Domain=example.com; Secure; SameSite=None",
      cookie.format("a", "b", {
        path = "/x", max_age = 60, domain = "example.com", secure = true, http_only = false,
        same_site = "None",
      }))
  end)

  it("lets no value end it, and gives it back whole", function()
    local value = 'a;b,c d"e\\f\r\nSet-Cookie: x=y%25订\0'

    local header = cookie.format("a", value)

    local sent = header:match("^a=([^;]*); Path=/; HttpOnly; SameSite=Lax$")
    assert.is_string(sent)
    assert.not_matches("[%c%s,\"\\\128-\255]", sent)
    assert.equal(value, cookie.decode(sent))
  end)

  it("lives at most as long as browsers allow", function()
    assert.matches("Max%-Age=34560000;", cookie.format("a", "b", { max_age = 1e9 }))
  end)

  for wanted, arguments in pairs {
    ["is not the name"] = { "a b", "c" },
    ["__Host%-a needs secure"] = { "__Host-a", "b" },
    ["__Secure%-a needs secure"] = { "__Secure-a", "b" },
    ["same_site None needs secure"] = { "a", "b", { same_site = "None" } },
    ["path begins with /"] = { "a", "b", { path = "/;x" } },
    ["domain is the name"] = { "a", "b", { domain = "a;b" } },
    ["max_age is a number"] = { "a", "b", { max_age = "1" } },
    ["the value is a string"] = { "a", 1 },
    ['did you mean "max_age"'] = { "a", "b", { maxage = 1 } },
  } do
    it("refuses at the caller's line: " .. wanted, function()
      local _, message = pcall(function()
        cookie.format(unpack(arguments))
      end)

      assert.matches("cookie_spec.lua:%d+: .*" .. wanted, message)
    end)
  end
end)

describe("tycho.cookie.forget", function()
  it("makes the browser forget", function()
    assert.equal("a=; Path=/x; Max-Age=0; HttpOnly; SameSite=Lax",
      cookie.forget("a", { path = "/x", max_age = 60 }))
    assert.error_matches(function() cookie.forget "a b" end, "is not the name")
  end)
end)

describe("several cookies", function()
  it("are several headers", function()
    local request = test.application(function(app)
      app.get("/", function()
        return app.response(200, "", {
          ["Set-Cookie"] = { cookie.format("a", "1"), cookie.format("b", "2") },
        })
      end)
    end)

    assert.equal(200, request("GET", "/").status)
  end)
end)
