-- What holds for every repository, wherever it keeps its rows: one suite for all of them.
--
-- `contract(make)` declares the tests; `make(models)` returns, for each test anew, a function that
-- gives an empty repository of one of these models.

local assert = require "luassert"
local busted = require "busted"
local db = require "tycho.db"
local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local json = require "tycho.json"
local model = require "tycho.model"
local query = require "tycho.query"
local registry = require "tycho._private.model_registry"
local repository = require "tycho.repository"
local tycho = require "tycho"
local unit_of_work = require "tycho.unit_of_work"

-- A module has not the environment of a spec.
local before_each, describe, it = busted.before_each, busted.describe, busted.it

local M = {}

registry.isolate(function()
  M.Team = model.define("rc_teams", {
    model.id(),
    model.text("label", { max = 40, unique = true }),
  })
  M.User = model.define("rc_users", {
    model.id(),
    model.text("email", { max = 254, unique = true }),
    model.text("nickname", { null = true }),
    model.integer("login_count", { default = 0, min = 0 }),
    model.enum("state", { values = { "NEW", "ACTIVE", "GONE" }, default = "NEW" }),
    model.reference("team_id", M.Team, { null = true }),
    model.timestamps(), model.soft_delete(), model.version(),
    indexes = { { "team_id", "nickname", unique = true } },
  })
  M.Thing = model.define("rc_things", {
    model.id("key", { kind = "uuid" }),
    model.smallint("small", { null = true }),
    model.integer("big", { null = true }),
    model.real("ratio", { null = true }),
    model.decimal("price", { null = true, precision = 20, scale = 2 }),
    model.boolean("ok", { null = true }),
    model.text("words", { null = true }),
    model.timestamp("seen_at", { null = true }),
    model.date("day", { null = true }),
    model.uuid("other", { null = true }),
    model.json("doc", { null = true }),
    model.bytes("raw", { null = true }),
    model.array("tags", { of = "text", null = true }),
    model.array("numbers", { of = "integer", null = true }),
  })
  M.Member = model.define("rc_members", {
    model.integer("team", { primary = true }),
    model.integer("person", { primary = true }),
    model.text("role", { default = "guest" }),
  })
  M.Seat = model.define("rc_seats", {
    model.id(),
    model.reference("owner_id", M.Team, { on_delete = "cascade" }),
    model.reference("guest_id", M.Team, { null = true, on_delete = "set_null" }),
  })
  M.Entry = model.define("rc_entries", {
    model.id(),
    model.integer("n", { default = 0 }),
    model.integer("rank", { null = true }),
    model.text("label"),
  })
end)

errors.define("rc.email_taken", { status = 409, msg = "{email} has an account already" })
errors.define("rc.nickname_taken", { status = 409, msg = "taken" })
errors.define("rc.gone", { status = 404, msg = "gone" })
errors.define("rc.stale", { status = 409, msg = "stale" })

