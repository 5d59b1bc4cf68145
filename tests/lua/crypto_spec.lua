local crypto = require "tycho.crypto"
local fiber = require "tycho.fiber"
local tycho = require "tycho"

describe("tycho.crypto", function()
  it("hashes", function()
    assert.equal("23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
      crypto.hex(crypto.sha224("abc")))
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      crypto.hex(crypto.sha256("abc")))
    assert.equal(48, #crypto.sha384("abc"))
    assert.equal(64, #crypto.sha512("abc"))
  end)

  it("makes MACs as RFC 4231 says", function()
    assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      crypto.hex(crypto.hmac_sha256("Jefe", "what do ya want for nothing?")))
    assert.equal(48, #crypto.hmac_sha384("key", "data"))
    assert.equal(64, #crypto.hmac_sha512("key", "data"))
  end)

  it("hashes large inputs without holding up the loop", function()
    local others = 0
    local million = ("a"):rep(1000000)
    local other = fiber.spawn(function()
      others = others + 1
    end)

    local digest = crypto.hex(crypto.sha256(million))

    other:join()
    assert.equal(1, others)
    assert.equal("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", digest)
    assert.equal(crypto.hmac_sha256("k", million), crypto.hmac_sha256("k", million))
  end)

  it("gives up hashing at the deadline", function()
    local ok, err = pcall(fiber.timeout, 0, function()
      return crypto.sha512(("a"):rep(2000000))
    end)

    assert.is_false(ok)
    assert.equal("timeout", err.kind)
  end)

  it("says where it cannot wait", function()
    assert.error_matches(function()
      table.sort({ 2, 1 }, function()
        return crypto.sha256(("a"):rep(300000)) < "x"
      end)
    end, "cannot wait here")
  end)

  it("draws random bytes of any number", function()
    assert.equal("", crypto.random(0))
    assert.equal(65536, #crypto.random(65536))
    assert.not_equal(crypto.random(16), crypto.random(16))
    assert.error_matches(function()
      crypto.random(65537)
    end, "must be between 0 and 65536")
  end)

  it("compares", function()
    assert.is_true(crypto.equal("a\0b", "a\0b"))
    assert.is_false(crypto.equal("a\0b", "a\0c"))
    assert.is_false(crypto.equal("a", "ab"))
  end)

  it("writes and reads base64 of both alphabets", function()
    assert.equal("Zm8=", crypto.base64("fo"))
    assert.equal("fo", crypto.from_base64("Zm8="))
    assert.equal("-__-", crypto.base64url("\251\255\254"))
    assert.equal("\251\255\254", crypto.from_base64url("-__-"))
  end)

  it("reads one spelling only", function()
    for _, text in ipairs { "Zm8", "Zm9=", "Zm8=\n", "-__-" } do
      local bytes, err = tycho.try(crypto.from_base64, text)
      assert.is_nil(bytes)
      assert.equal("invalid", err.kind)
      assert.equal("base64", err.detail)
    end
    assert.is_nil(tycho.try(crypto.from_base64url, "Zm8="))
    assert.is_nil(tycho.try(crypto.from_hex, "0"))
  end)

  it("writes and reads hexadecimal", function()
    assert.equal("00ffa5", crypto.hex("\0\255\165"))
    assert.equal("\0\255\165", crypto.from_hex("00FFa5"))
  end)
end)
