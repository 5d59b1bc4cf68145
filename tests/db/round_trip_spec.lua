-- Values at random go into a database and come back as they were, whichever way they are read.

local db = require "tycho.db"
local int64 = require "tycho.int64"
local random = require "tests.db.random_values"
local support = require "tests.db.support"

local SYSTEM = support.system
local ROUNDS = os.getenv "TYCHO_TEST_LONG" == "1" and 2000 or 100

-- What is given for each column, as the library takes it, and what comes back.
local COLUMNS = {
  big = random.integer, real_ = random.double, text_ = random.text, price = random.decimal,
  day = random.date, uid = random.uuid,
  ok = function() return math.random() < 0.5 end,
  bytes_ = function()
    local bytes = random.bytes()
    return db.blob(bytes), bytes
  end,
  at = function()
    local text = random.timestamp()
    return db.timestamp(text), text
  end,
  doc = function()
    local document = random.document()
    return db.json(document), document
  end,
}

local NAMES = {}
for name in pairs(COLUMNS) do
  NAMES[#NAMES + 1] = name
end
table.sort(NAMES)

local function placeholders()
  local list = {}
  for i = 1, #NAMES + 1 do
    list[i] = "$" .. i
  end
  return table.concat(list, ", ")
end

local INSERT = ("insert into trips(id, %s) values (%s)"):format(table.concat(NAMES, ", "),
  placeholders())
local ALL = "select * from trips order by id"

local function same(given, found, what)
  local why = random.difference(given, found)
  assert(not why, ("%s: %s (TYCHO_TEST_SEED=%d)"):format(what, tostring(why), random.seed))
end

describe("values at random of " .. SYSTEM, function()
  local given

  setup(function()
    support.create("trips", [[id {bigint} primary key, big {bigint}, real_ {real}, text_ {text},
      bytes_ {bytes}, ok {boolean}, doc {json}, at {timestamp}, day {date}, price {decimal},
      uid {uuid}]])
    given = {}
    for id = 1, ROUNDS do
      local row, values = { id = id }, {}
      for i, name in ipairs(NAMES) do
        if math.random() < 0.9 then
          local value, wanted = COLUMNS[name]()
          values[i] = value
          if wanted == nil then
            wanted = value
          end
          row[name] = wanted
        end
      end
      given[id] = row
      db.exec(INSERT, id, unpack(values, 1, #NAMES))
    end
  end)

  it("come back in rows, as they were", function()
    local found = db.query(ALL)

    assert.equal(ROUNDS, #found)
    for id, row in ipairs(given) do
      same(row, found[id], "row " .. id)
    end
  end)

  it("come back in pieces, as they were", function()
    local id = 0
    db.each(ALL, function(row)
      id = id + 1
      same(given[id], row, "row " .. id)
    end)
    assert.equal(ROUNDS, id)
  end)

  it("come back in batches and transactions, as they were", function()
    local list = {}
    for id = 1, math.min(ROUNDS, 1000) do
      list[id] = { "select * from trips where id = $1", id, as = "one" }
    end
    local found = db.batch(list)
    db.transaction(function(tx)
      for id = 1, #list do
        local row = given[id]
        same(row, found[id], "row " .. id)
        same(row, tx:one("select * from trips where id = $1", id), "row " .. id)
      end
    end)
  end)

  it("find their own rows", function()
    for id = 1, math.min(ROUNDS, 50) do
      for _, name in ipairs { "big", "text_", "uid", "day", "real_" } do
        local value = given[id][name]
        if value ~= nil then
          assert(db.value(("select count(*) from trips where id = $1 and %s = $2"):format(name),
            id, value) == 1, ("row %d, %s, TYCHO_TEST_SEED=%d"):format(id, name, random.seed))
        end
      end
    end
  end)

  it("are refused when they are not UTF-8, however wrong they are", function()
    for _ = 1, ROUNDS do
      local text
      repeat
        text = random.text() .. string.char(math.random(128, 255)) .. random.bytes():sub(1, 3)
      until not pcall(require("tycho.json").encode, text)
      local err = support.failure(db.exec, "insert into trips(id, text_) values ($1, $2)", -1, text)
      assert.equal("invalid", err.kind)
      local ok, why = pcall(db.exec, "insert into trips(id, text_) values ($1, $2)", -1,
        db.array { text })
      assert(not ok and (type(why) == "string" or why.kind == "invalid"), ("%q in an array: %s %s")
        :format(text, tostring(why.kind), tostring(why.message)))
    end
    assert.equal(0, db.value "select count(*) from trips where id = -1")
  end)

  it("may be missing, empty or the word NULL: that is not the same", function()
    db.exec "delete from trips where id < 0"
    for id, value in ipairs { "", "NULL", "null" } do
      db.exec("insert into trips(id, text_) values ($1, $2)", -id, value)
    end
    db.exec("insert into trips(id, text_) values ($1, $2)", -4, nil)

    assert.same({ { id = -4 }, { id = -3, text_ = "null" }, { id = -2, text_ = "NULL" },
      { id = -1, text_ = "" } }, db.query "select id, text_ from trips where id < 0 order by id")
    db.exec "delete from trips where id < 0"
  end)

  it("are numbers in documents, exact even if there is no such number here", function()
    local function back(document)
      db.exec "delete from trips where id = -1"
      db.exec("insert into trips(id, doc) values (-1, $1)", document)
      return db.value "select doc from trips where id = -1"
    end

    local found = back '{"n":[9223372036854775807,-9223372036854775808,18446744073709551615]}'
    assert.equal("9223372036854775807", int64.format(found.n[1]))
    assert.equal("-9223372036854775808", int64.format(found.n[2]))
    assert.equal("18446744073709551615", int64.format(found.n[3]))
    -- What no number of ours can be is not rounded: the document is text.
    assert.equal('{"n":123456789012345678901234567890}',
      (back('{"n":123456789012345678901234567890}'):gsub(" ", "")))
    db.exec "delete from trips where id = -1"
  end)
end)
