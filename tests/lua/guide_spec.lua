local fs = require "tycho.fs"
local guide = require "tests.lua.guide"

describe("the guide to models", function()
  it("is true, line by line", function()
    local request, checks = guide.run "docs/guide/models.md"
    local _, arrows = fs.read("docs/guide/models.md"):gsub("%-%->", "")
    assert.is_true(arrows > 60, arrows)
    assert.equal(arrows, checks)

    local made = request("POST", "/players", { json = { email = "new@example.com" } })
    local wrong = request("POST", "/players", { json = { email = "a@b.cc", secret = "x" } })
    local changed = request("PATCH", "/players/" .. made.json.id, { json = { level = 7 } })
    local refused = request("POST", ("/transfers/%s/%s/500"):format(made.json.id, made.json.id))

    assert.equal(201, made.status)
    assert.same({ id = made.json.id, email = "new@example.com", state = "NEW" }, made.json)
    assert.equal(400, wrong.status)
    assert.equal(7, changed.json.level)
    assert.is_nil(changed.json.settings)
    assert.equal(400, refused.status)
  end)

  it("would fail if it were not", function()
    local ok, err = pcall(guide.run, "tests/lua/guide_wrong.md")

    assert.is_false(ok)
    assert.equal("tests/lua/guide_wrong.md:4: [3] is wanted, not [2]", err)
  end)
end)
