-- Every way out of the sandbox that we could think of, tried by application code.
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local loader = require "tycho._private.loader"

local env = loader.environment()

local function run(text)
  return assert(load(text, "@app/test.lua", "t", env))()
end

-- What the code raises, as text.
local function refusal(text)
  local ok, err = pcall(run, text)
  assert.is_false(ok, "nothing was raised")
  return tostring(err)
end

local GRANT = {
  { "os.execute('true')", "os.execute" }, { "os.getenv('HOME')", "os.execute" },
  { "os.remove('a')", "io" }, { "os.rename('a', 'b')", "io" }, { "os.tmpname()", "io" },
  { "io.open('/etc/passwd')", "io" }, { "io.popen('true')", "io" },
  { "debug.sethook()", "debug" }, { "debug.getregistry()", "debug" },
  { "debug.getupvalue(print, 1)", "debug" },
  { "string.dump(function() end)", "bytecode" }, { "(''):dump()", "bytecode" },
  { "require 'io'", "io" }, { "require 'debug'", "debug" }, { "require 'ffi'", "ffi" },
  { "require 'jit'", "ffi" }, { "require 'jit.util'", "ffi" },
  { "require 'tycho.process'", "io" }, { "require 'tycho.fs'", "io" },
  { "require 'tycho.stream'", "io" },
}

local NEVER = {
  "os.exit(1)", "os.setlocale('C')", "package.loadlib('libc.so.6', 'exit')",
  "package.searchpath('a', './?.so')", "package.seeall({})", "getfenv(1)", "setfenv(1, {})",
  "newproxy(true)", "dofile('/etc/passwd')", "loadfile('/etc/passwd')", "module('a')",
}

local WRITES = {
  "string.format = print", "string.evil = print", "table.insert = print", "math.random = print",
  "coroutine.resume = print", "os.time = print", "package.loaded['app.x'] = {}",
  "package.loaded = {}", "rawset(string, 'format', print)", "rawset(_G, 'tostring', print)",
  "_G.tostring = print", "assert(load 'tostring = print')()", "_G['string'] = {}",
  "assert(load('tostring = print', 'x', 't', _G))()", "setmetatable(_G, nil).tostring = print",
  "require('tycho.json').encode = print",
  "rawset(require 'tycho.json', 'encode', print)", "require('tycho.errors').raise = print",
  "package.loaded['tycho.json'] = {}",
}

local PROTECTED = { "string", "_G", "package.loaded", "require 'tycho.json'" }

-- Objects whose metatables all requests share.
local OBJECTS = {
  "require('tycho.json').array {}", "require('tycho.schema').string {}",
  "require('tycho.errors').new('timeout', 'late')", "require('tycho.app').response(200)",
  "require('tycho.fiber').spawn(function() end)",
  "require('tycho.int64')", "require 'tycho.db'",
}

