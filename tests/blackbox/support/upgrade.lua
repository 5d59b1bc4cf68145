--- A server to be upgraded, and programs that it may be upgraded to.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local fs = require "tycho.fs"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local upgrade = {}

upgrade.APP = [[
local app, fiber = require "tycho.app", require "tycho.fiber"
app.get("/", function() return { hello = "world" } end)
app.get("/slow/{ms}", function(req)
  fiber.sleep(tonumber(req.params.ms) / 1000)
  return { slept = req.params.ms }
end)
]]

---A server with that application and the process id in `tycho.pid`.
---@async
---@param opts? blackbox.StartOptions
---@return blackbox.Server
function upgrade.start(opts)
  opts = opts or {}
  opts.scripts = { ["app/main.lua"] = upgrade.APP }
  opts.config = opts.config or {}
  opts.config.host = opts.config.host or {}
  opts.config.host.pid_file = "tycho.pid"
  return server.start(opts)
end

---A request that takes 10 ms, for `load.start`.
function upgrade.slow_request(id)
  return "GET", "/slow/10?id=" .. id
end

---A shell script of that name in the server's folder.
---@async
---@param s blackbox.Server
---@param name string
---@param text string
---@return string path
function upgrade.program(s, name, text)
  local path = s.folder .. "/" .. name
  fs.write(path, "#!/bin/sh\n" .. text)
  process.run { args = { "chmod", "755", path } }
  return path
end

---The real program, after so many seconds.
---@async
---@param s blackbox.Server
---@param seconds number
---@return string path
function upgrade.late_program(s, seconds)
  local text = ("sleep %g\nexec %s \"$@\"\n"):format(seconds, server.program())
  return upgrade.program(s, "late", text)
end

---`tycho upgrade` beside the test; `:join()` has its code, output and errors in a list.
---@async
---@param s blackbox.Server
---@param ... string
function upgrade.begin(s, ...)
  local args = { ... }
  return fiber.spawn(function()
    return { s:cli("upgrade", unpack(args)) }
  end)
end

---`tycho upgrade`, and on with the new master.
---@async
---@param s blackbox.Server
---@return tycho.process.Exit of the old one
function upgrade.run(s)
  local code, out, err = s:cli "upgrade"
  if code ~= 0 then
    error(("upgrade refused (%d): %s%s"):format(code, out, err), 2)
  end
  return s:follow()
end

---Waits until a request is in flight.
---@async
---@param s blackbox.Server
function upgrade.until_running(s)
  clock.eventually(function()
    local workers = s:status().workers
    return workers[1].requests + workers[2].requests > 0
  end, 5, "a request in flight")
end

return upgrade
