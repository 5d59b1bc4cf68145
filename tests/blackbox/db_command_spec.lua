-- `tycho db ...`: what an operator types, sees, and gets as exit codes.

local fs = require "tycho.fs"
local json = require "tycho.json"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local MODELS = [[
local model = require "tycho.model"

return model.define("users", {
  model.id(),
  model.text("email", { max = 254, unique = true }),
  %s
})
]]
local MAIN = "local app = require 'tycho.app'\nrequire 'app.users'\n"
  .. "app.get('/', function() return {} end)\n"

local function prepare(columns, more)
  local scripts = { ["app/main.lua"] = MAIN, ["app/users.lua"] = MODELS:format(columns or "") }
  for path, text in pairs(more or {}) do
    scripts[path] = text
  end
  return server.prepare { scripts = scripts }
end

local function set_columns(s, columns)
  s:write("app/users.lua", MODELS:format(columns))
end

-- Types `answer` on a terminal that the command runs on.
local function on_a_terminal(s, answer, command)
  local typed = ("printf '%s\\n' | script -qec %q /dev/null"):format(answer,
    server.program() .. " " .. command)
  local _, out = process.run({
    args = { "sh", "-c", typed }, cwd = s.folder, env = { PATH = os.getenv "PATH" },
  }, 60)
  return out
end

describe("tycho db sync", function()
  after_each(server.clean_up)

  it("shows what it would do, and does nothing unless told to", function()
    local s = prepare()

    local code, out, err = s:cli("db", "sync")

    assert.equal(1, code)
    assert.matches("^Database default %(sqlite%): 1 difference from the models\n", out)
    assert.matches("\n  create table users\n      a model has it, the database has not\n", out)
    assert.matches("%-%-yes says that it shall be done", err)
    assert.equal(1, (s:cli("db", "sync", "--check")))
  end)

  it("does it with --yes, and then finds nothing", function()
    local s = prepare()

    local code, out, err = s:cli("db", "sync", "--yes")

    assert.equal(0, code, err)
    assert.matches("\nDone: 1%.\n$", out)
    code, out = s:cli("db", "sync", "--check")
    assert.equal(0, code)
    assert.equal("Database default (sqlite): as the models are\n", out)
  end)

  it("asks on a terminal", function()
    if not fs.exists "/usr/bin/script" then
      return pending "there is no script(1) here"
    end
    local s = prepare()

    assert.matches("Do it%? %[y/N%].*Nothing was done%.", on_a_terminal(s, "n", "db sync"))
    assert.equal(1, (s:cli("db", "sync", "--check")))
    assert.matches("Do it%? %[y/N%].*Done: 1%.", on_a_terminal(s, "y", "db sync"))
    assert.equal(0, (s:cli("db", "sync", "--check")))
  end)

  it("prints the statements with --sql, and they do it", function()
    local s = prepare("model.integer('n', { default = 3, check = 'n > 0' }),")
    local code, out = s:cli("db", "sync", "--sql")
    assert.equal(0, code)
    assert.matches("^%-%- create table users\ncreate table \"users\" %(\n.*;\n$", out)
    s:write("migrations/001_all.sql", out)

    assert.equal(0, (s:cli("db", "migrate")))

    assert.equal(0, (s:cli("db", "sync", "--check")))
  end)

  it("does what loses something only when that is named", function()
    local s = prepare("model.text('nick', { null = true }),")
    s:cli("db", "sync", "--yes")
    set_columns(s, "")

    local code, out = s:cli("db", "sync", "--yes")
    assert.equal(0, code)
    assert.matches("Loses something, and is done only when named:\n  drop column users.nick\n", out)
    assert.matches("its values are lost\n      %-%-allow drop%-column:users.nick\n", out)
    assert.equal(1, (s:cli("db", "sync", "--check")))

    code, out = s:cli("db", "sync", "--yes", "--allow", "drop-column:users.nick")
    assert.equal(0, code)
    assert.matches("Done: 1%.\n$", out)
    assert.equal(0, (s:cli("db", "sync", "--check")))
  end)

  it("refuses to allow what it would not do", function()
    local s = prepare()

    local code, _, err = s:cli("db", "sync", "--yes", "--allow", "drop-column:users.nikc")

    assert.equal(2, code)
    assert.equal("tycho: --allow drop-column:users.nikc: there is no such step\n", err)
  end)

  it("says what cannot be done, and what to do about it", function()
    local s = prepare "model.integer('n', { null = true }),"
    s:cli("db", "sync", "--yes")
    s:write("seeds/one.lua", "return function(tx) tx:exec "
      .. "\"insert into users(email) values ('a')\" end")
    assert.equal(0, (s:cli("db", "seed")))
    set_columns(s, "model.integer('n'), model.integer('m'),")

    local code, out = s:cli("db", "sync", "--yes")

    assert.equal(1, code)
    assert.matches("Cannot be done:\n", out)
    assert.matches("users.n may not be null any more\n      1 row of users has no value", out)
    assert.matches("add column users.m.*\n      .*give the column a default", out)
  end)

  it("says all of it in JSON", function()
    local s = prepare()

    local code, out = s:cli("db", "sync", "--yes", "--json")
    local answer = json.decode(out)

    assert.equal(0, code)
    assert.is_true(answer.ok)
    assert.equal(1, answer.applied)
    assert.equal("applied", answer.steps[1].state)
    set_columns(s, "model.integer('n', { null = true }),")
    code, out = s:cli("db", "sync", "--check", "--json")
    local step = json.decode(out).steps[1]
    assert.equal(1, code)
    assert.equal("add_column", step.action)
    assert.equal("to_do", step.state)
    assert.equal("users", step.table)
    assert.same({ 'alter table "users" add column "n" INTEGER' }, step.statements)
  end)

  it("says which script does not load", function()
    local s = prepare "model.integer('n', { nul = true }),"
    local code, out, err = s:cli("db", "sync")

    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("^tycho: scripts/app/users.lua:6: unknown option \"nul\"", err)
  end)

  it("says in one sentence, without a secret, that a database cannot be reached", function()
    local s = prepare()
    local url = ("postgres://me:s3cret@127.0.0.1:%d/shop"):format(server.free_port())

    local code, out, err = s:cli("db", "sync", "--set", "databases.default.url=" .. url)

    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("^tycho: [^\n]+\n$", err)
    assert.is_nil(err:find("s3cret", 1, true))
  end)
end)

