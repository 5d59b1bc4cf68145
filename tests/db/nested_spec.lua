-- Transactions in one another, across fibers and across coroutines, the same on every database.

local db = require "tycho.db"
local fiber = require "tycho.fiber"
local support = require "tests.db.support"
local tycho = require "tycho"

local SYSTEM = support.system

-- Takes longer than anybody waits here.
local SLOW = ({
  postgresql = "select pg_sleep(60)",
  mysql = "select sleep(60)",
  sqlite = "with recursive c(n) as (select 1 union all select n + 1 from c) select count(*) from c",
})[SYSTEM]

describe("transactions in transactions of " .. SYSTEM, function()
  before_each(function()
    support.create("numbers", "id {id}, n {bigint} unique")
  end)

  local function insert(n, where)
    local sql = "insert into numbers(n) values ($1)"
    return where and where:exec(sql, n) or db.exec(sql, n)
  end

  local function all()
    local list = {}
    for i, row in ipairs(db.query "select n from numbers order by n") do
      list[i] = row.n
    end
    return list
  end

  -- A child that asks something slow of `tx`, when it has been sent.
  local function slow_child(tx)
    local child = fiber.spawn(function()
      local _, err = tycho.try(tx.query, tx, SLOW)
      return err
    end)
    fiber.sleep(0.1)
    return child
  end

  it("end what a child still does in them when they raise", function()
    local child, waiting
    fiber.timeout(20, db.transaction, function(tx)
      insert(1)
      pcall(tx.transaction, tx, function(inner)
        insert(2, inner)
        child = slow_child(inner)
        waiting = fiber.spawn(function() return (select(2, tycho.try(insert, 3, inner))) end)
        fiber.sleep(0)
        error "no"
      end)
      insert(4)
    end)

    for _, ended in ipairs { child, waiting } do
      local err = ended:join()
      assert.equal("cancelled", err.kind)
      assert.equal("transaction.undone", err.detail)
    end
    assert.same({ 1, 4 }, all())
  end)

  it("end it when the outermost one raises, too", function()
    local child
    local ok, err = pcall(fiber.timeout, 20, db.transaction, function(tx)
      insert(1)
      child = slow_child(tx)
      error("no", 0)
    end)

    assert.same({ false, "no" }, { ok, err })
    assert.equal("transaction.undone", child:join().detail)
    assert.same({}, all())
  end)

  it("are one fiber's at a time: what others do would be undone with it", function()
    local words = "nested_spec.lua:%d+: another fiber has a transaction open in this one"
    local function refused(...)
      assert.matches(words, support.fault(...))
    end

    db.transaction(function(tx)
      insert(1)
      local other = fiber.spawn(function()
        tx:transaction(function(inner)
          insert(2, inner)
          fiber.sleep(0.1)
          insert(3, inner)
        end)
      end)
      refused(function() tx:transaction(function() end) end)
      refused(function() tx:query "select 1" end)
      refused(function() insert(4) end)
      refused(function() db.batch { { "select 1" } } end)
      other:join()
      insert(5)
    end)

    assert.same({ 1, 2, 3, 5 }, all())
  end)

  it("begin in the innermost one, through whichever they are asked for", function()
    db.transaction(function(tx)
      tx:transaction(function(inner)
        insert(1)
        pcall(tx.transaction, tx, function()
          insert(2)
          error "no"
        end)
        tx:transaction(function() insert(3) end)
        insert(4, inner)
      end)
      insert(5)
    end)

    assert.same({ 1, 3, 4, 5 }, all())
  end)

  it("are over when they are over", function()
    db.transaction(function(tx)
      local kept
      tx:transaction(function(inner) kept = inner end)

      assert.matches("nested_spec.lua:%d+: the transaction is over",
        support.fault(function() kept:query "select 1" end))
      assert.matches("the transaction is over",
        support.fault(function() kept:transaction(function() end) end))
      insert(1)
    end)
    assert.same({ 1 }, all())
  end)

  it("take options, but the isolation of the outermost one", function()
    assert.matches('nested_spec.lua:%d+: unknown option "isolaton"', support.fault(db.transaction,
      function(tx) tx:transaction(function() end, { isolaton = "x" }) end))
    db.transaction(function(tx)
      tx:transaction(function() insert(1) end, { isolation = "read committed", retry = 2 })
    end, { isolation = "serializable" })
    if SYSTEM ~= "sqlite" then -- which is always serializable
      assert.matches("nested_spec.lua:%d+: isolation: \"serializable\" has to be said of the outer",
        support.fault(db.transaction, function()
          db.transaction(function() insert(2) end, { isolation = "serializable" })
        end))
    end
    assert.same({ 1 }, all())
  end)

  it("commit nothing when the server has undone all of it", function()
    if SYSTEM ~= "mysql" then -- elsewhere a deadlock undoes what is behind the savepoint
      return
    end
    insert(1)
    insert(2)
    local function meet(first, second)
      return function()
        return tycho.try(db.transaction, function(tx)
          tx:exec("update numbers set n = n + 10 where n = $1", first)
          fiber.sleep(0.2)
          local _, err = tycho.try(tx.transaction, tx, function(inner)
            inner:exec("update numbers set n = n + 100 where n = $1", second)
          end)
          insert(first + 1000, tx)
          return err and "went on" or "done"
        end) or "failed"
      end
    end
    local results = fiber.all { meet(1, 2), meet(2, 1) }

    table.sort(results)
    assert.same({ "done", "failed" }, results)
    assert.equal(1, db.value "select count(*) from numbers where n > 1000")
  end)

  it("keep nothing of a batch that fails", function()
    if SYSTEM == "postgresql" then -- where an error ends the transaction
      return
    end
    db.transaction(function(tx)
      insert(1)
      for _, batch in ipairs { db.batch, function(list) return tx:batch(list) end } do
        local err = support.failure(batch, {
          { "insert into numbers(n) values (2)", as = "exec" },
          { "insert into numbers(n) values (1)", as = "exec" },
        })
        assert.equal(2, err.statement)
      end
      insert(3)
    end)

    assert.same({ 1, 3 }, all())
  end)

  describe("and coroutines:", function()
    it("one that sleeps keeps its transaction to itself", function()
      local co = coroutine.create(function()
        db.transaction(function()
          insert(1)
          coroutine.yield()
          insert(2)
        end)
      end)
      assert(coroutine.resume(co))

      assert.same({}, all())
      assert(coroutine.resume(co))
      assert.same({ 1, 2 }, all())
    end)

    it("they end in any order", function()
      local function in_turns()
        return coroutine.create(function()
          db.transaction(function()
            assert.equal(0, db.value "select count(*) from numbers")
            coroutine.yield()
            assert.equal(0, db.value "select count(*) from numbers")
          end, { read_only = true })
        end)
      end
      local first, second = in_turns(), in_turns()
      for _, co in ipairs { first, second, first, second } do
        assert(coroutine.resume(co))
      end
      insert(1)
      assert.same({ 1 }, fiber.spawn(all):join())
    end)

    it("one that nobody resumes any more takes its transaction along", function()
      local function abandon()
        local co = coroutine.create(function()
          db.transaction(function()
            insert(1)
            coroutine.yield()
          end)
        end)
        assert(coroutine.resume(co))
      end
      abandon()
      fiber.sleep(0) -- over what is left of it on the stack
      collectgarbage()
      collectgarbage()

      insert(1)
      assert.same({ 1 }, fiber.spawn(all):join())
    end)
  end)
end)
