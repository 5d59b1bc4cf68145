-- What went wrong, in the same words on every database as far as they tell it.

local db = require "tycho.db"
local support = require "tests.db.support"

local SYSTEM = support.system

describe("errors of " .. SYSTEM, function()
  before_each(function()
    db.exec "drop table if exists children"
    support.create("parents", [[id {id}, email varchar(100) not null, age {bigint},
      constraint parents_email_key unique (email), constraint parents_age_check check (age > 0)]])
    support.create("children", [[id {id}, parent_id {bigint},
      constraint children_parent_fkey foreign key (parent_id) references parents(id)]])
    db.exec "insert into parents(email, age) values ('a', 1)"
  end)

  teardown(function()
    db.exec "drop table if exists children"
  end)

  it("name the unique constraint, or its columns", function()
    local err = support.failure(db.exec, "insert into parents(email) values ('a')")

    assert.equal("conflict", err.kind)
    assert.equal(SYSTEM == "sqlite" and "parents.email" or "parents_email_key", err.constraint)
    if SYSTEM == "postgresql" then
      assert.equal("23505", err.detail)
      assert.equal("parents", err.table)
    end
  end)

  it("tell of references, checks and missing values", function()
    for _, statement in ipairs {
      "insert into children(parent_id) values (77)",
      "insert into parents(email, age) values ('b', -1)",
      "insert into parents(email) values (null)",
    } do
      assert.equal("conflict", support.failure(db.exec, statement).kind, statement)
    end
    db.exec "insert into children(parent_id) select id from parents"
    assert.equal("conflict", support.failure(db.exec, "delete from parents").kind)
    assert.equal(1, db.value "select count(*) from parents")
  end)

  it("name the column that is missing a value", function()
    local err = support.failure(db.exec, "insert into parents(email) values (null)")

    assert.matches("email", SYSTEM == "sqlite" and err.constraint or err.column)
  end)

  it("say what is wrong with a statement, and where", function()
    local err = support.failure(db.query, "select nonsense from parents")
    assert.equal("internal", err.kind)
    assert.matches("nonsense", err.message)

    err = support.failure(db.query, "selekt 1")
    assert.equal("internal", err.kind)
    assert.matches("selekt", err.message)

    assert.matches("nowhere", support.failure(db.query, "select * from nowhere").message)
  end)

  it("are the value's when a column cannot hold it", function()
    if SYSTEM == "sqlite" then -- it holds anything
      return
    end
    assert.equal("invalid", support.failure(db.exec,
      "insert into parents(email, age) values ('b', $1)", "no number").kind)
    assert.equal("invalid", support.failure(db.exec,
      "insert into parents(email) values ($1)", ("x"):rep(101)).kind)
  end)

  it("are the program's for what belongs to the library", function()
    for _ = 1, 2 do -- which says these words itself, and knows them then
      db.transaction(function(tx) tx:value "select 1" end)
      pcall(db.transaction, function(tx) tx:value "select 1 / nothing" end)
    end
    for _, statement in ipairs { "begin", "commit", "rollback", " Begin", "/* x */ COMMIT" } do
      local err = support.failure(db.exec, statement)
      assert.equal("internal", err.kind, statement)
      assert.matches("db.transaction", err.message)
    end
    assert.equal(1, db.value "select count(*) from parents")
  end)

  it("leave the connection usable", function()
    for _ = 1, 100 do
      support.failure(db.exec, "insert into parents(email) values ('a')")
      support.failure(db.query, "select nonsense")
      assert.equal(1, db.value "select count(*) from parents")
    end
  end)
end)
