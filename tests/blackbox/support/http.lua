--- A raw HTTP/1.1 client for tests: sends any bytes, accepts only faultless answers.
---
--- Whatever an answer gets wrong (framing, fields, chunks, a missing Date) raises "malformed
--- answer", so that every black-box test is a test of row 9 as well.

local errors = require "tycho.errors"
local stream = require "tycho.stream"
local json = require "tycho.json"

local http = {}

local HEAD = "^HTTP/1%.([01]) (%d%d%d) ([^\r\n]*)\r\n(.*)\r\n$"
local TOKEN = "^[%w!#$%%&'*+%-.^_`|~]+$"

---@class blackbox.Response
---@field status integer
---@field reason string
---@field headers table<string, string> by lower-case name; repeated ones joined with ", "
---@field fields string[][] name and value, as sent
---@field trailers table<string, string>
---@field body string
---@field interim integer[] statuses of the 1xx answers before it
---@field closes boolean whether the connection ends with it
local Response = {}
Response.__index = Response

---The decoded JSON body.
---@return any
function Response:json()
  local kind = self.headers["content-type"] or ""
  if not kind:find("json", 1, true) then
    error(("the answer is no JSON but %q: %s"):format(kind, self.body), 2)
  end
  return json.decode(self.body)
end

local function malformed(format, ...)
  error("malformed answer: " .. format:format(...), 0)
end

