local fs = require "tycho.fs"
local process = require "tycho.process"
local crypto = require "tycho.crypto"

local PROGRAM = os.getenv("TYCHO_UNDER_TEST") or "/proc/self/exe"

describe("tycho.db in a process of its own", function()
  local folder

  before_each(function()
    folder = "/tmp/tycho-db-" .. crypto.hex(crypto.random(6))
    fs.mkdir(folder)
  end)

  after_each(function()
    fs.remove(folder, { recursive = true })
  end)

  local function arguments(script, settings)
    local path = ("%s/%s.lua"):format(folder, crypto.hex(crypto.random(4)))
    fs.write(path, 'local db, fiber, tycho = require "tycho.db", require "tycho.fiber", '
      .. 'require "tycho"\n' .. script)
    local args = { PROGRAM, "run", "--set",
      ("databases.default.url=sqlite:%s/test.db"):format(folder) }
    for _, setting in ipairs(settings or {}) do
      args[#args + 1] = "--set"
      args[#args + 1] = setting
    end
    args[#args + 1] = path
    return args
  end

  local function run(script, settings)
    local exit, output, log = process.run({ args = arguments(script, settings) }, 60)
    assert.equal(0, exit.code, log)
    return output, log
  end

  it("keeps one database in memory for all", function()
    assert.equal("2 rolled back 2\n", (run([[
      db.exec "create table t(n)"
      db.transaction(function(tx) tx:exec "insert into t values (1), (2)" end)
      local before = db.value "select count(*) from t"
      pcall(db.transaction, function() db.exec "delete from t" error "no" end)
      local ok = pcall(db.transaction, function() db.exec "delete from t" end, { read_only = true })
      print(before, ok and "written" or "rolled back", db.value "select count(*) from t")
    ]], { "databases.default.url=sqlite::memory:" }):gsub("\t", " ")))
  end)

  it("tells those who wait too long, or find too many waiting", function()
    assert.equal("pool.queue\npool.timeout\npool.timeout\n", (run([[
      db.exec "create table t(n)"
      local function try()
        local done, err = tycho.try(db.exec, "insert into t values (1)")
        print(done and "done" or err.detail)
      end
      db.transaction(function(tx)
        tx:exec "insert into t values (0)"
        fiber.all { try, try, try }
      end)
    ]], { "databases.default.wait_timeout=50ms", "databases.default.queue_max=2" })))
  end)

  it("cannot be stuck by asking for a connection while holding one", function()
    assert.equal("pool.timeout\n", (run([[
      db.exec "create table t(n)"
      db.transaction(function(tx)
        tx:exec "insert into t values (0)"
        local ok, err = pcall(fiber.all, { function() db.exec "insert into t values (1)" end })
        print(not ok and err.detail)
      end)
    ]], { "databases.default.wait_timeout=50ms" })))
  end)

  it("refuses results that are too large", function()
    assert.equal("too_large result_max\n", (run([[
      local _, err = tycho.try(db.query, "select zeroblob(100000)")
      print(err.kind .. " " .. err.detail)
    ]], { "databases.default.result_max=64KiB" })))
  end)

  it("logs slow statements with their line", function()
    local _, log = run([[
      db.query("with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)"
        .. " select max(i) from n")
    ]], { "databases.default.slow=1ms", "log.level=warn" })

    assert.matches("slow statement", log, 1, true)
    assert.matches("%.lua:[23]", log)
    assert.matches("with recursive", log, 1, true)
  end)

  it("takes turns with other processes", function()
    local script = [[
      db.script "create table if not exists c(n); "
      for _ = 1, 50 do
        db.transaction(function(tx)
          local n = tx:value "select max(n) from c" or 0
          tx:exec("insert into c values ($1)", n + 1)
        end)
      end
    ]]
    local others = {}
    for i = 1, 3 do
      others[i] = process.spawn { args = arguments(script) }
    end
    for _, other in ipairs(others) do
      assert.equal(0, other:wait(60).code)
    end

    assert.equal("150 150\n", (run([[
      print(db.value "select count(*) from c" .. " " .. db.value "select max(n) from c")
    ]])))
  end)

  it("loses nothing that was told, and keeps nothing else, when it is killed", function()
    local writer = process.spawn { stdout = "pipe", args = arguments [[
      db.script "create table if not exists t(n integer primary key, part, filler)"
      for n = 1, 1e9 do
        db.transaction(function(tx)
          for part = 1, 3 do
            tx:exec("insert into t(part, filler) values ($1, randomblob(20000))", part)
          end
        end)
        io.stdout:write(n, "\n")
        io.stdout:flush()
      end
    ]] }
    local told = ""
    repeat
      told = told .. writer.stdout:read()
    until told:find("20\n", 1, true)
    writer:kill "KILL"
    assert.equal(9, writer:wait(10).signal)
    repeat
      local more = writer.stdout:read()
      told = told .. (more or "")
    until not more

    local last = tonumber(told:match("(%d+)\n[^\n]*$"))
    local check, whole, rows = run([[
      print(db.value "pragma integrity_check", db.value "select count(*) % 3 from t",
        db.value "select count(*) / 3 from t")
    ]]):match("(%a+)%s(%d+)%s(%d+)")
    assert.equal("ok", check)
    assert.equal("0", whole)
    assert.is_true(tonumber(rows) == last or tonumber(rows) == last + 1)
  end)

  it("says what is wrong with a file that is no database", function()
    fs.write(folder .. "/test.db", ("no database "):rep(20))

    assert.matches("unavailable SQLITE_NOTADB sqlite: /tmp/.+/test.db: file is not a database",
      (run [[
        local _, err = tycho.try(db.query, "select 1")
        print(err.kind, err.detail, err.message)
      ]]:gsub("\t", " ")))
  end)
end)
