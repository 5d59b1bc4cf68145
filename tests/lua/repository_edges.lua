-- What a repository does at its edges: NULL in unique columns, keys that change, several tables in
-- one transaction, and what its users get wrong. A contract, like the one beside it.

local assert = require "luassert"
local busted = require "busted"
local db = require "tycho.db"
local errors = require "tycho.errors"
local model = require "tycho.model"
local query = require "tycho.query"
local registry = require "tycho._private.model_registry"
local repository = require "tycho.repository"

-- A module has not the environment of a spec.
local before_each, it = busted.before_each, busted.it

local M = {}

registry.isolate(function()
  M.Shop = model.define("re_shops", {
    model.id(),
    model.text("label", { max = 40, null = true, unique = true }),
  })
  M.Item = model.define("re_items", {
    model.id(),
    model.reference("shop_id", M.Shop, { null = true, on_delete = "set_null" }),
    model.text("code", { max = 20, null = true, unique = true }),
    model.integer("a", { null = true }),
    model.integer("b", { null = true }),
    model.integer("stock", { default = 0, check = "stock >= 0" }),
    model.smallint("level", { default = 1 }),
    model.text("word", { max = 20, default = "" }),
    model.json("doc", { default = {} }),
    model.enum("state", { values = { "NEW", "SOLD" }, default = "NEW" }),
    model.date("day", { null = true }),
    model.real("weight", { null = true }),
    model.boolean("ready", { default = false }),
    model.timestamps(), model.version(),
    indexes = { { "a", "b", unique = true } },
  })
  M.Part = model.define("re_parts", {
    model.reference("item_id", M.Item, { primary = true, on_delete = "cascade" }),
    model.integer("number", { primary = true }),
    model.text("word", { max = 20, default = "" }),
  })
  M.Node = model.define("re_nodes", {
    model.integer("id", { primary = true }),
    model.reference("parent_id", "re_nodes", { null = true, on_delete = "cascade" }),
    model.reference("twin_id", "re_nodes", { null = true, on_delete = "set_null" }),
    model.reference("guard_id", "re_nodes", { null = true }),
  })
  M.Sale = model.define("re_sales", {
    model.id(),
    model.reference("item_id", M.Item),
  })
end)

errors.define("re.sold_out", { status = 409, msg = "sold out" })

-- What it raises, as an object or as text.
local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function is_blamed(words, fn, ...)
  local err = raised(fn, ...)
  assert.equal("string", type(err))
  assert.is_truthy(err:find(words, 1, true), err)
  assert.is_truthy(err:find("repository_edges.lua:", 1, true), err)
end

local function nulls_and_keys(new)
  it("takes nothing for the same as NULL when it makes a row or changes it", function()
    local items = new(M.Item)
    local first = items:insert { word = "first", a = 1 }

    local by_code = items:upsert({ word = "second" }, { by = { "code" } })
    local by_both = items:upsert({ word = "third", a = 1 }, { by = { "a", "b" } })
    local by_key = items:upsert({ word = "fourth" }, { by = { "id" } })

    assert.same({ "second", "third", "fourth" }, { by_code.word, by_both.word, by_key.word })
    assert.equal(4, items:count())
    assert.equal("first", items:get(first.id).word)
  end)

  it("changes keys, unless somebody refers to them", function()
    local items, parts, sales = new(M.Item), new(M.Part), new(M.Sale)
    local one, other = items:insert { id = 501 }, items:insert { id = 502 }
    parts:insert { item_id = one.id, number = 1, word = "x" }
    sales:insert { item_id = one.id }

    local part = parts:update({ item_id = 501, number = 1 }, { number = 7 })
    local moved = items:update(other, { id = 503, word = "moved" })

    assert.same({ item_id = 501, number = 7, word = "x" }, part)
    assert.same({ 503, "moved" }, { moved.id, moved.word })
    assert.is_nil(items:get(502))
    assert.equal("conflict", raised(items.update, items, one, { id = 504 }).kind)
    assert.equal(501, items:get(501).id)
  end)

  it("takes away nothing where something may not go", function()
    local items, parts, sales = new(M.Item), new(M.Part), new(M.Sale)
    local item = items:insert {}
    parts:insert { item_id = item.id, number = 1 }
    sales:insert { item_id = item.id }

    assert.equal("conflict", raised(items.delete, items, item.id).kind)
    assert.equal(1, parts:count())
  end)

  it("keeps trees together", function()
    local nodes = new(M.Node)
    assert.equal("conflict", raised(nodes.insert, nodes, { id = 1, parent_id = 9 }).kind)
    nodes:insert { id = 1, parent_id = 1, twin_id = 1 }
    nodes:insert { id = 2, parent_id = 1 }
    nodes:insert { id = 3, parent_id = 2 }
    nodes:insert { id = 4, twin_id = 3 }
    nodes:insert { id = 5, guard_id = 4 }

    assert.equal("conflict", raised(nodes.delete, nodes, 4).kind)
    assert.is_true(nodes:delete(1))

    assert.same({ { id = 4 }, { id = 5, guard_id = 4 } },
      { unpack(nodes:list({ order = "id" }).items) })
    nodes:delete(5) -- MySQL empties no table whose rows are in each other's way
  end)

  it("counts no version up for what lets go of a row", function()
    local shops, items = new(M.Shop), new(M.Item)
    local shop = shops:insert { label = "here" }
    local item = items:insert { shop_id = shop.id }

    shops:delete(shop)

    assert.is_nil(items:get(item.id).shop_id)
    assert.equal(1, items:get(item.id).version)
  end)
