-- A primary that dies, with a standby promoted in its place; and one that became a standby while
-- connections to it were open.

local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local figure = require "tests.blackbox.support.figure"
local load = require "tests.blackbox.support.load"
local postgres = require "tests.blackbox.support.postgres"
local server = require "tests.blackbox.support.server"
local sessions = require "tests.blackbox.support.sessions"

local RESUMED_MAX = 5

local APP = sessions.PRELUDE .. [[
app.get("/write/{id}", function(req)
  db.exec("insert into written(id) values ($1)", tonumber(req.params.id))
  return { done = true }
end)
]]

describe("a fail-over", function()
  local missing = postgres.missing()
  if missing then
    return it("is tested", function() pending(missing) end)
  end
  local primary, standby, s

  local function start()
    primary = postgres.start()
    primary:sql "create table written(id int primary key)"
    standby = primary:standby()
    s = server.start {
      scripts = { ["app/main.lua"] = APP },
      config = {
        databases = { default = {
          url = ("postgres://tycho@127.0.0.1:%d,127.0.0.1:%d/postgres?%s"):format(primary.port,
            standby.port, "target_session_attrs=read-write"),
        } },
        http = { access_log = false },
      },
    }
  end

  after_each(function()
    server.clean_up()
    database.clean_up()
  end)

  -- Writes go on meanwhile; ends when they went well for a second after `change`, which returns
  -- since when they could. What was said of each, and when the first one went well again.
  local function under_writes(change)
    local said, sent, up, first, last_error = {}, {}, nil, nil, 0
    local run = load.start {
      port = s.port, rate = 50, duration = 60, connections = 32, timeout = 20,
      request = function(id)
        sent[id] = clock.now()
        return "GET", "/write/" .. id
      end,
      check = function(res, id)
        said[id] = res.status == 200 and "ok" or res:json().kind
        if res.status ~= 200 then
          last_error = clock.now()
          return "refused"
        end
        first = first or up and sent[id] > up and clock.now()
      end,
    }
    local ok, err = pcall(function()
      clock.eventually(function() return run.ledger:count "ok" > 20 end)
      up = change()
      clock.eventually(function()
        return first and clock.now() - math.max(last_error, up) > 1
      end, 15, "a second of writes")
    end)
    run:stop()
    local book = run:join().ledger
    assert(ok, err)
    local words = ("%s; the first write after %.2f s, the last error after %.2f s"):format(
      book:summary():gsub("\n.*", ""), first - up, last_error - up)
    if os.getenv "TYCHO_TEST_SAY" then
      print(words)
    end
    figure.at_most(first - up, RESUMED_MAX, words)
    figure.at_most(last_error - up, RESUMED_MAX, words)
    assert.equal(book.sent, book:count "ok" + book:count "refused", words)
    return said, book
  end

  it("lets writes go on within five seconds of the promotion", function()
    start()
    local kept = {}
    local said = under_writes(function()
      primary:kill()
      standby:promote()
      return clock.now()
    end)

    for id in standby:sql("select id from written"):gmatch "%d+" do
      kept[tonumber(id)] = true
    end
    local doubtful = 0
    for id, kind in pairs(said) do
      if kind == "unavailable" then
        assert.is_nil(kept[id], id .. " was said to have failed")
      elseif kind ~= "ok" then
        doubtful = doubtful + 1
        assert.equal("unknown_outcome", kind)
      end
    end
    assert.is_true(doubtful < 10, doubtful)
  end)

  it("leaves a server that can no longer be written to", function()
    start()
    local writable
    under_writes(function()
      standby:promote()
      primary:sql "alter system set default_transaction_read_only = on"
      writable = clock.now()
      primary:sql "select pg_reload_conf()"
      clock.eventually(function()
        return primary:sql "select count(*) from pg_stat_activity where application_name = 'tycho'"
          == "0"
      end, 10, "nobody at the old one")
      return writable
    end)
    assert.is_true(tonumber(standby:sql "select count(*) from written") > 20)
  end)

  it("is not needed for a server that is only a standby: reads find it by name", function()
    start()
    primary:sql "insert into written values (1000000)"
    standby:follow(primary)
    local reader = server.start {
      scripts = { ["app/main.lua"] = sessions.PRELUDE .. [[
        app.get("/", function()
          return { n = db.value "select count(*) from written where id = 1000000",
            recovering = db.value "select pg_is_in_recovery()" }
        end)
        app.get("/write", function() db.exec "insert into written values (1)" end)
      ]] },
      config = { databases = { default = {
        url = ("postgres://tycho@127.0.0.1:%d,127.0.0.1:%d/postgres?%s"):format(primary.port,
          standby.port, "target_session_attrs=standby"),
      } } },
    }
    assert.same({ n = 1, recovering = true }, reader:request("GET", "/"):json())
    assert.equal(503, reader:request("GET", "/write").status)
  end)
end)
