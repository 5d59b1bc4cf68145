-- What `tycho db sync` finds and does, on the database that the tests were given.

local apply = require "tycho._private.schema_sync.apply"
local db = require "tycho.db"
local migrate = require "tycho.migrate"
local model = require "tycho.model"
local plan = require "tycho._private.schema_sync.plan"
local random = require "tests.db.schema_random"
local registry = require "tycho._private.model_registry"
local tokens = require "tycho._private.schema_sync.tokens"

local system = db.system()
local SEEDS = os.getenv "TYCHO_TEST_LONG" == "1" and 200 or system == "sqlite" and 40 or 6

local function only_on(name, says, test)
  if system == name then
    it(says, test)
  end
end

local function ignore() end

-- The descriptions of models; each is a list of what model.define gets.
local function models(...)
  local definitions = { ... }
  return registry.isolate(function()
    local list = {}
    for i, definition in ipairs(definitions) do
      list[i] = model.define(definition[1], definition[2]).table
    end
    return list
  end)
end

local function options(described, allow)
  local set = {}
  for _, key in ipairs(allow or {}) do
    set[key] = true
  end
  return { database = "default", models = described, allow = set, on_event = ignore }
end

local function plan_of(described, allow)
  return plan.make(db, options(described, allow))
end

local function sync(described, allow)
  local made = plan_of(described, allow)
  apply.run(db, made, options(described, allow))
  return made
end

-- The steps in words: "+ what" is done, "? what" has to be named, "! what: why" cannot be done.
local function steps(made)
  local list = {}
  for i, step in ipairs(made.steps) do
    list[i] = step.done and "+ " .. step.what
      or step.refusal and ("! %s: %s"):format(step.what, step.refusal)
      or ("? %s (%s)"):format(step.what, step.allow)
  end
  return list
end

local function has_step(made, pattern)
  for _, text in ipairs(steps(made)) do
    if text:find(pattern) then
      return true
    end
  end
  return false, table.concat(steps(made), "\n")
end

local function assert_step(made, pattern)
  local found, all = has_step(made, pattern)
  assert.is_true(found, all)
end

local function drop_all()
  for _, name in ipairs { "ss_b", "ss_a", "ss_other", "rnd_3", "rnd_2", "rnd_1" } do
    db.exec(('drop table if exists "%s"'):format(name))
  end
end

local function one_column(column, more)
  local parts = { model.id(), column }
  for key, value in pairs(more or {}) do
    parts[key] = value
  end
  return models { "ss_a", parts }
end

local function parent_and_child(on_delete, extra)
  return models(
    { "ss_a", { model.id(), model.integer("n", { null = true }), extra } },
    { "ss_b", { model.id(),
      model.reference("a", "ss_a", { null = true, on_delete = on_delete }) } })
end