end

local function transactions(new)
  it("undoes in a transaction what was done to other tables", function()
    local shops, items = new(M.Shop), new(M.Item)
    local item = items:insert { word = "before" }

    raised(shops.transaction, shops, function()
      shops:insert { label = "gone" }
      items:update(item, { word = "after" })
      items:insert_many { {}, {} }
      error("given up", 0)
    end)

    assert.equal(0, shops:count())
    assert.equal(1, items:count())
    assert.equal("before", items:get(item.id).word)
  end)

  it("undoes a transaction in a transaction alone", function()
    local shops, items = new(M.Shop), new(M.Item)

    shops:transaction(function()
      items:insert { word = "stays" }
      raised(items.transaction, items, function()
        items:insert { word = "goes" }
        error("given up", 0)
      end)
      shops:insert { label = "stays" }
    end)

    assert.equal("stays", items:list().items[1].word)
    assert.equal(1, items:count())
    assert.equal(1, shops:count())
  end)

  it("makes thousands of rows of many columns", function()
    local items, many = new(M.Item), {}
    for i = 1, 2000 do
      many[i] = { code = "c" .. i }
    end

    assert.equal(2000, items:insert_many(many))
    assert.equal(2000, items:count())
  end)

  it("undoes what was done to thousands of rows", function()
    local shops, many = new(M.Shop), {}
    for i = 1, 9000 do
      many[i] = { label = "s" .. i }
    end
    shops:insert_many(many)

    raised(shops.transaction, shops, function()
      shops:insert { label = "one more" }
      error("given up", 0)
    end)

    assert.equal(9000, shops:count())
  end)
end

