-- The examples run, and the readme shows what is in them.

local fs = require "tycho.fs"
local server = require "tests.blackbox.support.server"

describe("examples/hello", function()
  after_each(server.clean_up)

  local text = fs.read "examples/hello/app/hello.lua"

  it("is what the readme shows, in both languages", function()
    for _, readme in ipairs { "README.md", "README.zh.md" } do
      assert.is_truthy(fs.read(readme):find(text, 1, true), readme)
    end
  end)

  it("answers as the readme says", function()
    local s = server.start { scripts = { ["app/hello.lua"] = text }, workers = 1 }
    local json = { ["Content-Type"] = "application/json" }

    local hello = s:request("GET", "/hello/world")
    local sum = s:request("POST", "/sum", { headers = json, body = '{"a":1,"b":2}' })
    local wrong = s:request("POST", "/sum", { headers = json, body = '{"a":1,"b":"2"}' })

    assert.equal('{"hello":"world"}', hello.body)
    assert.equal('{"sum":3}', sum.body)
    assert.equal(400, wrong.status)
    assert.same({ { location = "body", pointer = "#/b", detail = "must be an integer" } },
      wrong:json().errors)
  end)
end)
