-- What the guides say of models is true on whichever database there is.

local guide = require "tests.lua.guide"
local support = require "tests.db.support"

it("the guide to models is true on " .. support.system, function()
  guide.run "docs/guide/models.md"
end)
