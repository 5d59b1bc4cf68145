-- Everything that a client may send has a bound, with a status of its own, found out early.

local clock = require "tests.blackbox.support.clock"
local echo = require "tests.blackbox.support.echo"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

local KIB = 1024

local function get(target, fields)
  return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(target, fields or "")
end

local function post(fields, body)
  return "POST /echo HTTP/1.1\r\nHost: a\r\n" .. fields .. "\r\n" .. (body or "")
end

local function fields(count, size)
  local lines = {}
  for i = 1, count do
    lines[i] = ("X-%d: %s\r\n"):format(i, ("v"):rep(size))
  end
  return table.concat(lines)
end

describe("the limits of a request", function()
  local s

  setup(function()
    s = server.start {
      scripts = { ["app/main.lua"] = echo },
      config = {
        http = {
          header_timeout = "400ms", body_timeout = "400ms", keepalive_timeout = "400ms",
          linger_timeout = "500ms",
        },
        lua = { slice_max = "4s" }, -- a large body is echoed in digits
      },
    }
  end)
  teardown(server.clean_up)

  local function limit_count(limit)
    return (s:metrics():sum("tycho_http_limits_total", { limit = limit }))
  end

  local function refuses(what, status, limit, bytes)
    it("refuses " .. what, function()
      local before = limit and limit_count(limit)
      local res, conn = http.raw(s.port, bytes)

      assert.equal(status, res.status)
      assert.is_true(conn:is_closed())
      if limit then
        assert.equal(before + 1, limit_count(limit))
      end
    end)
  end

  local function accepts(what, bytes)
    it("accepts " .. what, function()
      local res, conn = http.raw(s.port, bytes)
      assert.equal(200, res.status, res.body)
      conn:close()
    end)
  end

  accepts("a target of 8 KiB", get("/echo?" .. ("q"):rep(8 * KIB - 6)))
  refuses("a target above 8 KiB", 414, "target", get("/echo?" .. ("q"):rep(8 * KIB - 5)))
  refuses("a target of 100 KB", 414, "target", get("/echo?" .. ("q"):rep(100000)))
  accepts("a field of nearly 8 KiB", get("/echo", fields(1, 8 * KIB - 10)))
  refuses("a field above 8 KiB", 431, "field", get("/echo", fields(1, 8 * KIB + 1)))
  refuses("a field of 200 KB", 431, nil, get("/echo", fields(1, 200000)))
  accepts("a section of nearly 32 KiB", get("/echo", fields(5, 6 * KIB)))
  refuses("a section above 32 KiB", 431, "header", get("/echo", fields(6, 6 * KIB)))
  accepts("99 fields and Host", get("/echo", fields(99, 1)))
  refuses("101 fields", 431, "count", get("/echo", fields(100, 1)))
  refuses("5,000 fields", 431, nil, get("/echo", fields(5000, 1)))
  refuses("an endless name", 431, nil, get("/echo", ("n"):rep(100000) .. ": v\r\n"))
  refuses("a length above 1 MiB, without waiting for a body", 413, "body",
    post(("Content-Length: %d\r\n"):format(KIB * KIB + 1)))
  accepts("a body of 1 MiB", post(("Content-Length: %d\r\n"):format(KIB * KIB),
    ("b"):rep(KIB * KIB)))
  refuses("a chunk above 1 MiB, before its data", 413, "body",
    post("Transfer-Encoding: chunked\r\n", "100001\r\n"))
  refuses("chunks that grow above 1 MiB", 413, "body",
    post("Transfer-Encoding: chunked\r\n", ("10000\r\n" .. ("c"):rep(0x10000) .. "\r\n"):rep(17)))
  refuses("a body above the route's own limit", 413, "body",
    "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
  refuses("an expectation that is not 100-continue", 417, nil,
    post("Expect: 200-ok\r\nContent-Length: 1\r\n"))

  it("decides about a length before it says 100 Continue", function()
    local res = http.raw(s.port, post("Expect: 100-continue\r\nContent-Length: 99999999\r\n"))

    assert.equal(413, res.status)
    assert.same({}, res.interim)
  end)

  it("says 100 Continue to those who wait for it", function()
    local conn = s:connect():send(post "Expect: 100-continue\r\nContent-Length: 3\r\n")

    assert.equal(100, conn:receive_interim())
    conn:send "abc"
    local res = conn:receive()
    assert.equal(200, res.status)
    assert.equal("616263", res:json().body)
  end)

  it("decides before it has read much more than the limit", function()
    local before = s:metrics():sum "tycho_http_received_bytes_total"
    local conn = s:connect():send("GET /" .. ("a"):rep(9000))

    assert.equal(414, conn:receive().status)
    local read = s:metrics():sum "tycho_http_received_bytes_total" - before
    assert.is_true(read < 80 * KIB, tostring(read))
  end)

  it("answers even a client that goes on sending a refused body", function()
    local conn = s:connect { timeout = 5 }
    conn:send(post(("Content-Length: %d\r\n"):format(2 * KIB * KIB)))
    pcall(conn.send, conn, ("b"):rep(200 * KIB))

    assert.equal(413, conn:receive().status)
    assert.is_true(conn:is_closed())
  end)

  it("gives the header section so much time in all, not for each byte", function()
    local conn = s:connect()
    local began = clock.now()
    local sender = fiber.spawn(function()
      for byte in get("/echo", fields(50, 10)):gmatch "." do
        if not pcall(conn.send, conn, byte) then
          break
        end
        fiber.sleep(0.02)
      end
    end)

    assert.equal(408, conn:receive().status)
    figure.at_most(clock.now() - began, 3, "seconds")
    conn:close()
    sender:join()
  end)

  it("ends a body that comes too slowly", function()
    local conn = s:connect():send(post("Content-Length: 100000\r\n", "slow"))

    assert.equal(408, conn:receive().status)
    assert.is_true(conn:is_closed())
  end)

  it("forgets that a body was slow once it is there", function()
    local workers = s:workers()
    local conn = s:connect():send(post("Content-Length: 4\r\n", "sl"))
    assert.equal(200, s:request("GET", "/echo").status)
    conn:send "ow"

    assert.equal(200, conn:receive().status)
    assert.is_true(conn:is_closed()) -- as idle, without a word
    assert.same(workers, s:workers())
  end)

  it("closes a connection that is idle", function()
    local conn = s:connect()
    assert.equal(200, conn:request("GET", "/echo").status)

    assert.is_true(conn:is_closed())
  end)

  it("closes a connection on which nothing ever comes, without a word", function()
    assert.is_true(s:connect():is_closed())
  end)
end)

describe("a message in pieces", function()
  local s

  setup(function()
    s = server.start { scripts = { ["app/main.lua"] = echo }, workers = 1 }
  end)
  teardown(server.clean_up)

  -- When this is answered, the only worker has seen what was sent before it.
  local function settle()
    assert.equal(200, s:request("GET", "/number/1").status)
  end

  -- Cuts `bytes` everywhere, each time on a connection of its own.
  local function cut_everywhere(bytes, check)
    local connections = {}
    for at = 1, #bytes - 1 do
      connections[at] = s:connect():send(bytes:sub(1, at))
    end
    settle()
    for at, conn in ipairs(connections) do
      conn:send(bytes:sub(at + 1))
    end
    for at, conn in ipairs(connections) do
      local ok, err = pcall(check, conn)
      assert(ok, ("cut behind byte %d: %s"):format(at, tostring(err)))
      conn:close()
    end
  end

  it("is read alike wherever it is cut: a body with a length", function()
    cut_everywhere(
      "POST /echo?a=1 HTTP/1.1\r\nHost: a\r\nX-Bytes: some bytes \r\n"
        .. "Content-Length: 5\r\n\r\nhello",
      function(conn)
        local seen = conn:receive():json()
        assert.equal("68656c6c6f", seen.body)
        assert.equal("1", seen.query.a)
        assert.equal("736f6d65206279746573", seen.bytes)
      end)
  end)

  it("is read alike wherever it is cut: chunks, trailers, and a second request", function()
    cut_everywhere("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
      .. "GET /number/7 HTTP/1.1\r\nHost: a\r\n\r\n",
      function(conn)
        local seen = conn:receive():json()
        assert.equal("6162636465", seen.body)
        assert.equal("5", seen.trailers["x-sum"])
        assert.equal("7", conn:receive():json().n)
      end)
  end)

  it("is refused alike wherever it is cut", function()
    cut_everywhere("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      function(conn)
        assert.equal(400, conn:receive().status)
        assert.is_true(conn:is_closed())
      end)
  end)

  it("may come byte by byte", function()
    local conn = s:connect()
    for byte in ("\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"):gmatch "." do
      conn:send(byte)
      fiber.sleep(0)
    end
    assert.equal("6f6b", conn:receive():json().body)
  end)
end)
