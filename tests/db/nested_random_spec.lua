-- Transactions at random, in one another and with children, given up at any moment: what is there
-- afterwards is what was said to be committed.

local db = require "tycho.db"
local fiber = require "tycho.fiber"
local random = require "tests.db.random_values"
local support = require "tests.db.support"

local COUNT, AT_ONCE = os.getenv "TYCHO_TEST_LONG" == "1" and 3000 or 150, 30

local SLOW = ({
  postgresql = "select pg_sleep(0.01)",
  mysql = "select sleep(0.01)",
  sqlite = [[with recursive c(n) as (select 1 union all select n + 1 from c where n < 3000)
    select count(*) from c]],
})[support.system]

describe("transactions at random of " .. support.system, function()
  local last

  -- Adds a row, and its number to what will be there if all goes well.
  local function insert(tx, list)
    last = last + 1
    local n = last
    tx:exec("insert into stormed values ($1)", n)
    list[#list + 1] = n
  end

  local work

  -- A transaction inside, which may be undone alone.
  local function nest(tx, list, depth)
    local inner = {}
    local ok, err = pcall(tx.transaction, tx, function(within)
      work(within, inner, depth + 1)
      if math.random() < 0.3 then
        error("undone", 0)
      end
    end)
    for _, n in ipairs(ok and inner or {}) do
      list[#list + 1] = n
    end
    if not ok and err ~= "undone" then
      error(err, 0)
    end
  end

  local STEPS = {
    insert, insert, insert,
    function(tx, list, depth)
      if depth < 3 then
        nest(tx, list, depth)
      end
    end,
    function(tx) -- children, one of which may take the other along
      fiber.all {
        function() tx:query(SLOW) end,
        function() assert(math.random() < 0.6, "sibling") end,
      }
    end,
    function(tx) -- a child that nobody waits for
      fiber.spawn(function() pcall(tx.query, tx, SLOW) end)
    end,
    function(tx)
      tx:each("select n from stormed", function() return math.random() < 0.99 end)
    end,
    function(tx)
      tx:batch { { "select 1" }, { "select count(*) from stormed", as = "value" } }
    end,
  }

  function work(tx, list, depth)
    for _ = 1, math.random(4) do
      STEPS[math.random(#STEPS)](tx, list, depth)
    end
  end

  local function attempt(committed)
    local list = {}
    local ok = pcall(fiber.timeout, math.random() * 0.2, db.transaction, function(tx)
      work(tx, list, 0)
      assert(math.random() < 0.8, "undone")
    end)
    for _, n in ipairs(ok and list or {}) do
      committed[n] = true
    end
  end

  it("leave what they committed, and nothing else", function()
    support.create("stormed", "n integer primary key")
    last = 0
    local committed, jobs = {}, {}
    for i = 1, AT_ONCE do
      jobs[i] = function()
        for _ = 1, COUNT / AT_ONCE do
          attempt(committed)
        end
      end
    end
    fiber.all(jobs)

    local there = {}
    for _, row in ipairs(db.query "select n from stormed") do
      there[row.n] = true
    end
    for n = 1, last do
      assert(there[n] == committed[n], ("row %d was %scommitted (TYCHO_TEST_SEED=%d)"):format(n,
        committed[n] and "" or "not ", random.seed))
    end
    assert.is_not_nil(next(committed))
  end)
end)
