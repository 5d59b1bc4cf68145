-- Bulk data, and what goes wrong on the way.

local db = require "tycho.db"
local fiber = require "tycho.fiber"
local support = require "tests.db.support"

local IN, OUT = "copy copied from stdin", "copy copied to stdout"

describe("COPY on " .. support.system, function()
  if support.system ~= "postgresql" then
    it("is not there, which is said", function()
      assert.matches("COPY", support.failure(db.copy_in, IN, "1\n").message)
      assert.matches("COPY", support.failure(db.copy_out, OUT, print).message)
    end)
    return
  end

  before_each(function()
    support.create("copied", "n integer")
  end)

  local function count()
    return db.value "select count(*) from copied"
  end

  it("takes a text, texts, and a function that gives them", function()
    local left = 3
    assert.equal(2, db.copy_in(IN, "1\n2\n"))
    assert.equal(1, db.copy_in(IN, { "", "3", "\n" }))
    assert.equal(0, db.copy_in(IN, {}))
    assert.equal(3, db.copy_in(IN, function()
      left = left - 1
      return left >= 0 and "4\n" or nil
    end))
    assert.equal(6, count())
  end)

  it("loses nothing in a list with a gap, and of what is no text", function()
    for _, source in ipairs { { "1\n", nil, "2\n" }, { "1\n", {} }, { 1 },
                              function() return false end } do
      assert.matches("copy_spec.lua:%d+: copy_in: what is copied is texts",
        support.fault(function() db.copy_in(IN, source) end))
    end
    assert.matches("copy_spec.lua:%d+: copy_in: expected a string, a list or a function",
      support.fault(function() db.copy_in(IN, 5) end))
    assert.matches("copy_spec.lua:%d+: copy_out: expected a function",
      support.fault(function() db.copy_out(OUT) end))
    assert.equal(0, count())
  end)

  it("is undone when its source raises, and the outer transaction goes on", function()
    db.transaction(function(tx)
      tx:exec "insert into copied values (1)"
      local given = 0
      assert.matches("no more", support.fault(tx.transaction, tx, function(inner)
        inner:copy_in(IN, function()
          given = given + 1
          return given <= 1000 and "7\n" or error "no more"
        end)
      end))
      tx:exec "insert into copied values (2)"
    end)
    assert.equal(2, count())
  end)

  it("may be given up by who reads it", function()
    db.exec "insert into copied select n from generate_series(1, 300000) n"
    local seen = 0
    assert.matches("enough", support.fault(db.copy_out, OUT, function(text)
      seen = seen + #text
      error "enough"
    end))
    assert.is_true(seen < 1000000)
    assert.equal(300000, count())
  end)

  it("takes nothing else before it has ended, and says so", function()
    local words = "copy_spec.lua:%d+: a COPY is under way"
    local function refused(fn)
      assert.matches(words, support.fault(db.copy_in, IN, fn))
    end
    refused(function() db.value "select 1" end)
    refused(function() db.copy_in(IN, "1\n") end)
    refused(function() db.transaction(function() end) end)
    db.exec "insert into copied values (1)"
    assert.matches(words, support.fault(db.copy_out, OUT, function() db.query "select 1" end))
    local rows = db.copy_in(IN, coroutine.wrap(function()
      coroutine.yield(fiber.spawn(function() return db.value "select 7::text" end):join() .. "\n")
    end))
    assert.equal(1, rows) -- other fibers ask elsewhere
    assert.equal(2, count())
  end)
end)
