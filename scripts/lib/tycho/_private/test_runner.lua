--- `tycho test`: busted in a fiber, so that specs call waiting functions as handlers do.
---
--- busted itself is unmodified, and found where the system keeps modules for Lua 5.1. Specs have
--- all of Lua; what they require of the application gets the application's environment.

local ARCHITECTURES = { x64 = "x86_64-linux-gnu", arm64 = "aarch64-linux-gnu" }

-- Where Debian and luarocks put modules, behind what is found already.
local function add_paths()
  local system = ARCHITECTURES[require("jit").arch] or ""
  package.path = package.path .. ";./?.lua;./?/init.lua"
    .. ";/usr/local/share/lua/5.1/?.lua;/usr/local/share/lua/5.1/?/init.lua"
    .. ";/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua"
  package.cpath = package.cpath .. ";/usr/local/lib/lua/5.1/?.so"
    .. ";/usr/lib/" .. system .. "/lua/5.1/?.so;/usr/lib/lua/5.1/?.so"
end

local function find_runner()
  local found, runner = pcall(require, "busted.runner")
  if found then
    return runner
  end
  local why = tostring(runner)
  if why:find("module 'busted.runner' not found", 1, true) then
    why = "busted is not installed: apt install lua-busted, or luarocks --lua-version 5.1 "
      .. "install busted"
  end
  io.stderr:write("tycho: ", why, "\n")
end

local function has_path(arguments)
  for _, argument in ipairs(arguments) do
    if argument:sub(1, 1) ~= "-" then
      return true
    end
  end
  return false
end

local function default_folder()
  local mode = require("lfs").attributes
  for _, folder in ipairs { "spec", "tests/lua" } do
    if mode(folder, "mode") == "directory" then
      return folder
    end
  end
end

-- What runs now, and what has to be told if it takes all the memory.
local Watch = {}
Watch.__index = Watch

local function mib(bytes)
  return ("%.0f MiB"):format(bytes / 1024 / 1024)
end

-- What a test has left behind goes at once if it is much: the next one may need the room.
function Watch:collect()
  if collectgarbage "count" * 1024 > self.much then
    collectgarbage()
  end
end

-- A file is over, and what it had with it, unless somebody holds on to it.
function Watch:look_back(file)
  self:collect()
  local kept = collectgarbage "count" * 1024
  if self.max > 0 and kept > self.max / 2 and kept > self.kept * 1.25 then
    io.stderr:write(("\ntycho: %s are kept after %s (lua.memory_max: %s)\n"):format(
      mib(kept), file, mib(self.max)))
  end
  self.kept = kept
end

-- First of all listeners, so that the others have the memory they need.
function Watch:listen(busted)
  local function on(channel, react)
    busted.subscribe(channel, function(element)
      react(element)
      return nil, true
    end)
  end
  on({ "file", "start" }, function(file) self.file, self.test = file.name, nil end)
  on({ "test", "start" }, function(test) self.test = test.name end)
  on({ "test", "end" }, function() self:collect() end)
  on({ "error" }, function() self:collect() end)
  on({ "failure" }, function() self:collect() end)
  on({ "file", "end" }, function(file)
    self:look_back(file.name)
    self.test = nil
  end)
end

-- busted makes its core itself, of this function.
function Watch:attach()
  local core = require "busted.core"
  package.loaded["busted.core"] = function()
    local busted = core()
    self:listen(busted)
    return busted
  end
end

-- `err` with what it ended.
function Watch:blame(err)
  if type(err) ~= "string" or not self.file then
    return err
  end
  return ("%s\nThe tests ended in %s%s; what follows was not run."):format(err, self.file,
    self.test and (" (%s)"):format(self.test) or "")
end

local function new_watch()
  local max = require("tycho.config").get "lua.memory_max"
  return setmetatable({ max = max, much = max > 0 and max / 8 or math.huge, kept = 0 }, Watch)
end

-- busted ends by os.exit(); here the runtime has still to be closed.
local ENDED = {}

local function run(runner, watch)
  local code = 0
  local exit = os.exit
  function os.exit(status) -- luacheck: ignore 122
    code = status == false and 1 or tonumber(status) or 0
    error(ENDED, 0)
  end
  local ok, err = pcall(runner, { standalone = false })
  os.exit = exit -- luacheck: ignore 122
  if not ok and err ~= ENDED then
    error(watch:blame(err), 0)
  end
  return code
end

add_paths()
local runner = find_runner()
if not runner then
  return 1
end

local arguments = { ... }
if not has_path(arguments) then
  local folder = default_folder()
  if not folder then
    io.stderr:write("tycho: no specs: there is neither spec/ nor tests/lua here\n")
    return 1
  end
  arguments[#arguments + 1] = folder
end
arguments[0] = "tycho test"
arg = arguments -- luacheck: ignore 121
local watch = new_watch()
watch:attach()
return run(runner, watch)
