-- Transactions, the same on every database.

local db = require "tycho.db"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local support = require "tests.db.support"
local tycho = require "tycho"

local SYSTEM = support.system

describe("transactions of " .. SYSTEM, function()
  before_each(function()
    support.create("numbers", "id {id}, n {bigint} unique")
  end)

  local function insert(n)
    return db.exec("insert into numbers(n) values ($1)", n)
  end

  local function all()
    local list = {}
    for i, row in ipairs(db.query "select n from numbers order by n") do
      list[i] = row.n
    end
    return list
  end

  it("commit what they did, and return what they returned", function()
    local a, b, c = db.transaction(function(tx)
      tx:exec("insert into numbers(n) values ($1)", 1)
      insert(2)
      return 1, nil, 3
    end)

    assert.same({ 1, nil, 3 }, { a, b, c })
    assert.same({ 1, 2 }, all())
  end)

  it("undo all of it when they raise", function()
    local ok, err = pcall(db.transaction, function()
      insert(1)
      error(errors.new("limited", "enough"), 0)
    end)

    assert.is_false(ok)
    assert.equal("limited", err.kind)
    assert.same({}, all())
  end)

  it("undo only the inner one when that raises", function()
    db.transaction(function(tx)
      insert(1)
      tycho.try(tx.transaction, tx, function()
        insert(2)
        error(errors.new("limited", "no"), 0)
      end)
      tx:transaction(function(inner)
        inner:exec "insert into numbers(n) values (3)"
        tycho.try(inner.transaction, inner, function()
          insert(4)
          insert(1) -- is there
        end)
      end)
      insert(5)
    end)

    assert.same({ 1, 3, 5 }, all())
  end)

  it("are not seen by others before they commit", function()
    db.transaction(function()
      insert(1)
      local seen = fiber.spawn(function() return db.value "select count(*) from numbers" end)
      assert.equal(0, seen:join())
    end)
    assert.same({ 1 }, all())
  end)

  it("only read when they say so", function()
    db.transaction(function()
      assert.equal(0, db.value "select count(*) from numbers")
    end, { read_only = true })
    local err = support.failure(db.transaction, function() insert(1) end, { read_only = true })

    assert.is_string(err.kind)
    assert.same({}, all())
  end)

  it("see one state when they are repeatable", function()
    insert(1)
    db.transaction(function()
      assert.equal(1, db.value "select count(*) from numbers")
      if SYSTEM ~= "sqlite" then -- there one writes at a time
        fiber.spawn(function() insert(2) end):join()
      end
      assert.equal(1, db.value "select count(*) from numbers")
    end, { isolation = "repeatable read" })
  end)

  it("say again which error ended them, if nobody minded it", function()
    if SYSTEM == "mysql" then -- where few errors do
      return
    end
    local again = SYSTEM == "sqlite" and "insert or rollback into numbers(n) values (1)"
      or "insert into numbers(n) values (1)"
    local err = support.failure(db.transaction, function(tx)
      insert(1)
      pcall(tx.exec, tx, again)
      local late = support.failure(insert, 2)
      assert.equal("transaction.rolled_back", late.detail)
      assert.matches("by an earlier error: .*[Uu][Nn][Ii][Qq][Uu][Ee]", late.message)
    end)

    assert.equal("transaction.rolled_back", err.detail)
    assert.matches("by an earlier error: .*[Uu][Nn][Ii][Qq][Uu][Ee]", err.message)
    assert.same({}, all())
  end)

  it("see what others commit meanwhile as their isolation says", function()
    if SYSTEM == "sqlite" then -- there one writes at a time
      return
    end
    local function counted_twice(isolation)
      db.exec "delete from numbers"
      return db.transaction(function()
        local before = db.value "select count(*) from numbers"
        fiber.spawn(insert, 1):join()
        return before, db.value "select count(*) from numbers"
      end, { isolation = isolation })
    end

    assert.same({ 0, 1 }, { counted_twice "read committed" })
    assert.same({ 0, 0 }, { counted_twice "repeatable read" })
    assert.same({ 0, 0 }, { counted_twice(SYSTEM == "postgresql" and "serializable"
      or "repeatable read") }) -- elsewhere a serializable one locks what it reads
    assert.same({ 0, 1 }, { counted_twice "read committed" }) -- and nothing stays
  end)

  it("run again when others made them fail, if they are told to", function()
    if SYSTEM ~= "postgresql" then
      return
    end
    db.exec "insert into numbers(n) values (0)"
    local runs = 0
    local jobs = {}
    for i = 1, 8 do
      jobs[i] = function()
        db.transaction(function(tx)
          runs = runs + 1
          local n = tx:value "select n from numbers"
          fiber.sleep(0.005)
          tx:exec("update numbers set n = $1", n + 1)
        end, { isolation = "serializable", retry = 20 })
      end
    end
    fiber.all(jobs)

    assert.same({ 8 }, all())
    assert.is_true(runs > 8)
  end)

  it("are over when they are over", function()
    local kept
    db.transaction(function(tx) kept = tx end)

    assert.matches("the transaction is over", support.fault(kept.query, kept, "select 1"))
  end)

  it("are undone when their time is up", function()
    local ok, err = pcall(fiber.timeout, 0.1, function()
      db.transaction(function()
        insert(1)
        fiber.sleep(10)
      end)
    end)

    assert.is_false(ok)
    assert.equal("timeout", err.kind)
    assert.same({}, all())
    insert(1)
    assert.same({ 1 }, all())
  end)

  it("hold up nobody for ever: a hundred of them at once", function()
    local jobs = {}
    for i = 1, 100 do
      jobs[i] = function()
        db.transaction(function() insert(i) end)
      end
    end
    fiber.all(jobs)

    assert.equal(100, #all())
  end)

  it("take options that there are", function()
    assert.matches('unknown option "isolaton", did you mean "isolation"',
      support.fault(db.transaction, function() end, { isolaton = "x" }))
    assert.matches("isolation:", support.fault(db.transaction, function() end, { isolation = "x" }))
    assert.matches("retry:", support.fault(db.transaction, function() end, { retry = -1 }))
  end)
end)
