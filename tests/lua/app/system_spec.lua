local test = require "tycho.test"

describe("the reference application", function()
  it("says that it is well", function()
    local res = test.request("GET", "/api/system/health")

    assert.equal(200, res.status)
    assert.equal(10000, res.json.code)
    assert.equal("ok", res.json.data.status)
    assert.equal("ok", res.json.data.database)
  end)

  it("keeps its envelope where there is nothing", function()
    local missing = test.request("GET", "/nowhere", { headers = { ["accept-language"] = "zh" } })
    local wrong = test.request("DELETE", "/api/system/health")

    assert.equal(404, missing.status)
    assert.equal(10005, missing.json.code)
    assert.equal("请求的地址不存在", missing.json.msg)
    assert.is_string(missing.json.request_id)
    assert.equal(405, wrong.status)
    assert.equal(10007, wrong.json.code)
    assert.matches("GET", wrong.headers.allow)
  end)
end)
