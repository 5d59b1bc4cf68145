-- The bench itself: it must see what is wrong.

local fiber = require "tycho.fiber"
local http = require "tests.blackbox.support.http"
local ledger = require "tests.blackbox.support.ledger"
local load = require "tests.blackbox.support.load"
local metrics = require "tests.blackbox.support.metrics"
local said = require "tests.blackbox.support.said"
local stream = require "tycho.stream"

local DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

-- A server that says `bytes` to whatever comes on a connection, and then ends it.
local function saying(bytes)
  local listener = stream.listen("127.0.0.1")
  local serving = fiber.spawn(function()
    local s = listener:accept(5)
    s:read()
    s:write(bytes)
    s:close()
  end)
  return listener:port(), function()
    serving:join()
    listener:close()
  end
end

local function answer(bytes, method)
  local port, finish = saying(bytes)
  local ok, res = pcall(http.request, port, method or "GET", "/", { timeout = 5 })
  finish()
  if not ok then
    error(res, 0)
  end
  return res
end

describe("the HTTP client", function()
  it("reads bodies by length, by chunks, and to the end", function()
    assert.equal("abc",
      answer("HTTP/1.1 200 OK\r\n" .. DATE .. "Content-Length: 3\r\n\r\nabc").body)
    assert.equal("to the end",
      answer("HTTP/1.1 200 OK\r\n" .. DATE .. "Connection: close\r\n\r\nto the end").body)
    local chunked = answer("HTTP/1.1 200 OK\r\n" .. DATE .. "Transfer-Encoding: chunked\r\n\r\n"
      .. "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")
    assert.equal("abcde", chunked.body)
    assert.equal("5", chunked.trailers["x-sum"])
  end)

  it("knows where no body follows", function()
    local head = answer("HTTP/1.1 200 OK\r\n" .. DATE .. "Content-Length: 3\r\n\r\n", "HEAD")
    assert.equal("", head.body)
    assert.equal("", answer("HTTP/1.1 204 No Content\r\n" .. DATE .. "\r\n").body)
  end)

  it("reads interim answers before the final one", function()
    local res = answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n" .. DATE .. "\r\n")
    assert.same({ 100 }, res.interim)
    assert.equal(204, res.status)
  end)

  local wrong = {
    ["no Date"] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ["two lengths"] = "HTTP/1.1 200 OK\r\n" .. DATE
      .. "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    ["a length and chunks"] = "HTTP/1.1 200 OK\r\n" .. DATE
      .. "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ["no length"] = "HTTP/1.1 200 OK\r\n" .. DATE .. "\r\nbody",
    ["a 204 with a length"] = "HTTP/1.1 204 No\r\n" .. DATE .. "Content-Length: 0\r\n\r\n",
    ["a bare LF"] = "HTTP/1.1 200 OK\r\n" .. DATE .. "X: a\nY: b\r\nContent-Length: 0\r\n\r\n",
    ["a space in a name"] = "HTTP/1.1 200 OK\r\n" .. DATE .. "X : a\r\nContent-Length: 0\r\n\r\n",
    ["a bad chunk size"] = "HTTP/1.1 200 OK\r\n" .. DATE
      .. "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ["no status line"] = "hello\r\n\r\n",
  }
  for what, bytes in pairs(wrong) do
    it("refuses an answer with " .. what, function()
      assert.error_matches(function() answer(bytes) end, "malformed answer")
    end)
  end

  it("tells an answer that breaks off", function()
    local head = "HTTP/1.1 200 OK\r\n" .. DATE
    assert.error(function() answer(head .. "Content-Length: 10\r\n\r\nabc") end)
    assert.error(function() answer(head) end)
    local ok, err = pcall(answer, "")
    assert.is_false(ok)
    assert.equal("NO_ANSWER", err.detail)
  end)
end)

describe("the ledger", function()
  it("misses an id that nobody accounts for", function()
    local book = ledger.new()
    book:begin(1)
    book:begin(2)
    book:finish(1, "ok", 0.001)

    assert.same({ 2 }, book:missing())
    assert.error_matches(function() book:assert_all_ok() end, "not every request went well")
    book:finish(2, "ok", 0.003)
    book:assert_all_ok(2)
    assert.equal(0.003, book:percentile(0.99))
    assert.equal(0.001, book:percentile(0))
    assert.equal(0.003, book:percentile(0, 1))
    assert.error_matches(function() book:assert_all_ok(3) end, "not every request")
    assert.error_matches(function() book:finish(2, "ok", 0) end, "twice")
  end)
end)

