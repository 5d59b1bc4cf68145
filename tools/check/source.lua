-- Reads source files for the house rules.

local source = {}

local function blank(text)
  return (text:gsub("[^\n]", " "))
end

-- Where the string or character constant that starts at `at` ends.
local function end_of_constant(text, at)
  local quote = text:sub(at, at)
  repeat
    at = text:find("[\\\n" .. quote .. "]", at + 1)
    local escaped = at and text:sub(at, at) == "\\"
    at = escaped and at + 1 or at
  until not escaped
  return at or #text
end

-- Blanks out comments, strings and characters, except the names of included files; lines stay.
local function strip_c(text)
  local out, at = {}, 1
  while true do
    local start = text:find("[/\"']", at)
    if not start then
      break
    end
    local two, stop = text:sub(start, start + 1), start
    if two == "/*" then
      stop = select(2, text:find("*/", start + 2, true)) or #text
    elseif two == "//" then
      stop = (text:find("\n", start, true) or #text + 1) - 1
    elseif two:sub(1, 1) ~= "/" then
      stop = end_of_constant(text, start)
    end
    local before, found = text:sub(at, start - 1), text:sub(start, stop)
    local kept = stop == start or before:match("#%s*include%s*$")
    out[#out + 1] = before .. (kept and found or blank(found))
    at = stop + 1
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out)
end

local function strip_lua(text)
  text = text:gsub("(%-%-%[(=*)%[.-%]%2%])", function(comment)
    return blank(comment)
  end)
  return (text:gsub("%-%-[^\n]*", ""))
end

local function split(text)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

local function find_waivers(lines)
  local waivers = {}
  for number, line in ipairs(lines) do
    local rule = line:match("check: allow (%u[%u-]+) because %S")
    if rule then
      waivers[#waivers + 1] = { rule = rule, line = number }
    end
  end
  return waivers
end

local function kind_of(path)
  return path:match("%.([ch])$") or path:match("%.(lua)$") or path:match("^(CMake)Lists.txt$")
end

---A source file: path, text, lines, code (lines without comments), waivers.
function source.parse(path, text)
  local kind, code = kind_of(path), text
  if kind == "c" or kind == "h" then
    code = strip_c(text)
  elseif kind == "lua" then
    code = strip_lua(text)
  end
  local lines = split(text)
  local waivers = path:match("^tools/") and {} or find_waivers(lines)
  return { path = path, text = text, lines = lines, code = split(code), waivers = waivers }
end

---The same from disk; nil for what is not ours to judge.
function source.read(path)
  local handle = kind_of(path) and io.open(path)
  if not handle then
    return nil
  end
  local text = handle:read("*a")
  handle:close()
  return source.parse(path, text)
end

---Calls `found(line number, first capture)` for each line of code that matches.
function source.each_match(file, pattern, found)
  for number, line in ipairs(file.code) do
    local match = line:match(pattern)
    if match then
      found(number, match)
    end
  end
end

return source
