local fiber = require "tycho.fiber"
local password = require "tycho.password"
local tycho = require "tycho"

describe("tycho.password", function()
  it("verifies what it hashed", function()
    local hash = password.hash("correct horse")

    assert.is_true(password.verify("correct horse", hash))
    assert.is_false(password.verify("battery staple", hash))
    assert.matches("^%$tycho%-bcrypt%$v=1%$2b%$", hash)
  end)

  it("keeps every byte of a long password", function()
    local long = ("密"):rep(64)
    local hash = password.hash(long)

    assert.is_true(password.verify(long, hash))
    assert.is_false(password.verify(long:sub(1, -2), hash))
    assert.is_false(password.verify(("密"):rep(24), hash))
  end)

  it("keeps a NUL", function()
    local hash = password.hash("a\0b")

    assert.is_true(password.verify("a\0b", hash))
    assert.is_false(password.verify("a\0c", hash))
  end)

  it("refuses what is longer than 4095 bytes", function()
    local hash, err = tycho.try(password.hash, ("x"):rep(4096))

    assert.is_nil(hash)
    assert.equal("invalid", err.kind)
  end)

  it("verifies bcrypt of other systems, unless it would cut the password", function()
    local hash = "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm"

    assert.is_true(password.verify("Kk4DQuMMfZL9o", hash))
    assert.is_false(password.verify("Kk4DQuMMfZL9o\0", hash))
    assert.is_false(password.verify(("x"):rep(73), hash))
    assert.is_true(password.needs_rehash(hash))
  end)

  it("answers no for nobody", function()
    assert.is_false(password.verify("secret", nil))
  end)

  it("does not need to hash its own again", function()
    assert.is_false(password.needs_rehash(password.hash("secret")))
  end)

  it("raises for a text that is no hash", function()
    for _, text in ipairs { "", "secret", "$2x$05$abc", ("x"):rep(500), "a\0b" } do
      local ok, err = tycho.try(password.verify, "secret", text)
      assert.is_nil(ok)
      assert.equal("internal", err.kind)
    end
  end)

  it("lets others run meanwhile", function()
    local hashes = fiber.all {
      function() return password.hash("one") end,
      function() return password.hash("two") end,
      function() return password.hash("three") end,
    }

    assert.equal(3, #hashes)
  end)

  it("gives up at the deadline", function()
    local ok, err = pcall(fiber.timeout, 0, password.hash, "secret")

    assert.is_false(ok)
    assert.equal("timeout", err.kind)
  end)
end)
