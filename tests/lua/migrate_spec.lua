local crypto = require "tycho.crypto"
local fs = require "tycho.fs"
local process = require "tycho.process"

local PROGRAM = os.getenv("TYCHO_UNDER_TEST") or "/proc/self/exe"

-- What every script here does: migrates, and says what it did, or what was wrong.
local RUN = [[
  local ok, done = pcall(migrate.run)
  print(ok and "applied " .. #done .. " " .. (done[#done] or "-") or tostring(done))
]]

describe("tycho.migrate", function()
  local folder, count

  before_each(function()
    folder, count = "/tmp/tycho-migrate-" .. crypto.hex(crypto.random(6)), 0
    fs.mkdir(folder)
    fs.mkdir(folder .. "/scripts")
    fs.mkdir(folder .. "/scripts/migrations")
  end)

  after_each(function()
    fs.remove(folder, { recursive = true })
  end)

  local function write(file, text)
    fs.write(("%s/scripts/migrations/%s"):format(folder, file), text)
  end

  local function arguments(script, setting)
    count = count + 1
    local path = ("%s/run%d.lua"):format(folder, count)
    fs.write(path, 'local db, migrate = require "tycho.db", require "tycho.migrate"\n' .. script)
    return {
      PROGRAM, "run", "--set", ("databases.default.url=sqlite:%s/test.db"):format(folder),
      "--set", ("scripts.path=%s/scripts"):format(folder),
      "--set", setting or "log.level=warn", path,
    }
  end

  local function run(script, setting)
    local exit, output, log = process.run({ args = arguments(script, setting) }, 60)
    assert.equal(0, exit.code, log)
    return (output:gsub("\n$", ""):gsub("\t", " "))
  end

  it("applies each step once, in order", function()
    write("002_more.sql", "alter table users add column age integer;")
    write("001_users.sql", [[
      create table users(id integer primary key);
      create trigger t after insert on users begin select 1; end;
    ]])

    assert.matches("^applied 2 .*/migrations/002_more.sql$", run(RUN))
    assert.equal("applied 0 -", run(RUN))
    write("010_last.sql", "insert into users(age) values (42)")
    assert.matches("^applied 1 .*/010_last.sql$", run(RUN))
    assert.equal("42 3", run [[
      print(db.value "select age from users", db.value "select count(*) from tycho_migrations")
    ]])
  end)

  it("names file and line of a step that fails, and undoes it alone", function()
    write("001_users.sql", "create table users(id integer primary key);")
    write("002_wrong.sql", "create table fine(x);\n\ncreate table users(x);")

    assert.matches("/scripts/migrations/002_wrong.sql:3: .*table users already exists", run(RUN))
    assert.equal("0 1", run [[
      print(db.value "select count(*) from sqlite_schema where name = 'fine'",
        db.value "select count(*) from tycho_migrations")
    ]])
  end)

  it("refuses a step that was changed after it was applied", function()
    write("001_users.sql", "create table users(id integer primary key);")
    run(RUN)
    write("001_users.sql", "create table users(id integer primary key, age);")

    assert.matches("001_users.sql: was changed after it was applied %(20", run(RUN))
  end)

  it("refuses a step that comes too late", function()
    write("002_b.sql", "create table b(x);")
    run(RUN)
    write("001_a.sql", "create table a(x);")

    assert.matches("001_a.sql: comes before version 2", run(RUN))
  end)

  it("refuses names that it cannot put in order", function()
    write("first.sql", "create table a(x);")
    assert.matches("first.sql: the name of a migration is NNN_name.sql", run(RUN))

    fs.remove(folder .. "/scripts/migrations/first.sql")
    write("001_a.sql", "create table a(x);")
    write("1_b.sql", "create table b(x);")
    assert.matches("1_b.sql: has the same number as .*001_a.sql", run(RUN))
  end)

  it("does not miss a file that is gone", function()
    write("001_a.sql", "create table a(x);")
    write("002_b.sql", "create table b(x);")
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
    write("001_a.sql", "create table a(x);")
    assert.equal("1a=pending", run(script))
    assert.equal("0", run "print(db.value 'select count(*) from sqlite_schema')")

    run(RUN)
    write("001_a.sql", "create table a(y);")
    write("002_b.sql", "create table b(x);")
    assert.equal("1a=changed\n2b=pending", run(script))
    fs.remove(folder .. "/scripts/migrations/001_a.sql")
    assert.equal("1a=missing\n2b=pending", run(script))
  end)

  it("applies each step once, however many processes try", function()
    write("001_a.sql", "create table a(x); insert into a values (1);")
    write("002_b.sql", "insert into a select x + 1 from a;")
    local others = {}
    for i = 1, 4 do
      others[i] = process.spawn { args = arguments(RUN), stdout = "pipe" }
    end
    local applied = 0
    for _, other in ipairs(others) do
      applied = applied + tonumber(other.stdout:read_all():match("applied (%d)"))
      assert.equal(0, other:wait(60).code)
    end

    assert.equal(2, applied)
    assert.equal("2", run "print(db.value 'select count(*) from a')")
  end)

  it("runs on start where the configuration says so", function()
    write("001_a.sql", "create table a(x);")
    local script = "print(#migrate.run_on_start())"

    assert.equal("0", run(script, "databases.default.migrate=manual"))
    assert.equal("1", run(script, "databases.default.migrate=auto"))
  end)

  it("touches no database that has no steps", function()
    assert.equal("0", run "print(#migrate.run_on_start())")
    assert.is_false(fs.exists(folder .. "/test.db"))
  end)
end)
