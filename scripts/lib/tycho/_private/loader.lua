--- Starts every Lua state: where modules come from, and what application code may touch.
---
--- Two kinds of code live in a state. The standard library runs with all of Lua. The application
--- runs in an environment of its own: the safe part of Lua's library, no way to the system but
--- through tycho modules, and no global variables (writing one is an error with the line).

local vm = require "tycho.core.vm"

local loader = {}

local about = vm.about()
local root = (about.root or "scripts"):gsub("/+$", ""):match("[^/]+$") or "scripts"

-- Where the standard library comes from: the program; in development a checkout's file wins.
local function library_file(name)
  local path = name:gsub("%.", "/")
  for _, file in ipairs { "lib/" .. path .. ".lua", "lib/" .. path .. "/init.lua" } do
    local text = about.development and vm.file(file) or vm.embedded(file)
    if text then
      return text, "@" .. file:sub(5)
    end
  end
end

local function search_library(name)
  if name ~= "tycho" and name:sub(1, 6) ~= "tycho." then
    return nil
  end
  local text, chunk = library_file(name)
  if not text then
    return "\n\tno module '" .. name .. "' in the standard library"
  end
  return assert(loadstring(text, chunk))
end

table.insert(package.loaders, 2, search_library)
math.randomseed(tonumber(tostring({}):match("0x(%x+)"), 16) + os.time() + os.clock() * 1e6)

local real = {
  require = require, load = load, getmetatable = getmetatable, setmetatable = setmetatable,
  error = error, type = type, rawget = rawget, coroutine = coroutine, debug = debug,
  getinfo = debug.getinfo,
}
local closed, uses = require "tycho._private.closed", require "tycho._private.uses"

require "tycho.coroutine"

-- The application's environment -----------------------------------------------------------

local SAFE = {
  "assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "select",
  "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall", "_VERSION",
}
local READ_ONLY = { "bit", "coroutine", "math", "os", "package", "string", "table" }
local SAFE_OS = { "clock", "date", "difftime", "time" }
local FORBIDDEN = {
  ["tycho.process"] = "io", ["tycho.fs"] = "io", ["tycho.stream"] = "io",
  ffi = "ffi", jit = "ffi", ["jit.util"] = "ffi", io = "io", debug = "debug",
}

local env = {}
local loaded = {}
local grants = {}

local function copy(from, names)
  local to = {}
  if names then
    for _, name in ipairs(names) do
      to[name] = from[name]
    end
  else
    for name, value in pairs(from) do
      to[name] = value
    end
  end
  return to
end

-- A chunk in the application's own environment may not write to it: what is there already would be
-- another for everybody from then on.
local function written_global(chunk)
  local found
  uses.globals(chunk, function(name, written)
    found = found or written and name
  end)
  return found
end

local function text_only_load(chunk, name, _, chunk_env)
  local mode = grants.bytecode and "bt" or "t"
  local fn, err = real.load(chunk, name, mode, chunk_env or env)
  local written = fn and not chunk_env and written_global(fn)
  if written then
    return nil, ("global variable '%s' may not be written: use local"):format(written)
  end
  return fn, err
end

local function print_to_log(...)
  local parts = {}
  for i = 1, select("#", ...) do
    parts[i] = tostring((select(i, ...)))
  end
  real.require("tycho.log").info(table.concat(parts, "\t"))
end

local function file_of(name)
  local path = name:gsub("%.", "/")
  for _, file in ipairs { path .. ".lua", path .. "/init.lua" } do
    local text = vm.file(file)
    if text then
      return text, file
    end
  end
end

local LOADING = {}

local PLACED = "^[^\n:]+:%d+: "

