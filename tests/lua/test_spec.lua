local app = require "tycho.app"
local fiber = require "tycho.fiber"
local test = require "tycho.test"

describe("tycho.test.application", function()
  local function declare(name)
    return function(own)
      own.envelope { error = function() return nil, { from = name } end }
      own.get("/", function(req)
        fiber.sleep(0.001)
        return { from = name, got = req.body, token = req.headers.authorization }
      end)
      own.post("/", function(req) return { got = req.body } end)
    end
  end

  local one, two = test.application(declare "one"), test.application(declare "two")

  it("is its own: routes, envelope and all", function()
    assert.equal("one", one("GET", "/").json.from)
    assert.equal("two", two("GET", "/").json.from)
    assert.equal("one", one("GET", "/nowhere").json.from)
    assert.equal("two", two("GET", "/nowhere").json.from)
  end)

  it("leaves the application's errors to the application", function()
    one("GET", "/nowhere")

    assert.equal(10005, test.request("GET", "/nowhere").json.code)
  end)

  it("sends JSON, text and tokens", function()
    assert.same({ a = 1 }, one("POST", "/", { json = { a = 1 } }).json.got)
    assert.equal("text", one("POST", "/", { body = "text" }).json.got)
    assert.equal("Bearer t", one("GET", "/", { token = "t" }).json.token)
  end)

  it("refuses options that it does not know", function()
    assert.error_matches(function() one("GET", "/", { josn = {} }) end, 'did you mean "json"')
  end)
end)

describe("the application", function()
  it("is loaded once and then closed", function()
    test.load()
    test.load()

    assert.error_matches(function() app.get("/", function() end) end, "while the scripts load")
  end)
end)
