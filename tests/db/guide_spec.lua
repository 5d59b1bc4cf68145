-- What the guides say is true on whichever database there is.

local db = require "tycho.db"
local fs = require "tycho.fs"
local guide = require "tests.lua.guide"
local support = require "tests.db.support"

for _, page in ipairs { "docs/guide/models.md", "docs/databases.md" } do
  it(("%s is true on %s"):format(page, support.system), function()
    local _, checks = guide.run(page)
    assert.is_true(checks >= 38, checks) -- so many arrows, and those of one database alone
  end)
end

it("docs/databases.md has an example of everything that tycho.db has", function()
  local page = fs.read "docs/databases.md"
  for name in pairs(db) do
    assert.is_truthy(page:find("db." .. name .. "%f[^%w_]"), name)
  end
end)

it("docs/databases.md has all metrics, and all keys of the configuration", function()
  local page = fs.read "docs/databases.md"
  local count = 0
  for name in fs.read("core/sql/figures.c"):gmatch '%.name = "([%w_]+)"' do
    count = count + 1
    assert.is_truthy(page:find("`" .. name .. "`", 1, true), name)
  end
  for name in fs.read("core/config/keys.h"):gmatch '"databases%.%*%.([%w_]+)"' do
    count = count + 1
    assert.is_truthy(page:find(name, 1, true), name)
  end
  assert.is_true(count > 25, count)
end)
