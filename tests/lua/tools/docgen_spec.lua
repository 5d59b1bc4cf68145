package.path = "tools/?.lua;" .. package.path
local read = require "docgen.read"

local MODULE = [[
--- Names to addresses.
---
--- Nothing is cached.

local dns = {}

local function hidden() end

---Looks a name up.
---
---```lua
---dns.resolve("localhost")
---```
---@async
---@param host string
---@param on? fun(a: string, b: table<string, any>): any called back
---@return string[] addresses
function dns.resolve(host, on)
  return hidden(host, on)
end

---@private
function dns.forget() end

return dns
]]

local MADE = [[
--- Names of several servers.

---@class names.Options
---@field mode? "all of them"|"one" how many, also
---of those that are old
---@field old? boolean

local function server()
  local names = {}

  ---Asks for one.
  ---@param name string which
  function names.ask(name)
    local function quietly() return name end
    quietly()
  end

  function names.undocumented() return 1 end
  return names
end

return server
]]

describe("the reader of annotations", function()
  local path = os.tmpname()

  setup(function()
    local file = assert(io.open(path, "w"))
    file:write(MODULE)
    file:close()
  end)

  teardown(function() os.remove(path) end)

  it("takes the first comment as the module's own", function()
    assert.equal("Names to addresses.\n\nNothing is cached.", read.module(path).text)
  end)

  it("finds functions in functions, and reads on in the next line", function()
    local made = os.tmpname()
    local file = assert(io.open(made, "w"))
    file:write(MADE)
    file:close()
    local entries = read.module(made).entries
    os.remove(made)

    assert.equal(2, #entries)
    assert.same({ name = "mode?", kind = '"all of them"|"one"',
      text = "how many, also of those that are old" }, entries[1].params[1])
    assert.equal("names.ask", entries[2].name)
    assert.same({ { name = "name", kind = "string", text = "which" } }, entries[2].params)
  end)

  it("leaves out what is not public", function()
    local entries = read.module(path).entries

    assert.equal(1, #entries)
    assert.equal("dns.resolve", entries[1].name)
  end)

  it("takes the classes of another file along, where it is told of one", function()
    local folder, other = path:match "^(.*/)([^/]*)$"
    local with = os.tmpname()
    local file = assert(io.open(with, "w"))
    file:write("--- More names.\n\n-- Classes: " .. other .. ".class\n\nlocal more = {}\n")
    file:close()
    file = assert(io.open(folder .. other .. ".class", "w"))
    file:write("--- Private.\n\n---@class tycho.Name a name\n\n---Says it.\nfunction Name:say()\n"
      .. "end\n\n---Not a method.\nfunction base.new()\nend\n")
    file:close()

    local entries = read.module(with).entries
    os.remove(with)
    os.remove(folder .. other .. ".class")

    assert.equal(2, #entries)
    assert.equal("tycho.Name", entries[1].class)
    assert.equal("Name:say", entries[2].name)
  end)

  it("tells types, which may hold spaces, from what is said about them", function()
    local doc = read.module(path).entries[1]

    assert.is_true(doc.async)
    assert.same({ name = "host", kind = "string", text = "" }, doc.params[1])
    assert.same({ name = "on?", kind = "fun(a: string, b: table<string, any>): any",
      text = "called back" }, doc.params[2])
    assert.same({ { kind = "string[]", text = "addresses" } }, doc.returns)
  end)
end)
