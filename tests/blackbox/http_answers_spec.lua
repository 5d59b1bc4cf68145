-- Every answer is whole, in order, and says only what it should. The client of these tests raises
-- on anything malformed, so each request here checks framing, Date and field syntax as well.

local echo = require "tests.blackbox.support.echo"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

describe("answers", function()
  local s

  setup(function()
    s = server.start { scripts = { ["app/main.lua"] = echo }, workers = 1 }
  end)
  teardown(server.clean_up)

  local function pipelined(requests)
    local conn = s:connect():send(table.concat(requests))
    local answers = {}
    for i = 1, #requests do
      answers[i] = conn:receive()
    end
    conn:close()
    return answers
  end

  it("keep the order of pipelined requests", function()
    local requests = {}
    for i = 1, 100 do
      requests[i] = http.format("GET", "/number/" .. i)
    end

    for i, res in ipairs(pipelined(requests)) do
      assert.equal(tostring(i), res:json().n)
    end
  end)

  it("keep to themselves what went wrong in one of them", function()
    local requests = {}
    for i = 1, 64 do
      requests[i] = http.format("GET", i % 3 == 0 and "/fail" or "/number/" .. i)
    end

    for i, res in ipairs(pipelined(requests)) do
      if i % 3 == 0 then
        assert.equal(500, res.status)
      else
        assert.equal(tostring(i), res:json().n)
      end
    end
  end)

  it("are made one at a time for each connection", function()
    local requests = {}
    for i = 1, 64 do
      requests[i] = http.format("GET", "/slow")
    end

    for _, res in ipairs(pipelined(requests)) do
      assert.equal(1, res:json().most)
    end
  end)

  it("keep their bodies apart, of whatever size", function()
    local requests, bodies = {}, {}
    for i = 1, 20 do
      bodies[i] = ("%02x"):format(i):rep(i % 5 * 5000)
      local body = bodies[i]:gsub("..", string.char(i))
      requests[i] = http.format("POST", "/echo", { body = body })
    end

    for i, res in ipairs(pipelined(requests)) do
      assert.equal(bodies[i], res:json().body or "")
    end
  end)

  it("to HEAD have the fields of GET and no body", function()
    for _, target in ipairs {
      "/text", "/empty", "/number/1", "/missing", "/fail", "/stream", "/nothing", "/unchanged",
      "/redirect?x=1",
    } do
      local conn = s:connect()
      local get, head = conn:request("GET", target), conn:request("HEAD", target)

      assert.equal(get.status, head.status)
      assert.equal(get.headers["content-length"], head.headers["content-length"])
      assert.equal(get.headers["transfer-encoding"], head.headers["transfer-encoding"])
      assert.equal(get.headers["content-type"], head.headers["content-type"])
      assert.equal(get.headers["x-extra"], head.headers["x-extra"])
      assert.equal("", head.body)
      assert.equal(200, conn:request("GET", "/text").status)
      conn:close()
    end
  end)

  it("in pieces, of which none would be sent, are over at once", function()
    local conn = s:connect()
    for method, statuses in pairs { HEAD = { 200, 206 }, GET = { 204, 205, 304 } } do
      for _, status in ipairs(statuses) do
        local res = conn:request(method, "/endless/" .. status)

        assert.equal(status, res.status)
        assert.equal("", res.body)
        assert.equal(0, conn:request("GET", "/asked"):json().count)
      end
    end
    conn:close()
  end)

  it("without content have no length and no body", function()
    local conn = s:connect()
    local none, unchanged = conn:request("GET", "/nothing"), conn:request("GET", "/unchanged")

    assert.equal(204, none.status)
    assert.is_nil(none.headers["content-length"])
    assert.equal(304, unchanged.status)
    assert.equal('"1"', unchanged.headers.etag)
    assert.equal("some text", conn:request("GET", "/text").body)
  end)

  it("in pieces are chunked, and the connection goes on", function()
    local conn = s:connect()
    local res = conn:request("GET", "/stream")

    assert.equal("chunked", res.headers["transfer-encoding"])
    assert.equal("piece 1\npiece 2\npiece 3\n", res.body)
    assert.equal(200, conn:request("GET", "/text").status)
  end)

  it("that fail half-way are cut, so that the client can tell", function()
    local conn = s:connect()
    local ok = pcall(conn.request, conn, "GET", "/stream?fail=1")

    assert.is_false(ok)
  end)

  it("to HTTP/1.0 end with the connection unless it asks otherwise", function()
    local res, conn = http.raw(s.port, "GET /text HTTP/1.0\r\nHost: a\r\n\r\n")
    assert.equal("some text", res.body)
    assert.is_true(conn:is_closed())

    local streamed = http.raw(s.port, "GET /stream HTTP/1.0\r\nHost: a\r\n\r\n")
    assert.is_nil(streamed.headers["transfer-encoding"])
    assert.equal("piece 1\npiece 2\npiece 3\n", streamed.body)

    local kept = s:connect():send "GET /text HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    local first = kept:receive()
    if not first.closes then
      kept:send "GET /text HTTP/1.0\r\nHost: a\r\n\r\n"
      assert.equal("some text", kept:receive().body)
    end
  end)

  it("to Connection: close say so and end it", function()
    local conn = s:connect()
    local res = conn:request("GET", "/text", { headers = { Connection = "close" } })

    assert.equal("close", res.headers.connection:lower())
    assert.is_true(conn:is_closed())
  end)

  it("name the methods that a path has", function()
    local conn = s:connect()
    local wrong = conn:request("POST", "/text")
    assert.equal(405, wrong.status)
    assert.matches("GET", wrong.headers.allow)
    assert.matches("HEAD", wrong.headers.allow)

    local options = conn:request("OPTIONS", "/text")
    assert.is_true(options.status == 200 or options.status == 204)
    assert.matches("GET", options.headers.allow)
  end)

  it("refuse TRACE and CONNECT", function()
    for _, request in ipairs { "TRACE /text", "CONNECT a:80" } do
      local res = http.raw(s.port, request .. " HTTP/1.1\r\nHost: a:80\r\n\r\n")
      assert.is_true(res.status == 405 or res.status == 501 or res.status == 400, res.status)
    end
  end)

  for _, how in ipairs {
    "value", "name", "lf", "nul", "space", "length", "coding", "types", "list",
  } do
    it("cannot be given a field that splits or misframes them: " .. how, function()
      local conn = s:connect()
      for _, way in ipairs { "/evil/%s", "/late/%s", "/late/%s?pieces=1" } do
        local res = conn:request("GET", way:format(how))

        assert.equal(500, res.status)
        assert.is_nil(res.headers["set-cookie"])
        assert.is_nil(res.headers["x-evil"])
        assert.equal(200, conn:request("GET", "/text").status)
      end
    end)
  end

  it("encode what an address of a redirection may not contain", function()
    local res = s:request("GET", "/redirect?x=a%0d%0aSet-Cookie:%20stolen=1")

    assert.equal(302, res.status)
    assert.matches("^/to%?x=a%%0[dD]%%0[aA]", res.headers.location)
    assert.is_nil(res.headers["set-cookie"])
  end)

  it("carry an id: the caller's if it is sane, else a new one", function()
    local conn = s:connect()
    local function id_for(given)
      return conn:request("GET", "/text", { headers = { ["X-Request-Id"] = given } })
        .headers["x-request-id"]
    end

    assert.equal("my-id_1.2", id_for "my-id_1.2")
    assert.not_equal("has blanks", id_for "has blanks")
    assert.not_equal(("x"):rep(65), id_for(("x"):rep(65)))
    assert.not_equal(conn:request("GET", "/text").headers["x-request-id"],
      conn:request("GET", "/text").headers["x-request-id"])
  end)

  it("carry the trace of the caller, and a span of their own", function()
    local trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    local res = s:request("GET", "/text",
      { headers = { traceparent = "00-" .. trace .. "-00f067aa0ba902b7-01" } })

    local seen, span = res.headers.traceparent:match "^00%-(%x+)%-(%x+)%-01$"
    assert.equal(trace, seen)
    assert.not_equal("00f067aa0ba902b7", span)
  end)

  it("name the generation of the scripts that made them, and no version of the server", function()
    local res = s:request("GET", "/text")

    assert.equal(s:status().generation, res.headers["tycho-generation"])
    assert.is_nil((res.headers.server or ""):match "%d")
  end)
end)

