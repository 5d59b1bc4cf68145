local screen = require "tycho._private.screen"

describe("what commands print", function()
  it("steers no terminal, whatever the names in it hold", function()
    for text, shown in pairs {
      ["a\27[31mb"] = "a?[31mb", ["a\0b\127"] = "a?b?", ["a\194\155b"] = "a?b", ["a\rb"] = "a?b",
      ["\195\182 \228\187\182"] = "\195\182 \228\187\182", ["two\nlines"] = "two\nlines",
    } do
      assert.equal(shown, screen.clean(text))
    end
  end)
end)
