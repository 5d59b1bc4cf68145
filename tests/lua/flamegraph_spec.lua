-- Flame graphs: the picture of folded stacks.

local flamegraph = require "tycho._private.flamegraph"

local STACKS = [[
worker;GET /a;list scripts/app/a.lua:12;line 14;add_value 30
worker;GET /a;list scripts/app/a.lua:12;line 15 10
worker;GET /a;check tycho/schema.lua:3 20
worker;loop;on_read;<weird> & "odd" 40
]]

local function frames(svg)
  local found = {}
  local pattern = 'data%-x="([%d.]+)" data%-w="([%d.]+)" data%-d="(%d+)" data%-n="([^"]*)"'
  for x, width, depth, name in svg:gmatch(pattern) do
    found[name] = { x = tonumber(x), width = tonumber(width), depth = tonumber(depth) }
  end
  return found
end

describe("a flame graph", function()
  it("gives each frame the width of its share, below its caller", function()
    local found = frames(flamegraph.render(STACKS, "title"))

    assert.near(1, found["worker"].width, 1e-6)
    assert.near(0.6, found["GET /a"].width, 1e-6)
    assert.near(0.4, found["list scripts/app/a.lua:12"].width, 1e-6)
    assert.near(0.3, found["line 14"].width, 1e-6)
    assert.equal(4, found["add_value"].depth)
    assert.is_true(found["line 15"].x >= found["list scripts/app/a.lua:12"].x)
  end)

  it("puts the widest first", function()
    local found = frames(flamegraph.render(STACKS, "title"))

    assert.equal(0, found["GET /a"].x)
    assert.near(0.6, found["loop"].x, 1e-6)
  end)

  it("says the numbers of a frame when asked", function()
    local svg = flamegraph.render(STACKS, "title")

    assert.matches("<title>list scripts/app/a.lua:12: 40 samples, 40.0%%</title>", svg)
    assert.matches("<title>line 15: 10 samples, 10.0%%, itself 10.0%%</title>", svg)
  end)

  it("is well-formed, whatever names there are", function()
    local svg = flamegraph.render(STACKS, "a < b & c")

    assert.matches("&lt;weird&gt; &amp; &quot;odd&quot;", svg)
    assert.matches("a &lt; b &amp; c", svg)
    assert.is_nil(svg:find("<weird>", 1, true))
  end)

  it("tells the application's code from the library's and from C", function()
    local svg = flamegraph.render(STACKS, "title")

    local function hue(name)
      local pattern = 'data%-n="' .. name:gsub("%p", "%%%0") .. '">.-fill="hsl%((%d+),'
      return tonumber(svg:match(pattern))
    end

    assert.near(18, hue "list scripts/app/a.lua:12", 8)
    assert.near(78, hue "check tycho/schema.lua:3", 8)
    assert.near(204, hue "on_read", 8)
  end)

  it("needs no network", function()
    local svg = flamegraph.render(STACKS, "title")

    assert.is_nil(svg:gsub('xmlns="http://www.w3.org/2000/svg"', ""):find("http", 1, true))
    assert.is_nil(svg:find "src=")
    assert.is_nil(svg:find "@import")
  end)

  it("is empty when nothing was seen", function()
    assert.matches("^<svg ", flamegraph.render("", "0 samples"))
  end)
end)
