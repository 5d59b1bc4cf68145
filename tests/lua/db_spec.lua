local db = require "tycho.db"
local fiber = require "tycho.fiber"
local json = require "tycho.json"
local tycho = require "tycho"

-- Takes minutes, unless it is stopped.
local ENDLESS = [[with recursive n(i) as (select 1 union all select i + 1 from n)
  select count(*) from n where i < 0]]

-- What the call says is wrong with the program; luassert's own would cut the position off.
local function fault(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

describe("tycho.db", function()
  before_each(function()
    db.script [[
      drop table if exists notes;
      drop table if exists people;
      create table people(id integer primary key, email text not null unique, ok boolean,
        age integer check (age > 0));
      create table notes(id integer primary key, person_id integer references people(id), body);
    ]]
  end)

  describe("queries", function()
    it("return rows, a row, a value, what was done", function()
      local done = db.exec("insert into people(email, age) values ($1, $2), ($3, $4)",
        "ann@example.com", 31, "bob@example.com", 42)

      assert.same({ changes = 2, last_id = 2 }, done)
      assert.same({ { email = "ann@example.com" }, { email = "bob@example.com" } },
        db.query("select email from people order by id"))
      assert.same({ id = 2, age = 42 }, db.one("select id, age from people where id = $1", 2))
      assert.equal(73, db.value("select sum(age) from people"))
    end)

    it("return nothing where there is nothing", function()
      assert.same({}, db.query("select * from people"))
      assert.is_nil(db.one("select * from people"))
      assert.is_nil(db.value("select id from people"))
      assert.same({ changes = 0 }, db.exec("delete from people"))
    end)

    it("return what was written", function()
      local row = db.one("insert into people(email) values ($1) returning *", "ann@example.com")

      assert.same({ id = 1, email = "ann@example.com" }, row)
    end)

    it("write more rows than they show", function()
      db.one("insert into people(email) values ('a'), ('b'), ('c') returning *")

      assert.equal(3, db.value("select count(*) from people"))
    end)

    it("take placeholders in any order, and more than once", function()
      assert.equal("b-a-b", db.value("select $2 || '-' || $1 || '-' || $2", "a", "b"))
    end)

    it("never take a value for a part of the statement", function()
      db.exec("insert into people(email) values ($1)", "x'); delete from people; --")

      assert.equal("x'); delete from people; --", db.value("select email from people"))
    end)

    it("run next to each other", function()
      local results = fiber.all {
        function() return db.value("select 1") end,
        function() return db.value("select 2") end,
        function() return db.value("select 3") end,
      }

      assert.same({ 1, 2, 3 }, results)
    end)
  end)

  describe("values", function()
    local function back(value)
      return db.value("select $1", value)
    end

    it("come back as they went in", function()
      assert.equal(42, back(42))
      assert.equal(-0.5, back(-0.5))
      assert.equal("schön", back("schön"))
      assert.equal("", back(""))
      assert.equal(1e300, back(1e300))
      assert.equal(math.huge, back(math.huge))
    end)

    it("may be integers of 64 bits", function()
      assert.equal("9223372036854775807LL", tostring(back(9223372036854775807LL)))
      assert.equal("-9223372036854775808LL", tostring(back(-9223372036854775807LL - 1LL)))
      assert.equal("9007199254740993LL", tostring(back(9007199254740993LL)))
      assert.equal(9007199254740991, back(9007199254740991LL))
      assert.equal(7, back(7ULL))
      assert.equal("integer", db.value("select typeof($1)", 3.0))
      assert.equal("real", db.value("select typeof($1)", 3.5))
    end)

    it("may be bytes of any kind", function()
      local bytes = "a\0b\255" .. ("\1"):rep(100000)

      assert.equal(bytes, back(db.blob(bytes)))
      assert.equal("", back(db.blob ""))
      assert.equal("blob", db.value("select typeof($1)", db.blob "x"))
    end)

    it("may be missing", function()
      assert.is_nil(back(nil))
      assert.is_nil(back(db.null))
      assert.equal(json.null, db.null)
      assert.equal(1, db.value("select $1 is null and $2 is null and $3 = 3", nil, db.null, 3))
      assert.same({ b = 2 }, db.one("select null as a, 2 as b"))
    end)

    it("are booleans in columns that say so", function()
      db.exec("insert into people(email, ok) values ('a', $1), ('b', $2)", true, false)

      assert.same({ { ok = true }, { ok = false } }, db.query("select ok from people order by id"))
      assert.equal(1, db.value("select $1", true))
    end)

    it("are refused when they cannot be stored as they are", function()
      for _, value in ipairs { "\255", "a\0b", 0 / 0, 9223372036854775808ULL } do
        local result, err = tycho.try(back, value)
        assert.is_nil(result)
        assert.equal("invalid", err.kind)
      end
    end)

    it("are the program's fault when no column can hold them", function()
      assert.matches("db_spec.lua:%d+: %$1 is a table",
        fault(function() db.value("select $1", {}) end))
      assert.matches("%$2 is a function", fault(function() db.value("select $2", 1, print) end))
    end)
  end)

  describe("errors", function()
    local function fails(sql, ...)
      local result, err = tycho.try(db.exec, sql, ...)
      assert.is_nil(result)
      return err
    end

    it("name the constraint", function()
      db.exec("insert into people(email) values ('a')")

      local err = fails("insert into people(email) values ('a')")
      assert.equal("conflict", err.kind)
      assert.equal("SQLITE_CONSTRAINT_UNIQUE", err.detail)
      assert.equal("people.email", err.constraint)
      assert.equal("people.email", fails("insert into people(email) values (null)").constraint)
      assert.equal("age > 0", fails("insert into people(email, age) values ('b', 0)").constraint)
      err = fails("insert into notes(person_id) values (99)")
      assert.equal("SQLITE_CONSTRAINT_FOREIGNKEY", err.detail)
    end)

    it("tell a wrong statement from a wrong value", function()
      assert.equal("internal", fails("insert into nowhere values (1)").kind)
      assert.equal("internal", fails("select 1; select 2").kind)
      assert.equal("internal", fails("select $1", 1, 2).kind)
      assert.equal("internal", fails("select ?").kind)
      assert.equal("internal", fails("select 1\0; select 2").kind)
      assert.matches("db_spec.lua:%d+: a statement is a string", fault(function() db.query(42) end))
    end)

    it("refuse a script that SQLite would not read to its end", function()
      assert.is_false(pcall(db.script, "insert into notes(body) values ('a');\0 insert into notes"))

      assert.equal(0, db.value "select count(*) from notes")
    end)

    it("are raised for what belongs to the connection", function()
      assert.matches("db.transaction", fails("begin").message)
      assert.equal("SQLITE_AUTH", fails("pragma foreign_keys = off").detail)
      assert.equal("SQLITE_AUTH", fails("attach 'x' as y").detail)
    end)

    it("are raised for a database that is not configured", function()
      local result, err = tycho.try(db.use("nowhere").query, "select 1")

      assert.is_nil(result)
      assert.matches("databases.nowhere.url", err.message)
    end)

    it("are raised where one cannot wait", function()
      assert.error_matches(function()
        table.sort({ 2, 1 }, function() return db.value("select 1") end)
      end, "cannot wait here")
    end)
  end)

  describe("deadlines", function()
    it("stop a query", function()
      local ok, err = pcall(fiber.timeout, 0.1, db.query, ENDLESS)

      assert.is_false(ok)
      assert.equal("timeout", err.kind)
      for i = 1, 8 do -- every connection works
        assert.equal(i, db.value("select $1", i))
      end
    end)

    it("undo the transaction they end", function()
      local ok, err = pcall(fiber.timeout, 0.1, db.transaction, function(tx)
        tx:exec("insert into people(email) values ('a')")
        tx:query(ENDLESS)
      end)

      assert.is_false(ok)
      assert.equal("timeout", err.kind)
      assert.equal(0, db.value("select count(*) from people"))
    end)

    it("undo a transaction that swallowed the error", function()
      local ok, err = pcall(fiber.timeout, 0.1, db.transaction, function(tx)
        tx:exec("insert into people(email) values ('a')")
        pcall(tx.query, tx, ENDLESS)
      end)

      assert.is_false(ok)
      assert.equal("timeout", err.kind)
      assert.equal(0, db.value("select count(*) from people"))
    end)

    it("let go of what waits for a connection", function()
      local holder = fiber.spawn(function()
        db.transaction(function(tx)
          tx:exec("insert into people(email) values ('a')")
          fiber.sleep(0.3)
        end)
      end)
      fiber.sleep(0.05)

      local ok, err = pcall(fiber.timeout, 0.05, db.transaction, function() end)

      assert.is_false(ok)
      assert.equal("timeout", err.kind)
      holder:join()
      assert.equal(1, db.value("select count(*) from people"))
      db.exec("delete from people")
    end)

    it("cancel the queries of children", function()
      local child = fiber.spawn(function() db.query(ENDLESS) end)
      fiber.sleep(0.05)
      child:cancel()

      local ok, err = pcall(child.join, child)
      assert.is_false(ok)
      assert.equal("cancelled", err.kind)
    end)
  end)
end)
