-- The house rules that no compiler checks, each with a name: luajit tools/check.lua
--
-- A finding can be waived where it is, with a reason, in a comment on its line or right above
-- (anywhere in the file for rules about a whole file):
--     check: allow RULE because ...
-- Waivers are counted, and one that waives nothing is an error. SIZE only prints.

local folder = assert(arg[0]:match("^(.*)/[^/]*$"))
package.path = folder .. "/?.lua;" .. package.path
local rules = require "check.rules"
local source = require "check.source"

local tree = { files = {}, by_path = {} }
local findings, hints, waived = {}, {}, 0

local function add_finding(path, line, rule, text)
  findings[#findings + 1] = ("%s:%d: %s: %s"):format(path, math.max(line, 1), rule, text)
end

-- Within the lines, or above them with nothing but comments in between.
local function covers(file, waiver, line, last)
  if line == 0 or waiver.line >= line and waiver.line <= last then
    return true
  end
  for between = waiver.line + 1, line - 1 do
    if file.code[between]:match("%S") then
      return false
    end
  end
  return waiver.line < line
end

local function is_waived(file, rule, line, last)
  for _, waiver in ipairs(file.waivers) do
    if waiver.rule == rule and covers(file, waiver, line, last) then
      waiver.used = true
      return true
    end
  end
  return false
end

local function check(file)
  for rule, find in pairs(rules) do
    find(file, tree, function(line, text, last)
      if rule == "SIZE" then
        hints[#hints + 1] = ("%s: SIZE: %s"):format(file.path, text)
      elseif not is_waived(file, rule, line, last or line) then
        add_finding(file.path, line, rule, text)
      end
    end)
  end
  for _, waiver in ipairs(file.waivers) do
    if waiver.used then
      waived = waived + 1
    else
      add_finding(file.path, waiver.line, waiver.rule, "waived, but nothing is found there")
    end
  end
end

local listing = io.popen("git ls-files -co --exclude-standard --deduplicate")
for path in listing:lines() do
  local file = source.read(path)
  if file then
    tree.files[#tree.files + 1], tree.by_path[path] = file, file
  end
end
listing:close()
for _, file in ipairs(tree.files) do
  check(file)
end

for _, list in ipairs { hints, findings } do
  table.sort(list)
  for _, line in ipairs(list) do
    print(line)
  end
end
print(("%d files, %d findings, %d waived, %d hints"):format(#tree.files, #findings, waived,
  #hints))
os.exit(#findings == 0 and 0 or 1)
