--- Child processes, for tests, tools and `tycho run`.
---
--- A child belongs to the script that started it: when nobody refers to it any more, or the script
--- ends, it is killed.

local core = require "tycho.core.process"
local core_stream = require "tycho.core.stream"
local fiber = require "tycho.fiber"
local options = require "tycho.options"
local check = require("tycho.errors").check

require "tycho.stream" -- gives the pipes their methods

local process = {}

---@class tycho.process.Process
---@field pid integer
---@field stdin? tycho.stream.Stream where it was asked to be a pipe
---@field stdout? tycho.stream.Stream
---@field stderr? tycho.stream.Stream
local Process = {}
Process.__index = Process

---@alias tycho.process.Stdio
---| "null" # /dev/null (default)
---| "inherit" # ours
---| "pipe" # a stream
---| string # the path of a file; output is appended to it

---@class tycho.process.Options
---@field args string[] the program, looked for in PATH, and its arguments
---@field env? table<string, string> the whole environment; ours by default
---@field cwd? string
---@field stdin? tycho.process.Stdio
---@field stdout? tycho.process.Stdio
---@field stderr? tycho.process.Stdio

local KNOWN = options.set { "args", "env", "cwd", "stdin", "stdout", "stderr" }

local SIGNALS = {
  HUP = 1, INT = 2, QUIT = 3, ABRT = 6, KILL = 9, USR1 = 10, SEGV = 11, USR2 = 12, PIPE = 13,
  ALRM = 14, TERM = 15, CONT = 18, STOP = 19,
}

local function environment(env)
  if not env then
    return nil
  end
  local list = {}
  for name, value in pairs(env) do
    list[#list + 1] = name .. "=" .. value
  end
  return list
end

local function pipe(fd)
  return fd >= 0 and check(core_stream.open(fd)) or nil
end

---Starts a program.
---
---```lua
---local child = process.spawn { args = { "sort" }, stdin = "pipe", stdout = "pipe" }
---child.stdin:write("b\na\n")
---child.stdin:close()
---local sorted = child.stdout:read_all()
---assert(child:wait().code == 0)
---```
---@param opts tycho.process.Options
---@return tycho.process.Process
---Raises `not_found` (no such program or folder), `forbidden`, `unavailable`.
function process.spawn(opts)
  opts = options.check(opts, KNOWN)
  local child, pid, stdin, stdout, stderr = check(core.spawn(opts.args, environment(opts.env),
    opts.cwd, opts.stdin or "null", opts.stdout or "null", opts.stderr or "null"))
  return setmetatable({
    child = child, pid = pid, stdin = pipe(stdin), stdout = pipe(stdout), stderr = pipe(stderr),
  }, Process)
end

---@class tycho.process.Exit
---@field code integer
---@field signal integer what killed it; 0 if it ended by itself

---Waits for the end; several fibers may.
---
---```lua
---local exit = child:wait(5)
---```
---@async
---@param timeout? number seconds
---@return tycho.process.Exit
---Raises `timeout`.
function Process:wait(timeout)
  local code, signal = check(core.wait(self.child, timeout))
  return { code = code, signal = signal }
end

---Sends a signal.
---
---```lua
---child:kill("TERM")
---```
---@param signal? string|integer "TERM" by default
---@return boolean sent false when it has ended already
function Process:kill(signal)
  local number = SIGNALS[signal or "TERM"] or signal
  if type(number) ~= "number" then
    error(("unknown signal %q"):format(tostring(signal)), 2)
  end
  return check(core.kill(self.child, number))
end

---Runs a program to its end and returns what it said.
---
---```lua
---local exit, out, err = process.run { args = { "git", "status" } }
---```
---@async
---@param opts tycho.process.Options `stdout` and `stderr` are pipes by default here
---@param timeout? number seconds; then it is killed
---@return tycho.process.Exit
---@return string stdout
---@return string stderr
---Raises `timeout`, and as `process.spawn`.
function process.run(opts, timeout)
  local all = { stdout = "pipe", stderr = "pipe" }
  for name, value in pairs(opts) do
    all[name] = value
  end
  local child = process.spawn(all)
  local function read(from)
    return function()
      return from and from:read_all() or ""
    end
  end

  local ok, results = pcall(fiber.timeout, timeout or 1e6, fiber.all, {
    function() return child:wait() end, read(child.stdout), read(child.stderr),
  })
  if not ok then
    child:kill("KILL")
    error(results, 0)
  end
  return unpack(results, 1, 3)
end

return process
