local db = require "tycho.db"
local json = require "tycho.json"
local model = require "tycho.model"
local names = require "tycho._private.model_names"
local registry = require "tycho._private.model_registry"
local s = require "tycho.schema"
local values = require "tycho._private.model_values"

-- What the call says is wrong with the program; the line is this file's.
local function fault(fn, ...)
  local ok, err = pcall(registry.isolate, fn, ...)
  assert.is_false(ok)
  assert.is_truthy(tostring(err):find("^[^\n]*model_spec.lua:%d+: "), err)
  return (err:gsub("^[^\n]*model_spec.lua:%d+: ", ""))
end

local function define(...)
  return registry.isolate(model.define, ...)
end

local function keys(schema)
  return table.concat(schema.names, " ")
end

describe("tycho.model", function()
  describe("a definition", function()
    it("becomes a plain description", function()
      local User = define("users", {
        model.id(),
        model.text("email", { max = 254, unique = true }),
        model.reference("team_id", "teams", { null = true, on_delete = "cascade" }),
        model.timestamps(), model.soft_delete(), model.version(),
        indexes = { { "team_id", "created_at" }, { "lower(email)", name = "by_email" },
          { "team_id", "email", unique = true, where = "deleted_at is null" } },
        checks = { email_given = "email <> ''" },
      })
      local described = User.table

      assert.equal("users", described.name)
      assert.equal("default", described.database)
      assert.same({ "id" }, described.primary)
      assert.same({ "created_at", "updated_at", "deleted_at", "version" }, { described.created,
        described.updated, described.soft_delete, described.version })
      assert.same({ { name = "users_email_key", columns = { "email" } } }, described.uniques)
      assert.same({
        { name = "users_team_id_created_at_idx", columns = { "team_id", "created_at" },
          unique = false },
        { name = "by_email", columns = { "lower(email)" }, unique = false },
        { name = "users_team_id_email_key", columns = { "team_id", "email" }, unique = true,
          where = "deleted_at is null" },
      }, described.indexes)
      assert.same({ { name = "email_given", sql = "email <> ''" } }, described.checks)
      assert.same({ table = "teams", column = "id", on_delete = "cascade" },
        described.by_name.team_id.references)
      assert.equal("integer", described.by_name.team_id.kind)
      assert.is_true(described.by_name.id.identity)
      assert.is_false(described.by_name.email.null)
      assert.equal(7, #described.columns)
    end)

    it("takes the kind of a key from the model that is referred to", function()
      local Order = define("orders", { model.id("key", { kind = "uuid" }) })

      local column = model.reference("order_key", Order)

      assert.equal("uuid", column.kind)
      assert.same({ table = "orders", column = "key", on_delete = "no_action" }, column.references)
    end)

    it("brings defaults into their form", function()
      local by_name = define("prices", {
        model.id(), model.decimal("price", { precision = 8, scale = 2, default = "1.5" }),
        model.timestamp("since", { default = "2026-01-31T16:30:00+08:00" }),
        model.timestamp("until_then", { default = model.sql "now()" }),
      }).table.by_name

      assert.equal("1.50", by_name.price.default)
      assert.equal("2026-01-31T08:30:00.000000Z", by_name.since.default)
      assert.equal("now()", by_name.until_then.default.sql)
    end)

    it("is refused with its line where a column is wrong", function()
      local wrong = {
        { function() return model.txt "a" end,
          'there is no such kind of column, did you mean "text"?' },
        { function() model.text "a b" end, "a b is no name of a column" },
        { function() model.text("a", { maxx = 1 }) end,
          'unknown option "maxx", did you mean "max"?' },
        { function() model.text("a", { max = "1" }) end, "max is a whole number" },
        { function() model.text("a", { format = "emial" }) end,
          'unknown format "emial", did you mean "email"?' },
        { function() model.text("a", { null = 1 }) end, "null is true or false, not a number" },
        { function() model.boolean("a", { unique = "yes" }) end, "unique is true or false" },
        { function() model.integer("a", { primary = true, null = true }) end, "never null" },
        { function() model.decimal("a", { scale = 2 }) end, "scale is at most precision" },
        { function() model.enum "a" end, "values is a list of strings" },
        { function() model.enum("a", { values = { "x", "x" } }) end, "each of them once" },
        { function() model.array("a", { of = "txet" }) end, 'did you mean "text"?' },
        { function() model.reference("a", "t", { on_delete = "cascad" }) end,
          'unknown on_delete "cascad", did you mean "cascade"?' },
        { function() model.reference("a", "t", { on_delete = "set_null" }) end, "null = true" },
        { function() model.reference("a", 5) end, "the name of a table, or a model" },
        { function() model.id("a", { kind = "text" }) end, "is no kind of key" },
        { function() model.timestamps { create = "x" } end, 'did you mean "created"?' },
        { function() model.integer("a", { renamed_from = "b c" }) end, "renamed_from is the name" },
      }
      for _, each in ipairs(wrong) do
        local text = fault(each[1])
        assert.is_truthy(text:find(each[2], 1, true), text)
      end
    end)

    it("is refused with its line where the table is wrong", function()
      local id = model.id
      local wrong = {
        { function() model.define("a b", { id() }) end, "a b is no name of a table" },
        { function() model.define("t", {}) end, "it has no columns" },
        { function() model.define("t", { model.text "a" }) end, "it has no primary key" },
        { function() model.define("t", { id(), model.text "a", model.text "a" }) end,
          'there are two columns "a"' },
        { function() model.define("t", { id(), "a" }) end, "number 2 is no column but a string" },
        { function() model.define("t", { id(), nil, model.text "a" }) end,
          "number 2 of its columns is nil" },
        { function() model.define("t", { id(), indexs = {} }) end, 'did you mean "indexes"?' },
        { function() model.define("t", { id(), indexes = { { "idd" } } }) end,
          'did you mean "id"?' },
        { function() model.define("t", { id(), indexes = { { "id", uniqe = 1 } } }) end,
          'did you mean "unique"?' },
        { function() model.define("t", { id(), indexes = { { "lower(id)" } } }) end,
          "needs a name" },
        { function() model.define("t", { id(), indexes = { { "id" }, { "id" } } }) end,
          'two indexes "t_id_idx"' },
        { function()
          model.define("t", { id(), model.text("a", { unique = true }),
            indexes = { { "a", unique = true } } })
        end, 'two indexes "t_a_key"' },
        { function()
          model.define("t", { id(), model.integer("a", { check = "a > 0" }),
            checks = { a = "a < 9" } })
        end, 'the check "a" has the name' },
        { function() model.define("t", { id(), checks = { "x > 0" } }) end, "SQL by name" },
        { function() model.define("t", { id(), model.version(), model.version "v" }) end,
          "are for the same" },
        { function() model.define("t", { id(), model.integer("n", { default = "1" }) }) end,
          'the default of "n" is none of its values' },
        { function() model.define("t", { id(), model.text("n", { max = 1, default = "ab" }) }) end,
          'the default of "n" is none of its values' },
        { function()
          model.define("t", { id() })
          model.define("t", { id() })
        end, 'model "t": there is one already, at ' },
      }
      for _, each in ipairs(wrong) do
        local text = fault(each[1])
        assert.is_truthy(text:find(each[2], 1, true), text)
      end
    end)

    it("is refused where a reference leads nowhere", function()
      local function load(target, opts)
        return function()
          model.define("teams", { model.id(), model.uuid("public", { unique = true }) })
          model.define("users", { model.id(), model.reference("team_id", target, opts) })
          model.check()
        end
      end

      assert.equal('users.team_id refers to the table "taems", which no model has, '
        .. 'did you mean "teams"?', fault(load "taems"))
      assert.equal('users.team_id refers to teams.idd, and there is no such column, '
        .. 'did you mean "id"?', fault(load("teams", { column = "idd" })))
      assert.equal('users.team_id refers to teams.public, which is of the kind uuid: '
        .. 'kind = "uuid" is wanted', fault(load("teams", { column = "public" })))
      registry.isolate(load("teams", { column = "public", kind = "uuid" }))
    end)

    it("is kept in order", function()
      local all = registry.isolate(function()
        model.define("b", { model.id() })
        model.define("a", { model.id() })
        return model.all()
      end)

      assert.same({ "b", "a" }, { all[1].table.name, all[2].table.name })
      assert.is_truthy(all[1].where:find("model_spec.lua:%d+$"))
    end)
  end)

  describe("names", function()
    it("of constraints stay below what a database takes, and differ", function()
      local long = ("x"):rep(60)
      local one, other = names.unique(long, { "a" }), names.unique(long, { "b" })

      assert.equal("users_email_key", names.unique("users", { "email" }))
      assert.equal(63, #one)
      assert.are_not.equal(one, other)
      assert.equal(one, names.unique(long, { "a" }))
    end)
  end)

  describe("schemas", function()
    local Product = define("products", {
      model.id(),
      model.text("name", { min = 1, max = 20 }),
      model.decimal("price", { precision = 8, scale = 2, min = "0" }),
      model.integer("stock", { default = 0, min = 0 }),
      model.text("note", { null = true }),
      model.timestamp("since", { default = model.sql "now()" }),
      model.enum("state", { values = { "ON", "OFF" }, default = "ON" }),
      model.array("tags", { of = "text", max = 2, default = {} }),
      model.text("secret", { private = true, null = true }),
      model.bytes("image", { null = true }),
      model.timestamps(), model.soft_delete(), model.version(),
    })

    it("of what makes a row leave out what is made for it", function()
      assert.equal("name note price since state stock tags", keys(Product.insert_schema))

      local row = s.check(Product.insert_schema, { name = "a", price = "1", note = json.null })

      assert.same({ name = "a", price = "1", note = json.null, stock = 0, state = "ON",
        tags = json.array {} }, row)
    end)

    it("of what makes a row know its bounds", function()
      local ok, err = pcall(s.check, Product.insert_schema,
        { name = "", price = "-1", stock = -1, state = "X", tags = { 1, 2, 3 }, id = 5 })
      local seen = {}
      for i, each in ipairs(err.errors) do
        seen[i] = each.pointer
      end
      table.sort(seen)

      assert.is_false(ok)
      assert.same({ "#/id", "#/name", "#/price", "#/state", "#/stock", "#/tags" }, seen)
    end)

    it("of changes require nothing, and take the version", function()
      assert.equal("name note price since state stock tags version", keys(Product.update_schema))
      assert.same({}, s.check(Product.update_schema, {}))
      assert.same({ version = 3, note = json.null },
        s.check(Product.update_schema, { version = 3, note = json.null }))
      assert.is_false(pcall(s.check, Product.update_schema, { name = json.null }))
    end)

    it("of answers show NULL, and neither what is private nor bytes", function()
      assert.equal("created_at deleted_at id name note price since state stock tags updated_at "
        .. "version", keys(Product.schema))
      assert.equal("id secret", keys(Product:pick { "id", "secret" }))
      assert.equal("created_at deleted_at id name note price state stock tags updated_at",
        keys(Product:omit { "version", "since" }))
      local text = fault(function() Product:pick { "idd" } end)
      assert.is_truthy(text:find('no column "idd", did you mean "id"?', 1, true), text)
    end)

    it("make a description of an interface", function()
      local described = s.json_schema(Product.insert_schema).properties

      assert.same({ "name", "price" }, s.json_schema(Product.insert_schema).required)
      assert.equal(20, described.name.maxLength)
      assert.equal("decimal", described.price.format)
    end)
  end)

  describe("values", function()
    it("are compared as what they are", function()
      assert.equal(-1, values.compare("decimal", "9.0", "10"))
      assert.equal(0, values.compare("decimal", "1.0", "1"))
      assert.equal(1, values.compare("integer", 9007199254740993LL, 2 ^ 53))
      assert.equal(-1, values.compare("boolean", false, true))
      assert.is_true(values.equal({ a = { 1, 2 } }, { a = { 1, 2 } }))
      assert.is_false(values.equal({ a = 1 }, { a = 1, b = 2 }))
    end)

    it("of any integer become decimals without a rounding", function()
      assert.equal("9007199254740993", values.write.decimal(9007199254740993LL, {}))
      assert.equal("5.00", values.write.decimal(5, { scale = 2 }))
      assert.is_nil(values.write.decimal(0.5, {}))
      assert.equal("1.5", values.write.decimal("1.500", {}))
      assert.equal("-10", values.write.decimal("-10.0", {}))
    end)

    it("are NULL where db.null is said", function()
      assert.equal(json.null, db.null)
    end)
  end)
end)