-- Splits a header or trailer section (without its last empty line) into fields.
local function parse_fields(section)
  local fields, map = {}, {}
  for line in section:gmatch("(.-)\r\n") do
    local name, value = line:match("^([^:]*):[ \t]*(.-)[ \t]*$")
    if not name or not name:match(TOKEN) then
      malformed("bad field line %q", line)
    elseif value:find("[%z\1-\8\10-\31\127]") then
      malformed("control character in %q", line)
    end
    local key = name:lower()
    map[key] = map[key] and map[key] .. ", " .. value or value
    fields[#fields + 1] = { name, value }
  end
  return fields, map
end

local function count(fields, name)
  local n = 0
  for _, field in ipairs(fields) do
    n = n + (field[1]:lower() == name and 1 or 0)
  end
  return n
end

local DATE = "^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$"

local function check_length(res)
  local length, coding = res.headers["content-length"], res.headers["transfer-encoding"]
  if length and coding then
    malformed("both Content-Length and Transfer-Encoding")
  elseif length and not length:match("^%d+$") then
    malformed("Content-Length: %s", length)
  elseif coding and coding ~= "chunked" then
    malformed("Transfer-Encoding: %s", coding)
  elseif (res.status < 200 or res.status == 204) and (length or coding) then
    malformed("a %d with a length", res.status)
  end
end

local function check_fields(res)
  for _, name in ipairs { "content-length", "transfer-encoding", "date", "content-type" } do
    if count(res.fields, name) > 1 then
      malformed("%s is there %d times", name, count(res.fields, name))
    end
  end
  local date = res.headers.date
  if res.status >= 200 and not date then
    malformed("no Date")
  elseif date and not date:match(DATE) then
    malformed("Date: %s", date)
  end
end

---@class blackbox.Connection
---@field stream tycho.stream.Stream
local Connection = {}
Connection.__index = Connection

---Opens a connection.
---
---```lua
---local conn = http.connect(server.port)
---conn:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
---assert.equal(200, conn:receive().status)
---```
---@async
---@param port integer|string on 127.0.0.1, or the path of a unix socket
---@param opts? {timeout?: number, from?: string, address?: string} 10 s by default
---@return blackbox.Connection
function http.connect(port, opts)
  opts = opts or {}
  local options = { timeout = opts.timeout or 10, from = opts.from }
  local to = opts.address or "127.0.0.1"
  local path = type(port) == "string" and port
  local s = path and stream.connect(path, 0, options) or stream.connect(to, port, options)
  return setmetatable({ stream = s, answers = 0 }, Connection)
end

---Sends bytes as they are; a list is sent piece by piece, each in a segment of its own.
---@async
---@param bytes string|string[]
---@return blackbox.Connection self
function Connection:send(bytes)
  for _, piece in ipairs(type(bytes) == "table" and bytes or { bytes }) do
    self.stream:write(piece)
  end
  return self
end

---Writes down a request.
---@param method string
---@param target string
---@param opts? {headers?: table<string, string>|string[], body?: string, json?: any, host?: string}
---`headers` is a map, or a list of whole lines for what a map cannot say
---@return string bytes
function http.format(method, target, opts)
  opts = opts or {}
  local body = opts.json ~= nil and json.encode(opts.json) or opts.body
  local host = opts.host or "localhost"
  local lines = { ("%s %s HTTP/1.1"):format(method, target), "Host: " .. host }
  for name, value in pairs(opts.headers or {}) do
    lines[#lines + 1] = type(name) == "number" and value or name .. ": " .. value
  end
  if opts.json ~= nil then
    lines[#lines + 1] = "Content-Type: application/json"
  end
  if body then
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

local function read_chunks(self, res)
  local parts = {}
  while true do
    local line = self.stream:read_until("\r\n", 4096)
    local size = line and line:match("^(%x+)\r\n$")
    if not size then
      malformed("chunk size line %q", tostring(line))
    end
    if tonumber(size, 16) == 0 then
      break
    end
    parts[#parts + 1] = self.stream:read_exact(tonumber(size, 16))
    local ending = self.stream:read_exact(2)
    if ending ~= "\r\n" then
      malformed("a chunk ends in %q", tostring(ending))
    end
  end
  local section = {}
  repeat
    local line = self.stream:read_until("\r\n")
    if not line then
      malformed("the end within the trailers")
    end
    section[#section + 1] = line
  until line == "\r\n"
  section[#section] = nil
  res.trailers = select(2, parse_fields(table.concat(section)))
  return table.concat(parts)
end

local function read_body(self, res, method)
  local h = res.headers
  if method == "HEAD" or res.status < 200 or res.status == 204 or res.status == 304 then
    return ""
  elseif h["transfer-encoding"] then
    return read_chunks(self, res)
  elseif h["content-length"] then
    local body = self.stream:read_exact(tonumber(h["content-length"]))
    return body or malformed("the end before %s bytes of body", h["content-length"])
  elseif res.closes then
    return self.stream:read_all()
  end
  malformed("neither a length nor the end of the connection")
end

local function read_head(self)
  local head = self.stream:read_until("\r\n\r\n", 256 * 1024)
  if not head then
    error(errors.new("unavailable", "the connection ended without an answer",
      { detail = "NO_ANSWER" }), 0)
  end
  local minor, status, reason, section = head:match(HEAD)
  if not minor then
    malformed("head %q", head)
  elseif section:gsub("\r\n", ""):find("[\r\n]") then
    malformed("a bare CR or LF in %q", head)
  end
  local res = setmetatable({ status = tonumber(status), reason = reason, trailers = {} }, Response)
  res.fields, res.headers = parse_fields(section)
  local connection = (res.headers.connection or ""):lower()
  res.closes = connection:find("close", 1, true) ~= nil
    or minor == "0" and not connection:find("keep-alive", 1, true)
  check_length(res)
  check_fields(res)
  return res
end

---Reads the next final answer, and the 1xx before it.
---
---`method` is the request's: what has a body depends on it.
---@async
---@param method? string
---@return blackbox.Response
---Raises `unavailable` (detail NO_ANSWER) when the connection ends instead, and "malformed answer".
function Connection:receive(method)
  local interim = {}
  local res = read_head(self)
  while res.status < 200 and res.status ~= 101 do
    interim[#interim + 1] = res.status
    res = read_head(self)
  end
  res.interim = interim
  res.body = read_body(self, res, method)
  self.answers = self.answers + 1
  return res
end

---Reads an interim answer, such as 100.
---@async
---@return integer status
function Connection:receive_interim()
  local res = read_head(self)
  if res.status >= 200 then
    error(("a final answer instead of an interim one: %d"):format(res.status), 2)
  end
  return res.status
end

---Sends a request and reads its answer.
---
---```lua
---local res = conn:request("POST", "/orders", { json = { product = "tea" } })
---```
---@async
---@param method string
---@param target string
---@param opts? table see `http.format`
---@return blackbox.Response
function Connection:request(method, target, opts)
  self:send(http.format(method, target, opts))
  return self:receive(method)
end

---Has the server ended the connection - with nothing more in it?
---@async
---@return boolean
function Connection:is_closed()
  local ok, bytes = pcall(self.stream.read, self.stream)
  if ok and bytes then
    error(("more bytes than expected: %q"):format(bytes), 2)
  end
  if not ok and errors.is(bytes, "timeout") then
    return false
  end
  return true
end

function Connection:close()
  self.stream:close()
end

function Connection:reset()
  self.stream:reset()
end

---One request on a connection of its own.
---
---```lua
---local res = http.request(server.port, "GET", "/hello")
---```
---@async
---@param port integer
---@param method string
---@param target string
---@param opts? table see `http.format`, and `timeout`
---@return blackbox.Response
function http.request(port, method, target, opts)
  local conn = http.connect(port, opts)
  local res = conn:request(method, target, opts)
  conn:close()
  return res
end

---Sends raw bytes on a connection of their own and reads one answer.
---@async
---@param port integer
---@param bytes string|string[]
---@param method? string
---@return blackbox.Response
---@return blackbox.Connection conn still open
function http.raw(port, bytes, method)
  local conn = http.connect(port):send(bytes)
  return conn:receive(method), conn
end

return http
