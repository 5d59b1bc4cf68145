-- The servers that tests of databases start: real, quick, and gone when they are done with.

local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local fiber = require "tycho.fiber"
local figure = require "tests.blackbox.support.figure"
local fs = require "tycho.fs"
local mariadb = require "tests.blackbox.support.mariadb"
local pgbouncer = require "tests.blackbox.support.pgbouncer"
local postgres = require "tests.blackbox.support.postgres"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local proxy = require "tests.blackbox.support.proxy"
local server = require "tests.blackbox.support.server"

local KINDS = { postgres = postgres, mariadb = mariadb }

-- What is left of a server's processes, folder and shared memory.
local function traces(self, pids)
  local left = {}
  for _, pid in ipairs(pids) do
    left[#left + 1] = proc.is_alive(pid) and proc.command(pid) or nil
  end
  left[#left + 1] = fs.exists(self.folder) and self.folder or nil
  return left
end

local function segments()
  local _, out = process.run { args = { "ipcs", "-m" } }
  local mine = {}
  for id in out:gmatch "\n%S+%s+(%d+)%s+%S+%s+%d+%s+56%s" do
    mine[id] = true
  end
  return mine
end

for kind, module in pairs(KINDS) do
  describe("a server of its own: " .. kind, function()
    local missing = module.missing()
    if missing then
      return it("is tested", function() pending(missing) end)
    end

    after_each(function()
      proxy.clean_up()
      database.clean_up()
    end)

    it("is ready within two seconds of the second start", function()
      module.start() -- the first makes the template

      figure.at_most(figure.best(2, function()
        local began = clock.now()
        module.start()
        return clock.now() - began
      end), 2, "seconds to the second start")
    end)

    it("answers, and keeps what it was told over a stop and a kill", function()
      local s = module.start()
      local name = s:create()
      s:sql("create table t(n int)", { database = name })
      s:sql("insert into t values (1)", { database = name })
      s:restart()
      s:sql("insert into t values (2)", { database = name })
      s:crash()

      assert.equal("1\n2", s:sql("select n from t order by n", { database = name }))
      assert.error_matches(function() s:sql "select nonsense" end, "nonsense")
      assert.matches(("127.0.0.1:%d/%s$"):format(s.port, name), s:url(name))
    end)

    it("leaves nothing when it is killed and removed", function()
      local before = segments()
      local s = module.start()
      local pids = s:pids()
      s:kill()
      assert.is_false(s:is_alive())
      s:remove()

      assert.same({}, traces(s, pids))
      for id in pairs(segments()) do
        assert.is_true(before[id], "shared memory was left")
      end
    end)

    it("does not outlive the tests that started it", function()
      local program = ([[
        local s = require("tests.blackbox.support.%s").start()
        io.write(s.folder, " ", table.concat(s:pids(), " "), "\n")
        io.flush()
        require("tycho.fiber").sleep(60)
      ]]):format(kind)
      local script = os.tmpname()
      fs.write(script, program)
      local child = process.spawn {
        args = { server.program(), "run", script }, stdout = "pipe", cwd = server.root,
        stderr = "inherit",
      }
      local line = child.stdout:read_until "\n"
      child:kill "KILL"
      child:wait(10)
      os.remove(script)

      assert.is_truthy(line:find "%d+ %d+", line)
      for pid in line:gmatch " (%d+)" do
        clock.eventually(function() return not proc.is_alive(tonumber(pid)) end, 10, line)
      end
      local folder = line:match "^%S+"
      assert.is_true(fs.exists(folder))
      module.start() -- and the next one clears away
      assert.is_false(fs.exists(folder))
    end)

    it("says why it does not start", function()
      assert.error_matches(function()
        module.start { settings = { ["no-such-setting"] = "1" } }
      end, "no.such.setting")
    end)

    it("asks for a password and for encryption when it is told to", function()
      local s = module.start { password = "s3cret", tls = "only" }
      assert.equal("1", s:sql "select 1") -- the tests' own way in
      local encrypted = kind == "postgres"
        and "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        or "select variable_value <> '' from information_schema.session_status "
          .. "where variable_name = 'ssl_cipher'"
      local answer = s:sql(encrypted, { port = s.port })
      assert.is_true(answer == "t" or answer == "1", answer)
      s.password = "wrong"
      assert.error(function() s:sql("select 1", { port = s.port }) end)
      assert.is_true(fs.exists(s.certificate))
      assert.is_nil(s:url():find("s3cret", 1, true))
    end)

    it("is one for all who ask for the shared one", function()
      local shared = module.shared()
      database.clean_up()
      assert.is_true(shared:is_alive())
      assert.equal(shared, module.shared())
      assert.not_equal(shared:create(), shared:create())
    end)

    it("can be reached through a proxy that swallows everything", function()
      local s = module.shared()
      local p = proxy.start { to = s.port }
      assert.equal("1", s:sql("select 1", { port = p.port }))

      p:stall "down"
      local ok, err = pcall(fiber.timeout, 0.5, s.sql, s, "select 1", { port = p.port })
      assert.is_false(ok)
      assert.equal("timeout", err.kind)
      p:resume()
      assert.equal("1", s:sql("select 1", { port = p.port }))
    end)
  end)
end

describe("a standby", function()
  local missing = postgres.missing()
  if missing then
    return it("is tested", function() pending(missing) end)
  end
  after_each(database.clean_up)

  it("follows, can only be read, and is promoted when the primary dies", function()
    local primary = postgres.start()
    primary:sql "create table t(n int); insert into t values (1)"
    local standby = primary:standby()
    primary:sql "insert into t values (2)"
    standby:follow(primary)
    assert.equal("2", standby:sql "select count(*) from t")
    assert.error_matches(function() standby:sql "insert into t values (3)" end, "read%-only")

    primary:kill()
    standby:promote()
    standby:sql "insert into t values (3)"
    assert.equal("3", standby:sql "select count(*) from t")
  end)
end)

describe("a pooler", function()
  local missing = pgbouncer.missing()
  if missing then
    return it("is tested", function() pending(missing) end)
  end
  after_each(database.clean_up)

  it("gives many clients few sessions, a transaction at a time", function()
    local bouncer = pgbouncer.start(nil, { settings = { default_pool_size = 1 } })
    local name = bouncer:create()
    local first = bouncer:sql("select pg_backend_pid()", { database = name })
    assert.equal(first, bouncer:sql("select pg_backend_pid()", { database = name }))
    assert.matches("transaction", bouncer:sql("show pools", { database = "pgbouncer" }))

    bouncer:restart()
    assert.not_equal(first, bouncer:sql("select pg_backend_pid()", { database = name }))
  end)

  it("knows the password of what is behind it, and can be encrypted", function()
    local primary = postgres.start { password = "s3cret", tls = "only" }
    local settings = { server_tls_sslmode = "require" }
    local wrong = pgbouncer.start(primary, { password = "wrong", settings = settings })
    assert.error_matches(function() wrong:sql "select 1" end, "password authentication failed")

    local right = pgbouncer.start(primary,
      { password = "s3cret", tls = "only", settings = settings })
    assert.equal("1", right:sql("select 1", { port = right.port }))
    local encrypted = right:sql("show clients", { database = "pgbouncer", port = right.port })
    assert.matches("TLSv1", encrypted)
  end)
end)
