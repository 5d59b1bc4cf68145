--- A real database server as a process, in a folder of its own: what PostgreSQL, MariaDB and
--- PgBouncer have in common. tests/support/database.sh knows how each of them is started.

local clock = require "tests.blackbox.support.clock"
local ffi = require "ffi"
local fs = require "tycho.fs"
local options = require "tycho.options"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

ffi.cdef "unsigned getuid(void); int getpid(void);"

local database = {}

---@class blackbox.DatabaseOptions
---@field settings? table<string, string|number> the server's own, as in its configuration file
---@field password? string of the user; nobody is asked for one by default
---@field tls? "on"|"only" with a certificate for localhost: the handle's `certificate`
---@field timeout? number seconds until it must be ready; 30 by default

database.OPTIONS = options.set { "settings", "password", "tls", "timeout" }

---@class blackbox.Database
---@field kind "postgres"|"mariadb"|"pgbouncer"
---@field folder string
---@field port integer at 127.0.0.1
---@field user string who may do everything
---@field password? string
---@field certificate? string the path of what it shows, and of what has signed that
---@field pid integer
---@field process tycho.process.Process
local Database = {}
Database.__index = Database
database.Database = Database

local SCRIPT = server.root .. "/tests/support/database.sh"
local READY = { "ready to accept", "ready for connections", "process up" }
local ATTEMPTS = 3 -- another may take the port between our look and the server's

-- busted loads modules anew for each file of specs; what is shared outlives that.
local registry = debug.getregistry()
local kept = registry["tests.blackbox.support.database"] or { shared = {}, count = 0 }
registry["tests.blackbox.support.database"] = kept

local live = {}

local BASE = ("/tmp/tycho-servers-%d"):format(ffi.C.getuid())
local OURS = ("%d."):format(ffi.C.getpid())

local function next_folder()
  kept.count = kept.count + 1
  return ("%s/%s%d"):format(BASE, OURS, kept.count)
end

---Why such a server cannot be started here; nil if it can.
---
---```lua
---local why = database.missing "mariadb"
---if why then
---  return pending(why)
---end
---```
---@async
---@param kind string
---@return string? why
function database.missing(kind)
  local ok = kind == "postgres" and fs.exists "/usr/lib/postgresql"
    or kind ~= "postgres" and fs.exists(kind == "mariadb" and "/usr/sbin/mariadbd"
      or "/usr/sbin/pgbouncer")
  return not ok and kind .. " is not installed: tools/setup.sh test" or nil
end

---Starts a server and waits until it is ready.
---@async
---@param kind "postgres"|"mariadb"|"pgbouncer"
---@param class table its methods
---@param opts? blackbox.DatabaseOptions
---@param words? string[] further arguments of the script
---@return blackbox.Database
function database.start(kind, class, opts, words)
  opts = options.check(opts, database.OPTIONS)
  local self = setmetatable({
    kind = kind, folder = next_folder(), user = "tycho", opts = opts, password = opts.password,
    words = words or {},
  }, class)
  self.certificate = opts.tls and self.folder .. "/server.crt" or nil
  live[self] = true
  for attempt = 1, ATTEMPTS do
    self.port = server.free_port()
    self:launch()
    local ok, err = pcall(self.wait_ready, self)
    if ok then
      break
    elseif attempt == ATTEMPTS or not self:log():find "[Aa]ddress already in use" then
      self:remove()
      error(err, 2)
    end
  end
  return self
end

---The server of this run that whoever asks gets; it is started by the first.
---@async
---@param kind string
---@param start fun(): blackbox.Database
---@return blackbox.Database
function database.shared(kind, start)
  local self = kept.shared[kind]
  if not self or not proc.is_alive(self.pid) then
    self = start()
    kept.shared[kind] = self
    live[self] = nil -- it outlives the test
  end
  return self
end

