local config = require "tycho.config"
local crypto = require "tycho.crypto"
local database = require "tycho.db"
local fs = require "tycho.fs"
local process = require "tycho.process"
local split = require "tycho._private.migration.split"

local PROGRAM = os.getenv("TYCHO_UNDER_TEST") or "/proc/self/exe"

-- What every script here does: migrates, and says what it did, or what was wrong.
local RUN = [[
  local ok, done = pcall(migrate.run)
  print(ok and "applied " .. #done .. " " .. (done[#done] or "-") or tostring(done))
]]
local ROLLBACK = [[
  local ok, done = pcall(migrate.rollback)
  print(ok and "undid " .. #done .. " " .. (done[#done] or "-") or tostring(done))
]]

-- On the database that the tests were given; where that is SQLite, in a file for each test.
local system = database.system()
local is_file = system == "sqlite"

local function only_on(name, says, test)
  if system == name then
    it(says, test)
  end
end

describe("tycho.migrate", function()
  local folder, count

  local function clean()
    for _, name in ipairs { "a", "b", "fine", "users", "tycho_migrations" } do
      database.exec("drop table if exists " .. name)
    end
  end

  before_each(function()
    folder, count = "/tmp/tycho-migrate-" .. crypto.hex(crypto.random(6)), 0
    fs.mkdir(folder)
    fs.mkdir(folder .. "/scripts")
    fs.mkdir(folder .. "/scripts/migrations")
    if not is_file then
      clean()
    end
  end)

  after_each(function()
    fs.remove(folder, { recursive = true })
    if not is_file then
      clean()
    end
  end)

  local function write(file, text)
    fs.write(("%s/scripts/migrations/%s"):format(folder, file), text)
  end

  local function arguments(script, setting)
    count = count + 1
    local path = ("%s/run%d.lua"):format(folder, count)
    local url = is_file and ("sqlite:%s/test.db"):format(folder)
      or config.get "databases.default.url"
    fs.write(path, 'local db, migrate = require "tycho.db", require "tycho.migrate"\n' .. script)
    return {
      PROGRAM, "run", "--set", "databases.default.url=" .. url,
      "--set", ("scripts.path=%s/scripts"):format(folder),
      "--set", setting or "log.level=warn", path,
    }
  end

  local function run(script, setting)
    local exit, output, log = process.run({ args = arguments(script, setting) }, 60)
    assert.equal(0, exit.code, log)
    return (output:gsub("\n$", ""):gsub("\t", " "))
  end

  -- What exists of these tables, by asking each.
  local function tables(...)
    local names = {}
    for i, name in ipairs { ... } do
      names[i] = ("%q"):format(name)
    end
    return run(([[
      for _, name in ipairs { %s } do
        io.write(pcall(db.value, "select count(*) from " .. name) and name .. " " or "")
      end
    ]]):format(table.concat(names, ", "))):gsub(" $", "")
  end

  it("applies each step once, in order", function()
    write("002_more.sql", "alter table users add column age integer;")
    write("001_users.sql", [[
      create table users(id integer primary key);
      create table a(x integer); -- with a ; in a comment
      insert into a values (1);
    ]])

    assert.matches("^applied 2 .*/migrations/002_more.sql$", run(RUN))
    assert.equal("applied 0 -", run(RUN))
    write("010_last.sql", "insert into users(id, age) values (1, 42)")
    assert.matches("^applied 1 .*/010_last.sql$", run(RUN))
    assert.equal("42 3", run [[
      print(db.value "select age from users", db.value "select count(*) from tycho_migrations")
    ]])
  end)

  only_on("sqlite", "takes a trigger as one statement", function()
    write("001_a.sql", [[
      create table a(x);
      create trigger t after insert on a begin select 1; end;
    ]])

    assert.matches("^applied 1 ", run(RUN))
  end)

  it("names file and line of a step that fails, and undoes it alone", function()
    write("001_users.sql", "create table users(id integer primary key);")
    write("002_wrong.sql", "create table fine(x integer);\n\ncreate table users(x integer);")

    local said = run(RUN)

    assert.matches("/scripts/migrations/002_wrong.sql:3: .*users.* already exists", said)
    assert.equal("1", run [[print(db.value "select count(*) from tycho_migrations")]])
    if system == "mysql" then
      assert.matches("statement 2 of 2 failed.*what is before it has been done and stays", said)
      assert.equal("fine", tables "fine")
    else
      assert.equal("", tables "fine")
    end
  end)

  it("undoes a step that changes no tables, on every database", function()
    write("001_a.sql", "create table a(x integer primary key);")
    write("002_rows.sql", "insert into a values (1);\ninsert into a values (1);")

    assert.matches("/002_rows.sql:2: ", run(RUN))
    assert.equal("0", run [[print(db.value "select count(*) from a")]])
  end)

  it("refuses a step that was changed after it was applied", function()
    write("001_users.sql", "create table users(id integer primary key);")
    run(RUN)
    write("001_users.sql", "create table users(id integer primary key, age integer);")

    assert.matches("001_users.sql: was changed after it was applied %(20", run(RUN))
  end)

  it("refuses a step that comes too late", function()
    write("002_b.sql", "create table b(x integer);")
    run(RUN)
    write("001_a.sql", "create table a(x integer);")

    assert.matches("001_a.sql: comes before version 2", run(RUN))
  end)

  it("refuses names that it cannot put in order", function()
    write("first.sql", "create table a(x integer);")
    assert.matches("first.sql: the name of a migration is NNN_name.sql", run(RUN))

    fs.remove(folder .. "/scripts/migrations/first.sql")
    write("001_a.sql", "create table a(x integer);")
    write("1_b.sql", "create table b(x integer);")
    assert.matches("1_b.sql: has the same number as .*001_a.sql", run(RUN))

    fs.remove(folder .. "/scripts/migrations/1_b.sql")
    write("001_a.oracle.sql", "create table b(x integer);")
    assert.matches("001_a.oracle.sql: the name of a migration is", run(RUN))
  end)

  it("does not miss a file that is gone", function()
    write("001_a.sql", "create table a(x integer);")
    write("002_b.sql", "create table b(x integer);")
    run(RUN)
    fs.remove(folder .. "/scripts/migrations/002_b.sql")

    assert.equal("applied 0 -", run(RUN))
  end)

  it("tells the state of every step, and changes nothing", function()
    local script = [[
      for _, step in ipairs(migrate.status()) do
        print(step.version .. step.name .. "=" .. step.state)
      end
    ]]
    write("001_a.sql", "create table a(x integer);")
    assert.equal("1a=pending", run(script))
    assert.equal("", tables("a", "tycho_migrations"))

    run(RUN)
    write("001_a.sql", "create table a(y integer);")
    write("002_b.sql", "create table b(x integer);")
    assert.equal("1a=changed\n2b=pending", run(script))
    fs.remove(folder .. "/scripts/migrations/001_a.sql")
    assert.equal("1a=missing\n2b=pending", run(script))
  end)

  it("applies each step once, however many processes try", function()
    write("001_a.sql", "create table a(x integer); insert into a values (1);")
    write("002_b.sql", "insert into a select x + 1 from a;")
    local others = {}
    for i = 1, 4 do
      others[i] = process.spawn { args = arguments(RUN), stdout = "pipe" }
    end
    local applied = 0
    for _, other in ipairs(others) do
      local said = other.stdout:read_all()
      applied = applied + (tonumber(said:match("applied (%d)")) or error(said))
      assert.equal(0, other:wait(60).code)
    end

    assert.equal(2, applied)
    assert.equal("2", run "print(db.value 'select count(*) from a')")
  end)

  it("applies a step whole, although who applied it was killed on the way", function()
    local step = [[
      local fiber = require "tycho.fiber"
      return { up = function(tx)
        tx:exec "create table if not exists a(x integer)"
        tx:exec "insert into a values (1)"
        fiber.sleep(%d)
      end }
    ]]
    write("001_a.lua", step:format(60))
    local first = process.spawn {
      args = arguments [[
        migrate.run { on_event = function(what) print(what) io.flush() end }
      ]], stdout = "pipe",
    }
    assert.equal("apply", first.stdout:read_line())
    first:kill "KILL"
    first:wait(60)
    write("001_a.lua", step:format(0))

    assert.matches("^applied 1 ", run(RUN))
    if system ~= "mysql" then
      assert.equal("1", run "print(db.value 'select count(*) from a')")
    end
  end)

  it("takes the file that is for the database, where there is one", function()
    write("001_a.sql", "create table b(x integer);")
    write("001_a." .. system .. ".sql", "create table a(x integer);")
    local other = system == "sqlite" and "mysql" or "sqlite"
    write("002_b." .. other .. ".sql", "this is for another database")

    assert.matches("^applied 1 .*/001_a." .. system .. ".sql$", run(RUN))
    assert.equal("a", tables("a", "b"))
  end)

  it("undoes the last step by its other file", function()
    write("001_a.sql", "create table a(x integer);")
    write("001_a.down.sql", "drop table a;")
    write("002_b.sql", "create table b(x integer);")
    write("002_b." .. system .. ".down.sql", "drop table b;")
    run(RUN)

    assert.matches("^undid 1 .*/002_b.sql$", run(ROLLBACK))
    assert.equal("a", tables("a", "b"))
    assert.matches("^applied 1 .*/002_b.sql$", run(RUN))
    assert.equal("undid 2", run("print('undid ' .. #migrate.rollback { to = 0 })"))
    assert.equal("", tables("a", "b"))
    assert.equal("undid 0 -", run(ROLLBACK))
  end)

  it("undoes nothing if one of the steps cannot be", function()
    write("001_a.sql", "create table a(x integer);")
    write("002_b.sql", "create table b(x integer);")
    write("002_b.down.sql", "drop table b;")
    run(RUN)

    assert.matches("001_a.sql: there is no 001_a.down.sql beside it that undoes it", run [[
      print(select(2, pcall(migrate.rollback, { to = 0 })))
    ]])
    assert.equal("a b", tables("a", "b"))
    fs.remove(folder .. "/scripts/migrations/002_b.sql")
    assert.matches("migration 2 %(b%) cannot be undone: its file is gone", run(ROLLBACK))
  end)

  it("runs a step in Lua, and what undoes it", function()
    write("001_a.lua", [[
      return {
        up = function(tx)
          tx:exec "create table a(x integer)"
          for i = 1, 3 do
            tx:exec("insert into a values ($1)", i)
          end
        end,
        down = function(tx) tx:exec "drop table a" end,
      }
    ]])

    assert.matches("^applied 1 .*/001_a.lua$", run(RUN))
    assert.equal("3", run "print(db.value 'select count(*) from a')")
    assert.matches("^undid 1 .*/001_a.lua$", run(ROLLBACK))
    assert.equal("", tables "a")
  end)

  it("says what is wrong with a step in Lua", function()
    write("001_a.lua", "return { up = 1 }")
    assert.matches("001_a.lua: returns no table with a function `up`", run(RUN))
    write("001_a.lua", "return {\n  up = = }")
    assert.matches("001_a.lua:2: ", run(RUN))
    write("001_a.lua", "return { up = function() end }")
    assert.matches("applied 1", run(RUN))
    assert.matches("001_a.lua: has no `down`", run(ROLLBACK))
  end)

  it("notes nothing if a step in Lua fails", function()
    write("001_a.lua", "return {\n  up = function(tx)\n    tx:exec 'selec 1'\n  end }")

    run(RUN)

    assert.equal("1 pending", run "print(#migrate.status(), migrate.status()[1].state)")
  end)

  only_on("postgresql", "runs a step without a transaction that says so", function()
    write("001_a.sql", "create table a(x integer);")
    write("002_index.sql", "-- tycho: no transaction\n\ncreate index concurrently a_x on a(x);")

    assert.matches("^applied 2 ", run(RUN))
    assert.equal("1", run [[
      print(db.value "select count(*) from pg_indexes where indexname = 'a_x'")
    ]])
  end)

  only_on("sqlite", "runs a step without a transaction that says so", function()
    write("001_a.sql", "-- tidies up\n-- tycho: no transaction\nvacuum;")

    assert.matches("^applied 1 ", run(RUN))
  end)

  it("makes the files of the next step", function()
    write("0007_a.sql", "create table a(x integer);")

    local said = run [[
      local made = migrate.create "add_b"
      for i, file in ipairs(made) do print((file:match "[^/]+$")) end
      print((migrate.create("fill", { kind = "lua" })[1]:match "[^/]+$"))
    ]]

    assert.equal("0008_add_b.sql\n0008_add_b.down.sql\n0008_fill.lua", said)
    assert.is_true(fs.exists(folder .. "/scripts/migrations/0008_add_b.down.sql"))
  end)

  it("runs on start where the configuration says so", function()
    write("001_a.sql", "create table a(x integer);")
    local script = "print(#migrate.run_on_start())"

    assert.equal("0", run(script, "databases.default.migrate=manual"))
    assert.equal("1", run(script, "databases.default.migrate=auto"))
  end)

  only_on("sqlite", "touches no database that has no steps", function()
    assert.equal("0", run "print(#migrate.run_on_start())")
    assert.is_false(fs.exists(folder .. "/test.db"))
  end)
end)

describe("a file of SQL", function()
  local function texts(text, on)
    local list = {}
    for i, statement in ipairs(split(text, on)) do
      list[i] = statement.line .. ":" .. statement.text
    end
    return list
  end

  it("is split at semicolons that end something", function()
    local text = "select ';';\nselect \";\" ; -- ;\n/* ; */\nselect 1 /* ; */ + 1\n;;\n-- end"

    assert.same({ "1:select ';'", '2:select ";"', "4:select 1 /* ; */ + 1" },
      texts(text, "sqlite"))
  end)

  it("keeps PostgreSQL's bodies and nested comments together", function()
    assert.same({ "1:do $$ begin; end $$", "2:select $a$ $$ ; $a$, 1", "3:select E'\\';'" },
      texts("do $$ begin; end $$;\nselect $a$ $$ ; $a$, 1;\nselect E'\\';';/* /* ; */ ; */",
        "postgresql"))
  end)

  it("follows MySQL's delimiter, strings and comments", function()
    assert.same({ "1:select 'a\\'", "4:create trigger t begin; end", "6:select 1" },
      texts("select 'a\\'; # ; it's\n-- its\nDELIMITER //\ncreate trigger t begin; end//\n"
        .. "delimiter ;\nselect 1;", "mysql"))
  end)
end)
