-- What application code can and cannot reach.
local loader = require "tycho._private.loader"

local env = loader.environment()

local function run(text)
  local chunk = assert(load(text, "@app/test.lua", "t", env))
  return chunk()
end

describe("application code", function()

  for _, name in ipairs { "ffi", "debug", "io", "jit", "tycho.process", "tycho.fs" } do
    it("may not require " .. name, function()
      assert.error_matches(function() run(("require %q"):format(name)) end, "not for applications")
    end)
  end

  for _, name in ipairs { "tycho.core.vm", "tycho._private.loader" } do
    it("may not require " .. name, function()
      assert.error_matches(function() run(("require %q"):format(name)) end, "is private")
    end)
  end

  it("may not write a global variable", function()
    local _, err = pcall(run, "counter = 1")

    assert.equal("app/test.lua:1: global variable 'counter' may not be written: use local", err)
  end)

  it("may not read a global variable that nobody defined", function()
    local _, err = pcall(run, "local a = 1\nreturn conter")

    assert.equal("app/test.lua:2: global variable 'conter' is not defined", err)
  end)

  it("cannot load bytecode", function()
    local bytecode = string.dump(function() return 1 end)
    local chunk, err = env.load(bytecode)

    assert.is_nil(chunk)
    assert.matches("wrong mode", err)
  end)

  it("loads text in its own environment", function()
    assert.error_matches(function() run('return load("return io")()') end, "is not for applic")
  end)

  it("cannot reach the metatable of strings", function()
    assert.is_nil(run('return getmetatable("")'))
  end)

  for _, statement in ipairs {
    "string.upper = nil", "rawset(math, 'pi', 3)", "rawset(_G, 'a', 1)", "package.path = ''",
    "package.loaded['tycho.json'] = {}", "require('tycho.json').encode = nil",
    "rawset(require 'tycho.app', 'user', 1)", "require('tycho').user = 1",
  } do
    it("may not write to the library: " .. statement, function()
      local _, err = pcall(run, statement)

      assert.matches("^app/test%.lua:1: [%w_.]+ may not be written: use local", err)
    end)
  end

  it("reads Lua's own library as ever", function()
    assert.same({ "A", 3 }, { run "return string.upper 'a'", run "return math.floor(3.5)" })
  end)

  it("cannot search the machine for modules through cjson's name", function()
    assert.error_matches(function() run('require "cjson.util"') end, "not found")
  end)

  it("cannot touch what all errors share", function()
    local err = select(2, run('return pcall(require("tycho.errors").raise, "http.not_found")'))

    assert.equal("an error object", getmetatable(err))
  end)

  it("gets cjson", function()
    assert.equal("[1]", run('return require("cjson").encode({ 1 })'))
  end)

  it("learns which file a missing module would be", function()
    assert.error_matches(function() run('require "app.nothing"') end, "app/nothing.lua")
  end)

  it("learns in one line that the library has no such module", function()
    local _, err = pcall(run, 'require "tycho.jsno"')

    assert.equal("app/test.lua:1: module 'tycho.jsno' not found: "
      .. "the standard library has none of this name", err)
  end)
end)
