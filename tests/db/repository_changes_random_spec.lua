-- Random changes, one after the other: a repository in memory and one in the database do the same
-- with each, refuse the same, and hold the same rows in the end.

local db = require "tycho.db"
local model = require "tycho.model"
local registry = require "tycho._private.model_registry"
local repository = require "tycho.repository"
local seed = require "tests.support.seed"
local support = require "tests.db.support"
local tables = require "tests.lua.model_tables"
local unit_of_work = require "tycho.unit_of_work"

local Shelf, Book, Page, Loan
registry.isolate(function()
  Shelf = model.define("rx_shelves", {
    model.integer("id", { primary = true }),
    model.text("label", { max = 20, unique = true, null = true }),
  })
  Book = model.define("rx_books", {
    model.integer("id", { primary = true }),
    model.text("code", { max = 20, unique = true, null = true }),
    model.integer("a", { null = true }),
    model.integer("b", { null = true }),
    model.integer("count", { default = 0, min = -100, null = true }),
    model.decimal("price", { precision = 8, scale = 2, null = true }),
    model.reference("shelf_id", Shelf, { null = true, on_delete = "set_null" }),
    model.soft_delete(), model.version(),
    indexes = { { "a", "b", unique = true } },
  })
  Page = model.define("rx_pages", {
    model.reference("book_id", Book, { primary = true, on_delete = "cascade" }),
    model.integer("number", { primary = true }),
    model.text("words", { default = "" }),
  })
  Loan = model.define("rx_loans", {
    model.integer("id", { primary = true }),
    model.reference("book_id", Book),
  })
end)

local MODELS = { Shelf, Book, Page, Loan }
local NAMES = { "shelves", "books", "pages", "loans" }
local STEPS = os.getenv "TYCHO_TEST_LONG" and 5000 or 400

local random = math.random

