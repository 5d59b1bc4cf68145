local config = require "tycho.config"

-- The values are those of conf/tycho.yaml and conf/tycho.test.yaml, and of the table.
describe("tycho.config", function()
  it("reads keys of Tycho with the units taken off", function()
    assert.equal(10, config.get("http.header_timeout"))
    assert.equal(0.2, config.get("databases.default.slow"))
    assert.equal(64 * 1024 * 1024, config.get("databases.default.result_max"))
    assert.equal("127.0.0.1", config.get("http.host"))
    assert.is_true(config.get("http.trace_header"))
    assert.equal("test", config.get("env"))
  end)

  it("reads secrets", function()
    assert.matches("^sqlite:", config.get("databases.default.url"))
  end)

  it("returns nil, or what is given instead, for what is not set", function()
    assert.is_nil(config.get("app.no.such.thing"))
    assert.is_nil(config.get("http.port.too.deep"))
    assert.equal(50, config.get("app.no.such.thing", 50))
    assert.is_nil(config.seconds("app.no.such.thing"))
    assert.equal(1, config.bytes("app.no.such.thing", 1))
  end)

  it("returns sections and lists as tables", function()
    assert.same({}, config.get("http.trusted_proxies"))
    assert.equal("127.0.0.1", config.get("admin").host)
  end)

  it("returns tables that nobody else sees", function()
    config.get("admin").host = "changed"

    assert.equal("127.0.0.1", config.get("admin").host)
  end)

  it("takes numbers for durations and sizes as they are", function()
    assert.equal(10, config.seconds("http.header_timeout"))
    assert.equal(1024 * 1024, config.bytes("http.body_max"))
  end)

  it("raises where a duration or size is something else", function()
    assert.error_matches(function()
      config.seconds("http.host")
    end, "http.host: expected a duration such as")
    assert.error_matches(function()
      config.bytes("admin")
    end, "admin: expected a size such as")
  end)

  it("raises for what has to be set and is not", function()
    assert.equal("127.0.0.1", config.need("http.host"))
    assert.error_matches(function()
      config.need("app.jwt.no_secret")
    end, "app.jwt.no_secret is not configured: .* TYCHO_APP__JWT__NO_SECRET")
  end)

  it("refuses what is no key", function()
    assert.error_matches(function()
      config.get(nil) ---@diagnostic disable-line: param-type-mismatch
    end, "expected a key such as")
  end)
end)