local function conditions(new)
  it("looks at what must hold where there is nothing to write", function()
    local items = new(M.Item)
    local item = items:insert { state = "SOLD" }
    local where = { where = { state = "NEW" } }

    assert.equal("STALE", raised(items.update, items, item, { state = "SOLD" }, where).detail)
    assert.equal("STALE", raised(items.update, items, item.id, { version = 7 }).detail)
    assert.equal("not_found", raised(items.update, items, 471100, { version = 1 }).kind)
    assert.equal(1, items:update(item.id, { version = 1 }).version)
    assert.equal(1, items:update(item, { state = "SOLD" }, { where = { level = 1 } }).version)
  end)

  it("writes a table that was changed inside of the entity", function()
    local items = new(M.Item)
    local item = items:insert { doc = { theme = "light" } }

    item.doc.theme = "dark"
    local after = items:update(item, { doc = item.doc })

    assert.equal("dark", after.doc.theme)
    assert.equal("dark", items:get(item.id).doc.theme)
  end)

  it("keeps large numbers in JSON", function()
    local items = new(M.Item)
    local doc = { a = 1e100, b = -1.7976931348623157e308, c = 1.5, d = 2 ^ 70, e = { 1e20 } }

    local item = items:insert { doc = doc }

    assert.same(doc, item.doc)
    assert.same(doc, items:get(item.id).doc)
  end)

  it("compares small columns with large numbers", function()
    local items = new(M.Item)
    items:insert { level = 5 }

    assert.equal(0, items:count { level = 40000 })
    assert.equal(1, items:count { level__lt = 40000, level__gt = -40000 })
    assert.equal(1, items:count { level = { 5, 100000 } })
  end)

  it("has nothing on pages that are far behind the last", function()
    local items = new(M.Item)
    items:insert {}

    for _, number in ipairs { 2, 2 ^ 53, 1e300 } do
      local page = items:list { page = number, per_page = 20 }
      assert.equal(0, #page.items)
      assert.equal(1, page.total)
    end
  end)

  it("refuses parts of texts that are none", function()
    local items = new(M.Item)
    items:insert { word = "a" }

    assert.equal("invalid", raised(items.count, items, { word__contains = "a\0" }).kind)
    assert.equal("invalid", raised(items.count, items, { word__istarts_with = "\255" }).kind)
  end)

  it("takes nobody's word for being a query", function()
    local items, sent = new(M.Item), { is_query = true }

    is_blamed("a value or a list is wanted", function() items:count { word = sent } end)
    is_blamed("without gaps", function() items:count { word__in = sent } end)
  end)
end

local function misuse(new)
  it("refuses lists with gaps: what is behind would be lost", function()
    local items = new(M.Item)

    is_blamed("without gaps", function() items:insert_many { {}, nil, {} } end)
    is_blamed("without gaps", function() items:insert_many { code = "a" } end)
    is_blamed("without gaps", function() items:count { id = { 1, nil, 3 } } end)
    is_blamed("list of columns", function() items:list { order = { word = "asc" } } end)
    assert.equal(0, items:count())
  end)

  it("refuses an entity as the changes of itself", function()
    local items = new(M.Item)
    local item = items:insert {}
    item.word = "changed"

    is_blamed("the entity itself", function() items:update(item, item) end)
  end)

  it("refuses columns that there are not in the place of a value", function()
    local items = new(M.Item)
    items:insert { a = 1, b = 1 }

    assert.equal(1, items:count { a = query.column "b" })
    is_blamed("no column", function() items:count { a = query.column "nope" } end)
  end)

  it("refuses a transaction that is no function", function()
    local items = new(M.Item)

    is_blamed("is a function", function() items:transaction() end)
  end)
end

-- Only a database looks at checks.
local function checks(new)
  it("turns what a column's check refuses into the application's error", function()
    for _, key in ipairs { "stock", "re_items_stock_check" } do
      local items = new(M.Item, { on_conflict = { [key] = "re.sold_out" } })
      local item = items:insert { stock = 1 }

      local err = raised(items.update, items, item.id, { stock = repository.increment(-2) })

      assert.equal("re.sold_out", err.name)
      assert.equal(1, items:get(item.id).stock)
    end
    local err = raised(new(M.Item).insert, new(M.Item), { stock = -1 })
    assert.same({ "conflict", { "stock" } }, { err.kind, err.columns })
  end)

  it("says that a statement has no room for so many values", function()
    local items, ids = new(M.Item), {}
    for i = 1, 8000 do
      ids[i] = i
    end

    is_blamed("do it in parts", function() items:count { id = ids } end)
    assert.equal(0, items:count { id = { unpack(ids, 1, 1000) } })
    assert.equal(0, query.from("re_items"):where({ id__in = { db.null, 1 } }):count())
  end)
end

---@param make fun(models: tycho.model.Model[]): fun(model, opts): any
---@param is_database boolean
return function(make, is_database)
  local new_one

  before_each(function()
    new_one = make { M.Shop, M.Item, M.Part, M.Node, M.Sale }
  end)

  local function new(...)
    return new_one(...)
  end

  nulls_and_keys(new)
  transactions(new)
  conditions(new)
  misuse(new)
  if is_database then
    checks(new)
  end
end
