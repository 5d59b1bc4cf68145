-- Random streams of requests, damaged here and there and cut into pieces, are read by the server as
-- by a second reader: the same requests, and nothing behind the first thing that is wrong.

local fiber = require "tycho.fiber"
local random = require "tests.soak.random"
local reader = require "tests.blackbox.support.reader"
local seed = require "tests.support.seed"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local METHODS = { "GET", "POST", "PUT", "DELETE", "PATCH" }

local function echo(req)
  local fields = {}
  for name, value in pairs(req.headers) do
    fields[#fields + 1] = name .. "=" .. hex(value)
  end
  table.sort(fields)
  return ("%s %s %s %s"):format(req.method, req.target, table.concat(fields, ","),
    req.raw_body and hex(req.raw_body) or "none")
end

app.route(METHODS, "/", echo)
app.route(METHODS, "/{rest...}", echo)
]]

local PARTS = {
  "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /b?c=d&e HTTP/1.1\r\nHost: a.example:8080\r\nX-One: 1\r\nX-One: 2\r\nCookie: a=b\r\n\r\n",
  "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
  "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
  "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n"
    .. "0123456789abcdef\r\n0\r\n\r\n",
  "DELETE /d HTTP/1.1\r\nHost:a\r\nX-Empty:\r\nX-Blank: \t a b \t\r\n\r\n",
  "POST /q HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 38\r\n\r\n"
    .. "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nabc",
  "PATCH /o HTTP/1.1\r\nTransfer-Encoding:chunked\r\nHost: a\r\n\r\n00000a\r\n0\r\n\r\nGET /\r\n"
    .. "0\r\n\r\n",
  "GET /old HTTP/1.0\r\n\r\n",
  "GET /kept HTTP/1.0\r\nConnection:\tx\t,keep-alive\t\r\n\r\n",
  "PUT /tabs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tchunked \t\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
}

local INSERTS = {
  "\r", "\n", "\r\n", " ", "\t", "\0", ":", ";", ",", "0", "1", "\255", "_", "-",
  "Content-Length: 3\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: identity\r\n", "Host: b\r\n", "X: y\r\n", "\r\n\r\n", "0\r\n\r\n", " chunked",
}

local function damage(text, luck)
  local at, kind = luck:upto(#text), luck:upto(5)
  local before, after = text:sub(1, at - 1), text:sub(at + 1)
  if kind == 1 then
    return before .. after
  elseif kind == 2 then
    return before .. string.char(luck:upto(256) - 1) .. after
  elseif kind == 3 then
    return before .. text:sub(at, at):rep(2) .. after
  elseif kind == 4 then -- at the start of a line: a whole field, most of the time
    local line = text:find("\n", at, true) or at
    return text:sub(1, line) .. luck:pick(INSERTS) .. text:sub(line + 1)
  end
  return before .. luck:pick(INSERTS) .. text:sub(at)
end

local function make_stream(luck)
  local parts = {}
  for i = 1, luck:upto(4) do
    parts[i] = luck:pick(PARTS)
  end
  local text = table.concat(parts)
  for _ = 1, luck:upto(3) - 1 do
    text = damage(text, luck)
  end
  return text
end

local function pieces_of(text, luck)
  local pieces, at, longest = {}, 1, luck:pick { 1e9, 1e9, 100, 7, 1 }
  while at <= #text do
    local len = luck:upto(longest)
    pieces[#pieces + 1] = text:sub(at, at + len - 1)
    at = at + len
  end
  return pieces
end

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function echo_of(request)
  local fields = {}
  for name, value in pairs(request.fields) do
    fields[#fields + 1] = name .. "=" .. hex(value)
  end
  table.sort(fields)
  return ("%s %s %s %s"):format(request.method, request.target, table.concat(fields, ","),
    request.body and hex(request.body) or "none")
end

local function fail(text, format, ...)
  error(("%s, of the stream %q"):format(format:format(...), text), 0)
end

-- The server may end the connection before it has taken all that we send.
local function send(conn, pieces)
  for _, piece in ipairs(pieces) do
    if not pcall(conn.send, conn, piece) then
      return
    end
  end
end

-- Behind the last request that both have read.
local function check_rest(conn, text, ending)
  local ok, res = pcall(conn.receive, conn)
  if ok and ending == "bad" then
    if res.status < 400 then
      fail(text, "a bad request is answered with %d %q", res.status, res.body)
    elseif not res.closes or not conn:is_closed() then
      fail(text, "the connection goes on behind a %d", res.status)
    end
  elseif ok then
    fail(text, "an answer (%d %q) where the end is %q", res.status, res.body, ending)
  end
end

local function compare(s, text, luck)
  local requests, ending = reader.read(text)
  local is_waiting = ending == "partial" or ending == "end"
  local conn = s:connect { timeout = 5 }
  local sender = fiber.spawn(send, conn, pieces_of(text, luck))
  for i, request in ipairs(requests) do
    local ok, res = pcall(conn.receive, conn)
    if not ok then
      fail(text, "no answer to request %d (%s)", i, tostring(res))
    elseif res.status ~= 200 or res.body ~= echo_of(request) then
      fail(text, "request %d is %q, not %q", i, res.body, echo_of(request))
    end
  end
  sender:join()
  if is_waiting then -- nothing may come; and it need not be waited for every time
    conn.stream:timeout(0.002)
    local ok, bytes = pcall(conn.stream.read, conn.stream)
    if ok and bytes and not (ending == "partial" and bytes:find "^HTTP/1.1 4") then
      fail(text, "%q where the end is %q", bytes, ending)
    end
  elseif ending ~= "unsure" then
    check_rest(conn, text, ending)
  end
  conn:close()
  return #requests, ending
end

describe("random streams of requests", function()
  teardown(server.clean_up)

  it("are read as a second reader reads them, however they are cut", function()
    local s = server.start { scripts = { ["app/main.lua"] = APP } }
    local start = seed()
    local rounds = os.getenv "TYCHO_TEST_LONG" == "1" and 100000 or 3000
    local endings, read = {}, 0

    local function client(number)
      local luck = random.new(start * 8 + number)
      for _ = 1, rounds / 8 do
        local ok, count, ending = pcall(compare, s, make_stream(luck), luck)
        if not ok then
          error(("TYCHO_TEST_SEED=%d: %s"):format(start, tostring(count)), 0)
        end
        read, endings[ending] = read + count, (endings[ending] or 0) + 1
      end
    end
    local clients = {}
    for number = 1, 8 do
      clients[number] = function() client(number) end
    end
    fiber.all(clients)

    for _, ending in ipairs { "end", "closed", "bad", "partial" } do
      assert.is_true((endings[ending] or 0) > rounds / 200, ending .. " is too rare")
    end
    assert.is_true(read > rounds / 2)
  end)
end)