describe("tycho db sync", function()
  before_each(drop_all)
  after_each(drop_all)

  it("makes what is missing, of every kind, and then finds nothing", function()
    local described = models({ "ss_a", {
      model.id(), model.text("email", { max = 254, unique = true }),
      model.text("words", { default = "it's \\ \"me\"" }),
      model.integer("n", { default = 0, check = "n >= 0" }), model.smallint("s", { null = true }),
      model.decimal("price", { precision = 12, scale = 2, default = "0.10" }),
      model.real("r", { default = 0.5 }), model.boolean("ok", { default = true }),
      model.uuid("u", { null = true, unique = true }), model.json("j", { default = { a = "b'c" } }),
      model.array("l", { of = "text", default = { "x", "y" } }),
      model.bytes("raw", { null = true }), model.date("d", { null = true }),
      model.enum("state", { values = { "NEW", "it's" }, default = "NEW" }),
      model.timestamp("seen", { default = model.sql "now()" }),
      model.timestamps(), model.soft_delete(), model.version(),
      indexes = { { "n", "created_at" }, { "ok", "s", unique = true } },
      checks = { small = "n < 1000 or ok" },
    } }, { "ss_b", {
      model.reference("a", "ss_a", { on_delete = "cascade", primary = true }),
      model.integer("other", { primary = true }),
    } })

    assert.equal(system == "sqlite" and 2 or 3, #sync(described).steps)

    assert.same({}, steps(plan_of(described)))
    db.exec("insert into ss_a(email, n, created_at, updated_at) values ('a', 5, $1, $1)",
      db.timestamp(0))
    local row = db.one "select * from ss_a"
    assert.same({ 5, "0.10", true, "NEW", 1, 'it\'s \\ "me"' },
      { row.n, row.price, row.ok, row.state, row.version, row.words })
    assert.same({ { a = "b'c" }, { "x", "y" } }, { row.j, { row.l[1], row.l[2] } })
    assert.matches("^%d+%-%d+%-%d+T%d+:%d+:%d+%.%d%d%d%d%d%dZ$", row.seen)
  end)

  it("ends as the models say, whatever these are and were", function()
    for seed = 1, SEEDS do
      local r = random.new(seed)
      local tables = random.tables(r)
      drop_all()
      for change = 0, 3 do
        local described = random.models(tables)
        local allow = {}
        for _, step in ipairs(plan_of(described).steps) do
          allow[#allow + 1] = step.allow
        end
        sync(described, allow)
        assert.same({}, steps(plan_of(described)), ("seed %d, change %d"):format(seed, change))
        random.change(r, tables)
      end
    end
  end)

  it("takes a table as it is that was written by hand", function()
    db.exec(({
      sqlite = "create table ss_a (id integer primary key, email varchar(254) not null unique, "
        .. "n int not null default (0) check (n>=0), \"created_at\" datetext not null)",
      postgresql = "create table ss_a (id bigserial primary key, email varchar(254) not null "
        .. "unique, n int8 not null default '0' check (n>=0), created_at timestamptz not null)",
      mysql = "create table ss_a (id bigint primary key auto_increment, email varchar(254) "
        .. "not null unique, n bigint not null default '0', created_at datetime(6) not null, "
        .. "check (n>=0))",
    })[system])

    assert.same({}, steps(plan_of(models { "ss_a", {
      model.id(), model.text("email", { max = 254, unique = true }),
      model.integer("n", { default = 0, check = "n >= 0" }), model.timestamp("created_at"),
    } })))
  end)

  it("adds to a table, and keeps its rows", function()
    sync(one_column(model.text("x", { max = 20 })))
    db.exec "insert into ss_a(x) values ('kept')"

    local made = sync(one_column(model.text("x", { max = 20 }), {
      model.id(), model.text("x", { max = 20, unique = true }),
      model.integer("y", { default = 7, check = "y > 0" }), indexes = { { "y", "x" } },
    }))

    assert_step(made, "^%+ add column ss_a.y: %w+, not null, default 7$")
    assert.same({ x = "kept", y = 7, id = 1 }, db.one "select * from ss_a")
    assert.is_false(pcall(db.exec, "insert into ss_a(x, y) values ('other', -1)"))
    assert.is_false(pcall(db.exec, "insert into ss_a(x, y) values ('kept', 1)"))
  end)

  it("gives rows that are there the present moment, where a model wants to know when", function()
    sync(one_column(model.integer("n")))
    db.exec "insert into ss_a(n) values (1), (2)"
    local timed = one_column(model.integer("n"), { model.id(), model.integer("n"),
      model.timestamps() })

    sync(timed)

    assert.same({}, steps(plan_of(timed)))
    local row = db.one "select * from ss_a where n = 2"
    assert.matches("^20%d%d%-%d+%-%d+T%d+:%d+:%d+%.%d%d%d%d%d%dZ$", row.created_at)
    assert.is_false(pcall(db.exec, "insert into ss_a(n) values (3)"))
  end)

  it("renames a column only where the model says so", function()
    sync(one_column(model.text("nick", { max = 20, null = true, unique = true })))
    db.exec "insert into ss_a(nick) values ('kept')"

    assert.same({ "+ add column ss_a.name: " .. (system == "sqlite" and "TEXT"
      or system == "mysql" and "varchar(20) character set utf8mb4 collate utf8mb4_bin"
      or "varchar(20)") .. ", may be null", "? drop column ss_a.nick (drop-column:ss_a.nick)" },
      steps(plan_of(one_column(model.text("name", { max = 20, null = true })))))
    local renamed = one_column(model.text("name", {
      max = 20, null = true, unique = true, renamed_from = "nick",
    }))
    assert_step(sync(renamed), "^%+ rename column ss_a.nick to name$")

    assert.equal("kept", db.value "select name from ss_a")
    assert.same({}, steps(plan_of(renamed)))
  end)

  it("does what loses something only when it is named", function()
    sync(models({ "ss_a", { model.id(), model.integer("n", { null = true, check = "n > 0" }),
      model.text("x", { max = 9, null = true }), indexes = { { "x" } } } },
      { "ss_b", { model.id(), model.reference("a", "ss_a", { null = true }) } }))
    local less = models({ "ss_a", { model.id(), model.integer("n", { null = true }) } },
      { "ss_b", { model.id(), model.integer("a", { null = true }) } })

    local made = sync(less)

    assert_step(made, "^%? drop column ss_a.x %(drop%-column:ss_a.x%)$")
    assert_step(made, "^%? drop check .* %(drop%-constraint:ss_a.*%)$")
    assert_step(made, "^%? drop reference .* %(drop%-constraint:ss_b.*%)$")
    assert.same(steps(made), steps(plan_of(less)))
    local allow = {}
    for i, step in ipairs(made.steps) do
      allow[i] = step.allow
    end
    sync(less, allow)
    assert.same({}, steps(plan_of(less)))
    db.exec "insert into ss_a(n) values (-1)"
  end)

  it("can be done by a program", function()
    registry.isolate(function()
      model.define("ss_a", { model.id(), model.text("x", { max = 9, null = true }) })
      assert.same({ done = { "create table ss_a" }, left = {} }, migrate.sync())
    end)
    registry.isolate(function()
      model.define("ss_a", { model.id() })
      assert.same({ done = {}, left = { "drop column ss_a.x" } }, migrate.sync())
      assert.same({ done = { "drop column ss_a.x" }, left = {} },
        migrate.sync { allow = { "drop-column:ss_a.x" } })
      assert.has_error(function() migrate.sync { allow = { "drop-column:ss_a.x" } } end,
        "migrate.sync: there is no step drop-column:ss_a.x to allow")
    end)
  end)

  it("says of a step to allow that there is none", function()
    assert.same({ "drop-column:ss_a.nikc" },
      plan_of(one_column(model.integer("n")), { "drop-column:ss_a.nikc" }).unknown)
  end)

  it("leaves tables alone that no model has, unless they are to be dropped", function()
    db.exec "create table ss_other(x integer)"

    local made = plan_of(models { "ss_a", { model.id() } })
    assert.same({ "+ create table ss_a" }, steps(made))
    local names = table.concat(made.unmodelled, " ")
    assert.matches("ss_other", names)
    sync(models { "ss_a", { model.id() } }, { "drop-table:ss_other" })

    assert.is_false(pcall(db.query, "select * from ss_other"))
  end)

  it("refuses what the rows are in the way of, and says what to do", function()
    sync(models({ "ss_a", { model.id(), model.integer("n", { null = true }),
      model.integer("same") } }, { "ss_b", { model.id(), model.integer("a") } }))
    db.exec "insert into ss_a(n, same) values (null, 1), (2, 1)"
    db.exec "insert into ss_b(a) values (77)"

    local made = plan_of(models({ "ss_a", { model.id(), model.integer("n"),
      model.integer("same", { unique = true, check = "same > 1" }), model.integer("new"),
      indexes = { { "new" } } } }, { "ss_b", { model.id(), model.reference("a", "ss_a") } }))

    assert_step(made, "^! ss_a.n may not be null any more: 1 row of ss_a has no value there")
    assert_step(made, "^! add column ss_a.new: .*give the column a default or null = true")
    assert_step(made, "^! add index .*there are rows of ss_a with the same same")
    assert_step(made, "^! add index .*it is of ss_a.new, which cannot be added")
    assert_step(made, "^! add check .*there are rows of ss_a for which it does not hold")
    assert_step(made, "^! add reference .*rows of ss_b whose a leads nowhere")
    assert.equal(6, #made.steps)
  end)

  if system ~= "sqlite" then
    it("widens types unasked, and narrows them only when that is named", function()
      sync(one_column(model.text("x", { max = 20 })))
      assert_step(sync(one_column(model.text("x", { max = 30 }))),
        "^%+ change the type of ss_a.x from ")
      db.exec "insert into ss_a(x) values ('short')"

      local narrower = one_column(model.text("x", { max = 10 }))
      assert_step(plan_of(narrower), "^%? change the type of ss_a.x .*%(change%-type:ss_a.x%)$")
      sync(narrower, { "change-type:ss_a.x" })

      assert.same({}, steps(plan_of(narrower)))
      assert.is_false(pcall(db.exec, "insert into ss_a(x) values ('longer than ten')"))
    end)
  end

  only_on("sqlite", "refuses a type that values do not fit, which SQLite would keep", function()
    local allow = { "change-type:ss_a.n" }
    for kind, bad in pairs { integer = "x", real = "1,5", boolean = "7", json = "{" } do
      drop_all()
      sync(one_column(model.text("n", { max = 9, null = true })))
      db.exec("insert into ss_a(n) values ('1'), (null), ($1), ('0')", bad)
      local wanted = one_column(model[kind]("n", { null = true }))

      assert_step(plan_of(wanted, allow), "^! .*: 1 row of ss_a has a value there that does not")
      db.exec("delete from ss_a where n = $1", bad)
      sync(wanted, allow)

      assert.same({}, steps(plan_of(wanted)))
      assert.equal(3, db.value "select count(*) from ss_a")
    end
  end)

  it("keeps the rows that refer to a table whose columns it changes", function()
    sync(parent_and_child("cascade"))
    db.exec "insert into ss_a(n) values (1)"
    db.exec "insert into ss_b(a) select id from ss_a"

    local added = model.integer("m", { default = 1, check = "m > 0" })
    local changed = parent_and_child("cascade", added)
    sync(changed)

    assert.same({}, steps(plan_of(changed)))
    assert.equal(1, tonumber(db.value "select count(*) from ss_b where a is not null"))
    assert.is_false(pcall(db.exec, "insert into ss_b(a) values (99)"))
    db.exec "delete from ss_a"
    assert.equal(0, tonumber(db.value "select count(*) from ss_b"))
  end)

  it("takes away and changes indexes that a reference uses", function()
    local function two(columns, ...)
      return models({ "ss_a", { model.id() } },
        { "ss_b", { model.id(), model.reference("a", "ss_a"), indexes = { ... },
          columns[1] } })
    end
    local both = { model.integer("n", { null = true }) }
    local allow = { "drop-index:ss_b.ss_b_a_n_idx", "drop-column:ss_b.n" }
    local index, unique = { "a", "n" }, { "a", "n", unique = true, name = "ss_b_a_n_idx" }

    for _, last in ipairs { two(both), two({}), two(both, unique) } do
      drop_all()
      sync(two(both, index))
      sync(last, allow)

      assert.same({}, steps(plan_of(last)))
      assert.is_false(pcall(db.exec, "insert into ss_b (a) values (4711)"))
    end
  end)

  it("changes what is done on delete", function()
    sync(parent_and_child("no_action"))
    local made = sync(parent_and_child("cascade"))

    assert.equal(1, #made.steps)
    assert_step(made, "^%+ change reference ss_b_a_fkey of ss_b from .*, on delete cascade$")
    assert.same({}, steps(plan_of(parent_and_child("cascade"))))
  end)

  it("refuses to do what is no longer what was shown", function()
    local described = one_column(model.integer("n"))
    local shown = plan_of(described)
    sync(described)

    local ok, err = pcall(apply.run, db, shown, options(described))

    assert.is_false(ok)
    assert.equal("schema.changed", err.detail)
  end)

  it("names the step that a database refuses", function()
    local described = one_column(model.integer("n", { check = "no_such_column > 0" }))
    local ok, err = pcall(sync, described)

    assert.is_false(ok)
    assert.matches("no_such_column", tostring(err.message or err))
  end)
end)

describe("a table of SQLite that is made anew", function()
  before_each(drop_all)
  after_each(drop_all)

  only_on("sqlite", "keeps its triggers, views, hand-made indexes and numbers", function()
    sync(one_column(model.integer("n", { null = true })))
    db.exec "create index ss_mine on ss_a(n desc)"
    db.exec "create trigger ss_t after insert on ss_a begin select 1; end"
    db.exec "create view ss_v as select n from ss_a"
    db.exec "insert into ss_a(n) values (1), (2)"
    db.exec "delete from ss_a where id = 2"
    local changed = one_column(model.integer("n", { default = 5, check = "n > 0" }))

    sync(changed)

    local found = {}
    for _, row in ipairs(db.query
      "select name from sqlite_schema where name like 'ss!_%' escape '!'") do
      found[row.name] = true
    end
    assert.same({ ss_a = true, ss_mine = true, ss_t = true, ss_v = true }, found)
    assert.equal(3, db.exec("insert into ss_a(n) values (3)").last_id)
    assert.equal(2, db.value "select count(*) from ss_v")
    db.exec "drop view ss_v"
  end)

  only_on("sqlite", "is left alone if models cannot say what it has", function()
    db.exec "create table ss_a(id integer primary key, x text collate nocase not null)"

    local made = plan_of(one_column(model.text("x", { null = true })))

    assert.same({ "! ss_a.x may be null: the table would have to be made anew, and models cannot "
      .. "say what it has (collate): write a migration (tycho db new)" }, steps(made))
  end)

  only_on("sqlite", "is not committed with rows that lead nowhere", function()
    sync(parent_and_child("cascade"))

    local ok, err = pcall(db.transaction, function(tx)
      tx:exec "pragma foreign_keys = off"
      tx:exec "insert into ss_b(a) values (12)"
    end)

    assert.is_false(ok)
    assert.equal("SQLITE_CONSTRAINT_FOREIGNKEY", err.detail)
    assert.equal(0, db.value "select count(*) from ss_b")
    assert.is_false(pcall(db.exec, "insert into ss_b(a) values (12)"))
    assert.is_false(pcall(db.transaction, function(tx)
      tx:query "select 1"
      tx:exec "pragma foreign_keys = off" -- too late: not the first statement
    end))
  end)
end)

describe("SQL", function()
  it("is the same however it is written", function()
    local same = "a >= 0 and b in ( 'X y' , 1 )"
    assert.equal(same, tokens.normal [[( "A">=0 AND b in('X y', TRUE) -- so
      /* be it */)]])
    assert.not_equal(same, tokens.normal "a >= 0 and b in ('x y', 1)")
    assert.equal("( a ) or ( b )", tokens.normal "(a) or (b)")
    assert.equal([['a\'b' , 1]], tokens.normal([['a\'b',1]], true))
  end)
end)
