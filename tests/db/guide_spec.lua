-- What the guides say is true on whichever database there is.

local db = require "tycho.db"
local fs = require "tycho.fs"
local guide = require "tests.lua.guide"
local support = require "tests.db.support"

-- Of a page, how many arrows there are; those of one database alone among them.
local ARROWS = {
  ["docs/guide/models.md"] = { 65 },
  ["docs/databases.md"] = { 38, postgresql = 42 },
}

for page, counts in pairs(ARROWS) do
  it(("%s is true on %s"):format(page, support.system), function()
    local _, checks = guide.run(page)
    assert.equal(counts[support.system] or counts[1], checks)
  end)
end

it("docs/databases.md has an example of everything that tycho.db has", function()
  local page = fs.read "docs/databases.md"
  for name in pairs(db) do
    assert.is_truthy(page:find("db." .. name .. "%f[^%w_]"), name)
  end
end)
