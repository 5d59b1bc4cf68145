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

-- busted ends by os.exit(); here the runtime has still to be closed.
local ENDED = {}

local function run(runner)
  local code = 0
  local exit = os.exit
  function os.exit(status) -- luacheck: ignore 122
    code = status == false and 1 or tonumber(status) or 0
    error(ENDED, 0)
  end
  local ok, err = pcall(runner, { standalone = false })
  os.exit = exit -- luacheck: ignore 122
  if not ok and err ~= ENDED then
    error(err, 0)
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
return run(runner)
