local i18n = require "tycho.i18n"

describe("tycho.i18n.negotiate", function()
  for header, locale in pairs {
    [""] = "en",
    ["zh"] = "zh",
    ["zh-CN"] = "zh",
    ["ZH-hans-cn"] = "zh",
    ["zh-CN,zh;q=0.9,en;q=0.8"] = "zh",
    ["fr;q=0.9, zh-CN;q=0.5, en;q=0.3"] = "zh",
    ["en;q=0.3, zh;q=0.5"] = "zh",
    ["zh;q=0, en"] = "en",
    ["zh;q=0"] = "en",
    ["*"] = "en",
    ["fr"] = "en",
    ["zh;q=banana"] = "zh",
    [";;;,,,"] = "en",
  } do
    it(("answers %q with %s"):format(header, locale), function()
      assert.equal(locale, i18n.negotiate(header))
    end)
  end

  it("looks at a bounded number of languages", function()
    assert.equal("en", i18n.negotiate(("fr,"):rep(10000) .. "zh"))
  end)

  it("chooses among the languages that it is given", function()
    assert.equal("pt-BR", i18n.negotiate("pt-br, en;q=0.5", { "en", "pt-BR" }))
  end)
end)

describe("tycho.i18n.text", function()
  it("prefers the language, then the default one, then any", function()
    assert.equal("已支付", i18n.text({ en = "paid", zh = "已支付" }, "zh"))
    assert.equal("paid", i18n.text({ en = "paid", zh = "已支付" }, "fr"))
    assert.equal("已支付", i18n.text({ zh = "已支付" }, "fr"))
    assert.equal("paid", i18n.text("paid", "zh"))
  end)

  it("fills in values and leaves unknown names alone", function()
    assert.equal("3 of {all}", i18n.text("{n} of {all}", "en", { n = 3 }))
    assert.equal("%d %1 3", i18n.text("%d %1 {n}", "en", { n = 3 }))
  end)
end)

describe("tycho.i18n.locale", function()
  it("asks the header once and keeps what the application set", function()
    local req = { headers = { ["accept-language"] = "zh" } }

    assert.equal("zh", i18n.locale(req))
    assert.equal("zh", req.locale)
    assert.equal("fr", i18n.locale { headers = {}, locale = "fr" })
  end)
end)
