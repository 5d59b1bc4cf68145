local db = require "tycho.db"
local json = require "tycho.json"
local query = require "tycho.query"

-- What the call says is wrong with the program.
local function fault(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function sql_of(q, system)
  local sql, params = q:build(system or "postgresql")
  params.n = nil
  return sql, params
end

describe("tycho.query", function()
  before_each(function()
    db.script [[
      drop table if exists q_orders;
      drop table if exists q_users;
      create table q_users(id integer primary key, email text not null unique, team text,
        hits integer not null default 0);
      create table q_orders(id integer primary key, user_id integer references q_users(id),
        amount integer, state text);
      insert into q_users(id, email, team) values (1, 'ann@example.com', 'red'),
        (2, 'Bob@example.com', null), (3, 'a%c_d[e]f!g@example.com', 'blue');
      insert into q_orders(user_id, amount, state) values (1, 10, 'NEW'), (1, 20, 'PAID'),
        (2, 30, 'PAID'), (3, 40, null);
    ]]
  end)

  local function ids(condition)
    local found = {}
    for i, row in ipairs(query.from("q_users"):where(condition):order("id"):all()) do
      found[i] = row.id
    end
    return table.concat(found, " ")
  end

  describe("a filter", function()
    it("becomes parameters, never text", function()
      local evil = "x'; drop table q_users; --"

      local sql, params = sql_of(query.from("q_users"):where { email = evil, id__gt = 1 })

      assert.equal('select * from "q_users" where ("email" = $1 and "id" > $2)', sql)
      assert.same({ evil, 1 }, params)
      assert.equal("", ids { email = evil })
    end)

    it("leaves out what is nil", function()
      assert.equal("1 2 3", ids { email = nil, query.any_of { team = nil } })
      assert.equal("1 2 3", ids(nil))
      assert.equal("1", ids { team = "red", email = nil })
      assert.equal('select * from "t"', (sql_of(query.from("t"):where {})))
    end)

    it("takes a list for any of its values, and an empty one for none", function()
      assert.equal("1 3", ids { id = { 1, 3, 77 } })
      assert.equal("", ids { id = {} })
      assert.equal("", ids { id = json.array {} })
      assert.equal("2", ids { id__not_in = { 1, 3 } })
      assert.equal("1 2 3", ids { id__not_in = {} })
      assert.equal("1 2", ids { team = { "red", db.null } })
    end)

    it("leads to the same statement for lists of nearly the same length", function()
      local three = sql_of(query.from("t"):where { id = { 1, 2, 3 } })
      local four = sql_of(query.from("t"):where { id = { 1, 2, 3, 4 } })

      assert.equal('select * from "t" where "id" in ($1, $2, $3, $3)', three)
      assert.equal('select * from "t" where "id" in ($1, $2, $3, $4)', four)
    end)

    it("knows NULL", function()
      assert.equal("2", ids { team = db.null })
      assert.equal("1 3", ids { team__ne = db.null })
      assert.equal("2", ids { team__is_null = true })
      assert.equal("1 3", ids { team__is_null = false })
      assert.equal("3", ids { team__ne = "red" })
    end)

    it("has operators behind the names", function()
      assert.equal("2 3", ids { id__ge = 2 })
      assert.equal("2", ids { id__gt = 1, id__lt = 3 })
      assert.equal("1 2", ids { id__between = { 1, 2 } })
      assert.equal("1", ids { id__le = 1, id__ne = 5 })
      assert.equal("3", ids { team__eq = "blue" })
    end)

    it("groups", function()
      assert.equal("1 2", ids { query.any_of { team = "red", id = 2 } })
      assert.equal("3", ids { query.none_of { email = "ann@example.com", id = 2 } })
      assert.equal("1 3", ids {
        query.any_of { query.all_of { team = "red", id = 1 }, { team = "blue", id__gt = 2 } },
      })
      assert.equal('select * from "t" where ("a" = $1 and ("b" = $2 or "c" = $3))',
        (sql_of(query.from("t"):where { a = 1, query.any_of { b = 2, c = 3 } })))
    end)

    it("finds parts of texts, whatever stands in them", function()
      assert.equal("1", ids { email__starts_with = "ann" })
      assert.equal("", ids { email__starts_with = "bob" })
      assert.equal("2", ids { email__istarts_with = "bob" })
      assert.equal("1 2 3", ids { email__ends_with = ".com" })
      assert.equal("3", ids { email__contains = "%c_d" })
      assert.equal("3", ids { email__contains = "[e]f!g" })
      assert.equal("", ids { email__contains = "a_c" })
      assert.equal("", ids { email__icontains = "A_C" })
      assert.equal("3", ids { email__icontains = "A%C_D[E]F!G" })
    end)

    it("finds parts of texts in the words of each database", function()
      local q = query.from("t"):where { a__contains = "5%*", b__iends_with = "x" }

      assert.same({ 'select * from "t" where ("a" like $1 escape \'!\' and '
        .. '"b" ilike $2 escape \'!\')', { "%5!%*%", "%x" } }, { sql_of(q) })
      assert.same({ 'select * from "t" where ("a" glob $1 and "b" like $2 escape \'!\')',
        { "*5%[*]*", "%x" } }, { sql_of(q, "sqlite") })
      assert.same({ 'select * from "t" where ("a" like $1 collate utf8mb4_bin escape \'!\' and '
        .. 'lower("b") like lower($2) escape \'!\')', { "%5!%*%", "%x" } }, { sql_of(q, "mysql") })
    end)

    it("takes columns, SQL and queries for values", function()
      assert.equal("1 3", ids { id = query.from("q_orders"):select("user_id"):where {
        query.sql("amount > $1 and amount <> $2", 10, 30) } })
      assert.equal("1 2 3", ids { id__le = query.sql("$1 + $1", 2) })
      assert.equal("", ids { email = query.column "team" })
    end)

    it("gives SQL the numbers of its place", function()
      local sql, params = sql_of(query.from("t"):where { a = 1, b = 2,
        query.sql([[x = $2 or y = $1 or z = '$1' or "$2" = $2]], "one", "two") })

      assert.equal([[select * from "t" where ("a" = $1 and "b" = $2 and (x = $3 or y = $4 ]]
        .. [[or z = '$1' or "$2" = $3))]], sql)
      assert.same({ 1, 2, "two", "one" }, params)
    end)

    it("looks for no placeholders in comments, nor for quotes", function()
      local sql, params = sql_of(query.from("t"):where { a = 1,
        query.sql("x = $1 -- it's $1\n or y /* $2 isn't */ = $2 or z = 'it''s' or w = $1", 5, 6) })

      assert.equal("select * from \"t\" where (\"a\" = $1 and (x = $2 -- it's $1\n or y "
        .. "/* $2 isn't */ = $3 or z = 'it''s' or w = $2))", sql)
      assert.same({ 1, 5, 6 }, params)
    end)

    it("refuses what makes no sense, with the line of whoever wrote it", function()
      local function refused(condition, text)
        local err = fault(function() query.from("q_users"):where(condition):build() end)
        assert.is_truthy(err:find("^[^\n]*query_spec.lua:%d+: "), err)
        assert.is_truthy(err:find(text, 1, true), err)
      end

      refused({ id__gee = 1 }, 'unknown operator "gee", did you mean "ge"?')
      refused({ id = { ne = 1 } }, "a value or a list is wanted")
      refused({ id = json.decode '{"ne": ""}' }, "a value or a list is wanted")
      refused({ id__gt = db.null }, "nothing is > NULL")
      refused({ id__contains = 5 }, "contains wants a string")
      refused({ id__in = 5 }, "in wants a list")
      refused({ id__lt = { 1, 2 } }, "lt wants a value, not a list")
      refused({ id__between = { 1 } }, "between wants two values")
      refused({ id__between = { 1, db.null } }, "nothing is between NULL")
      refused({ id = { 1, nil, 3 } }, "without gaps")
      refused("id = 1", "a filter is a table, not a string")
      refused({ ["id = 1 or id"] = 1 }, "is no name of a table or column")
      refused({ query.sql("id = $2", 1) }, "$2 is used")
    end)
  end)

  describe("a query", function()
    it("does not change", function()
      local base = query.from("q_users"):where { id__gt = 0 }
      local one = base:where({ id = 1 }):order("id")

      assert.equal(3, base:count())
      assert.equal(1, one:count())
      assert.equal('select * from "q_users" where "id" > $1', (sql_of(base)))
    end)

    it("joins, groups, orders and limits", function()
      local rows = query.from("q_orders as o"):join("q_users as u", "u.id", "o.user_id")
        :left_join("q_users as v", { ["v.id"] = query.column "o.user_id", ["v.team"] = "red" })
        :select("u.email as mail", { total = query.sql "sum(o.amount)", seen = "v.id" })
        :group("u.email", "v.id"):having(query.sql("sum(o.amount) >= $1", 30))
        :order("-total", query.sql "u.email"):limit(2):offset(0):all()

      assert.same({ { mail = "a%c_d[e]f!g@example.com", total = 40 },
        { mail = "Bob@example.com", total = 30 } }, rows)
      assert.equal(30, query.from("q_orders"):select { total = query.sql "sum(amount)" }
        :where({ user_id = 1 }):value())
    end)

    it("counts and looks whether there is any", function()
      local orders = query.from "q_orders"

      assert.equal(4, orders:order("id"):count())
      assert.equal(2, orders:select("state"):where({ state__ne = db.null }):distinct():count())
      assert.equal(4, orders:distinct():count())
      assert.equal(1, orders:offset(3):count())
      assert.is_true(orders:where({ state = "PAID" }):order("id"):exists())
      assert.is_false(orders:where({ state = "GONE" }):exists())
    end)

    it("puts NULLs where they are wanted", function()
      local function order(term, system)
        return (sql_of(query.from("t"):order(term), system):match "order by (.*)")
      end

      assert.equal('"a" desc nulls last', order "-a nulls last")
      assert.equal('"a" desc nulls last', order("-a nulls last", "sqlite"))
      assert.equal('"a" desc', order("-a nulls last", "mysql"))
      assert.equal('"a" is null, "a"', order("a nulls last", "mysql"))
      assert.equal('"a" is null desc, "a" desc', order("-a nulls first", "mysql"))
    end)

    it("locks rows where a database can", function()
      local jobs = query.from("jobs"):limit(1):lock { skip_locked = true }

      assert.equal('select * from "jobs" limit $1 for update skip locked', (sql_of(jobs)))
      assert.equal('select * from "jobs" limit $1', (sql_of(jobs, "sqlite")))
      assert.equal('select * from "jobs" lock in share mode',
        (sql_of(query.from("jobs"):lock { share = true }, "mysql")))
    end)

    it("has an offset without a limit on every database", function()
      local q = query.from("t"):offset(5)

      assert.equal('select * from "t" limit all offset $1', (sql_of(q)))
      assert.equal('select * from "t" limit -1 offset $1', (sql_of(q, "sqlite")))
      assert.equal('select * from "t" limit 18446744073709551615 offset $1', (sql_of(q, "mysql")))
    end)

    it("is the same where nothing is added", function()
      local orders = query.from "q_orders"

      assert.equal('select * from "q_orders"', (sql_of(orders:order(nil):group(nil):select(nil))))
    end)

    it("refuses what cannot be meant", function()
      local function refused(text, fn)
        local err = fault(fn)
        assert.is_truthy(err:find("^[^\n]*query_spec.lua:%d+: "), err)
        assert.is_truthy(err:find(text, 1, true), err)
      end
      local orders = query.from "q_orders"

      refused("names stand one after the other", function() orders:select { "id", "state" } end)
      refused("a name is wanted", function() orders:select(5) end)
      refused("two columns, or a filter", function() orders:join("q_users", "id") end)
      refused('did you mean "skip_locked"', function() orders:lock { skiplocked = true } end)
      refused("a whole number", function() orders:limit(2 ^ 60) end)
      refused('not "oracle"', function() orders:build "oracle" end)
      refused("without gaps", function()
        query.insert("q_users"):values { { id = 1 }, nil, { id = 3 } }
      end)
      refused("insert: where", function() query.insert("q_users"):where { id = 1 } end)
      refused("do it in parts", function()
        local rows = {}
        for i = 1, 9000 do
          rows[i] = { email = "e" .. i }
        end
        query.insert("q_users"):values(rows):build()
      end)
    end)

    it("refuses names that are none", function()
      for _, name in ipairs { "a b", 'a"b', "a;b", "", "a.", "1a", ("x"):rep(64), "a--" } do
        assert.is_truthy(fault(function() query.from("t"):select(name):build() end)
          :find("is no name of a table or column", 1, true), name)
        assert.is_truthy(fault(function() query.from(name):build() end)
          :find("is no name of a table or column", 1, true), name)
        assert.is_false(pcall(function() query.from("t"):order(name .. " "):build() end), name)
      end
    end)
  end)

  describe("what writes", function()
    it("inserts one row or several", function()
      local id = query.insert("q_users"):values({ email = "eve@example.com", team = db.null })
        :returning("id"):value()
      local done = query.insert("q_users"):values({ { email = "a" }, { email = "b" } }):exec()

      assert.equal(4, id)
      assert.equal(2, done.changes)
      assert.same({ id = 4, email = "eve@example.com", hits = 0 },
        query.from("q_users"):where({ id = 4 }):one())
    end)

    it("refuses rows that differ in their columns", function()
      local function build(rows)
        query.insert("t"):values(rows):build()
      end

      assert.is_truthy(fault(build, { { a = 1 }, { b = 1 } }):find('"b" is in one row', 1, true))
      assert.is_truthy(fault(build, { { a = 1, b = 2 }, { b = 1 } })
        :find('"a" is missing in a row', 1, true))
    end)

    it("does what was said where there is a row already", function()
      local add = query.insert("q_users"):values { id = 1, email = "new", hits = 5 }

      assert.equal(0, add:on_conflict({ "id" }):exec().changes)
      add:on_conflict({ "id" }, { "email", hits = query.sql("q_users.hits + $1", 2) }):exec()

      assert.same({ id = 1, email = "new", team = "red", hits = 2 },
        query.from("q_users"):where({ id = 1 }):one())
      assert.equal('insert into "t" ("a", "b") values ($1, $2) '
        .. 'on duplicate key update "b" = values("b")',
        (sql_of(query.insert("t"):values({ a = 1, b = 2 }):on_conflict({ "a" }, { "b" }), "mysql")))
      assert.equal('insert into "t" ("a") values ($1) on duplicate key update "a" = "a"',
        (sql_of(query.insert("t"):values({ a = 1 }):on_conflict({ "a" }), "mysql")))
    end)

    it("changes and deletes what the filter means, and says what it did", function()
      local row = query.update("q_users"):set({ team = db.null, hits = query.sql "hits + 7" })
        :where({ id = 1 }):returning():one()
      local gone = query.delete("q_orders"):where({ state = "PAID" }):exec()

      assert.same({ id = 1, email = "ann@example.com", hits = 7 }, row)
      assert.equal(2, gone.changes)
    end)

    it("sets a column to another column, or to what a query finds", function()
      local orders = query.from("q_orders"):select(query.sql "max(amount)")
      query.update("q_users"):set({ team = query.column "email", hits = orders })
        :where({ id = 1 }):exec()

      local row = query.from("q_users"):where({ id = 1 }):one()

      assert.same({ "ann@example.com", 40 }, { row.team, row.hits })
    end)

    it("changes and deletes everything only when told so", function()
      local function exec(q)
        return function() q:exec() end
      end

      assert.is_truthy(fault(exec(query.delete "q_orders")):find("without a filter", 1, true))
      assert.is_truthy(fault(exec(query.delete("q_orders"):where { id = nil }))
        :find("without a filter", 1, true))
      assert.is_truthy(fault(exec(query.update("q_orders"):set { amount = 1 }))
        :find("without a filter", 1, true))
      assert.equal(4, query.delete("q_orders"):everywhere():exec().changes)
    end)

    it("has no RETURNING on MySQL, and says so", function()
      assert.is_truthy(fault(sql_of, query.delete("t"):everywhere():returning(), "mysql")
        :find("mysql has no RETURNING", 1, true))
    end)

    it("escapes text for patterns of one's own", function()
      assert.equal("50!% of!_it!!", query.escape_like "50% of_it!")
    end)
  end)
end)
