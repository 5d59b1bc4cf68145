local db = require "tycho.db"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local tycho = require "tycho"

-- What the call says is wrong with the program; luassert's own would cut the position off.
local function fault(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("tycho.db.transaction", function()
  before_each(function()
    db.script "drop table if exists numbers; create table numbers(n integer primary key);"
  end)

  local function insert(n)
    return db.exec("insert into numbers values ($1)", n)
  end

  local function total()
    return db.value("select coalesce(sum(n), 0) from numbers")
  end

  it("commits and returns all that was returned", function()
    local a, b, c = db.transaction(function(tx)
      tx:exec("insert into numbers values (1)")
      return 1, nil, 3
    end)

    assert.same({ 1, nil, 3 }, { a, b, c })
    assert.equal(1, total())
  end)

  it("rolls back when it raises, whatever it raises", function()
    local object = errors.new("conflict", "no")
    for _, what in ipairs { object, "text", { "table" } } do
      local ok, err = pcall(db.transaction, function()
        insert(1)
        error(what, 0)
      end)

      assert.is_false(ok)
      assert.equal(what, err)
      assert.equal(0, total())
    end
  end)

  it("takes along what is called inside", function()
    local ok = pcall(db.transaction, function(tx)
      insert(1)
      assert.equal(1, total())
      assert.equal(1, tx:value("select count(*) from numbers"))
      error "no"
    end)

    assert.is_false(ok)
    assert.equal(0, total())
  end)

  it("does not take along children, unless they are given it", function()
    db.transaction(function(tx)
      insert(1)
      local seen = fiber.all {
        function() return total() end,
        function() return tx:value("select sum(n) from numbers") end,
      }
      assert.same({ 0, 1 }, seen)
    end)
  end)

  it("works across coroutines", function()
    db.transaction(function()
      local each = coroutine.wrap(function()
        for n = 1, 3 do
          insert(n)
          coroutine.yield(n)
        end
      end)
      assert.equal(1, each())
      assert.equal(2, each())
    end)

    assert.equal(3, total())
  end)

  it("undoes an inner one alone", function()
    db.transaction(function(tx)
      insert(1)
      assert.is_false(pcall(tx.transaction, tx, function(inner)
        inner:exec("insert into numbers values (2)")
        error "no"
      end))
      local result = tx:transaction(function()
        insert(4)
        return "kept"
      end)
      assert.equal("kept", result)
      assert.is_false(pcall(db.transaction, function() -- the same, through the module
        insert(8)
        db.transaction(function() insert(16) end)
        error "no"
      end))
    end)

    assert.equal(5, total())
  end)

  it("survives a violated constraint inside", function()
    db.transaction(function()
      insert(1)
      local done, err = tycho.try(insert, 1)
      assert.is_nil(done)
      assert.equal("conflict", err.kind)
      insert(2)
    end)

    assert.equal(3, total())
  end)

  it("may only read", function()
    db.transaction(function(tx)
      assert.equal(0, tx:value("select count(*) from numbers"))
      fiber.all { function() insert(1) end }
      assert.equal(0, tx:value("select count(*) from numbers")) -- one state, to its end
      local done, err = tycho.try(tx.exec, tx, "insert into numbers values (2)")
      assert.is_nil(done)
      assert.equal("SQLITE_READONLY", err.detail)
    end, { read_only = true })

    assert.equal(1, total())
  end)

  it("is over when it is over", function()
    local kept
    db.transaction(function(tx) kept = tx end)

    assert.matches("db_transaction_spec.lua:%d+: the transaction is over",
      fault(function() kept:query("select 1") end))
  end)

  it("reports a commit that fails, and undoes all", function()
    db.script [[
      drop table if exists parts;
      create table parts(n references numbers deferrable initially deferred);
    ]]
    local done, err = tycho.try(db.transaction, function()
      insert(1)
      db.exec("insert into parts values (99)")
    end)

    assert.is_nil(done)
    assert.equal("SQLITE_CONSTRAINT_FOREIGNKEY", err.detail)
    assert.equal(0, total())
    db.script "drop table parts"
  end)

  it("does not commit what its fiber had no time to finish", function()
    local child = fiber.spawn(function()
      db.transaction(function()
        insert(1)
        pcall(fiber.sleep, 60)
      end)
    end)
    fiber.sleep(0.05)
    child:cancel()

    assert.is_false(pcall(child.join, child))
    assert.equal(0, total())
  end)

  it("ends with its fiber, even in a coroutine that nobody resumes", function()
    fiber.spawn(function()
      local co = coroutine.create(function()
        db.transaction(function()
          insert(1)
          coroutine.yield()
        end)
      end)
      assert(coroutine.resume(co))
    end):join()

    insert(2)
    assert.equal(2, total())
  end)

  it("ends with a fiber that is ended for trying to wait for ever", function()
    local child = fiber.spawn(function()
      db.transaction(function()
        insert(1)
        while true do
          pcall(fiber.sleep, 60)
        end
      end)
    end)
    child:cancel()

    assert.is_false(pcall(child.join, child))
    insert(2)
    assert.equal(2, total())
  end)

  it("holds up other writers, in order, and nobody who reads", function()
    local order = {}
    local function writer(name, pause)
      return function()
        db.transaction(function(tx)
          tx:exec("insert into numbers values ($1)", #order + 1)
          fiber.sleep(pause)
          order[#order + 1] = name
        end)
      end
    end

    fiber.all {
      writer("first", 0.05), writer("second", 0.02), writer("third", 0),
      function() order.seen = total() end,
    }

    assert.same({ "first", "second", "third", seen = 0 }, order)
  end)

  it("refuses what is no function, and options it does not know", function()
    assert.matches("db_transaction_spec.lua:%d+: a transaction is",
      fault(function() db.transaction(42) end))
    assert.matches("db_transaction_spec.lua:%d+: unknown option", fault(function()
      db.transaction(function() end, { readonly = true })
    end))
  end)
end)
