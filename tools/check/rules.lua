-- One function a rule: rules[NAME](file, tree, report).
--
-- `report(line, text, last)`; line 0 is the whole file, `last` the end of what is found.

local source = require "check.source"
local waits = require "check.waits"

local LIMITS = {
  { "^include/", 120 }, { "^core/main%.c$", 80 }, { "^core/", 400 }, { "^bindings/", 250 },
  { "^scripts/lib/", 300 }, { "^tests/", 400 }, { "^tools/", 200 }, { "^CMakeLists.txt$", 150 },
}
local BANNED = { "sprintf", "vsprintf", "strcpy", "strcat", "strtok", "atoi", "gets", "alloca" }
local OBJECTS = "build/release/CMakeFiles/tycho_core.dir/"

local rules = {}

local function is_under(file, ...)
  for _, folder in ipairs { ... } do
    if file.path:sub(1, #folder + 1) == folder .. "/" then
      return true
    end
  end
  return false
end

rules["LUA-FREE-CORE"] = function(file, _, report)
  if is_under(file, "core", "include") then
    source.each_match(file, '^%s*#%s*include%s*[<"](l[^>"]*)[>"]', function(line, header)
      if header:match("^lua") or header:match("^lauxlib") then
        report(line, header .. " belongs in bindings/")
      end
    end)
  end
end

rules["ONE-WAIT"] = function(file, _, report)
  if file.path:match("%.[ch]$") and file.path ~= "bindings/fiber.c" then
    for _, name in ipairs { "lua_yield", "lua_resume" } do
      source.each_match(file, "%f[%w_]" .. name .. "%s*%(()", function(line)
        report(line, name .. "() only in bindings/fiber.c: use ty_park()")
      end)
    end
  end
end

rules["BANNED"] = function(file, _, report)
  if is_under(file, "core", "bindings", "include") then
    for _, name in ipairs(BANNED) do
      source.each_match(file, "%f[%w_]" .. name .. "%s*%(()", function(line)
        report(line, name .. "()")
      end)
    end
  end
end

local function any(tree, pattern)
  for path in pairs(tree.by_path) do
    if path:match("^" .. pattern .. "$") then
      return true
    end
  end
  return false
end

-- What a file may be named after: core/sql/sqlite_pool.c is sqlite_pool, sqlite, or sql.
local function names_of(file, top)
  local folder, name = file.path:match("^" .. top .. "/([%w_]-)/?([%w_]+)%.[cl][ua]*$")
  return name and { name, name:match("^[^_]+"), folder ~= "" and folder or nil } or {}
end

-- Is there a file, for one of the names in place of NAME, with perhaps more after it?
local function has(tree, names, ...)
  for _, pattern in ipairs { ... } do
    for _, name in ipairs(names) do
      if any(tree, (pattern:gsub("NAME", name))) then
        return true
      end
    end
  end
  return false
end

rules["SAME-NAME"] = function(file, tree, report)
  local function need(what, ...)
    if not has(tree, ...) then
      report(0, "has no " .. what .. " of the same name")
    end
  end
  local names = names_of(file, "core")
  if names[1] and file.path:match("%.c$") and file.path ~= "core/main.c" then
    need("header", names, "include/tycho/NAME%.h", "core/[%w_]+/NAME%.h")
    need("test", names, "tests/c/test_NAME%.c", "tests/c/test_NAME_[%w_]+%.c")
  end
  names = names_of(file, "bindings")
  if names[1] and file.path:match("%.c$") then
    need("facade", names, "scripts/lib/tycho/NAMEs?%.lua", "bindings/NAME%.h")
    need("spec", names, "tests/lua/NAMEs?_spec%.lua", "tests/lua/NAME_[%w_]+_spec%.lua",
      "tests/blackbox/NAME_[%w_]+_spec%.lua", "tests/c/test_binding_NAME[%w_]*%.c")
  end
  names = names_of(file, "scripts/lib/tycho")
  if names[1] and not is_under(file, "scripts/lib/tycho/_private") then
    need("spec", names, "tests/lua/NAME_spec%.lua", "tests/lua/NAME_[%w_]+_spec%.lua")
  end
end

rules["OWN-HEADER-FIRST"] = function(file, tree, report)
  local path, name = file.path:match("^(.*/)([%w_]+)%.c$")
  if not path or not is_under(file, "core", "bindings") then
    return
  end
  if not (tree.by_path["include/tycho/" .. name .. ".h"] or tree.by_path[path .. name .. ".h"]) then
    return
  end
  for number, line in ipairs(file.code) do
    local header = line:match('^%s*#%s*include%s*[<"]([^>"]+)[>"]')
    if header then
      if header:match("([%w_]+)%.h$") ~= name then
        report(number, header .. " comes before its own header")
      end
      return
    end
  end
end

rules["FACADE-ONLY"] = function(file, _, report)
  if file.path:match("%.lua$") and not is_under(file, "scripts/lib/tycho") then
    source.each_match(file, "require%s*%(?%s*[\"'](tycho%.core%.[%w_]+)", function(line, module)
      report(line, module .. " is private to scripts/lib/tycho")
    end)
  end
end

rules["ASYNC-MARKED"] = function(file, tree, report)
  local name = file.path:match("^scripts/lib/tycho/([%w_]+)%.lua$")
  if name then
    for _, call in ipairs(waits.unmarked(file, waits.parking(tree, name))) do
      report(call.line, call.name .. "() may wait: ---@async is missing")
    end
  end
end

rules["SIZE"] = function(file, _, report)
  for _, limit in ipairs(LIMITS) do
    if file.path:match(limit[1]) then
      if #file.lines > limit[2] then
        report(0, ("%d lines, meant to be at most %d"):format(#file.lines, limit[2]))
      end
      return
    end
  end
end

-- Symbols of the compiled file in sections that can be written after the start.
local function writable_symbols(object)
  local names = {}
  local listing = io.popen("objdump -t " .. object)
  for line in listing:lines() do
    local section, name = line:match("O (%.%S+)%s+%x+%s.-([%w_]+)[.%d]*$")
    local writable = section and (section:match("^%.t?bss") or section:match("^%.t?data"))
    if writable and not section:match("^%.data%.rel%.ro") then
      names[#names + 1] = name
    end
  end
  listing:close()
  return names
end

rules["NO-GLOBALS"] = function(file, _, report)
  if not file.path:match("^core/.*%.c$") or file.path == "core/main.c" then
    return
  end
  local object = OBJECTS .. file.path .. ".o"
  local handle = io.open(object)
  if not handle then
    report(0, "is not compiled: make build first")
    return
  end
  handle:close()
  for _, name in ipairs(writable_symbols(object)) do
    local last = 0
    source.each_match(file, "%f[%w_]" .. name .. "%f[^%w_]()", function(line)
      last = last == 0 and line or last
    end)
    local first = last
    while first > 1 and file.code[first]:match("^[%s}]") do
      first = first - 1
    end
    report(first, name .. " is writable state of the whole process", last + 1)
  end
end

return rules
