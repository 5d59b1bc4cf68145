-- What one request does to its session the next one does not see: there is one connection for all.

local server = require "tests.blackbox.support.server"
local sessions = require "tests.blackbox.support.sessions"

local each = sessions.each(describe, it, pending)

-- Runs what it is given; each request may be the first on a fresh session, for all it can see.
local APP = sessions.PRELUDE .. [[
local function look(looks, value_of)
  local seen = {}
  for name, sql in pairs(looks) do
    local ok, value = pcall(value_of, sql)
    seen[name] = ok and tostring(value) or "error " .. tostring(value.detail)
  end
  return seen
end
app.post("/run", function(req)
  local how, seen = req.body, nil
  local function run(source)
    for _, sql in ipairs(how.statements) do
      source(sql)
    end
  end
  if how.where == "transaction" then
    db.transaction(function(tx)
      run(function(sql) tx:query(sql) end)
      seen = how.looks and look(how.looks, function(sql)
        -- a savepoint; and a text that was not prepared before there was a temporary table
        return db.transaction(function(part) return part:value(sql .. " -- within") end)
      end)
      if how.fails then error "on purpose" end
    end)
  elseif how.where == "script" then
    db.script(table.concat(how.statements, ";\n"))
  else
    run(db.query)
  end
  return { seen = seen }
end)
app.post("/look", function(req) return look(req.body, db.value) end)
]]

local WHERE = { "single", "transaction", "failed transaction", "script" }

-- What is done to a session, and what a later one might see of all that.
local DEEDS = {
  postgres = {
    ["a setting"] = { "set statement_timeout = 1234" },
    ["a setting by a function"] = { "select set_config('app.leak', 'yes', false)" },
    ["a setting in a block"] = {
      "do $$ begin perform set_config('app.leak', 'yes', false); end $$",
    },
    ["a role"] = { "set role stranger" },
    ["a user"] = { "set session authorization stranger" },
    ["a search path"] = { "set search_path to elsewhere" },
    ["a time zone"] = { "set time zone 'Asia/Tokyo'" },
    ["a style of dates"] = { "set datestyle to 'SQL, DMY'" },
    ["an isolation"] = {
      "set session characteristics as transaction isolation level serializable",
    },
    ["a session that only reads"] = { "set default_transaction_read_only = on" },
    ["a temporary table"] = { "create temporary table leak(n int)" },
    ["a temporary table of a query"] = { "select 1 as n into temp leak" },
    ["a temporary table that hides one"] = { "create temp table kept as select 666 as n" },
    ["a prepared statement"] = { "prepare leak as select 1" },
    ["a lock"] = { "select pg_advisory_lock(42)" },
    ["a lock that was tried"] = { "select pg_try_advisory_lock(42)" },
    ["a cursor"] = { "declare leak cursor with hold for select 1" },
    ["a sequence's value"] = { "select nextval('counter'), currval('counter')" },
  },
  mariadb = {
    ["a setting"] = { "set session max_statement_time = 12" },
    ["a mode"] = { "set sql_mode = ''" },
    ["a variable"] = { "set @leak = 'yes'" },
    ["a variable of a query"] = { "select @leak := 'yes'" },
    ["a time zone"] = { "set time_zone = '+09:00'" },
    ["a character set"] = { "set names latin1" },
    ["an isolation"] = { "set session transaction isolation level serializable" },
    ["a temporary table"] = { "create temporary table leak(n int)" },
    ["a temporary table that hides one"] = { "create temporary table kept as select 666 as n" },
    ["a lock"] = { "select get_lock('leak', 0)" },
    ["a prepared statement"] = { "prepare leak from 'select 1'" },
    ["an identity"] = { "set insert_id = 77, last_insert_id = 77" },
  },
}