describe("tycho db with migrations", function()
  after_each(server.clean_up)

  it("makes, applies, shows and undoes them", function()
    local s = prepare()
    local code, out = s:cli("db", "new", "first")
    assert.equal(0, code)
    assert.equal("made scripts/migrations/001_first.sql\n"
      .. "made scripts/migrations/001_first.down.sql\n", out)
    s:write("migrations/001_first.sql", "create table t(x integer);")
    s:write("migrations/001_first.down.sql", "drop table t;")

    code, out = s:cli("db", "status")
    assert.equal(0, code)
    assert.matches("1 +first +pending +%-\n", out)
    assert.equal(1, (s:cli("db", "status", "--check")))
    code, out = s:cli("db", "migrate")
    assert.equal(0, code)
    assert.equal("applied scripts/migrations/001_first.sql\n", out)
    assert.equal("Nothing to apply.\n", select(2, s:cli("db", "migrate")))
    assert.matches("1 +first +applied +20%d%d%-", (select(2, s:cli("db", "status"))))

    code, out = s:cli("db", "rollback")
    assert.equal(1, code)
    assert.equal("undo scripts/migrations/001_first.sql\n", out)
    code, out = s:cli("db", "rollback", "--yes")
    assert.equal(0, code)
    assert.equal("undid scripts/migrations/001_first.sql\n", out)
  end)

  it("says file and line of what fails, also in JSON", function()
    local s = prepare(nil, { ["migrations/001_a.sql"] = "create table a(x);\n\nnonsense;" })

    local code, _, err = s:cli("db", "migrate")
    assert.equal(1, code)
    assert.matches("^tycho: scripts/migrations/001_a.sql:3: .*syntax error", err)
    local out
    code, out = s:cli("db", "migrate", "--json")
    assert.equal(1, code)
    assert.is_false(json.decode(out).ok)
    assert.matches("001_a.sql:3: ", json.decode(out).faults[1])
  end)

  it("says what stays done where a later one fails", function()
    local s = prepare(nil, {
      ["migrations/001_a.sql"] = "create table a(x);", ["migrations/002_b.sql"] = "nonsense;",
      ["migrations/001_a.down.sql"] = "drop table a;",
    })

    local code, out = s:cli("db", "migrate")
    assert.equal(1, code)
    assert.equal("applied scripts/migrations/001_a.sql\n", out)
    s:cli("db", "rollback", "--yes")
    out = select(2, s:cli("db", "migrate", "--json"))
    assert.same({ "scripts/migrations/001_a.sql" }, json.decode(out).files)
  end)

  it("compares the models in its status", function()
    local s = prepare()
    local answer = json.decode((select(2, s:cli("db", "status", "--json"))))
    assert.same({ models = 1, differences = 1 }, answer.schema)
    assert.equal("sqlite", answer.system)

    s:cli("db", "sync", "--yes")

    assert.matches("\nModels: 1, and the database is as they are%.\n$",
      (select(2, s:cli("db", "status"))))
    assert.equal(0, (s:cli("db", "status", "--check")))
  end)

  it("refuses a version that is none", function()
    local code, _, err = prepare():cli("db", "rollback", "--to", "yesterday")

    assert.equal(2, code)
    assert.equal("tycho: --to: yesterday is no version of a migration\n", err)
  end)

  it("refuses names that are none", function()
    local s = prepare()

    local code, _, err = s:cli("db", "new", "bad name!")
    assert.equal(2, code)
    assert.equal("tycho: bad name!: a migration's name has letters, digits, _ and -\n", err)
    for _, verb in ipairs { "migrate", "status", "seed", "sync" } do
      code, _, err = s:cli("db", verb, "--database", "reprots")
      assert.equal(1, code)
      assert.equal("tycho: no database is configured under the name \"reprots\": "
        .. "set databases.reprots.url\n", err)
    end
  end)

  it("runs seeds in order, each whole or not at all", function()
    local s = prepare(nil, {
      ["seeds/1_users.lua"] = "local tx = ...\n"
        .. "tx:exec \"insert into users(email) values ('a')\"",
      ["seeds/2_wrong.lua"] = "return function(tx)\n"
        .. "tx:exec \"insert into users(email) values ('b')\"\nerror 'no' end",
    })
    s:cli("db", "sync", "--yes")

    local code, _, err = s:cli("db", "seed")

    assert.equal(1, code)
    assert.matches("scripts/seeds/2_wrong.lua:3: no", err)
    s:write("seeds/2_wrong.lua", "local tx = ...\n"
      .. "assert(tx:value 'select count(*) from users' == 1)")
    code = s:cli("db", "seed", "scripts/seeds/2_wrong.lua")
    assert.equal(0, code)
  end)
end)

describe("a server whose database lacks what a model has", function()
  after_each(server.clean_up)

  it("does not start, and says what is missing", function()
    local s = prepare()
    s:cli("db", "sync", "--yes")
    set_columns(s, "model.integer('n', { null = true }),")

    local code, _, err = s:cli "serve"

    assert.equal(1, code)
    assert.matches("scripts/app/users.lua:%d: the table users has no column n in the database "
      .. "default: tycho db sync, or a migration, makes it", err)
  end)

  it("refuses the reload, and goes on", function()
    local s = server.start { scripts = {
      ["app/main.lua"] = MAIN, ["app/users.lua"] = MODELS:format "",
      ["migrations/001_users.sql"] =
        "create table users(id integer primary key, email text not null unique)",
    } }
    set_columns(s, "model.integer('n', { null = true }),")

    local code, _, err = s:cli "reload"

    assert.equal(1, code)
    assert.matches("the table users has no column n", err)
    assert.equal(200, s:request("GET", "/").status)
    s:cli("db", "sync", "--yes")
    assert.equal(0, (s:cli "reload"))
  end)
end)
