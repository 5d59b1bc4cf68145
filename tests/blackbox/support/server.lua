--- The program under test, as a process: started in a folder of its own, asked from outside,
--- stopped, and its folder removed.

local chaos = require "tests.blackbox.support.chaos"
local clock = require "tests.blackbox.support.clock"
local ffi = require "ffi"
local fs = require "tycho.fs"
local http = require "tests.blackbox.support.http"
local json = require "tycho.json"
local metrics = require "tests.blackbox.support.metrics"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local said = require "tests.blackbox.support.said"
local stream = require "tycho.stream"
local to_yaml = require "tests.blackbox.support.yaml"

local server = {}

ffi.cdef "int getpid(void);"

---@class blackbox.StartOptions
---@field scripts? table<string, string> text by path below scripts/: `["app/main.lua"] = "..."`
---@field config? table conf/tycho.yaml: `{ http = { body_max = "1KiB" } }`
---@field files? table<string, string> further files by path in the folder
---@field env? table<string, string> beside a small fixed environment
---@field args? string[] of the program, behind the command
---@field command? "serve"|"dev" serve by default
---@field workers? integer 2 by default
---@field timeout? number seconds until it must be ready; 15 by default
---@field wait? boolean false: return as soon as it has been started
---@field prefix? string[] words before the program: `limits.prefix`, a network's `prefix`
---@field address? string where it is reached, if not at 127.0.0.1: a network's `address`
---@field expects? "crash" a process of it dies of a signal, because the test wants that

---@class blackbox.Server
---@field folder string
---@field port integer
---@field admin_port integer
---@field pid integer of the master
---@field address? string where it is reached, if not at 127.0.0.1
---@field process tycho.process.Process
local Server = {}
Server.__index = Server

local APP = [[
local app = require "tycho.app"
app.get("/", function() return { hello = "world" } end)
]]

local live = {}
local root = os.getenv "PWD"

---The checkout that the tests run in.
server.root = root

---The program under test.
---@return string path
function server.program()
  local path = os.getenv "TYCHO_UNDER_TEST" or "build/tycho"
  return path:sub(1, 1) == "/" and path or root .. "/" .. path
end

local instrumented

---Was the program built with a sanitizer? Then its speed and memory say nothing.
---@async
---@return boolean
function server.is_instrumented()
  if instrumented == nil then
    local text = fs.read(server.program())
    instrumented = text:find("__asan_init", 1, true) ~= nil
      or text:find("__tsan_init", 1, true) ~= nil
  end
  return instrumented
end

-- Below the range from which the kernel gives ports to clients, so that none takes it meanwhile;
-- other tests, which may run beside these, have another process id.
local FIRST, LAST = 20000, 32000
local next_port = FIRST + ffi.C.getpid() * 211 % (LAST - FIRST)

---A port that nobody listens on.
---@return integer
function server.free_port()
  while true do
    next_port = next_port >= LAST and FIRST or next_port + 1
    local ok, listener = pcall(stream.listen, "127.0.0.1", next_port)
    if ok then
      listener:close()
      return next_port
    end
  end
end

local function merged(base, over)
  for key, value in pairs(over or {}) do
    local nested = type(value) == "table" and type(base[key]) == "table" and value[1] == nil
    base[key] = nested and merged(base[key], value) or value
  end
  return base
end

-- Nothing is shed unless a test asks for it: other work on the machine makes loops late, too.
-- What a sanitizer holds back is no reason to replace a worker.
local function configuration(self, opts)
  local host = { worker_memory_max = server.is_instrumented() and "64GiB" or nil }
  return merged({
    host = next(host) and host or nil,
    workers = opts.workers or 2,
    http = { port = self.port, host = opts.address, shed_lag = "0s" },
    admin = { port = self.admin_port, host = opts.address },
    log = { path = self.folder .. "/tycho.log", format = "json" },
    password = { cost = 4 },
  }, opts.config)
end

-- What sanitizers say goes to files in the server's folder, where clean_up looks. They need not be
-- the first library: a test may preload another.
local function environment(self)
  local env = { PATH = os.getenv "PATH", HOME = "/nonexistent", LANG = "C.UTF-8" }
  for _, name in ipairs { "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS" } do
    local options = os.getenv(name)
    env[name] = options and ("%s:log_path=%s/sanitizer:verify_asan_link_order=0"):format(
      options, self.folder)
  end
  return merged(env, self.opts.env)
end

local function write_all(folder, files)
  for path, text in pairs(files or {}) do
    local full = folder .. "/" .. path
    fs.mkdir((full:match("^(.*)/")))
    fs.write(full, text)
  end
end

local function temporary_folder()
  local folder = os.tmpname()
  os.remove(folder)
  folder = folder:gsub("/lua_", "/tycho-test-")
  fs.mkdir(folder)
  return folder
end

