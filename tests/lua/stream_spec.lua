local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local stream = require "tycho.stream"
local tycho = require "tycho"

-- Two connected streams.
local function pair(opts)
  local listener = stream.listen("127.0.0.1")
  local client = stream.connect("127.0.0.1", listener:port(), opts)
  local server = listener:accept(5)
  listener:close()
  return client, server
end

local function kind_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  return err.kind, err.detail
end

describe("tycho.stream", function()
  it("carries bytes both ways", function()
    local client, server = pair()

    client:write("question\0\r\n")
    assert.equal("question\0\r\n", server:read())
    server:write("answer")
    assert.equal("answer", client:read())
  end)

  it("reads no more than was asked for", function()
    local client, server = pair()

    client:write("abcdef")
    assert.equal("ab", server:read(2))
    assert.equal("cdef", server:read_exact(4))
  end)

  it("reads lines of both kinds, and what follows them", function()
    local client, server = pair()

    client:write("one\r\ntwo\nrest")
    assert.equal("one", server:read_line())
    assert.equal("two", server:read_line())
    assert.equal("rest", server:read_exact(4))
  end)

  it("puts a message together from single bytes", function()
    local client, server = pair()
    local reader = fiber.spawn(function() return server:read_until("\r\n\r\n") end)

    for byte in ("Head: x\r\n\r\n"):gmatch "." do
      client:write(byte)
      fiber.sleep(0)
    end
    assert.equal("Head: x\r\n\r\n", reader:join())
  end)

  it("returns nil at the end of the stream", function()
    local client, server = pair()

    client:write("last"):shutdown()
    assert.equal("last", server:read())
    assert.is_nil(server:read())
    assert.is_nil(server:read_line())
    assert.is_nil(server:read_exact(1))
    server:write("still open")
    assert.equal("still open", client:read())
  end)

  it("raises when the stream ends in the middle", function()
    local client, server = pair()

    client:write("half a li"):close()
    assert.same({ "unavailable", "EOF" }, { kind_of(server.read_line, server) })
    assert.same({ "unavailable", "EOF" }, { kind_of(server.read_exact, server, 100) })
    assert.equal("half a li", server:read())
  end)

  it("refuses a line over the limit", function()
    local client, server = pair()

    client:write(("x"):rep(100))
    assert.equal("too_large", (kind_of(server.read_line, server, 50)))
  end)

  it("waits in a write until the peer takes the bytes", function()
    local client, server = pair()
    local size, written = 8 * 1024 * 1024, false
    local writer = fiber.spawn(function()
      client:write(("x"):rep(size))
      written = true
    end)

    assert.is_false(written)
    assert.equal(size, #server:read_exact(size))
    writer:join()
    assert.is_true(written)
  end)

  it("gives up reading after the timeout, and can go on", function()
    local client, server = pair { timeout = 0.02 }

    assert.equal("timeout", (kind_of(client.read, client)))
    server:write("late")
    assert.equal("late", client:read())
  end)

  it("cannot go on after a write that timed out", function()
    local client = pair { timeout = 0.02 }

    assert.equal("timeout", (kind_of(client.write, client, ("x"):rep(2 ^ 25))))
    assert.equal("cancelled", (kind_of(client.write, client, "x")))
  end)

  it("tells a waiting fiber that the stream was closed", function()
    local client = pair()
    local reader = fiber.spawn(function() return tycho.try(client.read, client) end)

    client:close()
    client:close()
    local bytes, err = reader:join()
    assert.is_nil(bytes)
    assert.equal("cancelled", err.kind)
    assert.equal("cancelled", (kind_of(client.read, client)))
  end)

  it("survives being closed and cancelled at once", function()
    local client = pair()
    local reader = fiber.spawn(function() return tycho.try(client.read, client) end)

    client:close()
    reader:cancel()
    local _, err = reader:join()
    assert.equal("cancelled", err.kind)
  end)

  it("cuts the connection on request", function()
    local client, server = pair()

    client:reset()
    assert.same({ "unavailable", "ECONNRESET" }, { kind_of(server.read, server) })
  end)

  it("tells a cut from an end, also behind the last bytes", function()
    local client, server = pair()

    client:write "last"
    client:reset()
    assert.equal("last", server:read())
    assert.same({ "unavailable", "ECONNRESET" }, { kind_of(server.read, server) })
  end)

  it("is closed by the collector", function()
    local client, server = pair() -- luacheck: ignore 231

    client = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.is_nil(server:read())
  end)

  it("lets one fiber read at a time", function()
    local client, server = pair()
    local reader = fiber.spawn(function() return client:read() end)

    assert.error_matches(function() client:read() end, "another fiber is reading")
    server:write("x")
    assert.equal("x", reader:join())
  end)

  it("says why it cannot connect", function()
    assert.same({ "unavailable", "ECONNREFUSED" }, { kind_of(stream.connect, "127.0.0.1", 1) })
    assert.same({ "unavailable", "ENOENT" }, { kind_of(stream.connect, "/nonexistent/socket") })
    assert.equal("invalid", (kind_of(stream.connect, "127.0.0.1", 1, { from = "here" })))
  end)

  it("gives up connecting after the timeout", function()
    local kind = kind_of(stream.connect, "192.0.2.1", 80, { timeout = 0.02 })
    -- a machine without any route refuses at once
    assert.is_true(kind == "timeout" or kind == "unavailable", kind)
  end)

  it("connects by name and from a chosen address", function()
    local listener = stream.listen("127.0.0.1")
    local client = stream.connect("localhost", listener:port())
    local chosen = stream.connect("127.0.0.1", listener:port(), { from = "127.0.0.9" })

    local _, port = client:address()
    assert.equal(port, select(2, listener:accept(5):peer()))
    assert.equal("127.0.0.9", (chosen:address()))
    assert.equal("127.0.0.9", (listener:accept(5):peer()))
  end)

  it("speaks over unix sockets", function()
    local path = os.tmpname()
    os.remove(path)
    local listener = stream.listen(path)
    local client = stream.connect(path)

    client:write("local")
    assert.equal("local", listener:accept(5):read())
    listener:close()
    os.remove(path)
  end)

  it("refuses a port that is taken", function()
    local listener = stream.listen("127.0.0.1")

    assert.same({ "conflict", "EADDRINUSE" },
      { kind_of(stream.listen, "127.0.0.1", listener:port()) })
    listener:close()
  end)

  it("stops accepting after the timeout, and when the listener is closed", function()
    local listener = stream.listen("127.0.0.1")

    assert.equal("timeout", (kind_of(listener.accept, listener, 0.02)))
    local acceptor = fiber.spawn(function() return tycho.try(listener.accept, listener) end)
    listener:close()
    local _, err = acceptor:join()
    assert.equal("cancelled", err.kind)
  end)

  it("throws on a misspelt option", function()
    assert.error_matches(function()
      stream.connect("127.0.0.1", 1, { tmeout = 1 })
    end, "unknown option")
  end)
end)
