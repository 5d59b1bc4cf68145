--- Byte streams: TCP and unix sockets, as client and as server.
---
--- Nothing is read before somebody asks for it, and never more than was asked for. One fiber may
--- read and one may write at a time. A stream that nobody refers to any more is closed.

local core = require "tycho.core.stream"
local options = require "tycho.options"
local check = require("tycho.errors").check

local stream = {}

local READ_MAX = 64 * 1024
local LINE_MAX = 64 * 1024

---@class tycho.stream.Stream
local Stream = core.Stream

---@class tycho.stream.Listener
local Listener = core.Listener

---@class tycho.stream.Options
---@field timeout? number seconds, of connecting and of each operation after it; none by default
---@field from? string local address to connect from

local KNOWN = options.set { "timeout", "from" }

---Connects to a host and port, or to a unix socket (a path).
---
---```lua
---local s = stream.connect("127.0.0.1", 6379, { timeout = 2 })
---s:write("PING\r\n")
---local answer = s:read_line()
---s:close()
---```
---@async
---@param host string name, address, or the path of a unix socket
---@param port? integer
---@param opts? tycho.stream.Options
---@return tycho.stream.Stream
---Raises `not_found`, `unavailable`, `timeout`, `invalid`.
function stream.connect(host, port, opts)
  opts = options.check(opts, KNOWN)
  local self = core.new()
  core.timeout(self, opts.timeout or -1)
  check(core.connect(self, host, port, opts.from))
  return self
end

---Listens for connections; for test doubles and small services.
---
---```lua
---local listener = stream.listen("127.0.0.1", 0)
---local s = listener:accept()
---```
---@param host string numeric address, or the path of a unix socket
---@param port? integer 0: any free one, see `listener:port()`
---@return tycho.stream.Listener
---Raises `conflict` when the port is taken, `invalid`, `forbidden`.
function stream.listen(host, port)
  return (check(core.listen(host, port or 0)))
end

---Sets how long each operation from now on may wait.
---
---```lua
---s:timeout(0.5)
---```
---@param seconds? number nil: as long as it takes
function Stream:timeout(seconds)
  core.timeout(self, seconds or -1)
end

---Reads what is there, waiting for at least one byte.
---
---```lua
---for bytes in function() return s:read() end do consume(bytes) end
---```
---@async
---@param max? integer bytes; 64 KiB by default
---@return string? bytes nil at the end of the stream
---Raises `unavailable` (connection lost), `timeout`, `cancelled` (closed meanwhile).
function Stream:read(max)
  return (check(core.read(self, max or READ_MAX)))
end

---Reads exactly so many bytes.
---
---```lua
---local header = s:read_exact(12)
---```
---@async
---@param count integer
---@return string? bytes nil at the end of the stream
---Raises `unavailable` also when the stream ends in the middle (detail `EOF`).
function Stream:read_exact(count)
  if count == 0 then
    return ""
  end
  return (check(core.read_exact(self, count)))
end

---Reads up to and including a delimiter.
---
---```lua
---local head = s:read_until("\r\n\r\n", 32 * 1024)
---```
---@async
---@param delimiter string 1 to 16 bytes
---@param max? integer bytes; 64 KiB by default
---@return string? bytes nil at the end of the stream
---Raises `too_large` when `max` bytes came without it, `unavailable` (detail `EOF`) as above.
function Stream:read_until(delimiter, max)
  return (check(core.read_until(self, delimiter, max or LINE_MAX)))
end

---Reads a line, and leaves its end (LF or CRLF) out.
---
---```lua
---local line = s:read_line()
---```
---@async
---@param max? integer bytes; 64 KiB by default
---@return string? line nil at the end of the stream
---Raises as `read_until`.
function Stream:read_line(max)
  local line = check(core.read_until(self, "\n", max or LINE_MAX))
  return line and (line:gsub("\r?\n$", ""))
end

---Reads everything up to the end of the stream.
---
---```lua
---local output = child.stdout:read_all()
---```
---@async
---@param max? integer bytes; 64 MiB by default
---@return string bytes
---Raises `too_large` when there is more.
function Stream:read_all(max)
  local parts, left = {}, max or 64 * 1024 * 1024
  for bytes in function() return self:read() end do
    left = left - #bytes
    if left < 0 then
      error(require("tycho.errors").new("too_large", "stream: more bytes than wanted"), 0)
    end
    parts[#parts + 1] = bytes
  end
  return table.concat(parts)
end

---Writes all bytes and waits until they are with the kernel.
---
---```lua
---s:write("GET / HTTP/1.0\r\n\r\n")
---```
---@async
---@param bytes string
---@return tycho.stream.Stream self
---Raises `unavailable`, `timeout` (the stream can then only be closed), `cancelled`.
function Stream:write(bytes)
  check(core.write(self, bytes))
  return self
end

---Ends our side; the peer reads the end of the stream, we may still read.
---
---```lua
---s:shutdown()
---local rest = s:read_all()
---```
function Stream:shutdown()
  check(core.shutdown(self))
end

---Closes; whoever still waits on it gets `cancelled`. Closing twice is fine.
---
---```lua
---s:close()
---```
function Stream:close()
  core.close(self, false)
end

---Closes with a reset (RST), as a client does that died.
---
---```lua
---s:reset()
---```
function Stream:reset()
  core.close(self, true)
end

---The peer's address and port.
---
---```lua
---local address, port = s:peer()
---```
---@return string address
---@return integer port 0 for unix sockets
function Stream:peer()
  return check(core.name(self, true))
end

---Our own address and port.
---
---```lua
---local address, port = s:address()
---```
---@return string address
---@return integer port 0 for unix sockets
function Stream:address()
  return check(core.name(self, false))
end

---Waits for the next connection.
---
---```lua
---while true do fiber.spawn(serve, listener:accept()) end
---```
---@async
---@param timeout? number seconds
---@return tycho.stream.Stream
---Raises `timeout`, `cancelled` (closed meanwhile), `unavailable` (out of descriptors).
function Listener:accept(timeout)
  local accepted = core.new()
  while not check(core.accept(self, accepted, timeout)) do -- somebody may be there: ask again
  end
  return accepted
end

---The port that it listens on.
---
---```lua
---local port = stream.listen("127.0.0.1"):port()
---```
---@return integer port
function Listener:port()
  return core.port(self)
end

---Stops listening; whoever waits in `accept` gets `cancelled`.
---
---```lua
---listener:close()
---```
function Listener:close()
  core.unlisten(self)
end

return stream
