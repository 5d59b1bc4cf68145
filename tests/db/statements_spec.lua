-- Statements, the same on every database: `tests/support/with_database.sh` says which one it is.

local db = require "tycho.db"
local fiber = require "tycho.fiber"
local support = require "tests.db.support"

describe("tycho.db on " .. support.system, function()
  before_each(function()
    support.create("people",
      "id {id}, email varchar(200) not null unique, ok {boolean}, age {bigint}")
  end)

  local function add(...)
    for _, email in ipairs { ... } do
      db.exec("insert into people(email) values ($1)", email)
    end
  end

  it("returns rows, a row, a value, and what was done", function()
    local done = db.exec("insert into people(email, age) values ($1, $2), ($3, $4)", "ann", 31,
      "bob", 42)

    assert.equal(2, done.changes)
    assert.same({ { email = "ann" }, { email = "bob" } },
      db.query("select email from people order by email"))
    assert.same({ email = "bob", age = 42 },
      db.one("select email, age from people where email = $1", "bob"))
    assert.equal(31, db.value("select age from people where email = $1", "ann"))
    assert.equal(2, db.exec("update people set age = $1", 31).changes)
    assert.equal(1, db.exec("delete from people where email = $1", "ann").changes)
  end)

  it("returns nothing where there is nothing", function()
    assert.same({}, db.query("select * from people"))
    assert.is_nil(db.one("select * from people"))
    assert.is_nil(db.value("select id from people"))
    assert.equal(0, db.exec("delete from people").changes)
  end)

  it("takes placeholders in any order, and more than once", function()
    add("a", "b", "c")

    assert.same({ { email = "a" }, { email = "c" } }, db.query(
      "select email from people where email = $2 or email = $1 or email = $2 order by email",
      "c", "a"))
  end)

  it("takes placeholders only where they are none of a text, a name or a comment", function()
    add("$1")

    assert.equal("$1", db.value(
      "select email as \"$2\" from people /* $3 */ where email = '$1' and email = $1 -- $4", "$1"))
  end)

  it("never takes a value for a part of the statement", function()
    add("x'); delete from people; --", "\\'; drop table people; --", "\"`$1${}%s")

    assert.equal(3, db.value("select count(*) from people"))
    assert.equal(1, db.value("select count(*) from people where email = $1", "\"`$1${}%s"))
  end)

  it("wants as many values as there are placeholders", function()
    for _, values in ipairs { {}, { 1, 2, 3 } } do
      local err = support.failure(db.query, "select email from people where age = $1 or age = $2",
        unpack(values))
      assert.equal("internal", err.kind)
    end
    assert.equal(0, db.value("select count(*) from people where age = $1", nil))
  end)

  it("gives the last one of two columns with the same name, also if that is NULL", function()
    assert.same({ a = 2 }, db.one "select 1 as a, 2 as a")
    assert.same({}, db.one "select 1 as a, null as a")
  end)

  it("returns rows of nothing where there are such", function()
    if support.system ~= "postgresql" then
      return
    end
    assert.same({ {}, {} }, db.query "select from generate_series(1, 2)")
    assert.same({}, db.one "select")
    assert.is_nil(db.value "select")
  end)

  it("says where it was asked to store what no column holds", function()
    local function refused(fn)
      assert.matches("statements_spec.lua:%d+: %$%d is a %l+, which no column holds",
        support.fault(fn))
    end
    refused(function() db.query("select $1", {}) end)
    refused(function() db.transaction(function(tx) tx:one("select $1", print) end) end)
    refused(function() db.each("select $1", {}, print) end)
    refused(function() db.batch { { "select 1" }, { "select $1", {} } } end)
  end)

  it("runs one statement a call", function()
    support.failure(db.exec, "delete from people; delete from people")
    add "a"
    assert.equal(1, db.value("select count(*) from people;"))
  end)

  it("runs the same statement again after the table was changed", function()
    add "a"
    for _ = 1, 3 do
      assert.equal("a", db.one("select * from people").email)
    end
    db.exec("alter table people add column nickname varchar(20)")
    db.exec("update people set nickname = 'n'")
    for _ = 1, 3 do
      assert.equal("n", db.one("select * from people").nickname)
    end
    support.create("people", support.sql "id {id}, other {text}")
    db.exec("insert into people(other) values ('o')")
    assert.equal("o", db.one("select * from people").other)
  end)

  it("keeps apart many different statements", function()
    for i = 1, 300 do
      assert.equal(i, db.value(("select %d"):format(i)))
    end
    for i = 300, 1, -7 do
      assert.equal(i, db.value(("select %d"):format(i)))
    end
  end)

  it("answers each of many fibers with its own rows", function()
    local jobs = {}
    for i = 1, 200 do
      db.exec("insert into people(email, age) values ($1, $2)", "p" .. i, i)
      jobs[i] = function()
        return db.one("select email, age from people where age = $1", i)
      end
    end
    for i, row in ipairs(fiber.all(jobs)) do
      assert.same({ email = "p" .. i, age = i }, row)
    end
  end)

  it("keeps an error to the fiber whose statement it was", function()
    add "a"
    local jobs = {}
    for i = 1, 60 do
      jobs[i] = function()
        if i % 3 ~= 0 then
          return db.value("select email from people")
        end
        local err = support.failure(db.exec, "insert into people(email) values ('a')")
        return err.kind
      end
    end
    for i, result in ipairs(fiber.all(jobs)) do
      assert.equal(i % 3 == 0 and "conflict" or "a", result)
    end
  end)

  describe("batches", function()
    it("return the results in their order", function()
      add("a", "b")

      local found = db.batch {
        { "select email from people order by email" },
        { "select email from people where email = $1", "b", as = "one" },
        { "select email from people where email = $1", "nobody", as = "one" },
        { "select count(*) from people where email <> $1", "b", as = "value" },
        { "insert into people(email) values ($1)", "c", as = "exec" },
      }

      assert.equal(5, found.n)
      assert.same({ { email = "a" }, { email = "b" } }, found[1])
      assert.same({ email = "b" }, found[2])
      assert.is_nil(found[3])
      assert.equal(1, found[4])
      assert.equal(1, found[5].changes)
      assert.equal(3, db.value("select count(*) from people"))
    end)

    it("do all of it or nothing", function()
      local err = support.failure(db.batch, {
        { "insert into people(email) values ('a')", as = "exec" },
        { "insert into people(email) values ('a')", as = "exec" },
        { "insert into people(email) values ('b')", as = "exec" },
      })

      assert.equal("conflict", err.kind)
      assert.equal(2, err.statement)
      assert.equal(0, db.value("select count(*) from people"))
    end)

    it("of twenty run in many fibers", function()
      for i = 1, 50 do
        db.exec("insert into people(email, age) values ($1, $2)", "p" .. i, i)
      end
      local jobs = {}
      for i = 1, 20 do
        jobs[i] = function()
          local list = {}
          for k = 1, 20 do
            list[k] = { "select email from people where age = $1", i + k, as = "value" }
          end
          return db.batch(list)
        end
      end
      for i, results in ipairs(fiber.all(jobs)) do
        for k = 1, 20 do
          assert.equal("p" .. i + k, results[k])
        end
      end
    end)

    it("may be slow, and be given up by whoever asked", function()
      if support.system ~= "postgresql" then
        return
      end
      local ok, err = pcall(fiber.timeout, 0.4, function()
        db.batch { { "select pg_sleep(20)" }, { "select 1" } }
      end)

      assert.is_false(ok)
      assert.equal("timeout", err.kind)
      assert.equal(0, db.value "select count(*) from people")
    end)

    it("are lists of statements", function()
      assert.matches("statements_spec.lua:%d+: statement 1 of the batch",
        support.fault(function() db.batch { "select 1" } end))
      assert.matches("statement 1 of the batch: as",
        support.fault(function() db.batch { { "select 1", as = "rows" } } end))
      assert.same({ n = 0 }, db.batch {})
      for _, wrong in ipairs { { n = -4 }, { n = 0 }, { n = 1.5 }, { n = "1" }, { n = 1e9 },
                               { [1e6] = 5 }, { sa = "one" } } do
        wrong[1] = "select 1"
        assert.matches("statements_spec.lua:%d+: statement 2 of the batch: ",
          support.fault(function() db.batch { { "select 1" }, wrong } end))
      end
      assert.matches("statement 2 of the batch",
        support.fault(function() db.batch { { "select 1" }, nil, { "select 2" } } end))
      local list = {}
      for i = 1, 1001 do
        list[i] = { "select 1" }
      end
      assert.matches("statements_spec.lua:%d+: a batch has at most 1000 statements, not 1001",
        support.fault(function() db.batch(list) end))
    end)
  end)

  describe("each", function()
    local function fill(count)
      db.transaction(function()
        for i = 1, count do
          db.exec("insert into people(email, age) values ($1, $2)", "p" .. i, i)
        end
      end)
    end

    it("calls with every row, in order", function()
      fill(1000)
      local sum, last = 0, 0
      local count = db.each("select age from people where age > $1 order by age", 10, function(row)
        assert.is_true(row.age > last)
        sum, last = sum + row.age, row.age
      end)

      assert.equal(990, count)
      assert.equal(500500 - 55, sum)
    end)

    it("ends when it is told to, and where it raises", function()
      fill(600)
      local seen = 0
      assert.equal(300, db.each("select age from people", function()
        seen = seen + 1
        return seen < 300
      end))
      assert.matches("enough", support.fault(db.each, "select age from people", function()
        error "enough"
      end))
      assert.equal(0, db.each("select age from people where age < 0", error))
    end)

    it("may ask more while it reads, and read within reading", function()
      fill(300)
      local pairs_seen = 0
      db.transaction(function(tx)
        tx:each("select age from people where age <= 3 order by age", function(outer)
          tx:each("select age from people where age > $1 order by age", outer.age, function(inner)
            pairs_seen = pairs_seen + 1
            if inner.age == outer.age + 1 then
              assert.equal("p" .. inner.age,
                tx:value("select email from people where age = $1", inner.age))
            end
          end)
        end)
      end)
      assert.equal(299 + 298 + 297, pairs_seen)
    end)

    it("takes a query and a function", function()
      assert.matches("statements_spec.lua:%d+: each: the last argument",
        support.fault(function() db.each("select 1") end))
      support.failure(db.each, "insert into people(email) values ('a')", function() end)
      assert.equal(0, db.value("select count(*) from people"))
    end)
  end)

  describe("scripts", function()
    it("run several statements", function()
      db.script [[
        insert into people(email) values ('a;b');
        -- a comment; with a semicolon
        insert into people(email) values ('c');
      ]]

      assert.equal(2, db.value("select count(*) from people"))
    end)

    it("have no placeholders, which nothing could fill", function()
      local err = support.failure(db.script, [[
        insert into people(email) values ('a');
        insert into people(email, age) values ('b', $1);
      ]])

      assert.equal("internal", err.kind)
      assert.equal(0, db.value("select count(*) from people"))
    end)
  end)
end)