-- What it raises, as an object or as text.
local function raised(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function column_of(items, name)
  local list = {}
  for i, item in ipairs(items) do
    list[i] = item[name] == nil and "-" or tostring(item[name])
  end
  return table.concat(list, " ")
end

local function finding(new)
  local users

  before_each(function()
    users = new(M.User)
    for i, name in ipairs { "ann", "bob", "eve" } do
      users:insert { email = name .. "@example.com", nickname = i < 3 and name or nil,
        login_count = i * 10 }
    end
  end)

  local function names(where)
    local found = {}
    for i, user in ipairs(users:list({ where = where, order = "id" }).items) do
      found[i] = user.email:match "^%w+"
    end
    return table.concat(found, " ")
  end

  it("gets by key, or nothing", function()
    local ann = users:find_by { email = "ann@example.com" }

    assert.equal("ann@example.com", users:get(ann.id).email)
    assert.same(ann, users:get(ann))
    assert.is_nil(users:get(471100))
  end)

  it("finds the first by a filter, or nothing", function()
    assert.equal("eve@example.com", users:find_by({ login_count__gt = 25 }).email)
    assert.equal("ann@example.com", users:find_by({ login_count__ge = 10 }).email)
    assert.is_nil(users:find_by { email = "nobody" })
  end)

  it("counts, and looks whether there is any", function()
    assert.equal(3, users:count())
    assert.equal(2, users:count { login_count__ge = 20 })
    assert.is_true(users:exists { email = "bob@example.com" })
    assert.is_false(users:exists { email = "x" })
  end)

  it("understands the same filters everywhere", function()
    assert.equal("ann bob eve", names(nil))
    assert.equal("ann bob eve", names { email = nil })
    assert.equal("ann eve", names { login_count = { 10, 30, 99 } })
    assert.equal("", names { login_count = {} })
    assert.equal("bob", names { login_count__not_in = { 10, 30 } })
    assert.equal("ann bob eve", names { login_count__not_in = {} })
    assert.equal("eve", names { nickname = db.null })
    assert.equal("ann bob", names { nickname__ne = db.null })
    assert.equal("bob", names { nickname__ne = "ann" })
    assert.equal("ann eve", names { nickname = { "ann", db.null } })
    assert.equal("eve", names { nickname__is_null = true })
    assert.equal("bob", names { login_count__gt = 10, login_count__lt = 30 })
    assert.equal("ann bob", names { login_count__between = { 10, 20 } })
    assert.equal("ann eve", names { query.any_of { nickname = "ann", login_count = 30 } })
    assert.equal("bob", names { query.none_of { nickname = "ann", login_count = 30 } })
    assert.equal("ann", names { query.none_of { query.all_of { login_count__ge = 20 } } })
    assert.equal("ann bob eve", names { updated_at__ge = query.column "created_at" })
    assert.equal("ann bob", names { query.none_of { nickname__between = { "c", "d" } } })
  end)

  it("finds parts of texts, and knows about capitals", function()
    assert.equal("ann", names { email__starts_with = "ann@" })
    assert.equal("", names { email__starts_with = "Ann@" })
    assert.equal("ann", names { email__istarts_with = "Ann@" })
    assert.equal("ann bob eve", names { email__ends_with = ".com" })
    assert.equal("bob", names { email__contains = "b@e" })
    assert.equal("", names { email__contains = "b_e" })
    assert.equal("", names { email__contains = "%" })
    assert.equal("bob", names { email__icontains = "B@E" })
  end)

  it("takes no conditions from a client that sends an object for a value", function()
    local err = raised(users.find_by, users, { email = json.decode '{"ne": ""}' })

    assert.is_truthy(err:find("a value or a list is wanted", 1, true))
    assert.is_false(pcall(users.get, users, json.array { 1 }))
  end)

  it("refuses what a column cannot be compared with", function()
    local err = raised(users.get, users, "one")
    assert.equal("invalid", err.kind)
    assert.equal("rc_users", err.model)
    assert.is_true(errors.is(raised(names, { created_at__gt = "yesterday" }), "invalid"))
    assert.is_truthy(raised(names, { emial = "x" }):find('no column "emial", did you mean "email"?',
      1, true))
    assert.is_truthy(raised(names, { login_count__contains = "1" }):find("is for text", 1, true))
    assert.is_truthy(raised(users.find_by, users, { email = nil })
      :find("without a filter", 1, true))
  end)
end

local function paging(new)
  local entries

  before_each(function()
    entries = new(M.Entry)
  end)

  local function fill(count)
    for i = 1, count do
      entries:insert { n = i, rank = i % 4 > 0 and i % 4 or nil, label = "e" .. i }
    end
  end

  local function walk(order, limit, where)
    local found, cursor = {}, nil
    repeat
      local page = entries:list { order = order, limit = limit, cursor = cursor, where = where }
      assert.is_true(#page.items <= limit)
      for _, item in ipairs(page.items) do
        found[#found + 1] = item
      end
      cursor = page.next_cursor
    until not cursor
    return found
  end

  it("sorts with NULL first, and by the key what is equal", function()
    fill(8)

    assert.equal("4 8 1 5 2 6 3 7", column_of(walk("rank", 100), "n"))
    assert.equal("7 3 6 2 5 1 8 4", column_of(walk("-rank", 100), "n"))
    assert.equal("3 7 2 6 1 5 4 8", column_of(walk({ "-rank", "id" }, 100), "n"))
    assert.equal("1 2 3 4 5 6 7 8", column_of(walk(nil, 100), "n"))
  end)

  it("walks through all pages, whatever the order and the size", function()
    fill(11)

    for _, order in ipairs { { "rank" }, { "-rank" }, { "rank", "-id" }, { "-rank", "id" },
      { "label" }, { "-id" } } do
      local all = column_of(entries:list({ order = order, limit = 100 }).items, "id")
      for limit = 1, 12 do
        assert.equal(all, column_of(walk(order, limit), "id"), order[1] .. " " .. limit)
      end
    end
    assert.equal("1 5 9", column_of(walk("id", 1, { rank = 1 }), "n"))
  end)

  it("neither repeats nor hides rows while others come and go", function()
    fill(6)

    local first = entries:list { order = "-id", limit = 2 }
    entries:insert { n = 77, label = "new" }
    entries:delete(first.items[2].id)
    local second = entries:list { order = "-id", limit = 2, cursor = first.next_cursor }

    assert.equal("6 5", column_of(first.items, "n"))
    assert.equal("4 3", column_of(second.items, "n"))
  end)

  it("ends where nothing follows", function()
    fill(4)

    assert.is_nil(entries:list({ limit = 4 }).next_cursor)
    assert.is_nil(entries:list({ limit = 5 }).next_cursor)
    assert.is_string(entries:list({ limit = 3 }).next_cursor)
    assert.equal("[]", json.encode(new(M.Team):list().items))
  end)

  it("refuses cursors that are not its own", function()
    fill(4)
    local cursor = entries:list({ order = "id", limit = 2 }).next_cursor

    for _, wrong in ipairs { "x", "", cursor .. "A", cursor:sub(1, -3), ("A"):rep(5000) } do
      local err = raised(entries.list, entries, { order = "id", cursor = wrong })
      assert.equal("CURSOR", err.detail, wrong)
      assert.equal("invalid", err.kind)
    end
    assert.equal("CURSOR", raised(entries.list, entries, { order = "-id", cursor = cursor }).detail)
  end)

  it("numbers pages, with a total", function()
    fill(7)

    local page = entries:list { order = "id", page = 2, per_page = 3, where = { n__gt = 1 } }
    local beyond = entries:list { order = "id", page = 9, per_page = 3 }

    assert.equal("5 6 7", column_of(page.items, "n"))
    assert.same({ 2, 3, 6, 2 }, { page.page, page.per_page, page.total, page.pages })
    assert.equal(0, #beyond.items)
    assert.equal(7, beyond.total)
  end)

  it("walks through everything in pages", function()
    fill(9)
    local seen = {}

    for entry in entries:each { order = { "rank", "-id" }, batch = 2 } do
      seen[#seen + 1] = entry
    end

    assert.equal(column_of(entries:list({ order = { "rank", "-id" } }).items, "n"),
      column_of(seen, "n"))
    assert.is_nil(new(M.Team):each()())
  end)

  it("refuses sizes that are none", function()
    for _, opts in ipairs { { limit = 0 }, { limit = 1.5 }, { limit = 1001 }, { page = 0 },
      { page = 1, limit = 5 }, { limti = 5 } } do
      assert.equal("string", type(raised(entries.list, entries, opts)))
    end
  end)
end

local function making(new)
  it("returns what is in the table, defaults and all", function()
    local users = new(M.User)

    local user = users:insert { email = "ann@example.com" }

    assert.is_number(user.id)
    assert.equal(0, user.login_count)
    assert.equal("NEW", user.state)
    assert.equal(1, user.version)
    assert.is_nil(user.nickname)
    assert.is_nil(user.deleted_at)
    assert.is_truthy(user.created_at:find "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%dZ$")
    assert.equal(user.created_at, user.updated_at)
    assert.same(user, users:get(user.id))
  end)

  it("tells all faults of a row at once", function()
    local users = new(M.User)

    local err = raised(users.insert, users, { login_count = -1, state = "OLD", nickname = 5 })

    local pointers = {}
    for i, each in ipairs(err.errors) do
      pointers[i] = each.pointer
    end
    table.sort(pointers)
    assert.same({ "#/email", "#/login_count", "#/nickname", "#/state" }, pointers)
    assert.equal("invalid", err.kind)
    assert.equal(0, users:count())
    assert.is_truthy(raised(users.insert, users, { emial = "x" })
      :find('rc_users has no column "emial", did you mean "email"?', 1, true))
    assert.equal("invalid", raised(users.insert, users, { email = db.null }).kind)
  end)

  it("refuses what is there already, and says which columns it is about", function()
    local users = new(M.User)
    users:insert { email = "ann@example.com" }

    local err = raised(users.insert, users, { email = "ann@example.com" })

    assert.equal("conflict", err.kind)
    assert.same({ "email" }, err.columns)
    assert.equal("rc_users", err.model)
  end)

  it("turns what is there already into the application's errors", function()
    local users = new(M.User, { on_conflict = {
      email = "rc.email_taken", ["team_id,nickname"] = "rc.nickname_taken",
    } })
    local team = new(M.Team):insert { label = "red" }
    users:insert { email = "ann@example.com", nickname = "A", team_id = team.id }

    local email = raised(users.insert, users, { email = "ann@example.com" })
    local nickname = raised(users.insert, users,
      { email = "bob@example.com", nickname = "A", team_id = team.id })

    assert.equal("rc.email_taken", email.name)
    assert.equal("ann@example.com has an account already", email.message)
    assert.equal("rc.nickname_taken", nickname.name)
    local bob = users:insert { email = "bob@example.com", nickname = "A" }
    assert.equal("rc.email_taken",
      raised(users.update, users, bob, { email = "ann@example.com" }).name)
  end)

  it("takes the name of a constraint as well", function()
    local users = new(M.User, { on_conflict = { rc_users_email_key = "rc.email_taken" } })
    users:insert { email = "ann@example.com" }

    local err = raised(users.insert, users, { email = "ann@example.com" })

    assert.is_true(err.name == "rc.email_taken" or err.columns[1] == "email")
  end)

  it("refuses a reference to nothing", function()
    local users = new(M.User, { on_conflict = { team_id = "rc.gone" } })

    assert.equal("rc.gone", raised(users.insert, users, { email = "a", team_id = 471100 }).name)
    local user = users:insert { email = "b" }
    assert.equal("rc.gone", raised(users.update, users, user, { team_id = 471100 }).name)
  end)

  it("refuses to leave a reference to nothing", function()
    local teams = new(M.Team, { on_conflict = { foreign_key = "rc.gone" } })
    local users = new(M.User, { on_conflict = { foreign_key = "rc.gone" } })
    local team = teams:insert { label = "red" }
    users:insert { email = "ann@example.com", team_id = team.id }

    assert.equal("rc.gone", raised(users.insert, users, { email = "b", team_id = 471100 }).name)
    assert.equal("rc.gone", raised(teams.delete, teams, team).name)
    assert.equal(1, teams:count())
  end)

  it("deletes, or lets go, what refers to what is deleted, as the model says", function()
    local teams, members = new(M.Team), new(M.Seat)
    local red, blue = teams:insert { label = "red" }, teams:insert { label = "blue" }
    members:insert { owner_id = red.id, guest_id = blue.id }
    members:insert { owner_id = blue.id, guest_id = red.id }

    assert.is_true(teams:delete(red))

    local left = members:list().items
    assert.equal(1, #left)
    assert.equal(blue.id, left[1].owner_id)
    assert.is_nil(left[1].guest_id)
  end)

  it("makes many rows, or none of them", function()
    local teams = new(M.Team)
    local many = {}
    for i = 1, 1234 do
      many[i] = { label = "t" .. i }
    end

    assert.equal(1234, teams:insert_many(many))
    assert.equal(0, teams:insert_many {})
    assert.equal("conflict",
      raised(teams.insert_many, teams, { { label = "new" }, { label = "t77" } }).kind)

    assert.equal(1234, teams:count())
    assert.is_false(teams:exists { label = "new" })
  end)

  it("makes a row or changes it", function()
    local users = new(M.User)
    local first = users:upsert({ email = "ann@example.com", nickname = "Ann", login_count = 5 },
      { by = { "email" } })

    local second = users:upsert({ email = "ann@example.com", nickname = "A", login_count = 7 },
      { by = { "email" }, update = { "login_count" } })
    local third = users:upsert({ email = "ann@example.com", nickname = "B" }, { by = { "email" } })

    assert.same({ first.id, "Ann", 7, 2 },
      { second.id, second.nickname, second.login_count, second.version })
    assert.same({ first.id, "B", 7, 3 },
      { third.id, third.nickname, third.login_count, third.version })
    assert.equal(first.created_at, third.created_at)
    assert.equal(1, users:count())
  end)

  it("refuses to make or change a row where another unique column is in the way", function()
    local users = new(M.User, { on_conflict = { ["team_id,nickname"] = "rc.nickname_taken" } })
    local team = new(M.Team):insert { label = "red" }
    users:insert { email = "ann@example.com", team_id = team.id, nickname = "A" }
    users:insert { email = "bob@example.com", team_id = team.id, nickname = "B" }
    local function upsert(email)
      return users:upsert({ email = email, team_id = team.id, nickname = "A" },
        { by = { "email" } })
    end

    assert.equal("rc.nickname_taken", raised(upsert, "new@example.com").name)
    assert.equal("rc.nickname_taken", raised(upsert, "bob@example.com").name)
    assert.equal("A", upsert("ann@example.com").nickname)
    assert.equal("bob@example.com",
      users:upsert({ email = "bob@example.com", team_id = team.id, nickname = "B" },
        { by = { "nickname", "team_id" } }).email)
    assert.equal(2, users:count())
    assert.is_truthy(raised(users.upsert, users, { email = "x" }, { by = { "nickname" } })
      :find("nickname is not unique in the model", 1, true))
  end)

  it("makes one row, whoever makes it at once", function()
    local users, entries = new(M.User), new(M.Team)
    local many = {}
    for i = 1, 8 do
      many[i] = function()
        entries:upsert({ label = "same" }, { by = { "label" } })
        return users:upsert({ email = "ann@example.com", login_count = i }, { by = { "email" } })
      end
    end

    fiber.all(many)

    assert.equal(1, users:count())
    assert.equal(1, entries:count())
    assert.equal(8, users:find_by({ email = "ann@example.com" }).version)
  end)

  it("has keys of several columns", function()
    local members = new(M.Member)

    members:insert { team = 1, person = 2 }
    members:insert { team = 1, person = 3, role = "owner" }
    members:upsert({ team = 1, person = 2, role = "boss" }, { by = { "team", "person" } })

    assert.equal("boss", members:get({ team = 1, person = 2 }).role)
    assert.equal("conflict", raised(members.insert, members, { team = 1, person = 3 }).kind)
    members:update({ team = 1, person = 3 }, { role = "guest" })
    assert.equal("guest", members:get({ team = 1, person = 3 }).role)
    assert.is_true(members:delete { team = 1, person = 3 })
    assert.is_nil(members:get { team = 1, person = 3 })
  end)
end

local function changing(new)
  it("writes what differs, and nothing else", function()
    local users = new(M.User)
    local user = users:insert { email = "ann@example.com", nickname = "Ann" }

    local changed = users:update(user, { nickname = "A", email = "ann@example.com" })
    local same = users:update(changed, { nickname = "A" })
    local without = users:update(changed, { nickname = db.null })

    assert.equal("A", changed.nickname)
    assert.equal(2, changed.version)
    assert.is_true(changed.updated_at >= user.updated_at)
    assert.equal(2, same.version)
    assert.is_nil(without.nickname)
    assert.same(without, users:get(user.id))
  end)

  it("refuses a change of what somebody else has changed", function()
    local users = new(M.User)
    local user = users:insert { email = "ann@example.com" }
    users:update(user, { login_count = 1 })

    local err = raised(users.update, users, user, { login_count = 2 })

    assert.equal("conflict", err.kind)
    assert.equal("STALE", err.detail)
    assert.equal("rc_users", err.model)
    assert.is_truthy(err.message:find("rc_users", 1, true))
    assert.equal("STALE", raised(users.delete, users, user).detail)
    assert.equal("STALE",
      raised(users.update, users, user.id, { version = 1, state = "GONE" }).detail)
    assert.equal(1, users:get(user.id).login_count)
    assert.equal(3, users:update(user.id, { version = 2, state = "GONE" }).version)
    assert.equal(4, users:update(user.id, { login_count = 9 }).version)
  end)

  it("says that there is nothing to change", function()
    local users = new(M.User)
    local user = users:insert { email = "ann@example.com" }
    users:delete(user, { hard = true })

    assert.equal("not_found", raised(users.update, users, user, { login_count = 2 }).kind)
    assert.equal("not_found", raised(users.update, users, 471100, { login_count = 2 }).kind)
    assert.equal("not_found", raised(users.update, users, 471100, {}).kind)
  end)

  it("says so in the application's words", function()
    local users = new(M.User, { on_missing = "rc.gone", on_stale = "rc.stale" })
    local user = users:insert { email = "ann@example.com" }
    users:update(user, { login_count = 1 })

    assert.equal("rc.gone", raised(users.update, users, 471100, { login_count = 2 }).name)
    assert.equal("rc.stale", raised(users.update, users, user, { login_count = 2 }).name)
  end)

  it("counts up whatever is there", function()
    local users = new(M.User)
    local user = users:insert { email = "ann@example.com", login_count = 5 }

    users:update(user.id, { login_count = repository.increment() })
    local after = users:update(user.id, { login_count = repository.increment(-3), state = "GONE" })

    assert.equal(3, after.login_count)
    assert.equal("GONE", after.state)
    assert.is_truthy(raised(users.update, users, user.id, { email = repository.increment() })
      :find("cannot be counted up", 1, true))
    assert.equal("invalid",
      raised(users.update, users, user.id, { login_count = repository.increment(0.5) }).kind)
  end)

  it("changes a row only if something holds for it", function()
    local users = new(M.User, { on_stale = "rc.stale" })
    local id = users:insert({ email = "ann@example.com" }).id

    local moved = users:update(id, { state = "ACTIVE" }, { where = { state = "NEW" } })

    assert.equal("ACTIVE", moved.state)
    assert.equal("rc.stale", raised(users.update, users, id, { state = "GONE" },
      { where = { state = "NEW" } }).name)
    assert.equal("not_found", raised(users.update, users, 471100, { state = "GONE" },
      { where = { state = "NEW" } }).kind)
    assert.equal("ACTIVE", users:get(id).state)
  end)

  it("keeps what is deleted softly, and leaves it out", function()
    local users = new(M.User)
    local user = users:insert { email = "ann@example.com" }

    assert.is_true(users:delete(user.id))

    assert.is_false(users:delete(user.id))
    assert.is_nil(users:get(user.id))
    assert.equal(0, users:count())
    assert.equal(0, #users:list().items)
    assert.is_nil(users:find_by { email = "ann@example.com" })
    assert.is_string(users:get(user.id, { with_deleted = true }).deleted_at)
    assert.equal(1, users:count(nil, { with_deleted = true }))
    assert.equal(1, #users:list({ with_deleted = true }).items)
    assert.equal("not_found", raised(users.update, users, user.id, { login_count = 2 }).kind)
    assert.equal("conflict", raised(users.insert, users, { email = "ann@example.com" }).kind)

    local back = users:restore(user.id)
    assert.is_nil(back.deleted_at)
    assert.equal(1, users:count())

    users:delete(back)
    local again = users:upsert({ email = "ann@example.com" }, { by = { "email" } })
    assert.equal(user.id, again.id)
    assert.is_nil(again.deleted_at)
    assert.is_true(users:delete(user.id, { hard = true }))
    assert.equal(0, users:count(nil, { with_deleted = true }))
  end)

  it("really deletes where the model does not say otherwise", function()
    local teams = new(M.Team)
    local team = teams:insert { label = "red" }

    assert.is_true(teams:delete(team))
    assert.is_false(teams:delete(team))
    assert.is_nil(teams:get(team.id))
    assert.is_truthy(raised(teams.restore, teams, team.id):find("no soft_delete", 1, true))
  end)

  it("undoes all of a transaction that raises", function()
    local teams, entries = new(M.Team), new(M.Entry)
    local red = teams:insert { label = "red" }

    local ok = tycho.try(teams.transaction, teams, function()
      teams:insert { label = "blue" }
      teams:update(red.id, { label = "pink" })
      error(errors.new("conflict", "no"), 0)
    end)

    assert.is_nil(ok)
    assert.equal("red", column_of(teams:list().items, "label"))
    assert.equal(7, entries:transaction(function() return 7 end))
  end)

  it("does a unit of work as one, over several repositories", function()
    local teams, entries = new(M.Team), new(M.Entry)
    local red = teams:insert { label = "red" }

    local function work(fails)
      unit_of_work.run(function()
        teams:insert { label = "blue" }
        tycho.try(unit_of_work.run, function()
          entries:insert { label = "undone alone" }
          error(errors.new("conflict", "no"), 0)
        end)
        entries:insert { label = "e" }
        teams:update(red.id, { label = "pink" })
        teams:insert { label = fails and "pink" or "green" }
      end)
    end

    assert.equal("conflict", raised(work, true).kind)
    assert.equal("red", column_of(teams:list({ order = "id" }).items, "label"))
    assert.equal(0, entries:count())

    work(false)
    assert.equal("pink blue green", column_of(teams:list({ order = "id" }).items, "label"))
    assert.equal("e", column_of(entries:list().items, "label"))
  end)

  it("loses nothing when units change the same rows at once", function()
    local users = new(M.User)
    local ann = users:insert({ email = "ann@example.com", login_count = 100 }).id
    local bob = users:insert({ email = "bob@example.com", login_count = 100 }).id
    local units = {}
    for i = 1, 6 do
      local from, to = ann, bob
      if i % 2 == 0 then
        from, to = bob, ann
      end
      units[i] = function()
        unit_of_work.run(function()
          local giver, taker = users:get(from), users:get(to)
          users:update(giver, { login_count = giver.login_count - i })
          users:update(taker, { login_count = taker.login_count + i })
        end, { retry = 20 })
      end
    end

    fiber.all(units)

    assert.equal(100 - 1 + 2 - 3 + 4 - 5 + 6, users:get(ann).login_count)
    assert.equal(100 + 1 - 2 + 3 - 4 + 5 - 6, users:get(bob).login_count)
    assert.equal(7, users:get(ann).version)
  end)

  it("does a unit again whose row somebody else has changed", function()
    local users = new(M.User)
    local id = users:insert({ email = "ann@example.com" }).id
    local tries = 0

    unit_of_work.run(function()
      tries = tries + 1
      local user = users:get(id)
      if tries < 3 then
        user.version = 0
      end
      users:update(user, { login_count = tries })
    end, { retry = 5 })

    assert.equal(3, tries)
    assert.equal(3, users:get(id).login_count)
  end)
end

local function types(new)
  local things

  before_each(function()
    things = new(M.Thing)
  end)

  local function back(name, value)
    local made = things:insert { [name] = value }
    local got = things:get(made.key)
    assert.same(got, made)
    things:update(made.key, { [name] = db.null })
    local updated = things:update(made.key, { [name] = value })
    assert.same(got, updated)
    return got[name]
  end

  it("makes keys that sort by time", function()
    local first, second = things:insert {}, things:insert {}

    assert.is_truthy(first.key:find "^%x+%-%x+%-7")
    assert.is_true(first.key < second.key)
    assert.is_nil(first.big)
  end)

  it("keeps integers exactly", function()
    for _, value in ipairs { 0, -1, 2 ^ 53, -2 ^ 53 } do
      assert.equal(value, back("big", value))
    end
    assert.is_true(back("big", 9223372036854775807LL) == 9223372036854775807LL)
    assert.is_true(back("big", -9223372036854775807LL - 1) == -9223372036854775807LL - 1)
    assert.equal(-32768, back("small", -32768))
    assert.equal("invalid", raised(back, "small", 32768).kind)
    assert.equal("invalid", raised(back, "big", 1.5).kind)
    assert.equal("invalid", raised(back, "big", "1").kind)
  end)

  it("keeps decimals exactly, in one form", function()
    assert.equal("12.30", back("price", "12.3"))
    assert.equal("12.00", back("price", 12))
    assert.equal("-0.05", back("price", "-0.05"))
    assert.equal("0.00", back("price", "-0"))
    assert.equal("123456789012345678.99", back("price", "123456789012345678.99"))
    assert.equal("invalid", raised(back, "price", "0.005").kind)
    assert.equal("invalid", raised(back, "price", 0.1).kind)
    assert.equal("invalid", raised(back, "price", "1234567890123456789.00").kind)
  end)

  it("compares and sorts decimals as numbers", function()
    for _, price in ipairs { "9.00", "10.00", "-3.50", "100.00" } do
      things:insert { price = price }
    end

    assert.equal("-3.50 9.00 10.00 100.00",
      column_of(things:list({ order = "price" }).items, "price"))
    assert.equal("10.00 100.00", column_of(things:list {
      where = { price__gt = "9.5" }, order = "price" }.items, "price"))
    assert.equal(1, things:count { price = "10" })
    assert.equal(2, things:count { price__between = { "9", "10.0" } })
    local seen = {}
    for thing in things:each { order = "-price", batch = 1 } do
      seen[#seen + 1] = thing
    end
    assert.equal("100.00 10.00 9.00 -3.50", column_of(seen, "price"))
  end)

  it("keeps booleans, real numbers and texts", function()
    assert.is_true(back("ok", true))
    assert.is_false(back("ok", false))
    assert.equal(1, things:count { ok = false })
    assert.equal(0.1, back("ratio", 0.1))
    assert.equal(-1e-300, back("ratio", -1e-300))
    assert.equal(3, back("ratio", 3))
    assert.equal("汉字 'quoted' \\ $1 %", back("words", "汉字 'quoted' \\ $1 %"))
    assert.equal("", back("words", ""))
    assert.equal("invalid", raised(back, "words", "a\255").kind)
    assert.equal("invalid", raised(back, "words", "a\0b").kind)
    assert.equal("invalid", raised(back, "ratio", 0 / 0).kind)
  end)

  it("keeps moments in one form, to the microsecond", function()
    assert.equal("2026-01-31T08:30:00.123456Z",
      back("seen_at", "2026-01-31T16:30:00.123456789+08:00"))
    assert.equal("1970-01-01T00:00:01.500000Z", back("seen_at", 1.5))
    assert.equal("1969-12-31T23:59:59.000000Z", back("seen_at", -1))
    assert.equal("2024-02-29", back("day", "2024-02-29"))
    assert.equal(1, things:count { seen_at__lt = "1970-01-01T00:00:00Z" })
    assert.equal("invalid", raised(back, "seen_at", "2026-02-30T00:00:00Z").kind)
    assert.equal("invalid", raised(back, "day", "2023-02-29").kind)
  end)

  it("keeps UUIDs in lower case, and bytes of any content", function()
    assert.equal("018f3a5e-7c3b-7e21-9d0a-5b6c7d8e9f00",
      back("other", "018F3A5E-7C3B-7E21-9D0A-5B6C7D8E9F00"))
    assert.equal(1, things:count { other = "018F3A5E-7C3B-7E21-9D0A-5B6C7D8E9F00" })
    assert.equal("a\0\255\1'", back("raw", "a\0\255\1'"))
    assert.equal("", back("raw", ""))
    assert.equal("invalid", raised(back, "other", "x").kind)
  end)

  it("keeps JSON and arrays", function()
    local doc = back("doc", {
      a = { 1, 2.5, json.null, { b = "汉" } }, n = json.null, e = json.array {},
    })
    assert.equal('{"b":"汉"}', json.encode(doc.a[4]))
    assert.equal(json.null, doc.n)
    assert.equal("[]", json.encode(doc.e))
    assert.equal("[]", json.encode(back("doc", json.array {})))
    assert.equal("plain", back("doc", "plain"))
    assert.equal(7, back("doc", 7))
    assert.equal(false, back("doc", false))
    assert.same(json.array { "a,b", 'c"d\\', "", "NULL", "{}" },
      back("tags", { "a,b", 'c"d\\', "", "NULL", "{}" }))
    assert.equal("[]", json.encode(back("tags", {})))
    assert.same(json.array { 1, json.null, 3 }, back("numbers", { 1, json.null, 3 }))
    assert.equal("invalid", raised(back, "tags", { 1 }).kind)
    assert.equal("invalid", raised(back, "tags", { a = 1 }).kind)
  end)

  it("asks of a structure only whether there is one", function()
    things:insert { doc = { 1 } }
    things:insert { tags = {} }

    assert.equal(1, things:count { doc__ne = db.null })
    assert.equal(1, things:count { tags__is_null = true })
    assert.is_truthy(raised(things.count, things, { doc__eq = 1 })
      :find("cannot be compared", 1, true))
    assert.is_truthy(raised(things.list, things, { order = "doc" })
      :find("which has no order", 1, true))
  end)

  it("does not share what it keeps with whoever gave it", function()
    local doc = { list = { 1 } }
    local made = things:insert { doc = doc }
    doc.list[1] = 2
    made.doc.list[1] = 3

    local got = things:get(made.key)
    got.doc.list[1] = 4

    assert.equal(1, things:get(made.key).doc.list[1])
  end)
end

---@param make fun(models: tycho.model.Model[]): fun(model, opts): any
return function(make)
  local new_one

  before_each(function()
    new_one = make { M.Team, M.User, M.Thing, M.Member, M.Seat, M.Entry }
  end)

  local function new(...)
    return new_one(...)
  end

  describe("finding", function() finding(new) end)
  describe("paging", function() paging(new) end)
  describe("making", function() making(new) end)
  describe("changing", function() changing(new) end)
  describe("values", function() types(new) end)
end