-- The innermost line of the application, as "file:line: ".
local function innermost_line()
  for level = 3, 64 do
    local info = real.getinfo(level, "Sl")
    if not info then
      break
    end
    if info.currentline > 0 and info.source:sub(1, #root + 2) == "@" .. root .. "/" then
      return ("%s:%d: "):format(info.short_src, info.currentline)
    end
  end
end

local raised = {} -- what a chunk raised that is no text, and where

-- Errors say where: a message without a place, or with a place in the library, gets the innermost
-- line of the application.
local function locate(err)
  local message = type(err) == "table" and not real.getmetatable(err) and "a table was raised"
    or tostring(err)
  local inside, words = message:match("^(tycho/[^\n:]+:%d+: )(.*)$")
  if not inside and message:find(PLACED) then
    return message
  end
  local place = err ~= nil and rawequal(raised.err, err) and raised.place or innermost_line()
  return (place or "") .. (words or message)
end

-- The stack is still there where a chunk fails, and no longer where that is reported.
local function locate_text(err)
  if type(err) == "string" then
    return locate(err)
  elseif err == nil then
    return (innermost_line() or "") .. "error() was given nil, which says nothing"
  end
  if not rawequal(raised.err, err) then
    raised.err, raised.place = err, innermost_line()
  end
  return err
end

local function require_application(name, text, file)
  local chunk, err = real.load(text, "@" .. root .. "/" .. file, "t", env)
  if not chunk then
    error(err, 0)
  end
  loaded[name] = LOADING
  local ok, result = xpcall(chunk, locate_text, name)
  if not ok then
    loaded[name] = nil
    error(result, 0)
  end
  if result == nil then
    result = true
  end
  loaded[name] = result
  return result
end

-- Raises, blaming the caller's caller, unless an application may have the module.
local function check_allowed(name)
  if type(name) ~= "string" then
    error("require wants the name of a module", 3)
  end
  if name:find("^tycho%.core%.") or name:find("^tycho%._private") then
    error(("module '%s' is private to the standard library"):format(name), 3)
  end
  local grant = FORBIDDEN[name]
  if grant and not grants[grant] then
    error(("module '%s' is not for applications; scripts.grants can allow '%s'")
      :format(name, grant), 3)
  end
  if name == "tycho" or name:find("^tycho%.") then
    if not library_file(name) then
      error(("module '%s' not found: the standard library has none of this name")
        :format(name), 3)
    end
    return true
  end
  return grant or name == "cjson" or name == "cjson.safe"
end

local sealed = {} -- what nobody may write to, not even with rawset

-- A view of a table that can only be read: what one request left in it, the next would find.
local function view(of, name)
  local proxy = {}
  real.setmetatable(proxy, {
    __index = of,
    __newindex = function(_, key)
      error(("%s.%s may not be written: use local"):format(name, tostring(key)), 2)
    end,
    __metatable = "a table that can only be read",
  })
  sealed[proxy] = name
  return proxy
end

local function sandbox_require(name)
  local result = loaded[name]
  if result == LOADING then
    error(("module '%s' requires itself"):format(name), 2)
  elseif result ~= nil then
    return result
  end
  if check_allowed(name) then
    result = real.require(name)
    if type(result) == "table" and not FORBIDDEN[name] then
      result = view(result, name)
    end
    loaded[name] = result
    return result
  end
  local text, file = file_of(name)
  if not text then
    local path = name:gsub("%.", "/")
    error(("module '%s' not found: there is no %s/%s.lua"):format(name, root, path), 2)
  end
  return require_application(name, text, file)
end

local function guarded_rawset(t, key, value)
  if sealed[t] then
    error(("%s.%s may not be written: use local"):format(sealed[t], tostring(key)), 2)
  end
  return rawset(t, key, value)
end

-- Metatables of the library's objects, and that of all strings, are shared by all requests: an
-- application sees those that it has set.
local function own_metatables()
  local own = real.setmetatable({}, { __mode = "k" })

  local function set(t, meta)
    if meta and not own[meta] then
      own[meta] = true
    end
    return real.setmetatable(t, meta)
  end

  local function get(value)
    local meta = real.getmetatable(value)
    if type(meta) ~= "table" or own[meta] then
      return meta
    end
    return type(value) ~= "string" and "a metatable of the library" or nil
  end

  return set, get
end

local function fill_environment()
  for _, name in ipairs(vm.grants()) do
    grants[name] = true
  end
  for _, name in ipairs(SAFE) do
    env[name] = _G[name]
  end
  env._G = view(env, "_G")
  env.bit = copy(bit)
  env.coroutine = copy(coroutine)
  env.math = copy(math)
  env.os = copy(os, SAFE_OS)
  env.string = copy(string)
  env.string.dump = grants.bytecode and string.dump or nil
  env.table = copy(table)
  env.rawset = guarded_rawset
  env.load = text_only_load
  env.loadstring = text_only_load
  env.print = print_to_log
  env.require = sandbox_require
  env.package = { loaded = view(loaded, "package.loaded") }
  env.setmetatable, env.getmetatable = own_metatables()
  function env.collectgarbage(what)
    if what ~= "count" then
      error('collectgarbage: only "count" is for applications', 2)
    end
    return collectgarbage("count")
  end
  if grants["os.execute"] then
    env.os.execute, env.os.getenv = os.execute, os.getenv
  end
  if grants.io then
    env.io = io
    env.os.remove, env.os.rename, env.os.tmpname = os.remove, os.rename, os.tmpname
  end
  env.debug = grants.debug and debug or nil
  closed.fill(env)
  -- ("").name finds the same functions, and what tests add to string.
  real.getmetatable("").__index = real.setmetatable(copy(env.string), { __index = string })
  for _, name in ipairs(READ_ONLY) do
    env[name] = view(env[name], name)
  end
  real.setmetatable(env, {
    __newindex = function(_, name)
      error(("global variable '%s' may not be written: use local"):format(tostring(name)), 2)
    end,
    __index = function(_, name)
      error(closed.global(name), 2)
    end,
    __metatable = "the application's environment",
  })
end

fill_environment()

-- Loading a bundle ------------------------------------------------------------------------

local function check_globals(chunk, file, faults)
  uses.globals(chunk, function(name, written, line)
    local wrong = written and ("global variable '%s' may not be written: use local"):format(name)
      or rawget(env, name) == nil and closed.global(name)
    if wrong then
      faults[#faults + 1] = ("%s/%s:%d: %s"):format(root, file, line, wrong)
    end
  end)
end

local function application_files()
  local files = {}
  for _, folder in ipairs { "app/", "tasks/" } do
    for _, file in ipairs(vm.files(folder)) do
      if file:find("%.lua$") and not file:find("_spec%.lua$") then
        files[#files + 1] = file
      end
    end
  end
  return files
end

local function module_name(file)
  return (file:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

---Loads every file of app/ and tasks/; returns nil, or the faults, one a line.
---@return string? faults
function loader.load_all()
  local faults = {}
  local files = application_files()

  if #files == 0 then
    return root .. "/app: there are no Lua files to load"
  end
  for _, file in ipairs(files) do
    local chunk, err = real.load(vm.file(file), "@" .. root .. "/" .. file, "t", env)
    if chunk then
      check_globals(chunk, file, faults)
    else
      faults[#faults + 1] = err
    end
  end
  if #faults > 0 then
    return table.concat(faults, "\n")
  end
  for _, file in ipairs(files) do
    local ok, err = xpcall(sandbox_require, locate, module_name(file))
    if not ok then
      return err:find(PLACED) and err or ("%s/%s: %s"):format(root, file, err)
    end
  end
  real.require("tycho.app").seal()
end

---What runs in a fiber once everything is loaded, and may wait: the application's own checks; and
---where the master tries a generation out, before anybody else does, migrations before them, and
---whether the database has what models speak of.
---@return string? faults
function loader.check()
  local is_trial = about.role == "trial"
  if is_trial then
    real.require("tycho.migrate").run_on_start()
  end
  local faults = real.require("tycho._private.checks").run()
  if not faults and is_trial and package.loaded["tycho.model"] then
    faults = real.require("tycho._private.schema_sync.present").check()
  end
  return faults
end

---The application's environment: for `tycho test` and `tycho repl`.
---@return table env
function loader.environment()
  return env
end

---Requires a module of the application as the application would.
---@param name string
---@return any module
function loader.require(name)
  return sandbox_require(name)
end

---Compiles a privileged script (`tycho run`): all of Lua, and the application's modules.
---@param text string
---@param name string shown in messages
---@return function? chunk
---@return string? err
function loader.compile_privileged(text, name)
  if text:sub(1, 2) == "#!" then
    text = "--" .. text
  end
  return loadstring(text, "@" .. name)
end

-- Privileged code finds the application's modules too, in their own environment.
table.insert(package.loaders, function(name)
  local text, file = file_of(name)
  if not text or file:find("^lib/") then
    return nil
  end
  return function()
    return sandbox_require(name)
  end
end)

package.loaded["tycho._private.loader"] = loader
return loader
