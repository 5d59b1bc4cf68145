--- What a server has said, however much: load leaves logs of tens of megabytes, and nobody needs to
--- hold one of them whole to find a line, or to see its end.

local fs = require "tycho.fs"

local said = {}

local PIECE, LINE_MAX = 64 * 1024, 2000

---The lines of a file, one after the other; none if there is no file.
---
---```lua
---for line in said.lines(s.folder .. "/tycho.log") do print(line) end
---```
---@param path string
---@return fun(): string?
function said.lines(path)
  local file = io.open(path, "rb")
  return function()
    local line = file and file:read "*l"
    if file and not line then
      file:close()
      file = nil
    end
    return line
  end
end

---Is this text somewhere in the file? It has no line break.
---@param path string
---@param text string
---@return boolean
function said.has(path, text)
  local file = io.open(path, "rb")
  local rest, found = "", nil
  while file and not found do
    local piece = file:read(PIECE)
    if not piece then
      break
    end
    piece = rest .. piece
    found = piece:find(text, 1, true)
    rest = piece:sub(-#text)
  end
  if file then
    file:close()
  end
  return found ~= nil
end

---The last lines of a file that are not about access.
---@param path string
---@param count integer
---@return string[] lines the oldest first
function said.last(path, count)
  local ring, n = {}, 0
  for line in said.lines(path) do
    if line ~= "" and not line:find('"module":"access"', 1, true) then
      ring[n % count] = line:sub(1, LINE_MAX)
      n = n + 1
    end
  end
  local lines = {}
  for i = math.max(0, n - count), n - 1 do
    lines[#lines + 1] = ring[i % count]
  end
  return lines
end

---The end of all that the server in this folder said: standard output, standard error, log.
---@param folder string
---@param count integer lines
---@return string
function said.last_words(folder, count)
  local lines = {}
  for _, name in ipairs { "stdout", "stderr", "tycho.log" } do
    for _, line in ipairs(said.last(folder .. "/" .. name, count)) do
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n", math.max(1, #lines - count + 1))
end

---What a sanitizer said of the server in this folder; nil: nothing.
---@param folder string
---@return string?
function said.sanitizer_report(folder)
  for _, name in ipairs(fs.list(folder)) do
    local text = name:find "^sanitizer%." and fs.read(folder .. "/" .. name) or ""
    if text:find "ERROR: " or text:find "WARNING: Thread" or text:find "runtime error: " then
      return text
    end
  end
  local path = folder .. "/stderr"
  return said.has(path, "Sanitizer") and fs.read(path) or nil
end

-- That the master ends what is stuck is no fault of the program.
local function has_crashed(path)
  if not said.has(path, '"module":"crash"') then
    return false
  end
  for line in said.lines(path) do
    if line:find('"module":"crash"', 1, true) and not line:find('"reason":"stuck"', 1, true) then
      return true
    end
  end
  return false
end

---What no server may say, unless the test made it.
---@async
---@param folder string
---@param expects? "crash"
---@return string? complaint
function said.complaint(folder, expects)
  local report, log = said.sanitizer_report(folder), folder .. "/tycho.log"
  if report then
    return "a sanitizer complains:\n" .. report
  elseif said.has(log, "something was left open at the end") then
    return "a loop did not close: a handle was left open:\n" .. said.last_words(folder, 100)
  elseif expects ~= "crash" and has_crashed(log) then
    return "a process crashed:\n" .. said.last_words(folder, 100)
  end
end

return said
