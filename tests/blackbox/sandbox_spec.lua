-- What scripts.grants opens, and that nothing else does.

local json = require "tycho.json"
local server = require "tests.blackbox.support.server"

-- Tries everything that some grant opens, in a handler; what was refused, and how.
local APP = [[
local app = require "tycho.app"
local bytecode = "\27LJ\2"

local attempts = {
  ["os.execute"] = function() os.execute("true") end,
  ["os.getenv"] = function() os.getenv("HOME") end,
  ["os.remove"] = function() os.remove("/nowhere") end,
  ["io.popen"] = function() load("return io")().popen("true"):close() end,
  ["debug"] = function() load("return debug")().getregistry() end,
  ["ffi"] = function() require("ffi").typeof("int") end,
  ["jit"] = function() require("jit").status() end,
  ["tycho.fs"] = function() require "tycho.fs" end,
  ["tycho.process"] = function() require "tycho.process" end,
  ["tycho.stream"] = function() require "tycho.stream" end,
  ["string.dump"] = function() assert(load(string.dump(function() end)))() end,
  ["methods"] = function() return ("").dump(function() end) end,
  ["bytecode"] = function()
    local _, err = load(bytecode)
    if err:find("wrong mode", 1, true) then
      error(err, 0)
    end
  end,
  ["private"] = function() require("tycho.core" .. ".vm") end,
}

app.get("/", function(req)
  local refused = {}
  for name, attempt in pairs(attempts) do
    local fine, err = pcall(attempt)
    refused[name] = not fine and tostring(err) or nil
  end
  refused.request = type(getmetatable(req)) == "table" and "bare" or nil
  return refused
end)
]]

-- By grant, what is refused no longer.
local OPENS = {
  ["os.execute"] = { "os.execute", "os.getenv" },
  io = { "os.remove", "io.popen", "tycho.fs", "tycho.process", "tycho.stream" },
  debug = { "debug" },
  ffi = { "ffi", "jit" },
  bytecode = { "string.dump", "bytecode" },
}

local ALL = {
  "os.execute", "os.getenv", "os.remove", "io.popen", "debug", "ffi", "jit", "tycho.fs",
  "tycho.process", "tycho.stream", "string.dump", "methods", "bytecode", "private",
}

local function refused_with(grants)
  local s = server.start {
    scripts = { ["app/main.lua"] = APP }, config = { scripts = { grants = grants } }, workers = 1,
  }
  local res = s:request("GET", "/")
  assert.equal(200, res.status, res.body)
  return json.decode(res.body)
end

local function faults_of(text)
  local s = server.prepare { scripts = { ["app/main.lua"] = text } }
  local code, out, err = s:cli "check"
  assert.equal(1, code)
  return out .. err
end

describe("the sandbox", function()
  after_each(server.clean_up)

  it("holds in a handler, and says what would open each door", function()
    local refused = refused_with(nil)

    for _, name in ipairs(ALL) do
      assert.is_string(refused[name], name .. " was not refused")
    end
    assert.is_nil(refused.request)
    for grant, names in pairs(OPENS) do
      for _, name in ipairs(names) do
        local words = ("scripts.grants can allow '%s'"):format(grant)
        assert.is_truthy(name == "bytecode" or refused[name]:find(words, 1, true), refused[name])
      end
    end
  end)

  for grant, names in pairs(OPENS) do
    it(("opens with the grant %s just that"):format(grant), function()
      local refused = refused_with { grant }
      local open = { methods = grant == "bytecode" }
      for _, name in ipairs(names) do
        open[name] = true
      end

      for _, name in ipairs(ALL) do
        assert.equal(not open[name], refused[name] ~= nil, name .. ": " .. tostring(refused[name]))
      end
    end)
  end

  it("is told of when the scripts are loaded, with the line", function()
    assert.matches("app/main.lua:2: io is not for applications; scripts.grants can allow 'io'",
      faults_of "local x = 1\nreturn io.open(x)")
    assert.matches("app/main.lua:1: os.execute is not for applications; "
      .. "scripts.grants can allow 'os.execute'", faults_of "os.execute('true')")
  end)

  it("does not hide where nil was raised", function()
    assert.matches("app/main.lua:2: error%(%) was given nil", faults_of "local x\nerror(x)")
  end)
end)
