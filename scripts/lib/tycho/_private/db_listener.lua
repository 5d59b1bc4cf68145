--- Who listens to a channel of PostgreSQL.

local blame = require "tycho._private.blame"
local core = require "tycho.core.db"
local errors = require "tycho.errors"
local fibers = require "tycho.core.fiber"

local check = errors.check

---@class tycho.db.Notification
---@field payload? string what was sent with it
---@field sender? integer the server's process of whoever sent it
---@field lost? true notifications were missed here: the connection was gone for a while, or nobody
---took them in time (1,024 wait at most). Look at the tables themselves

---@class tycho.db.Listener
---@field channel string
local Listener = {}
Listener.__index = Listener

---Waits for the next notification.
---
---```lua
---local note = listener:next(30)
---```
---@async
---@param timeout? number seconds, 0: without waiting; for ever by default
---@return tycho.db.Notification? note nil when the time is up
function Listener:next(timeout)
  if timeout ~= nil and not (type(timeout) == "number" and timeout >= 0) then
    blame("how long it waits is a number of seconds, not %s", tostring(timeout))
  end
  local note, err = core.hear(self.ear, timeout)
  if err and timeout and errors.is(err, "timeout") and fibers.remaining() ~= 0 then
    return nil
  end
  return check(note, err)
end

---Ends it. It ends by itself with the request that began it.
---
---```lua
---listener:close()
---```
function Listener:close()
  core.deafen(self.ear)
end

---@async
---@param name string of the database
---@param channel string
---@return tycho.db.Listener
return function(name, channel)
  local ear = check(core.listen(name, channel))
  local hears, err = core.listening(ear)
  if not hears then
    core.deafen(ear) -- or it would listen until the collector finds it
    error(err, 0)
  end
  return setmetatable({ channel = channel, ear = ear }, Listener)
end
