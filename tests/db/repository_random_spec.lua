-- Random rows, random filters, random orders: a repository in memory and one in the database find
-- the same, in the same order, whatever the size of the pages.

local db = require "tycho.db"
local model = require "tycho.model"
local query = require "tycho.query"
local registry = require "tycho._private.model_registry"
local repository = require "tycho.repository"
local seed = require "tests.support.seed"
local support = require "tests.db.support"
local tables = require "tests.lua.model_tables"

local Item = registry.isolate(model.define, "rr_items", {
  model.id(),
  model.integer("a", { null = true }),
  model.integer("b", { null = true }),
  model.boolean("flag", { null = true }),
  model.text("word", { max = 20, null = true }),
  model.decimal("price", { precision = 10, scale = 2, null = true }),
  model.timestamp("at", { null = true }),
  model.soft_delete(),
})

local ROWS, FILTERS = 60, tonumber(os.getenv "TYCHO_TEST_LONG") and 3000 or 120

local function pick(list)
  return list[math.random(#list)]
end

local function maybe(value)
  return math.random() < 0.75 and value or nil
end

local WORDS = { "", "ab", "Ab", "a%b", "a_b", "a*b", "[ab]", "b!a", "abab", "\\b" }

local values = {
  a = function() return math.random(0, 4) end,
  b = function() return math.random(-2, 2) end,
  flag = function() return math.random() < 0.5 end,
  word = function() return pick(WORDS) end,
  price = function() return ("%d.%d"):format(math.random(0, 12), math.random(0, 9)) end,
  at = function() return math.random(0, 5) * 86400 end,
}
local NAMES = { "a", "b", "flag", "word", "price", "at" }

local function row()
  local made = {}
  for name, value in pairs(values) do
    if math.random() < 0.75 then
      made[name] = value()
    end
  end
  return made
end

local function list_of(name)
  local list = {}
  for i = 1, math.random(0, 3) do
    list[i] = math.random() < 0.1 and db.null or values[name]()
  end
  return list
end

local function add_condition(filter)
  local name = pick(NAMES)
  local op = pick {
    "eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "between", "is_null", "null",
  }
  if op == "in" or op == "not_in" then
    filter[name .. "__" .. op] = list_of(name)
  elseif op == "between" then
    filter[name .. "__between"] = { values[name](), values[name]() }
  elseif op == "is_null" then
    filter[name .. "__is_null"] = math.random() < 0.5
  elseif op == "null" then
    filter[name .. pick { "", "__ne" }] = db.null
  elseif name == "word" and math.random() < 0.6 then
    filter["word__" .. pick { "", "i" } .. pick { "contains", "starts_with", "ends_with" }] =
      pick(WORDS)
  elseif name ~= "word" or op == "eq" or op == "ne" then -- texts are ordered by the database
    filter[name .. "__" .. op] = values[name]()
  end
end

local function random_filter(depth)
  local filter = {}
  for _ = 1, math.random(0, 2) do
    add_condition(filter)
  end
  for _ = 1, depth > 0 and math.random(0, 2) or 0 do
    local group = pick { query.any_of, query.all_of, query.none_of }
    filter[#filter + 1] = group(random_filter(depth - 1))
  end
  return filter
end

local function random_order()
  local order = {}
  for _ = 1, math.random(0, 3) do
    local name = pick { "a", "b", "flag", "price", "at", "id" }
    order[#order + 1] = pick { "", "-" } .. name
  end
  return order
end

local function ids(list)
  local found = {}
  for i, item in ipairs(list) do
    found[i] = item.id
  end
  return table.concat(found, " ")
end

local function walk(items, opts)
  local found, cursor = {}, nil
  repeat
    local page = items:list { where = opts.where, order = opts.order, limit = opts.limit,
      cursor = cursor, with_deleted = opts.with_deleted }
    for _, item in ipairs(page.items) do
      found[#found + 1] = item
    end
    cursor = page.next_cursor
  until not cursor
  return ids(found)
end

describe("a repository on " .. support.system .. " and one in memory", function()
  it("find the same, whatever they are asked", function()
    math.randomseed(seed())
    tables.create { Item }
    local kept, memory = repository.new(Item), repository.memory(Item)
    for _ = 1, ROWS do
      local given = row()
      given.id = kept:insert(given).id
      memory:insert(given)
    end
    for id = 1, ROWS, 7 do
      kept:delete(id)
      memory:delete(id)
    end

    for _ = 1, FILTERS do
      local opts = { where = random_filter(2), order = random_order(), with_deleted = maybe(true) }
      local said = ("TYCHO_TEST_SEED=%d"):format(seed())
      opts.limit = 1000
      local all = walk(memory, opts)
      assert.equal(all, walk(kept, opts), said)
      assert.equal(memory:count(opts.where), kept:count(opts.where), said)
      opts.limit = math.random(1, 20)
      assert.equal(all, walk(kept, opts), said)
      assert.equal(all, walk(memory, opts), said)
    end
  end)
end)
