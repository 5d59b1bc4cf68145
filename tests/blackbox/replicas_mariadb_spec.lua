-- Where reads of a database on MariaDB go: what is a replica is the configuration's word, so that a
-- second server with rows of its own shows who has answered.

local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local mariadb = require "tests.blackbox.support.mariadb"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"

local near = db.use("default", { replica = true })
local WHO = "select name from who"

local function where()
  return {
    plain = db.value(WHO), near = near.value(WHO),
    each = (function()
      local name
      near.each(WHO, function(row) name = row.name end)
      return name
    end)(),
    read_only = db.transaction(function() return db.value(WHO) end, { read_only = true }),
    child = fiber.spawn(function() return near.value(WHO) end):join(),
  }
end

local writes = {
  none = function() end,
  exec = function() near.exec("insert into notes values ($1)", 1) end,
  query = function() near.query "insert into notes values (2) returning n" end,
  transaction = function()
    db.transaction(function() db.exec "insert into notes values (3)" end)
  end,
  script = function() near.script "select 1; insert into notes values (4)" end,
}

app.get("/after/{what}", function(req)
  writes[req.params.what]()
  return where()
end)

app.get("/refused", function()
  local ok, err = pcall(db.transaction, function()
    db.exec "insert into notes values (5)"
  end, { read_only = true })
  return { ok = ok, kind = ok or err.kind }
end)
]]

describe("replicas on MariaDB", function()
  local missing = mariadb.missing()
  if missing then
    return it("are asked", function() pending(missing) end)
  end
  local primary, replica, s

  local function fill(my, who)
    local name = my:create()
    my:sql("create table notes(n int); create table who(name varchar(20)); " ..
      ("insert into who values ('%s')"):format(who), { database = name })
    return my:url(name)
  end

  setup(function()
    primary, replica = mariadb.shared(), mariadb.start()
    s = server.start {
      workers = 1, scripts = { ["app/main.lua"] = APP },
      config = { databases = {
        default = { url = fill(primary, "primary"), replicas = { "copy", "gone" } },
        copy = { url = fill(replica, "replica") },
        gone = { url = ("mysql://tycho@127.0.0.1:%d/gone"):format(server.free_port()) },
      } },
    }
  end)

  teardown(function()
    server.clean_up()
    database.clean_up()
  end)

  local function after(what)
    local res = s:request("GET", "/after/" .. what)
    assert(res.status == 200, res.body)
    return res:json()
  end

  local function all(near)
    return { plain = "primary", near = near, each = near, read_only = near, child = near }
  end

  it("answer what only reads, passing over the one that is gone", function()
    clock.eventually(function()
      local res = s:request("GET", "/after/none")
      return res.status == 200 and res:json().near == "replica"
    end, 10, "a replica")
    for _ = 1, 10 do
      assert.same(all "replica", after "none")
    end
  end)

  for _, what in ipairs { "exec", "query", "transaction", "script" } do
    it("are not asked by a request that has written: " .. what, function()
      assert.same(all "primary", after(what))
      assert.same(all "replica", after "none")
    end)
  end

  it("are not written to by a transaction that only reads", function()
    assert.is_false(s:request("GET", "/refused"):json().ok)
  end)

  it("are not needed: without them the database answers", function()
    replica:kill()

    clock.eventually(function()
      local res = s:request("GET", "/after/none")
      return res.status == 200 and res:json().near == "primary"
    end, 10, "the database itself")
    replica:start()
    clock.eventually(function()
      local res = s:request("GET", "/after/none")
      return res.status == 200 and res:json().near == "replica"
    end, 10, "a replica")
  end)
end)
