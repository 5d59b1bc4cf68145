-- One byte stream has one reading: what is ambiguous is refused, and the connection with it.

local echo = require "tests.blackbox.support.echo"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

local REST = "GET /number/666 HTTP/1.1\r\nHost: a\r\n\r\n"

local function post(fields, body)
  return "POST /echo HTTP/1.1\r\nHost: a\r\n" .. fields .. "\r\n" .. (body or "")
end

local function get(target, fields)
  return ("GET %s HTTP/1.1\r\n%s\r\n"):format(target, fields or "Host: a\r\n")
end

local function chunked(body)
  return post("Transfer-Encoding: chunked\r\n", body)
end

local function fits(wanted, status)
  for allowed in tostring(wanted):gmatch("%d+") do
    if tonumber(allowed) == status then
      return true
    end
  end
  return false
end

describe("the HTTP parser", function()
  local s

  setup(function()
    s = server.start { scripts = { ["app/main.lua"] = echo } }
  end)
  teardown(server.clean_up)

  -- Each is one bad message; behind it comes a good one, which must never be answered.
  local function refuses(list)
    for what, case in pairs(list) do
      it("refuses " .. what, function()
        local res, conn = http.raw(s.port, case[2] .. REST)

        assert.is_true(fits(case[1], res.status), ("%d: %s"):format(res.status, res.body))
        assert.is_true(conn:is_closed())
      end)
    end
  end

  local function accepts(list)
    for what, case in pairs(list) do
      it("accepts " .. what, function()
        local conn = http.connect(s.port):send(case[1] .. REST)
        local res = conn:receive()

        assert.equal(200, res.status, res.body)
        case[2](res:json(), res)
        assert.equal("666", conn:receive():json().n)
        conn:close()
      end)
    end
  end

  describe("(lengths)", function()
    refuses {
      ["a length and chunks"] =
        { 400, post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") },
      ["chunks and a length"] =
        { 400, post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n") },
      ["two lengths that differ"] =
        { 400, post("Content-Length: 4\r\nContent-Length: 5\r\n", "abcde") },
      ["two lengths that agree"] =
        { 400, post("Content-Length: 4\r\nContent-Length: 4\r\n", "abcd") },
      ["a list of lengths"] = { 400, post("Content-Length: 4, 4\r\n", "abcd") },
      ["an empty length"] = { 400, post("Content-Length:\r\n") },
      ["a signed length"] = { 400, post("Content-Length: +4\r\n", "abcd") },
      ["a negative length"] = { 400, post("Content-Length: -1\r\n") },
      ["a hexadecimal length"] = { 400, post("Content-Length: 0x4\r\n", "abcd") },
      ["a length with an underscore"] = { 400, post("Content-Length: 1_0\r\n", "abcd") },
      ["a length with words"] = { 400, post("Content-Length: 4 4\r\n", "abcd") },
      ["a length of 2^64"] = { "400 413", post("Content-Length: 18446744073709551616\r\n") },
      ["a length of 2^63"] = { 413, post("Content-Length: 9223372036854775808\r\n") },
      ["a length of 2^64-1"] = { 413, post("Content-Length: 18446744073709551615\r\n") },
    }
    accepts {
      ["a length with leading zeros"] = { post("Content-Length: 010\r\n", "0123456789"),
        function(seen) assert.equal(20, #seen.body) end },
      ["a POST without a body"] = { post "", function(seen) assert.is_false(seen.body) end },
      ["a body on GET"] = { get("/echo", "Host: a\r\nContent-Length: 3\r\n") .. "abc",
        function(seen) assert.equal("616263", seen.body) end },
      ["a body on DELETE"] =
        { "DELETE /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
          function(seen) assert.equal("78", seen.body) end },
      ["names with underscores, as names of their own"] =
        { get("/echo", "Host: a\r\nContent_Length: 5\r\nX_Real: 1\r\n"),
          function(seen)
            assert.is_false(seen.body)
            assert.is_nil(seen.headers["content-length"])
            assert.is_nil(seen.headers["x-real"])
          end },
    }
  end)

  describe("(transfer codings)", function()
    refuses {
      ["an unknown coding"] =
        { "400 501", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n") },
      ["identity"] = { "400 501", post("Transfer-Encoding: identity\r\n", "0\r\n\r\n") },
      ["chunks that are not last"] =
        { "400 501", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n") },
      ["another coding before chunks"] =
        { 501, post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n") },
      ["chunks twice"] =
        { "400 501", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n") },
      ["the field twice"] = { "400 501",
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") },
      ["the field twice, once other"] = { "400 501",
        post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") },
      ["an empty list item"] = { 400, post("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n") },
      ["a no-break space behind it"] =
        { "400 501", post("Transfer-Encoding: chunked\160\r\n", "0\r\n\r\n") },
      ["a vertical tab before it"] =
        { "400 501", post("Transfer-Encoding: \11chunked\r\n", "0\r\n\r\n") },
      ["a space before the colon"] =
        { 400, post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n") },
      ["chunks in HTTP/1.0"] = { 400,
        "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    }
    accepts {
      ["chunks"] = { chunked "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
        function(seen) assert.equal("61626330313233343536373839", seen.body) end },
      ["chunks in any case"] =
        { post("transfer-encoding: CHUNKED\r\n", "1;x=\"y\"\r\na\r\n0\r\n\r\n"),
          function(seen) assert.equal("61", seen.body) end },
    }
  end)

  describe("(chunks)", function()
    refuses {
      ["a size with 0x"] = { 400, chunked "0x3\r\nabc\r\n0\r\n\r\n" },
      ["a signed size"] = { 400, chunked "+3\r\nabc\r\n0\r\n\r\n" },
      ["a negative size"] = { 400, chunked "-3\r\nabc\r\n0\r\n\r\n" },
      ["an empty size"] = { 400, chunked "\r\nabc\r\n0\r\n\r\n" },
      ["a size before a space"] = { 400, chunked " 3\r\nabc\r\n0\r\n\r\n" },
      ["a size above 64 bits"] = { "400 413", chunked "10000000000000003\r\nabc\r\n" },
      ["a size of 2^64-1"] = { "400 413", chunked "ffffffffffffffff\r\nabc\r\n" },
      ["a bare LF behind the size"] = { 400, chunked "3\nabc\r\n0\r\n\r\n" },
      ["a bare LF behind the data"] = { 400, chunked "3\r\nabc\n0\r\n\r\n" },
      ["data longer than the size"] = { 400, chunked "3\r\nabcd\r\n0\r\n\r\n" },
      ["ten thousand leading zeros"] =
        { 400, chunked(("0"):rep(10000) .. "3\r\nabc\r\n0\r\n\r\n") },
      ["an endless extension"] =
        { 400, chunked("3;x=" .. ("y"):rep(64 * 1024) .. "\r\nabc\r\n0\r\n\r\n") },
      ["many extensions"] =
        { 400, chunked(("1;x=" .. ("y"):rep(900) .. "\r\na\r\n"):rep(12) .. "0\r\n\r\n") },
      ["a length among the trailers"] =
        { 400, chunked "1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n" },
      ["a coding among the trailers"] =
        { 400, chunked "1\r\na\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n" },
    }
    accepts {
      ["trailers, but none that means something"] = {
        chunked("1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nAuthorization: Bearer evil\r\n"
          .. "Cookie: evil=1\r\n\r\n"),
        function(seen)
          assert.equal("1", seen.trailers["x-sum"])
          for _, name in ipairs { "host", "authorization", "cookie" } do
            assert.is_nil(seen.trailers[name])
          end
          assert.equal("a", seen.host)
          assert.is_nil(seen.headers["x-sum"])
          assert.is_nil(seen.headers.authorization)
          assert.is_nil(seen.headers.cookie)
        end },
    }
  end)

  describe("(Host)", function()
    refuses {
      ["no Host"] = { 400, get("/echo", "") },
      ["two Hosts"] = { 400, get("/echo", "Host: a\r\nHost: a\r\n") },
      ["an empty name in it"] = { 400, get("/echo", "Host: :80\r\n") },
      ["a space in it"] = { 400, get("/echo", "Host: a b\r\n") },
      ["user information in it"] = { 400, get("/echo", "Host: a b@c\r\n") },
      ["a user in it"] = { 400, get("/echo", "Host: user@a\r\n") },
      ["a word for a port"] = { 400, get("/echo", "Host: a:http\r\n") },
      ["a port above 65535"] = { 400, get("/echo", "Host: a:65536\r\n") },
      ["a path in it"] = { 400, get("/echo", "Host: a/b\r\n") },
      ["a quotation mark in it"] = { 400, get("/echo", 'Host: a"b\r\n') },
    }
    accepts {
      ["a name with a port"] = { get("/echo", "Host: a.example:8080\r\n"),
        function(seen) assert.equal("a.example:8080", seen.headers.host) end },
      ["an IPv6 address"] = { get("/echo", "Host: [::1]:80\r\n"), function() end },
      ["an absolute target, which wins"] = { get("http://b.example/echo", "Host: a\r\n"),
        function(seen)
          assert.equal("b.example", seen.host)
          assert.equal("/echo", seen.path)
        end },
    }
  end)

  describe("(start line)", function()
    refuses {
      ["HTTP/0.9"] = { 400, "GET /\r\n\r\n" },
      ["HTTP/2.0"] = { 505, "GET /echo HTTP/2.0\r\nHost: a\r\n\r\n" },
      ["HTTP/1.2"] = { "400 505", "GET /echo HTTP/1.2\r\nHost: a\r\n\r\n" },
      ["HTTP/1.32"] = { "400 505", "GET /echo HTTP/1.32\r\nHost: a\r\n\r\n" },
      ["the HTTP/2 preface"] = { "400 505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
      ["lower-case methods"] = { "400 405 501", "get /echo HTTP/1.1\r\nHost: a\r\n\r\n" },
      ["unknown methods"] = { "400 405 501", "FOO /echo HTTP/1.1\r\nHost: a\r\n\r\n" },
      ["two spaces"] = { 400, "GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n" },
      ["a tab"] = { 400, "GET\t/echo HTTP/1.1\r\nHost: a\r\n\r\n" },
      ["a space in the target"] = { 400, get "/ec ho" },
      ["a fragment"] = { 400, get "/echo#top" },
      ["a NUL in the target"] = { 400, get "/ec\0ho" },
      ["eight-bit bytes in the target"] = { 400, get "/ech\195\182" },
      ["an asterisk for GET"] = { 400, get "*" },
      ["a relative target"] = { 400, get "echo" },
      ["a bad escape in the path"] = { "400 404", get "/%zz" },
      ["a NUL, escaped, in the path"] = { "400 404", get "/%00" },
      ["bare LF"] = { 400, "GET /echo HTTP/1.1\nHost: a\n\n" },
      ["bare CR"] = { 400, "GET /echo HTTP/1.1\rHost: a\r\r" },
      ["a thousand leading CRLFs"] = { 400, ("\r\n"):rep(1000) .. get "/echo" },
    }
    accepts {
      ["one leading CRLF"] = { "\r\n" .. get "/echo", function() end },
    }
  end)

  describe("(fields)", function()
    refuses {
      ["a folded line"] = { 400, get("/echo", "Host: a\r\nX: a\r\n b\r\n") },
      ["a space before the first field"] = { 400, get("/echo", " Host: a\r\n") },
      ["a space in a name"] = { 400, get("/echo", "Host: a\r\nX Y: a\r\n") },
      ["a space behind a name"] = { 400, get("/echo", "Host: a\r\nX : a\r\n") },
      ["an empty name"] = { 400, get("/echo", "Host: a\r\n: a\r\n") },
      ["a line without a colon"] = { 400, get("/echo", "Host: a\r\nnonsense\r\n") },
      ["eight-bit bytes in a name"] = { 400, get("/echo", "Host: a\r\nX\246: a\r\n") },
      ["a NUL in a value"] = { 400, get("/echo", "Host: a\r\nX: a\0b\r\n") },
      ["a bare CR in a value"] = { 400, get("/echo", "Host: a\r\nX: a\rb\r\n") },
      ["a bare LF in a value"] = { 400, get("/echo", "Host: a\r\nX: a\nY: b\r\n") },
      ["a control character in a value"] = { 400, get("/echo", "Host: a\r\nX: a\1b\r\n") },
      ["DEL in a value"] = { 400, get("/echo", "Host: a\r\nX: a\127b\r\n") },
    }
    accepts {
      ["eight-bit bytes in a value, as they are"] =
        { get("/echo", "Host: a\r\nX-Bytes: \233\160\r\n"),
          function(seen) assert.equal("e9a0", seen.bytes) end },
      ["blanks around a value, which are no part of it"] =
        { get("/echo", "Host: a\r\nX-Bytes: \t a b \t\r\n"),
          function(seen) assert.equal("612062", seen.bytes) end },
    }
  end)

  it("treats an upgrade that it does not take as a plain request", function()
    for _, what in ipairs { "h2c", "websocket", "anything" } do
      local conn = s:connect():send(get("/echo",
        "Host: a\r\nConnection: upgrade\r\nUpgrade: " .. what .. "\r\n") .. REST)

      assert.equal(200, conn:receive().status)
      local ok, next_one = pcall(conn.receive, conn)
      if ok then
        assert.equal("666", next_one:json().n)
      else
        assert.equal("NO_ANSWER", next_one.detail)
      end
    end
  end)

  it("ignores what follows Connection: close", function()
    local conn = s:connect():send(get("/echo", "Host: a\r\nConnection: close\r\n") .. REST)
    local res = conn:receive()

    assert.is_true(res.status == 200 or res.status == 400)
    assert.is_true(res.closes)
    assert.is_true(conn:is_closed())
  end)

  it("counts what it refuses, and serves on", function()
    local labels = { http_response_status_class = "4xx" }
    local refused = s:metrics():sum("http_server_request_duration_seconds_count", labels)

    assert.is_true(refused > 50)
    assert.equal(200, s:request("GET", "/echo").status)
  end)
end)