---Makes the folder with scripts and configuration, and starts nothing: for `:cli` and for starts
---that are to fail.
---@async
---@param opts? blackbox.StartOptions
---@return blackbox.Server
function server.prepare(opts)
  opts = opts or {}
  local self = setmetatable({
    folder = temporary_folder(), port = server.free_port(), admin_port = server.free_port(),
    opts = opts, address = opts.address,
  }, Server)
  live[#live + 1] = self
  for path, text in pairs(opts.scripts or { ["app/main.lua"] = APP }) do
    self:write(path, text)
  end
  fs.mkdir(self.folder .. "/conf")
  fs.write(self.folder .. "/conf/tycho.yaml", to_yaml(configuration(self, opts), "") .. "\n")
  write_all(self.folder, opts.files)
  return self
end

---Starts the program and waits until it is ready.
---
---```lua
---local s = server.start { scripts = { ["app/main.lua"] = text }, workers = 1 }
---assert.equal(200, s:request("GET", "/").status)
---```
---@async
---@param opts? blackbox.StartOptions
---@return blackbox.Server
function server.start(opts)
  local self = server.prepare(opts)
  self:launch()
  if self.opts.wait ~= false then
    self:wait_ready()
  end
  return self
end

---Starts the program (again) in its folder, without waiting.
---@async
function Server:launch()
  -- If the tests die, the kernel takes the program along.
  local args = { "setpriv", "--pdeathsig", "KILL", "--" }
  for _, words in ipairs {
    self.opts.prefix or {}, { server.program(), self.opts.command or "serve" },
    self.opts.args or {},
  } do
    for _, word in ipairs(words) do
      args[#args + 1] = word
    end
  end
  self.process = process.spawn {
    args = args, cwd = self.folder, env = environment(self),
    stdout = self.folder .. "/stdout", stderr = self.folder .. "/stderr",
  }
  self.pid = self.process.pid
  self.stopped = false
end

---Waits until all workers serve and /readyz says so.
---@async
---@param timeout? number seconds
function Server:wait_ready(timeout)
  local limit = clock.now() + (timeout or self.opts.timeout or 15)
  local function is_ready()
    return self:request("GET", "/readyz").status == 200
      and self:status().state == "serving"
  end
  clock.eventually(function()
    return not proc.is_alive(self.pid) or clock.now() > limit or is_ready()
  end, 3600)
  if not proc.is_alive(self.pid) then
    error("the server ended at the start:\n" .. self:output(), 3)
  elseif clock.now() > limit then
    error("the server does not get ready:\n" .. self:output(), 3)
  end
end

---Writes one of the application's files; `reload` makes it live.
---@async
---@param path string below scripts/
---@param text string
function Server:write(path, text)
  write_all(self.folder .. "/scripts", { [path] = text })
end

-- Options of `http` for a server that is not at 127.0.0.1.
local function at(self, opts)
  return self.address and merged({ address = self.address }, opts) or opts
end

---A connection to the server.
---@async
---@param opts? table see `http.connect`
---@return blackbox.Connection
function Server:connect(opts)
  return http.connect(self.port, at(self, opts))
end

---One request on a connection of its own.
---@async
---@param method string
---@param target string
---@param opts? table see `http.format`
---@return blackbox.Response
function Server:request(method, target, opts)
  return http.request(self.port, method, target, at(self, opts))
end

---Runs the program's command line in the server's folder.
---
---```lua
---local code, out, err = s:cli("status", "--json")
---```
---@async
---@param ... string
---@return integer code
---@return string out
---@return string err
function Server:cli(...)
  local exit, out, err = process.run({
    args = { server.program(), ... }, cwd = self.folder, env = environment(self),
  }, 60)
  if exit.signal ~= 0 then
    error(("tycho %s was killed by signal %d:\n%s"):format((...), exit.signal, err), 2)
  end
  return exit.code, out, err
end

---`tycho reload`; raises when it is refused.
---@async
---@return string out
function Server:reload()
  local code, out, err = self:cli "reload"
  if code ~= 0 then
    error(("reload refused (%d): %s%s"):format(code, out, err), 2)
  end
  return out
end

---`tycho status --json`, decoded.
---@async
---@return table
function Server:status()
  local code, out, err = self:cli("status", "--json")
  if code ~= 0 then
    error(("status failed (%d): %s"):format(code, err), 2)
  end
  return json.decode(out)
end

---The web workers' process ids. A process that tries scripts, or one that is just being started, is
---none.
---@async
---@return integer[]
function Server:workers()
  local pids = {}
  for _, pid in ipairs(proc.children(self.pid)) do
    pids[#pids + 1] = proc.command(pid):find("web worker", 1, true) and pid or nil
  end
  return pids
end

---All metrics of this moment.
---@async
---@return blackbox.Metrics
function Server:metrics()
  local res = http.request(self.admin_port, "GET", "/metrics", at(self))
  if res.status ~= 200 then
    error(("/metrics: %d"):format(res.status), 2)
  end
  return metrics.parse(res.body)
end

local function read_if_there(path)
  return fs.exists(path) and fs.read(path) or ""
end

---The log so far.
---@async
---@return string
function Server:log()
  return read_if_there(self.folder .. "/tycho.log")
end

---Waits until the log says so. A record may come a moment after the answer that it is about: a
---thread of its own writes it.
---@async
---@param pattern string
---@param timeout? number seconds; 5 by default
function Server:wait_log(pattern, timeout)
  clock.eventually(function() return self:log():find(pattern) end, timeout, pattern)
end

---The log's records, decoded; each line must be one JSON object, or empty.
---@async
---@return table[]
function Server:records()
  local records = {}
  for line in self:log():gmatch "%s*([^\n]+)" do
    local ok, record = pcall(json.decode, line)
    if not ok or type(record) ~= "table" then
      error(("not one JSON object: %q"):format(line), 2)
    end
    records[#records + 1] = record
  end
  return records
end

---All it has said: standard output, standard error, log.
---@async
---@return string
function Server:output()
  return read_if_there(self.folder .. "/stdout") .. read_if_there(self.folder .. "/stderr")
    .. self:log()
end

---Sends a signal to the master.
---@param signal string "HUP", "TERM", ...
function Server:signal(signal)
  self.process:kill(signal)
end

---Asks it to end (SIGTERM) and waits; kills it when it does not.
---@async
---@param timeout? number seconds; 10 by default
---@return tycho.process.Exit
function Server:stop(timeout)
  self.stopped = true
  self.process:kill "TERM"
  local ok, exit = pcall(self.process.wait, self.process, timeout or 10)
  if not ok then
    self:kill()
    error("the server does not stop:\n" .. said.last_words(self.folder, 100), 2)
  end
  return exit
end

-- A process that is not our child: its exit code is nobody's to know.
local Stranger = {}
Stranger.__index = Stranger

function Stranger:kill(signal)
  chaos.signal(self.pid, signal)
end

function Stranger:wait(timeout)
  clock.eventually(function() return not proc.is_alive(self.pid) end, timeout or 10, "its end")
  return { signal = 0 }
end

---After an upgrade: waits until the master that was started has ended, and looks after the one that
---serves instead.
---
---```lua
---assert.equal(0, s:cli "upgrade")
---assert.equal(0, s:follow().code)
---```
---@async
---@param timeout? number seconds until the old one must have ended; 10 by default
---@return tycho.process.Exit of the old master; without a code if that was followed already
function Server:follow(timeout)
  local exit = self.process:wait(timeout or 10)
  local pid = clock.eventually(function() return self:status().pid end, 5, "a new master")
  self.process = setmetatable({ pid = pid }, Stranger)
  self.pid = pid
  return exit
end

---Kills the master and everything below it at once, as a power cut would.
---@async
function Server:kill()
  self.stopped = true
  local pids = proc.tree(self.pid)
  self.process:kill "KILL"
  for i = 2, #pids do
    process.run { args = { "kill", "-9", tostring(pids[i]) } }
  end
  self.process:wait(10)
end

-- A program with sanitizers has a last word about leaks, if it may end by itself.
local function finish(self)
  if not server.is_instrumented() then
    return self:kill()
  end
  self.stopped = true
  self:signal "TERM"
  if not pcall(self.process.wait, self.process, 3) then
    self:signal "TERM" -- now at once
  end
  if not pcall(self.process.wait, self.process, 20) then
    self:kill()
  end
end

---Stops what still runs and removes all folders: `after_each(server.clean_up)`. A server that ended
---by itself is an error; so are a crash, a handle left open, and what a sanitizer reports.
---@async
function server.clean_up()
  local servers, died = live, nil
  live = {}
  for _, self in ipairs(servers) do
    if self.process and not self.stopped then
      if not proc.is_alive(self.pid) then
        died = "the server ended by itself:\n" .. said.last_words(self.folder, 100)
      else
        finish(self)
      end
    end
    died = said.complaint(self.folder, self.opts.expects) or died
    for _, pid in ipairs(proc.in_folder(self.folder)) do
      chaos.kill(pid) -- a master that a failed test did not follow
    end
    fs.remove(self.folder, { recursive = true })
  end
  if died then
    error(died, 0)
  end
end

-- What the servers of a failed test have said helps to see why. Nothing may go wrong here: busted
-- takes an error of a listener for its own, and ends.
local function show_last_words()
  for _, self in ipairs(live) do
    local ok, words = pcall(function()
      local report = said.sanitizer_report(self.folder)
      return (report and report:sub(1, 8000) .. "\n" or "") .. said.last_words(self.folder, 8)
    end)
    io.stderr:write(("\n---- the server in %s said at the end:\n%s\n----\n"):format(
      self.folder, ok and words or "(" .. tostring(words) .. ")"))
  end
  return nil, true
end

local has_busted, busted = pcall(require, "busted")
if has_busted and busted.subscribe then -- under `tycho run` there is nobody to listen to
  busted.subscribe({ "failure" }, show_last_words)
  busted.subscribe({ "error" }, show_last_words)
end

return server
