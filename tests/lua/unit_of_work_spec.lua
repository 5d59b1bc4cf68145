local db = require "tycho.db"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local test = require "tycho.test"
local tycho = require "tycho"
local unit_of_work = require "tycho.unit_of_work"

-- What the call says is wrong with the program.
local function fault(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function fail()
  error(errors.new("conflict", "no"), 0)
end

describe("tycho.unit_of_work", function()
  before_each(function()
    db.exec "drop table if exists uow_marks"
    db.exec "create table uow_marks (n integer not null, primary key (n))"
  end)

  local function mark(n)
    db.exec("insert into uow_marks (n) values ($1)", n)
  end

  local function marks()
    local list = {}
    for i, row in ipairs(db.query "select n from uow_marks order by n") do
      list[i] = row.n
    end
    return table.concat(list, " ")
  end

  it("counts when it returns, and hands on what was returned", function()
    local a, b = unit_of_work.run(function()
      mark(1)
      mark(2)
      return "a", nil
    end)

    assert.same({ "a", nil }, { a, b })
    assert.equal("1 2", marks())
  end)

  it("is undone when it raises, with whatever was raised", function()
    local ok, err = pcall(unit_of_work.run, function()
      mark(1)
      fail()
    end)

    assert.is_false(ok)
    assert.equal("conflict", err.kind)
    assert.equal("", marks())
  end)

  it("begins when the database is first asked for something", function()
    unit_of_work.run(function()
      fiber.spawn(mark, 1):join() -- nobody has the database yet

      mark(2)
      assert.equal("1 2", marks())
      assert.equal(1, fiber.spawn(db.value, "select count(*) from uow_marks"):join())
    end)

    assert.equal("1 2", marks())
  end)

  it("does nothing to a database that it never asks", function()
    assert.equal(5, unit_of_work.run(function() return 5 end))
    assert.equal("conflict", select(2, pcall(unit_of_work.run, fail)).kind)
    assert.is_false(unit_of_work.is_active())
    mark(1)
    assert.equal("1", marks())
  end)

  it("takes part in a transaction, and transactions take part in it", function()
    db.transaction(function()
      mark(1)
      tycho.try(unit_of_work.run, function()
        mark(2)
        fail()
      end)
      unit_of_work.run(function() mark(3) end)
    end)
    tycho.try(unit_of_work.run, function()
      db.transaction(function() mark(4) end)
      fail()
    end)

    assert.equal("1 3", marks())
  end)

  it("is undone when its time is up", function()
    local ok, err = pcall(fiber.timeout, 0.05, function()
      unit_of_work.run(function()
        mark(1)
        fiber.sleep(30)
      end)
    end)

    assert.is_false(ok)
    assert.equal("timeout", err.kind)
    assert.equal("", marks())
  end)

  it("is done again only where that may help, and not for ever", function()
    local tries = 0
    local function conflict(detail)
      tries = 0
      return select(2, pcall(unit_of_work.run, function()
        tries = tries + 1
        mark(tries)
        error(errors.new("conflict", "no", { detail = detail }), 0)
      end, { retry = 2 }))
    end

    assert.equal("40001", conflict("40001").detail)
    assert.equal(3, tries)
    assert.equal("23505", conflict("23505").detail)
    assert.equal(1, tries)
    assert.equal("", marks())
  end)

  it("leaves it to a transaction around it to begin again", function()
    local function attempts(detail)
      local count = 0
      pcall(db.transaction, function()
        unit_of_work.run(function()
          count = count + 1
          error(errors.new("conflict", "no", { detail = detail }), 0)
        end, { retry = 2 })
      end)
      return count
    end

    assert.equal(1, attempts "40001")
    assert.equal(1, attempts "40P01")
    assert.equal(3, attempts "STALE")
  end)

  it("knows whether there is one", function()
    assert.is_false(unit_of_work.is_active())
    unit_of_work.run(function()
      assert.is_true(unit_of_work.is_active())
      assert.is_false(fiber.spawn(unit_of_work.is_active):join())
    end)
    assert.is_false(unit_of_work.is_active())
  end)

  it("refuses what it does not understand", function()
    assert.is_truthy(fault(unit_of_work.run, 5):find("a function is wanted", 1, true))
    assert.is_truthy(fault(unit_of_work.run, fail, { retyr = 1 })
      :find('unknown option "retyr", did you mean "retry"?', 1, true))
    assert.is_truthy(fault(unit_of_work.per_request, { retry = 1 })
      :find("not done again", 1, true))
  end)

  it("is a request, where it is said so", function()
    local request = test.application(function(app)
      app.use(unit_of_work.per_request())
      app.post("/mark/{n}", function(req)
        mark(tonumber(req.params.n))
        return { marks = marks() }
      end)
      app.post("/raise/{n}", function(req)
        mark(tonumber(req.params.n))
        fail()
      end)
      app.post("/refuse/{n}", function(req)
        mark(tonumber(req.params.n))
        return app.response(422, { no = true })
      end)
      app.get("/nothing", function() return { ok = true } end)
    end)

    assert.equal("1", request("POST", "/mark/1").json.marks)
    assert.equal(409, request("POST", "/raise/2").status)
    assert.equal(422, request("POST", "/refuse/3").status)
    assert.equal(409, request("POST", "/mark/1").status)
    assert.equal(200, request("GET", "/nothing").status)
    assert.equal("1", marks())
  end)
end)
