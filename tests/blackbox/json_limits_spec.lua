-- Hostile JSON, forms, queries and cookies: refused or read exactly, always in bounded time.

local clock = require "tests.blackbox.support.clock"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
app.post("/echo", function(req) return { body = req.body } end)
app.auth("anybody", function() return {} end)
app.post("/mine", { auth = "anybody" }, function(req) return { body = req.body } end)
app.post("/parse", function(req) return { kind = type(req.body) } end)
app.post("/text", function(req) return { size = #(req.raw_body or "") } end)
app.get("/query", function(req)
  local n = 0
  for _ in pairs(req.query) do n = n + 1 end
  return { n = n }
end)
app.get("/cookies", function(req)
  local n = 0
  for _ in pairs(req.cookies) do n = n + 1 end
  return { n = n }
end)
]]

local JSON = { ["Content-Type"] = "application/json" }

describe("a JSON body", function()
  local s

  setup(function()
    s = server.start {
      scripts = { ["app/main.lua"] = APP }, workers = 1,
      config = { http = { header_max = "1MiB", field_max = "1MiB", target_max = "1MiB" } },
    }
  end)
  teardown(server.clean_up)

  local function post(target, body)
    return s:request("POST", target, { body = body, headers = JSON })
  end

  it("may be 128 deep and no deeper", function()
    for open, close in pairs { ["["] = "]", ['{"a":'] = "}" } do
      local inside = open == "[" and "" or "1"
      assert.equal(200, post("/parse", open:rep(128) .. inside .. close:rep(128)).status)
      assert.equal(400, post("/parse", open:rep(129) .. inside .. close:rep(129)).status)
    end
  end)

  for _, text in ipairs {
    "", " ", "{", "[1,]", "[,1]", "[1 2]", '{"a":1,}', '{"a" 1}', "{a:1}", "{'a':1}", "nul", "True",
    "NaN", "Infinity", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x10", '"\\x41"', '"\\u12"',
    '"\\ud800"', '"\\udc00\\ud800"', '"a\nb"', '"a\tb"', '"\1"', '"', '"abc', "[1]]", "1 2",
    "\239\187\191{}", "/* c */ {}", "{} // c", '"\255"', '"\192\175"', '"\237\160\128"', "[1e9999]",
    "\0", "{}\0",
  } do
    it(("is refused when it is not one: %q"):format(text), function()
      local res = post("/parse", text)
      assert.equal(400, res.status, res.body)
    end)
  end

  for text, same in pairs {
    [' { "a" : [ 1 , 2.5 , -0.5 , 1e3 ] } '] = '{"a":[1,2.5,-0.5,1000]}',
    ['{"s":"\\u00e9\\ud83d\\ude00\\"\\\\\\/\\b\\f\\n\\r\\t"}'] =
      '{"s":"\195\169\240\159\152\128\\"\\\\/\\b\\f\\n\\r\\t"}',
    ['{"n":null}'] = '{"n":null}', ["[]"] = "[]", ["{}"] = "{}",
    ['{"a":[[],{}]}'] = '{"a":[[],{}]}',
    ["[9007199254740993,-9007199254740993]"] = "[9007199254740993,-9007199254740993]",
    ["[9223372036854775807,-9223372036854775808]"] = "[9223372036854775807,-9223372036854775808]",
    ["[18446744073709551615]"] = "[18446744073709551615]",
    ["true"] = "true", ['"text"'] = '"text"', ["0"] = "0",
  } do
    it("is read and written back exactly: " .. text, function()
      local res = post("/echo", text)

      assert.equal(200, res.status, res.body)
      assert.equal('{"body":' .. same .. "}", res.body)
    end)
  end

  it("never has a number rounded in silence", function()
    local res = post("/echo", "[18446744073709551616]")

    if res.status ~= 400 then
      assert.is_truthy(res.body:find("18446744073709551616", 1, true)
        or res.body:find("1.8446744073709552e", 1, true), res.body)
    end
  end)

  it("may not have a name twice where callers are told apart", function()
    local twice = '{"user":1,"user":2}'

    assert.equal(400, post("/mine", twice).status)
    assert.equal(200, post("/mine", '{"user":1,"name":{"user":2}}').status)
    assert.same({ user = 2 }, post("/echo", twice):json().body)
  end)

  it("may have 1,000 names in an object and no more", function()
    local function object(count)
      local members = {}
      for i = 1, count do
        members[i] = ('"k%d":%d'):format(i, i)
      end
      return "{" .. table.concat(members, ",") .. "}"
    end

    assert.equal(200, post("/parse", object(1000)).status)
    assert.equal(400, post("/parse", object(1001)).status)
  end)

  local function seconds(target, body)
    local best = math.huge
    for _ = 1, 10 do
      local began = clock.now()
      local res = post(target, body)
      best = math.min(best, clock.now() - began)
      assert.equal(200, res.status, res.body)
    end
    return best
  end

  it("of 1 MiB is read within 20 ms", function()
    local item = '{"id":12345,"name":"some name","tags":["a","b","c"],"price":12.5},'
    local body = "[" .. item:rep(math.floor(1048000 / #item)):sub(1, -2) .. "]"

    local took = seconds("/parse", body) - seconds("/text", body)
    figure.at_most(took, 0.02, "seconds")
  end)

  -- 128-byte keys that differ only where a hash that skips bytes does not look.
  local function keys(crafted)
    local members = {}
    for i = 1, 1000 do
      local middle = crafted and ("%012d"):format(i) or nil
      local key = crafted and ("k"):rep(80) .. middle .. ("k"):rep(36)
      if not key then
        local bytes = {}
        for j = 1, 128 do
          bytes[j] = string.char(97 + (i * 7919 + j * 104729 + i * j * 31) % 26)
        end
        key = table.concat(bytes, "", 1, 116) .. ("%012d"):format(i)
      end
      members[i] = ('"%s":1'):format(key)
    end
    return "{" .. table.concat(members, ",") .. "}"
  end

  it("with crafted names costs no more than three times as much as with random ones", function()
    local crafted, random = seconds("/parse", keys(true)), seconds("/parse", keys(false))

    figure.at_most(crafted, 3 * random + 0.001, "seconds with crafted names")
  end)

  it("has company: queries, forms and cookies are bounded alike", function()
    local function list(count, separator)
      local parts = {}
      for i = 1, count do
        parts[i] = ("k%d=%d"):format(i, i)
      end
      return table.concat(parts, separator)
    end
    local form = { ["Content-Type"] = "application/x-www-form-urlencoded" }
    local function cookies(count)
      return s:request("GET", "/cookies", { headers = { Cookie = list(count, "; ") } })
    end

    assert.equal(1000, s:request("GET", "/query?" .. list(1000, "&")):json().n)
    assert.equal(400, s:request("GET", "/query?" .. list(1001, "&")).status)
    assert.equal(200,
      s:request("POST", "/parse", { headers = form, body = list(1000, "&") }).status)
    assert.equal(400,
      s:request("POST", "/parse", { headers = form, body = list(1001, "&") }).status)
    assert.equal(50, cookies(50):json().n)
    assert.is_true(cookies(2000).status == 400 or cookies(2000):json().n <= 1000)
  end)

  it("of another type is not taken for JSON", function()
    local res = http.request(s.port, "POST", "/parse", { body = "{}" })
    assert.is_true(res.status == 415 or res:json().kind == "string", res.body)
  end)
end)
