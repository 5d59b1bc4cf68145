package.path = "tools/?.lua;" .. package.path
local rules = require "check.rules"
local source = require "check.source"

-- What a rule says about the first of these files, as a list of "line text".
local function findings(rule, ...)
  local tree = { files = {}, by_path = {} }
  for i = 1, select("#", ...), 2 do
    local path, text = select(i, ...)
    local file = source.parse(path, text)
    tree.files[#tree.files + 1], tree.by_path[path] = file, file
  end
  local found = {}
  rules[rule](tree.files[1], tree, function(line, text)
    found[#found + 1] = line .. " " .. text
  end)
  return found
end

describe("the house rules", function()
  it("keep Lua's headers out of the core", function()
    assert.same({ "2 lua.h belongs in bindings/" },
      findings("LUA-FREE-CORE", "core/x.c", "#include <uv.h>\n#include <lua.h>\n"))
    assert.same({}, findings("LUA-FREE-CORE", "bindings/x.c", "#include <lua.h>\n"))
    assert.same({}, findings("LUA-FREE-CORE", "core/x.c", "/* #include <lua.h> */\n"))
  end)

  it("let only one file suspend and resume", function()
    local code = "return lua_yield(L, 1);\n"

    assert.equal(1, #findings("ONE-WAIT", "bindings/x.c", code))
    assert.same({}, findings("ONE-WAIT", "bindings/fiber.c", code))
    assert.same({}, findings("ONE-WAIT", "bindings/x.c", 'puts("lua_yield(L)");\n'))
  end)

  it("ban functions that do not know where their buffer ends", function()
    assert.same({ "1 strcpy()" }, findings("BANNED", "core/x.c", "strcpy(a, b);\n"))
    assert.same({}, findings("BANNED", "core/x.c", "my_strcpy(a, b); snprintf(c, 1, d);\n"))
    assert.same({ "3 atoi()" },
      findings("BANNED", "core/x.c", "/* it's\n\"fine\" */ int c = '\"';\natoi(\"1\");\n"))
  end)

  it("want a header and a test for each file of the core", function()
    assert.same({ "0 has no header of the same name", "0 has no test of the same name" },
      findings("SAME-NAME", "core/dns.c", ""))
    assert.same({},
      findings("SAME-NAME", "core/dns.c", "", "include/tycho/dns.h", "", "tests/c/test_dns.c", ""))
  end)

  it("count the parts of a subsystem as the subsystem", function()
    assert.same({}, findings("SAME-NAME", "core/sql/sqlite_pool.c", "",
      "include/tycho/sql.h", "", "tests/c/test_sqlite.c", ""))
    assert.same({}, findings("SAME-NAME", "core/http/parse.c", "", "include/tycho/http.h", "",
      "tests/c/test_http_limits.c", ""))
  end)

  it("want a file's own header first", function()
    local header, code = "include/tycho/x.h", '#include <uv.h>\n#include "tycho/x.h"\n'

    assert.equal(1, #findings("OWN-HEADER-FIRST", "core/x.c", code, header, ""))
    assert.same({}, findings("OWN-HEADER-FIRST", "core/x.c", '#include "tycho/x.h"\n', header, ""))
    assert.same({}, findings("OWN-HEADER-FIRST", "core/y.c", code, header, ""))
  end)

  it("keep private modules private", function()
    local code = 'local core = require "tycho.' .. 'core.dns"\n'

    assert.equal(1, #findings("FACADE-ONLY", "scripts/app/main.lua", code))
    assert.same({}, findings("FACADE-ONLY", "scripts/lib/tycho/dns.lua", code))
  end)

  it("want functions that may wait to say so", function()
    local binding = "\nstatic int l_resolve(lua_State *L)\n{\n    return ty_park(L, w, c, -1);\n}\n"
      .. 'static const luaL_Reg functions[] = {{"resolve", l_resolve}, {NULL, NULL}};\n'
    local code = "%sfunction dns.resolve(host)\n  return check(core.resolve(host))\nend\n"
    local path = "scripts/lib/tycho/dns.lua"

    assert.same({ "2 dns.resolve() may wait: ---@async is missing" },
      findings("ASYNC-MARKED", path, code:format(""), "bindings/dns.c", binding))
    assert.same({},
      findings("ASYNC-MARKED", path, code:format("---@async\n"), "bindings/dns.c", binding))
  end)
end)

describe("a waiver", function()
  it("names a rule and gives a reason", function()
    local waiver = "/* check: " .. "allow BANNED%s */\n"
    local file = source.parse("core/x.c", waiver:format(" because it is copied whole"))

    assert.same({ { rule = "BANNED", line = 1 } }, file.waivers)
    assert.same({}, source.parse("core/x.c", waiver:format("")).waivers)
  end)
end)