local function pick(list)
  return list[random(#list)]
end

local function maybe(value, chance)
  return random() < (chance or 0.5) and value or nil
end

local function or_null(value)
  return random() < 0.2 and db.null or value
end

-- Few different values, so that they meet.
local values = {
  shelves = function()
    return { label = or_null(pick { "A", "B", "C" }) }
  end,
  books = function()
    return {
      code = maybe(or_null("c" .. random(6))), a = maybe(or_null(random(3))),
      b = maybe(or_null(random(3))), count = maybe(or_null(random(0, 9))),
      price = maybe(or_null(("%d.%d"):format(random(0, 3), random(0, 9)))),
      shelf_id = maybe(or_null(random(4))),
    }
  end,
  pages = function()
    return { words = maybe(pick { "x", "y" }) }
  end,
  loans = function()
    return { book_id = random(8) }
  end,
}

local keys = {
  shelves = function() return random(4) end,
  books = function() return random(8) end,
  pages = function() return { book_id = random(8), number = random(3) } end,
  loans = function() return random(5) end,
}

local function with_key(row, key)
  for name, value in pairs(type(key) == "table" and key or { id = key }) do
    row[name] = value
  end
  return row
end

local BY = {
  shelves = { { "id" }, { "label" } },
  books = { { "id" }, { "code" }, { "a", "b" } },
  pages = { { "book_id", "number" } },
  loans = { { "id" } },
}

-- Each makes what can be done with either of two stores. `seen` has what a store has handed out.
local actions = {}

function actions.insert(name)
  local row = with_key(values[name](), keys[name]())
  return function(store) return store[name]:insert(row) end, row
end

function actions.insert_many(name)
  local list = {}
  for i = 1, random(0, 3) do
    list[i] = with_key(values[name](), keys[name]())
  end
  return function(store) return store[name]:insert_many(list) end, list
end

function actions.upsert(name)
  local row, by = with_key(values[name](), keys[name]()), pick(BY[name])
  return function(store) return store[name]:upsert(row, { by = by }) end, { row, by }
end

-- An entity as it was once, or only its key.
local function target_of(name)
  local key, from, index = keys[name](), maybe(name), random(20)
  return function(store)
    return from and store.seen[name][index] or key
  end, from and "seen " .. index or key
end

function actions.update(name)
  local target, said = target_of(name)
  local changes, where = values[name](), nil
  if name == "books" and random() < 0.3 then
    changes.count = repository.increment(random(-3, 3))
  end
  if name == "books" and random() < 0.2 then
    changes.version = random(4)
  elseif random() < 0.1 then
    with_key(changes, keys[name]())
  elseif name == "books" and random() < 0.3 then
    where = { count__ge = random(0, 5) }
  end
  return function(store)
    return store[name]:update(target(store), changes, { where = where })
  end, { said, changes, where }
end

function actions.delete(name)
  local target, said = target_of(name)
  local hard = maybe(true)
  return function(store) return store[name]:delete(target(store), { hard = hard }) end,
    { said, hard or false }
end

function actions.restore()
  local key = keys.books()
  return function(store) return store.books:restore(key) end, key
end

local ONE = { "insert", "insert", "insert_many", "upsert", "upsert", "update", "update", "update",
  "delete", "restore" }

local function random_action()
  local what, name = pick(ONE), pick { "shelves", "books", "books", "books", "pages", "loans" }
  name = what == "restore" and "books" or name
  local run, said = actions[what](name)
  return run, { what, name, said }
end

-- Some of them as one, which may be given up.
local function random_unit(depth)
  local list, said, fails = {}, {}, random() < 0.3
  for i = 1, random(3) do
    if depth > 0 and random() < 0.3 then
      list[i], said[i] = random_unit(depth - 1)
    else
      list[i], said[i] = random_action()
    end
  end
  local how = pick { "unit", "transaction" }
  local function run(store)
    local function work()
      for _, each in ipairs(list) do
        each(store)
      end
      if fails then
        error("given up", 0)
      end
    end
    if how == "unit" then
      return unit_of_work.run(work)
    end
    return store.shelves:transaction(work)
  end
  return run, { how, said, fails }
end

-- Texts of what came out: entities by their columns, errors by what one can do about them.
local function plain(value)
  if type(value) ~= "table" then
    return tostring(value)
  end
  local parts = {}
  for key, item in pairs(value) do
    local text = key == "deleted_at" and "some time" or plain(item)
    parts[#parts + 1] = ("%s=%s"):format(tostring(key), text)
  end
  table.sort(parts)
  return "{" .. table.concat(parts, " ") .. "}"
end

local function outcome(run, store)
  local function finish(ok, result)
    if ok then
      return plain(result), result
    elseif type(result) ~= "table" then
      return tostring(result)
    end
    return ("%s %s"):format(result.kind, result.detail == "STALE" and "STALE" or "")
  end
  return finish(pcall(run, store))
end

local function remember(store, name, index)
  local all = store[name]:list({ order = store.orders[name], limit = 100 }).items
  store.seen[name][index] = all[1] and all[index % #all + 1] or nil
end

local function contents(store)
  local lines = {}
  for _, name in ipairs(NAMES) do
    local page = store[name]:list { order = store.orders[name], limit = 1000, with_deleted = true }
    for i, item in ipairs(page.items) do
      page.items[i] = plain(item)
    end
    lines[#lines + 1] = name .. ": " .. table.concat(page.items, "\n  ")
  end
  return table.concat(lines, "\n")
end

local function store_of(make)
  local store = { seen = {}, orders = {} }
  for i, name in ipairs(NAMES) do
    store.seen[name] = {}
    store.orders[name] = name == "pages" and { "book_id", "number" } or { "id" }
    store[name] = make(MODELS[i], store)
  end
  return store
end

local function in_memory(each, store)
  return repository.memory(each, { references = {
    rx_shelves = store.shelves, rx_books = store.books,
  } })
end

describe("a repository on " .. support.system .. " and one in memory", function()
  it("do the same, whatever is done", function()
    math.randomseed(seed())
    tables.create(MODELS)
    local kept, memory = store_of(function(each) return repository.new(each) end),
      store_of(in_memory)

    for step = 1, STEPS do
      local run, said
      if random() < 0.2 then
        run, said = random_unit(1)
      else
        run, said = random_action()
      end
      local words = ("TYCHO_TEST_SEED=%d, step %d: %s"):format(seed(), step, plain(said))
      assert.equal(outcome(run, memory), outcome(run, kept), words)
      assert.equal(contents(memory), contents(kept), words)
      local name, index = pick(NAMES), random(20)
      remember(kept, name, index)
      remember(memory, name, index)
    end
  end)
end)
