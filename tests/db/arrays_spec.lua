-- Lists: arrays of every type where the database has them, JSON elsewhere.

local db = require "tycho.db"
local json = require "tycho.json"
local random = require "tests.db.random_values"
local support = require "tests.db.support"

local SYSTEM = support.system
local ROUNDS = 25

local function same(given, found, what)
  local why = random.difference(given, found)
  assert(not why, ("%s: %s (TYCHO_TEST_SEED=%d)"):format(what, tostring(why), random.seed))
end

-- What makes an element of a type: what is given, and, where that is not the same, what comes back.
local ELEMENTS = {
  boolean = function() return math.random() < 0.5 end,
  smallint = function() return math.random(-32768, 32767) end,
  integer = function() return math.random(-2147483647, 2147483647) end,
  bigint = random.integer, oid = function() return math.random(0, 4294967295) end,
  real = function() return math.random(-4096, 4096) / 16 end,
  ["double precision"] = random.double,
  text = random.text, varchar = random.text, uuid = random.uuid, date = random.date,
  timestamptz = random.timestamp,
  timestamp = function()
    local text = random.timestamp()
    return text, (text:gsub("Z$", ""))
  end,
  ["numeric(40,10)"] = random.decimal,
  bytea = function()
    local bytes = random.bytes()
    return db.blob(bytes), bytes
  end,
  json = function()
    local document = random.document(2)
    return db.json(document), document
  end,
  jsonb = function()
    local document = random.document(2)
    return db.json(document), document
  end,
  time = function()
    return ("%02d:%02d:%02d"):format(math.random(0, 23), math.random(0, 59), math.random(0, 59))
  end,
  interval = function() return ("%d days"):format(math.random(2, 10000)) end,
  inet = function() return ("10.%d.%d.1"):format(math.random(0, 255), math.random(0, 255)) end,
  cidr = function() return ("10.%d.0.0/16"):format(math.random(0, 255)) end,
  macaddr = function() return ("08:00:2b:01:02:%02x"):format(math.random(0, 255)) end,
}

-- Arrays may have levels, but all lists of a level are of one length.
local function list_of(make, lengths, level)
  local given, wanted = {}, json.array {}
  for i = 1, lengths[level] do
    if level < #lengths then
      given[i], wanted[i] = list_of(make, lengths, level + 1)
    elseif math.random() < 0.1 then
      given[i], wanted[i] = db.null, json.null
    else
      local value, other = make()
      if other == nil then
        other = value
      end
      given[i], wanted[i] = value, other
    end
  end
  return given, wanted
end

local SHAPES = { { 0 }, { 1 }, { 7 }, { 2, 3 }, { 3, 1, 2 }, { 1, 1, 1, 1, 1, 2 } }

describe("arrays of " .. SYSTEM, function()
  if SYSTEM ~= "postgresql" then
    it("are JSON, of any shape", function()
      support.create("lists", "id {bigint}, list {json}")
      for id = 1, ROUNDS do
        local list = json.array { random.integer(), random.text(), db.null,
          { random.decimal(), {} }, db.json { a = random.document(2) },
          db.timestamp "2026-11-21T16:00:00Z", db.array { 1, 2 } }
        db.exec("insert into lists(id, list) values ($1, $2)", id, db.array(list))

        local found = db.value("select list from lists where id = $1", id)
        same({ list[1], list[2], json.null, { list[4][1], json.array {} }, found[5],
          "2026-11-21T16:00:00.000000Z", { 1, 2 } }, found, "a list")
        same(json.decode(list[5][1]), found[5], "a document in it")
      end
    end)

    it("are refused where JSON has nothing for what is in them", function()
      for _, list in ipairs { { math.huge }, { 0 / 0 }, { db.blob "\0" }, { "\255" },
                              { { { -math.huge } } } } do
        assert.equal("invalid", support.failure(db.value, "select $1", db.array(list)).kind)
      end
    end)
    return
  end

  for type in pairs(ELEMENTS) do
    it(("of %s come back as they were, whatever their shape"):format(type), function()
      for _, shape in ipairs(SHAPES) do
        for _ = 1, ROUNDS / 5 do
          local given, wanted = list_of(ELEMENTS[type], shape, 1)
          same(wanted, db.value(("select $1::%s[]"):format(type), db.array(given)), type)
        end
      end
    end)
  end

  it("have infinite numbers, and what is none", function()
    local found = db.value("select $1::float8[]", db.array { math.huge, -math.huge, 0 / 0 })
    same({ math.huge, -math.huge, 0 / 0 }, found, "float8")
    assert.same({ "NaN", "Infinity" },
      db.value("select $1::numeric[]", db.array { 0 / 0, math.huge }))
  end)

  it("have lower bounds of their own in PostgreSQL, and none here", function()
    assert.same({ 7, 8 }, db.value "select '[0:1]={7,8}'::int[]")
    assert.same({ { 7, 8 } }, db.value "select '[5:5][2:3]={{7,8}}'::int[]")
    assert.same({ "x" }, db.value "select '[-1:-1]={x}'::text[]")
    for _, list in ipairs { { "[a", "b=c" }, { "[0:1]=", "{" }, { "[0:1]", "=", "{}" } } do
      assert.same(list, db.value("select $1::text[]", db.array(list)))
    end
  end)

  it("hold no NUL and no wrong UTF-8", function()
    for _, text in ipairs { "a\0b", "\0", "\255", "\237\160\128", "\240\159\144" } do
      for _, statement in ipairs { "select $1::text[]", "select $1::text" } do
        assert.equal("invalid", support.failure(db.value, statement, db.array { text }).kind)
      end
    end
  end)
end)

describe("what is no array", function()
  it("is told to whoever wrote it", function()
    assert.matches("arrays_spec.lua:%d+: db.array: expected a table",
      support.fault(function() db.array "x" end))
    assert.matches("arrays_spec.lua:%d+: db.array: what is no list",
      support.fault(function() db.array { { a = 1 } } end))
    for _, list in ipairs { { 1, nil, 3 }, { nil, 1 }, { { 1, nil, 2 }, { 3, 4, 5 } } } do
      assert.matches("arrays_spec.lua:%d+: db.array: nil is no element; NULL is db.null",
        support.fault(function() db.array(list) end))
    end
    assert.matches("arrays_spec.lua:%d+: db.array: what is no list",
      support.fault(function() db.array { 1, 2, three = 3 } end))
    assert.matches("db.array: a userdata is no element",
      support.fault(function() db.array { io.stdout } end))
    assert.matches("arrays_spec.lua:%d+: db.array: a function is no element",
      support.fault(function() db.array { print } end))
    assert.matches("db.array: more than 6 levels",
      support.fault(function() db.array { { { { { { { 1 } } } } } } } end))
  end)
end)