local LOOKS = {
  postgres = {
    timeout = "select current_setting('statement_timeout')",
    own = "select coalesce(nullif(current_setting('app.leak', true), ''), 'none')",
    user = "select current_user || ',' || session_user",
    path = "select current_setting('search_path')",
    zone = "select current_setting('timezone') || current_setting('datestyle')",
    isolation = "select current_setting('default_transaction_isolation')"
      .. " || current_setting('default_transaction_read_only')",
    temporary = "select to_regclass('pg_temp.leak')::text",
    hidden = "select n from kept",
    prepared = "select count(*) from pg_prepared_statements where name = 'leak'",
    lock = "select count(*) from pg_locks where locktype = 'advisory'",
    cursor = "select count(*) from pg_cursors where name = 'leak'",
    sequence = "select currval('counter')",
  },
  mariadb = {
    timeout = "select @@max_statement_time",
    mode = "select @@sql_mode",
    variable = "select @leak",
    zone = "select @@time_zone",
    characters = "select concat(@@character_set_client, @@collation_connection)",
    isolation = "select @@tx_isolation",
    temporary = "select n from leak",
    hidden = "select n from kept",
    lock = "select is_used_lock('leak')",
    prepared = "execute leak",
    identity = "select last_insert_id()",
  },
}

local SETUP = {
  postgres = "create table kept(n int); insert into kept values (1); create sequence counter;"
    .. " create schema elsewhere; grant all on kept, counter to stranger",
  mariadb = "create table kept(n int); insert into kept values (1)",
}

each("what a request does to its session", function(kind, module)
  local db, s, fresh

  local function look()
    local res = s:request("POST", "/look", { json = LOOKS[kind] })
    assert.equal(200, res.status, res.body)
    return res:json()
  end

  setup(function()
    db = module.shared()
    local name = db:create()
    if kind == "postgres" then
      db:sql "do $$ begin create role stranger; exception when duplicate_object then end $$"
    end
    db:sql(SETUP[kind], { database = name })
    s = server.start {
      scripts = { ["app/main.lua"] = APP }, workers = 1,
      config = {
        databases = { default = { url = db:url(name), pool_max = 1, slow = "0s" } },
        http = { access_log = false },
      },
    }
    fresh = look()
  end)
  teardown(server.clean_up)

  for deed, statements in pairs(DEEDS[kind]) do
    it("is not seen by the next one: " .. deed, function()
      local done = 0
      for _, where in ipairs(WHERE) do
        local res = s:request("POST", "/run", { json = {
          statements = statements, where = where:match "%S+$", fails = where:find "failed" ~= nil,
          looks = where == "transaction" and LOOKS[kind] or nil,
        } })
        if where == "transaction" and res.status == 200 then
          assert.not_same(fresh, res:json().seen, "nobody could have seen it")
        end
        done = done + (res.status == 200 and 1 or 0)
        assert.same(fresh, look(), ("%s, in a %s: %d %s"):format(deed, where, res.status, res.body))
      end
      assert.is_true(done > 0, "it was refused everywhere")
    end)
  end

  it("is seen by itself, in its transaction", function()
    local statements = kind == "postgres"
      and { "create temp table own(n int)", "insert into own values (1)", "select 1 / n from own" }
      or { "create temporary table own(n int)", "insert into own values (1)", "select n from own" }
    for _ = 1, 2 do
      local res = s:request("POST", "/run", { json = {
        statements = statements, where = "transaction",
      } })
      assert.equal(200, res.status, res.body)
    end
  end)

  it("takes no name from the server's own prepared statements", function()
    for _ = 1, 3 do
      assert.same(fresh, look())
      if kind == "postgres" then
        local names = {}
        for i = 1, 40 do
          names[i] = ("prepare s%d as select 1"):format(i)
        end
        s:request("POST", "/run", { json = { statements = names, where = "single" } })
        names = { "deallocate all" }
        s:request("POST", "/run", { json = { statements = names, where = "single" } })
      end
    end
    assert.same(fresh, look())
  end)
end)
