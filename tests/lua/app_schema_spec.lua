local json = require "tycho.json"
local s = require "tycho.schema"
local test = require "tycho.test"

describe("a route's schemas", function()
  local request = test.application(function(app)
    app.post("/orders/{id}", {
      params = s.object { id = s.integer { min = 1 } },
      query = s.object {
        limit = s.integer { min = 1, max = 100, default = 20 },
        tag = s.optional(s.array(s.string())),
        deep = s.boolean { default = false },
      },
      body = s.object { amount = s.integer { min = 1 } },
    }, function(req)
      return { id = req.params.id, limit = req.query.limit, tags = req.query.tag or json.null,
        deep = req.query.deep, amount = req.body.amount }
    end)
    app.get("/user", {
      response = s.object {
        id = s.integer(), nick = s.optional(s.string()), seen = s.nullable(s.string()),
        friends = s.array(s.object { id = s.integer() }),
      },
    }, function()
      return { id = 1, password_hash = "$2b$", friends = { { id = 2, password_hash = "$2b$" } } }
    end)
    app.get("/empty", { response = s.object { friends = s.array(s.any()) } }, function()
      return app.response(200, { friends = {}, secret = 1 })
    end)
    app.get("/wrong", { response = s.object { id = s.integer() } }, function()
      return { id = "secret" }
    end)
  end)

  local function faults_of(res)
    local list = {}
    for i, item in ipairs(res.json.errors) do
      list[i] = ("%s %s %s"):format(item.location, item.pointer, item.detail)
    end
    return list
  end

  it("convert the text of path and query, and fill in defaults", function()
    local res = request("POST", "/orders/7?limit=5&tag=a&tag=b&deep=1", { json = { amount = 3 } })

    assert.same({ id = 7, limit = 5, tags = { "a", "b" }, deep = true, amount = 3 }, res.json)
    assert.equal(20, request("POST", "/orders/7", { json = { amount = 3 } }).json.limit)
  end)

  it("report all faults of all parts at once", function()
    local res = request("POST", "/orders/x?limit=1e2&sort=up", { json = { amount = "3" } })

    assert.equal(400, res.status)
    assert.equal("some values are not valid", res.json.detail)
    assert.same({
      "path #/id must be an integer", "query #/limit must be an integer",
      "query #/sort is not known here", "body #/amount must be an integer",
    }, faults_of(res))
  end)

  it("speak the caller's language", function()
    local res = request("POST", "/orders/7", {
      json = { amount = 0 }, headers = { ["accept-language"] = "zh" },
    })

    assert.equal("部分参数无效", res.json.detail)
    assert.same({ "body #/amount 不能小于 1" }, faults_of(res))
  end)

  it("want a body, and as JSON", function()
    local missing = request("POST", "/orders/7")
    local text = request("POST", "/orders/7", { body = '{"amount":1}' })
    local broken = request("POST", "/orders/7", {
      body = "{", headers = { ["content-type"] = "application/json" },
    })

    assert.equal(400, missing.status)
    assert.same({ "body # is required" }, faults_of(missing))
    assert.equal(415, text.status)
    assert.equal(400, broken.status)
    assert.matches("line 1", broken.json.detail)
  end)

  it("take a form's text", function()
    local res = request("POST", "/orders/7", {
      body = "amount=12", headers = { ["content-type"] = "application/x-www-form-urlencoded" },
    })

    assert.equal(12, res.json.amount)
  end)

  it("say so when JSON is sent as a form, as curl does by itself", function()
    local res = request("POST", "/orders/7", {
      body = '{"amount":12}', headers = { ["content-type"] = "application/x-www-form-urlencoded" },
    })

    assert.equal(415, res.status)
    assert.same({ "body # must be sent as application/json" }, faults_of(res))
  end)

  it("leave out of an answer what is not declared", function()
    local res = request("GET", "/user")

    assert.same({ id = 1, seen = json.null, friends = { { id = 2 } } }, res.json)
    assert.equal('{"friends":[]}', request("GET", "/empty").body)
  end)

  it("never send an answer that breaks its schema", function()
    local res = request("GET", "/wrong")

    assert.equal(500, res.status)
    assert.not_matches("secret", res.body)
  end)
end)