---Starts the server (again) in its folder, with what it has there, without waiting.
---@async
function Database:launch()
  -- If the tests die, the kernel takes the server along, as the script does from then on.
  local args = { "setpriv", "--pdeathsig", "KILL", "--", SCRIPT, self.kind, self.folder,
    tostring(self.port) }
  for _, word in ipairs(self.words) do
    args[#args + 1] = word
  end
  for _, name in ipairs { "password", "tls" } do
    args[#args + 1] = self.opts[name] and name .. "=" .. self.opts[name]
  end
  for name, value in pairs(self.opts.settings or {}) do
    args[#args + 1] = ("%s=%s"):format(name, value)
  end
  fs.mkdir(BASE)
  self.process = process.spawn { args = args, stderr = self.folder .. ".start" }
  self.pid = self.process.pid
end

local function read_if_there(path)
  return fs.exists(path) and fs.read(path) or ""
end

---The log since the last start.
---@async
---@return string
function Database:log()
  return read_if_there(self.folder .. ".start")
    .. read_if_there(("%s/log.%d"):format(self.folder, self.pid))
end

local function is_ready(self)
  local log = self:log()
  for _, words in ipairs(READY) do
    if log:find(words, 1, true) then
      return true
    end
  end
  return false
end

---Is the process there?
---@async
---@return boolean
function Database:is_alive()
  return proc.is_alive(self.pid)
end

---Waits until it answers.
---@async
function Database:wait_ready()
  local limit = clock.now() + (self.opts.timeout or 30)
  clock.eventually(function()
    return is_ready(self) or not self:is_alive() or clock.now() > limit
  end, 3600)
  if not self:is_alive() then
    error(self.kind .. " ended at the start:\n" .. self:log(), 3)
  elseif clock.now() > limit then
    error(self.kind .. " does not get ready:\n" .. self:log(), 3)
  end
end

---Sends a signal to the server's first process; `chaos` has more for each of `:pids()`.
---@param signal string "HUP", "TERM", ...
function Database:signal(signal)
  self.process:kill(signal)
end

---Its processes, the first one first.
---@async
---@return integer[]
function Database:pids()
  return proc.tree(self.pid)
end

---Asks it to end, without waiting for its clients, and waits.
---@async
---@param timeout? number seconds; 20 by default
function Database:stop(timeout)
  self.process:kill(self.kind == "postgres" and "INT" or "TERM")
  if not pcall(self.process.wait, self.process, timeout or 20) then
    self:kill()
    error(self.kind .. " does not stop:\n" .. self:log(), 2)
  end
end

---Kills all its processes at once, as the kernel does when there is no memory left.
---@async
function Database:kill()
  local pids = self:pids()
  local args = { "kill", "-9" }
  for _, pid in ipairs(pids) do
    args[#args + 1] = tostring(pid)
  end
  process.run { args = args }
  self.process:wait(10)
  clock.eventually(function()
    for _, pid in ipairs(pids) do
      if proc.is_alive(pid) then
        return false
      end
    end
    return true
  end, 10, "the end of all its processes")
end

---Starts it again after its end, with its data and at its port, and waits until it is ready.
---@async
function Database:start()
  self:launch()
  self:wait_ready()
end

---Stops it and starts it again.
---@async
function Database:restart()
  self:stop()
  self:start()
end

---Kills it and starts it again: it has to recover.
---@async
function Database:crash()
  self:kill()
  self:start()
end

-- Runs a client's program, which takes the statements as its last argument.
---@async
function Database.ask(args, env)
  local exit, out, err = process.run({ args = args, env = env }, 60)
  if exit.code ~= 0 or exit.signal ~= 0 then
    error(("%s: %s"):format(args[#args], err), 3)
  end
  return (out:gsub("\n$", ""))
end

---Creates an empty database.
---@async
---@param name? string a new one by default
---@return string name
function Database:create(name)
  kept.count = kept.count + 1
  name = name or ("test_%d"):format(kept.count)
  self:sql("create database " .. name)
  return name
end

---@class blackbox.UrlOptions
---@field port? integer of a proxy
---@field query? string what follows the question mark: "sslmode=require"
---@field user? string
---@field password? string the server's is not in it by itself

---Where it is, for a configuration's `databases.NAME.url`.
---
---```lua
---config = { databases = { default = { url = pg:url(pg:create()) } } }
---```
---@param name? string of a database; the one that is always there by default
---@param opts? blackbox.UrlOptions
---@return string
function Database:url(name, opts)
  opts = opts or {}
  return ("%s://%s%s@127.0.0.1:%d/%s%s"):format(self.scheme, opts.user or self.user,
    opts.password and ":" .. opts.password or "", opts.port or self.port, name or self.default,
    opts.query and "?" .. opts.query or "")
end

---Ends it at once and removes what it had.
---@async
function Database:remove()
  live[self] = nil
  process.run { args = { SCRIPT, "remove", self.folder } }
  if self.process then
    pcall(self.process.wait, self.process, 10)
  end
  fs.remove(self.folder .. ".start", { recursive = true })
end

---Removes all servers but those that are shared: `after_each(database.clean_up)`.
---@async
function database.clean_up()
  for self in pairs(live) do
    self:remove()
  end
end

-- The last one switches off the light, for those who did not clean up, too. If the tests die before
-- that, the next start of a server does.
local function remove_all()
  for _, name in ipairs(fs.exists(BASE) and fs.list(BASE) or {}) do
    if name:sub(1, #OURS) == OURS then
      process.run { args = { SCRIPT, "remove", BASE .. "/" .. name } }
    end
  end
end

local has_busted, busted = pcall(require, "busted")
if has_busted and busted.subscribe and not kept.subscribed then
  kept.subscribed = true
  busted.subscribe({ "suite", "end" }, function()
    pcall(remove_all) -- busted takes an error of a listener for its own
    return nil, true
  end)
end

return database
