-- Queries as values, run on whichever database there is.

local db = require "tycho.db"
local model = require "tycho.model"
local query = require "tycho.query"
local registry = require "tycho._private.model_registry"
local support = require "tests.db.support"
local tables = require "tests.lua.model_tables"

local User, Order = registry.isolate(function()
  local user = model.define("q_users", {
    model.id(), model.text("email", { max = 100, unique = true }),
    model.text("team", { max = 20, null = true }), model.integer("hits", { default = 0 }),
  })
  return user, model.define("q_orders", {
    model.integer("number", { primary = true }), model.reference("user_id", user),
    model.integer("amount", { null = true }), model.text("state", { max = 20, null = true }),
  })
end)

local is_made = false

describe("tycho.query on " .. support.system, function()
  before_each(function()
    if not is_made then
      tables.create { User, Order }
      is_made = true
    end
    tables.empty { User, Order }
    query.insert("q_users"):values({
      { id = 1, email = "ann@example.com", team = "red" },
      { id = 2, email = "Bob@example.com", team = db.null },
      { id = 3, email = "a%c_d[e]f!g\\h@example.com", team = "blue" },
    }):exec()
    query.insert("q_orders"):values({
      { number = 1, user_id = 1, amount = 10, state = "NEW" },
      { number = 2, user_id = 1, amount = 20, state = "PAID" },
      { number = 3, user_id = 2, amount = 30, state = "PAID" },
      { number = 4, user_id = 3, amount = 40, state = db.null },
    }):exec()
  end)

  local function ids(condition)
    local found = {}
    for i, row in ipairs(query.from("q_users"):where(condition):order("id"):all()) do
      found[i] = row.id
    end
    return table.concat(found, " ")
  end

  it("filters", function()
    assert.equal("1 2 3", ids { email = nil })
    assert.equal("1 3", ids { id = { 1, 3, 77 } })
    assert.equal("", ids { id = {} })
    assert.equal("2", ids { id__not_in = { 1, 3 } })
    assert.equal("1 2", ids { team = { "red", db.null } })
    assert.equal("3", ids { team__ne = "red" })
    assert.equal("2", ids { team__is_null = true })
    assert.equal("2", ids { id__gt = 1, id__lt = 3 })
    assert.equal("1 2", ids { id__between = { 1, 2 } })
    assert.equal("1 2", ids { query.any_of { team = "red", id = 2 } })
    assert.equal("3", ids { query.none_of { email = "ann@example.com", id = 2 } })
  end)

  it("finds parts of texts, whatever stands in them", function()
    assert.equal("1", ids { email__starts_with = "ann" })
    assert.equal("", ids { email__starts_with = "bob" })
    assert.equal("2", ids { email__istarts_with = "bob" })
    assert.equal("1 2 3", ids { email__ends_with = ".com" })
    assert.equal("3", ids { email__contains = "%c_d" })
    assert.equal("3", ids { email__contains = "[e]f!g\\h" })
    assert.equal("", ids { email__contains = "a_c" })
    assert.equal("", ids { email__icontains = "A_C" })
    assert.equal("3", ids { email__icontains = "A%C_D[E]F!G\\H" })
  end)

  it("takes columns, SQL and queries for values", function()
    assert.equal("1 3", ids { id = query.from("q_orders"):select("user_id"):where {
      query.sql("amount > $1 and amount <> $2", 10, 30) } })
    assert.equal("", ids { email = query.column "team" })
    assert.equal("1 2", ids { query.sql("id <= $1 and id < $1 + 1", 2) })
  end)

  it("joins, groups, orders, limits and counts", function()
    local totals = query.from("q_orders as o"):join("q_users as u", "u.id", "o.user_id")
      :left_join("q_users as v", { ["v.id"] = query.column "o.user_id", ["v.team"] = "red" })
      :select("u.email as mail", { total = query.sql "max(o.amount)", seen = "v.id" })
      :group("u.email", "v.id"):having(query.sql("max(o.amount) >= $1", 20))

    assert.same({ { mail = "Bob@example.com", total = 30 },
      { mail = "ann@example.com", total = 20, seen = 1 } },
      totals:order("-total"):limit(2):offset(1):all())
    assert.equal(3, totals:count())
    assert.equal(2, query.from("q_orders"):order("number"):offset(2):count())
    assert.equal(2, query.from("q_orders"):select("state"):distinct()
      :where({ state__ne = db.null }):count())
    assert.is_true(query.from("q_orders"):where({ state = "NEW" }):exists())
    assert.is_false(query.from("q_orders"):where({ state = "GONE" }):exists())
  end)

  it("hands rows over one by one, and goes out in batches", function()
    local sum = 0
    local count = query.from("q_orders"):where({ amount__gt = 10 }):order("number")
      :each(function(row) sum = sum + row.amount end)
    local found = db.batch {
      query.from("q_users"):where({ id = 1 }):statement "one",
      query.from("q_orders"):where({ user_id = 1 }):order("number"):statement(),
      query.from("q_orders"):select({ most = query.sql "max(amount)" }):statement "value",
    }

    assert.equal(3, count)
    assert.equal(90, sum)
    assert.equal("ann@example.com", found[1].email)
    assert.equal(20, found[2][2].amount)
    assert.equal(40, found[3])
  end)

  it("puts NULLs where they are wanted", function()
    local function order(term)
      local found = {}
      for i, row in ipairs(query.from("q_users"):order(term, "id"):all()) do
        found[i] = row.id
      end
      return table.concat(found, " ")
    end

    assert.equal("2 3 1", order "team nulls first")
    assert.equal("3 1 2", order "team nulls last")
    assert.equal("2 1 3", order "-team nulls first")
    assert.equal("1 3 2", order "-team nulls last")
  end)

  it("does what was said where there is a row already", function()
    local add = query.insert("q_users"):values { id = 1, email = "ann@example.com", hits = 5 }

    add:on_conflict({ "id" }):exec()
    assert.equal(0, query.from("q_users"):select("hits"):where({ id = 1 }):value())
    add:on_conflict({ "id" }, { "hits" }):exec()
    assert.equal(5, query.from("q_users"):select("hits"):where({ id = 1 }):value())
    add:on_conflict({ "id" }, { hits = query.sql("q_users.hits + $1", 2) }):exec()
    assert.equal(7, query.from("q_users"):select("hits"):where({ id = 1 }):value())
    assert.equal(3, query.from("q_users"):count())
  end)

  it("changes, deletes, and says how much", function()
    local paid = query.update("q_orders"):set({ amount = query.sql "amount + 1" })
      :where({ state = "PAID" }):exec()

    assert.equal(2, paid.changes)
    assert.equal(31, query.from("q_orders"):select("amount"):where({ number = 3 }):value())
    assert.equal(4, query.delete("q_orders"):everywhere():exec().changes)
  end)

  it("locks rows in a transaction", function()
    db.transaction(function()
      local row = query.from("q_orders"):where({ number = 1 }):lock({ skip_locked = true }):one()

      assert.equal(10, row.amount)
      assert.equal(10, query.from("q_orders"):where({ number = 1 }):lock({ share = true }):one()
        .amount)
    end)
  end)

  if support.system ~= "mysql" then
    it("returns what it wrote", function()
      local row = query.update("q_users"):set({ hits = 9 }):where({ id = 1 })
        :returning("id", "hits"):one()

      assert.same({ id = 1, hits = 9 }, row)
      assert.equal(4, query.delete("q_orders"):where({ number = 4 }):returning():one().number)
    end)
  end
end)
