--- `tycho repl`: reads a line, runs it, prints what it returns, and again.
---
--- Lines are read without stopping the loop, so what was started in one goes on while the next is
--- typed. Globals stay from line to line, and `_` is the last result. Modules of Tycho and of the
--- application can be required.

local fiber = require "tycho.fiber"
local process = require "tycho.process"
local tycho = require "tycho"
local vm = require "tycho.core.vm"

local DEPTH_MAX, ITEMS_MAX, LINE_MAX = 4, 100, 1024 * 1024

local kept = setmetatable({}, { __index = _G })
kept._G = kept

local show

local function show_key(key)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") then
    return key
  end
  return "[" .. show(key, 1) .. "]"
end

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "string" or type(a) == "number") then
      return a < b
    end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local function show_table(value, depth)
  local parts, count = {}, #value
  for i = 1, math.min(count, ITEMS_MAX) do
    parts[i] = show(value[i], depth - 1)
  end
  for _, key in ipairs(sorted_keys(value)) do
    local is_item = type(key) == "number" and key >= 1 and key <= count and key % 1 == 0
    if not is_item and #parts <= ITEMS_MAX then
      parts[#parts + 1] = show_key(key) .. " = " .. show(value[key], depth - 1)
    end
  end
  if #parts > ITEMS_MAX or count > ITEMS_MAX then
    parts[#parts + 1] = "..."
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

function show(value, depth)
  if type(value) == "string" then
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local meta = getmetatable(value)
  if type(meta) == "table" and meta.__tostring or depth == 0 then
    return tostring(value)
  end
  return show_table(value, depth)
end

-- The chunk, or nil and why, and whether more lines may complete it.
local function compile(text)
  local chunk = loadstring("return " .. text, "=repl")
  local err
  if not chunk then
    chunk, err = loadstring(text, "=repl")
  end
  if chunk then
    return setfenv(chunk, kept)
  end
  return nil, err, err:find("near '<eof>'", 1, true) ~= nil
end

local function finish(ok, ...)
  if not ok then
    io.stderr:write(tostring((...)), "\n")
    return
  end
  kept._ = (...)
  for i = 1, select("#", ...) do
    io.write(show((select(i, ...)), DEPTH_MAX), "\n")
  end
end

-- With the lines of the caller's code, and none of ours below or of Lua's own above it.
local function explain(err)
  if type(err) == "table" then
    return err.detail == "RUNAWAY" and err.message or show(err, DEPTH_MAX)
  end
  local text = debug.traceback(tostring(err), 2)
  text = text:gsub("\n\t%[C%]: in function 'xpcall'\n.*$", ""):gsub("\n\t%[builtin[^\n]*", "")
  return (text:gsub("\nstack traceback:$", ""))
end

-- In a fiber of its own, so that a loop that does not end can be stopped (lua.slice_max).
local function run(chunk)
  local handle = fiber.spawn(function()
    fiber.sleep(0)
    return xpcall(chunk, explain)
  end)
  local result = { pcall(handle.join, handle) }
  if not result[1] then
    return false, tostring(result[2])
  end
  return unpack(result, 2, table.maxn(result))
end

-- A terminal edits the line; a child of ours waits for it, so that the loop does not.
local function open_input()
  local child = process.spawn { args = { "cat" }, stdin = "inherit", stdout = "pipe" }
  return function()
    return child.stdout:read_line(LINE_MAX)
  end
end

local function is_terminal()
  local status = os.execute("test -t 0")
  return status == 0 or status == true
end

-- Whatever was printed is shown before the next line is waited for, also into a pipe.
local function prompt_with(is_shown)
  return function(text)
    io.write(is_shown and text or "")
    io.flush()
  end
end

local function loop()
  local prompt, read, text = prompt_with(is_terminal()), open_input(), ""
  prompt(("Tycho %s. Control-D ends.\n> "):format(tycho.version))
  for line in read do
    text = text .. line
    local chunk, err, is_open = compile(text)
    if chunk then
      finish(run(chunk))
    elseif not is_open then
      io.stderr:write(err, "\n")
    end
    text = is_open and text .. "\n" or ""
    prompt(is_open and ">> " or "> ")
  end
  prompt("\n")
end

vm.guard()
loop()