describe("the client's address", function()
  teardown(server.clean_up)

  it("is a proxy's word only if the proxy is trusted", function()
    local s = server.start {
      scripts = { ["app/main.lua"] = echo },
      config = { http = { trusted_proxies = { "127.0.0.9", "10.0.0.0/8" } } },
    }
    local function seen(from, ...)
      local lines = {}
      for i, value in ipairs { ... } do
        lines[i] = "X-Forwarded-For: " .. value
      end
      local conn = s:connect { from = from }
      local ip = conn:request("GET", "/echo", { headers = lines }):json().ip
      conn:close()
      return ip
    end

    assert.equal("127.0.0.1", seen("127.0.0.1"))
    assert.equal("127.0.0.1", seen("127.0.0.1", "192.0.2.1"))
    assert.equal("127.0.0.9", seen("127.0.0.9"))
    assert.equal("192.0.2.1", seen("127.0.0.9", "192.0.2.1"))
    assert.equal("192.0.2.1", seen("127.0.0.9", "198.51.100.7, 192.0.2.1"))
    assert.equal("192.0.2.1", seen("127.0.0.9", "198.51.100.7, 192.0.2.1, 10.1.2.3"))
    assert.equal("192.0.2.1", seen("127.0.0.9", "198.51.100.7", "192.0.2.1", "10.1.2.3"))
    assert.equal("2001:db8::1", seen("127.0.0.9", "2001:db8::1"))
    assert.equal("127.0.0.9", seen("127.0.0.9", "nonsense"))
    assert.equal("127.0.0.9", seen("127.0.0.9", "192.0.2.1, nonsense"))
    assert.equal("127.0.0.9", seen("127.0.0.9", "192.0.2.1, 1.2.3.4.5"))
    assert.equal("127.0.0.9", seen("127.0.0.9", "nonsense, 10.1.2.3"))
    assert.equal("127.0.0.9", seen("127.0.0.9", "192.0.2.1,"))
  end)
end)