-- A server that answers each request with what `respond(n)` says; nil: it hangs up.
local function small_server(respond)
  local listener = stream.listen("127.0.0.1")
  local served = 0
  local function serve(s)
    while true do
      local ok, head = pcall(s.read_until, s, "\r\n\r\n")
      if not ok or not head then
        break
      end
      served = served + 1
      local bytes = respond(served)
      if not bytes then
        break
      end
      s:write(bytes)
    end
    s:close()
  end
  local accepting = fiber.spawn(function()
    local connections = {}
    while true do
      local ok, s = pcall(listener.accept, listener)
      if not ok then
        break
      end
      connections[#connections + 1] = fiber.spawn(serve, s)
    end
    for _, handle in ipairs(connections) do
      handle:join()
    end
  end)
  return listener:port(), function()
    listener:close()
    accepting:join()
    return served
  end
end

local OK = "HTTP/1.1 200 OK\r\n" .. DATE .. "Content-Length: 2\r\n\r\nok"

describe("the load", function()
  it("sends every request when it is due, and accounts for it", function()
    local port, stop = small_server(function() return OK end)
    local result = load.run { port = port, rate = 200, duration = 0.5, connections = 4 }

    assert.equal(100, stop())
    result.ledger:assert_all_ok(100)
    assert.equal(0, result.reconnects)
    assert.equal(0, result.retried)
  end)

  it("counts wrong answers, wherever they come from", function()
    local bad = OK:gsub("200 OK", "500 No")
    local port, stop = small_server(function(n) return n % 10 == 0 and bad or OK end)
    local result = load.run { port = port, rate = 500, duration = 0.2, connections = 4 }
    stop()

    assert.equal(10, result.ledger:count "failed")
    assert.equal(90, result.ledger:count "ok")
    assert.error_matches(function() result.ledger:assert_all_ok() end, "status 500")
  end)

  it("asks the test's own check about each answer", function()
    local port, stop = small_server(function() return OK end)
    local result = load.run {
      port = port, rate = 500, duration = 0.1, connections = 2,
      check = function(res, id)
        assert.equal("ok", res.body)
        return id ~= 7, "seven"
      end,
    }
    stop()

    assert.same({ "7: failed: seven" }, result.ledger.faults)
  end)

  it("tells refused, broken and late answers apart", function()
    local closed = stream.listen("127.0.0.1")
    local port = closed:port()
    closed:close()
    local refused = load.run { port = port, rate = 100, duration = 0.1, connections = 2 }
    assert.equal(10, refused.ledger:count "refused")

    local broken_port, stop = small_server(function() return nil end)
    local broken = load.run { port = broken_port, rate = 100, duration = 0.1, connections = 2 }
    stop()
    assert.equal(10, broken.ledger:count "broken")

    local silent = stream.listen("127.0.0.1")
    local late = load.run {
      port = silent:port(), rate = 100, duration = 0.05, connections = 5, timeout = 0.05,
    }
    silent:close()
    assert.equal(5, late.ledger:count "timed_out")
  end)

  it("sends a request again, once, when a kept connection had ended", function()
    local port, stop = small_server(function(n) return n % 5 ~= 0 and OK or nil end)
    local result = load.run { port = port, rate = 500, duration = 0.1, connections = 1 }
    stop()

    result.ledger:assert_all_ok(50)
    assert.is_true(result.retried > 0)
    assert.equal(result.retried, result.reconnects)
  end)
end)

describe("the metrics reader", function()
  it("reads samples and adds them up", function()
    local m = metrics.parse([[
# HELP a_total Things.
# TYPE a_total counter
a_total{kind="x",why="a \"b\" \\ \n,}"} 3
a_total{kind="y"} 4
# HELP t Time.
# TYPE t histogram
t_bucket{le="1"} 1
t_bucket{le="+Inf"} 2
t_sum 3.5
t_count 2
]])
    assert.equal(7, (m:sum("a_total")))
    assert.equal(3, (m:sum("a_total", { kind = "x" })))
    assert.equal('a "b" \\ \n,}', m.samples[1].labels.why)
    assert.equal(3.5, (m:sum("t_sum")))
  end)

  for what, text in pairs {
    ["an unfinished line"] = "# TYPE a counter\na 1",
    ["a sample without TYPE"] = "a 1\n",
    ["a sample twice"] = "# TYPE a counter\na{x=\"1\"} 1\na{x=\"1\"} 2\n",
    ["a family in two pieces"] = "# TYPE a counter\na 1\n# TYPE b counter\nb 1\na{x=\"1\"} 1\n",
    ["a bad value"] = "# TYPE a counter\na one\n",
    ["a bad label"] = "# TYPE a counter\na{9x=\"1\"} 1\n",
  } do
    it("refuses " .. what, function()
      assert.error(function() metrics.parse(text) end)
    end)
  end
end)

describe("what a server has said", function()
  local path

  before_each(function()
    path = os.tmpname()
    local file = io.open(path, "w")
    for i = 1, 100000 do
      file:write(('{"module":"access","msg":"request %d, of no interest"}\n'):format(i))
      if i % 25000 == 0 then
        file:write(('{"module":"host","msg":"event %d"}\n'):format(i / 25000))
      end
    end
    file:close()
  end)
  after_each(function() os.remove(path) end)

  it("is searched, and its end told, in little memory", function()
    collectgarbage()
    local before = collectgarbage "count"
    assert.is_true(said.has(path, '"event 4"'))
    assert.is_false(said.has(path, '"event 5"'))
    assert.same({ '{"module":"host","msg":"event 3"}', '{"module":"host","msg":"event 4"}' },
      said.last(path, 2))
    assert.is_true(collectgarbage "count" - before < 32 * 1024)
  end)

  it("is found where two pieces that are read meet", function()
    local file = io.open(path, "w")
    file:write(("x"):rep(64 * 1024 - 3), "needle", ("x"):rep(1000))
    file:close()
    assert.is_true(said.has(path, "needle"))
  end)

  it("is nothing where there is no file", function()
    assert.is_false(said.has(path .. ".missing", "x"))
    assert.same({}, said.last(path .. ".missing", 3))
  end)
end)
