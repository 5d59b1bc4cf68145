-- The control socket belongs to whoever may stop the server anyway, but a slip must not do it.

local bit = require "bit"
local chaos = require "tests.blackbox.support.chaos"
local json = require "tycho.json"
local server = require "tests.blackbox.support.server"
local stream = require "tycho.stream"

local ROUNDS = os.getenv "TYCHO_TEST_LONG" and 50000 or 3000
local COMMANDS = { "status", "ps", "routes", "rollback", "generations", "config", "reopen",
  "log_level", "lag", "trace", "profile", "", "fly" }
local MEMBERS = { "id", "force", "module", "level", "seconds", "route", "count", "token", "stack",
  "hz", "worker", "type" }

local function length(n)
  return string.char(bit.band(n, 255), bit.band(bit.rshift(n, 8), 255),
    bit.band(bit.rshift(n, 16), 255), bit.rshift(n, 24))
end

local function some_value()
  return chaos.pick { json.null, true, false, 0, -1, 1e300, 2 ^ 53, "", "x", ("y"):rep(5000), "\0",
    "\"\\\n", json.array {}, {}, { a = { { 1 } } }, "GET /", "debug", "http" }
end

local function some_command()
  local command = { command = chaos.pick(COMMANDS) }
  if chaos.integer(1, 20) == 1 then
    command.command = some_value()
  end
  for _ = 1, chaos.integer(0, 3) do
    command[chaos.pick(MEMBERS)] = some_value()
  end
  command.seconds = command.seconds ~= nil and 0.01 or nil -- nobody waits for a profile here
  return json.encode(command)
end

-- Bytes that are not what they should be.
local function damaged(text)
  local kind, at = chaos.integer(1, 6), chaos.integer(1, #text)
  if kind == 1 then
    text = text:sub(1, at)
  elseif kind == 2 then
    text = text:sub(1, at - 1) .. string.char(chaos.integer(0, 255)) .. text:sub(at + 1)
  elseif kind == 3 then
    return length(2 ^ 31 - 1) .. text
  elseif kind == 4 then
    return length(#text + 2 ^ 31) .. text -- a descriptor that does not come
  elseif kind == 5 then
    return text
  end
  return length(#text) .. text
end

local function say(path, bytes)
  local conn = stream.connect(path, nil, { timeout = 5 })

  pcall(conn.write, conn, bytes)
  if chaos.integer(0, 3) == 0 then
    conn:timeout(0.02)
    pcall(conn.read, conn, 4) -- the beginning of an answer, if there is one soon
  end
  conn:close()
end

describe("the control socket", function()
  after_each(server.clean_up)

  it("survives whatever is said to it, and the server goes on", function()
    local s = server.start { workers = 1 }
    local path, pid = s.folder .. "/.tycho/control.sock", s.pid

    for round = 1, ROUNDS do
      local text = some_command()
      say(path, chaos.integer(0, 1) == 1 and length(#text) .. text or damaged(text))
      if round % 500 == 0 then
        assert.equal(200, s:request("GET", "/").status)
      end
    end
    local status = s:status()
    assert.equal("serving", status.state)
    assert.equal(pid, status.pid)
    assert.equal(0, status.workers[1].restarts)
  end)
end)