describe("a script finds closed", function()
  for _, case in ipairs(GRANT) do
    it(("%s, and is told of the grant"):format(case[1]), function()
      local err = refusal(case[1])

      assert.matches("^app/test%.lua:1: ", err)
      assert.matches("not for applications; scripts.grants can allow '" .. case[2] .. "'$", err)
    end)
  end

  for _, text in ipairs(NEVER) do
    it(text, function()
      assert.matches("^app/test%.lua:1: [%w_.]+ is not for applications$", refusal(text))
    end)
  end

  for _, name in ipairs {
    "tycho.core.vm", "tycho.core.fiber", "tycho.core", "tycho._private.loader", "tycho._private",
    "tycho.core.vm\0", "tycho/_private/loader", "tycho._private/loader",
    "lib.tycho._private.loader", "tycho.nothing", "cjson.util", "../lib/tycho/app",
    "/usr/lib/x86_64-linux-gnu/lua/5.1/lfs", "lfs", "socket.core", "jit.opt", "table.new",
    "string.buffer", "app\0",
  } do
    it(("require %q"):format(name), function()
      local ok, err = pcall(env.require, name)

      assert.is_false(ok)
      assert.is_truthy(err:find("private", 1, true) or err:find("not found", 1, true), err)
    end)
  end

  for _, text in ipairs(WRITES) do
    it("a change for everybody: " .. text, function()
      local err = refusal(text)
      assert.is_true(err:find "may not be written" ~= nil or err:find "protected" ~= nil, err)
    end)
  end

  for _, text in ipairs(PROTECTED) do
    it("the metatable of " .. text, function()
      assert.are_not.equal("table", run(("return type(getmetatable(%s))"):format(text)))
      assert.matches("protected", refusal(("setmetatable(%s, {})"):format(text)))
    end)
  end

  for _, text in ipairs(OBJECTS) do
    it("the metatable behind " .. text, function()
      assert.are_not.equal("table", run(("return type(getmetatable(%s))"):format(text)))
    end)
  end

  it("the table behind the methods of strings", function()
    assert.is_nil(run "return getmetatable('')")
  end)

  it("bytecode, whole and in pieces", function()
    local code = string.dump(function() return 1 end)
    local pieces = { code }

    assert.is_nil(env.load(code))
    assert.is_nil(env.loadstring(code))
    assert.is_nil(env.load(function() return table.remove(pieces) end))
    assert.is_nil(env.load(code, "x", "b"))
  end)

  it("all of Lua to text that it loads itself", function()
    assert.matches("io is not for applications", refusal "return load('return io')()")
    assert.matches("attempt to index", refusal "return load('return io.open', 'x', 't', {})()")
  end)

  it("the library's environment to functions that the library calls", function()
    local leaked = run [[
      local s, fiber = require "tycho.schema", require "tycho.fiber"
      local seen
      table.sort({ 2, 1 }, function(a, b) seen = getmetatable(_G) return a < b end)
      xpcall(error, function() seen = { seen, getmetatable(_G) } end)
      return type(seen) == "table" and seen[2]
    ]]

    assert.are_not.equal("table", type(leaked))
  end)

  it("finalizers: __gc of a table never runs", function()
    local ran = run [[
      local ran = false
      local t = setmetatable({}, { __gc = function() ran = true end })
      t = nil
      return function() return ran end
    ]]
    collectgarbage()
    collectgarbage()

    assert.is_false(ran())
  end)

  it("other fibers: nobody resumes them but the server", function()
    local other
    local sleeper = fiber.spawn(function()
      other = env.coroutine.running()
      fiber.sleep(0.05)
      return "slept"
    end)
    local ok, err = env.coroutine.resume(other)

    assert.is_false(ok)
    assert.equal("cannot resume a fiber", err)
    assert.equal("slept", sleeper:join())
  end)

  it("coroutines that wait in another fiber", function()
    local co = coroutine.create(function() fiber.sleep(0.05) return "slept" end)
    local sleeper = fiber.spawn(function() return select(2, env.coroutine.resume(co)) end)
    local ok, err = env.coroutine.resume(co)

    assert.is_false(ok)
    assert.matches("waits in another fiber", err)
    assert.equal("slept", sleeper:join())
  end)

  it("the parking place of fibers: what it yields is its own affair", function()
    assert.matches("outside a coroutine", refusal "coroutine.yield()")
    assert.matches("outside a coroutine", refusal "coroutine.yield(nil, nil)")
  end)

  it("what errors share", function()
    local err = run "return select(2, pcall(require('tycho.errors').raise, 'http.not_found'))"

    assert.equal("an error object", env.getmetatable(err))
    assert.has_error(function() env.setmetatable(err, {}) end)
    assert.is_true(errors.is(err, "not_found"))
  end)

  it("the collector, but for its count", function()
    assert.matches('only "count"', refusal "collectgarbage('stop')")
    assert.equal("number", type(run "return collectgarbage('count')"))
  end)
end)

describe("a script keeps", function()
  it("the metatables that it sets itself", function()
    assert.is_true(run [[
      local Class = {}
      Class.__index = Class
      local object = setmetatable({}, Class)
      return getmetatable(object) == Class and getmetatable(setmetatable(object, nil)) == nil
    ]])
  end)

  it("the methods of strings", function()
    assert.equal("A-2", run "return ('a'):upper() .. ('-%d'):format(2)")
  end)
end)
