--- The sessions of a database server, asked for in the words of each kind, so that one test can be
--- about all of them.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local mariadb = require "tests.blackbox.support.mariadb"
local postgres = require "tests.blackbox.support.postgres"

local sessions = {}

---@class blackbox.Words what one kind of server says
---@field sleep string a statement, its seconds as "%s"
---@field all string id, state and statement of the sessions of a database
---@field stale string seconds for which the longest was idle in a transaction

---@type table<string, blackbox.Words>
local WORDS = {
  postgres = {
    sleep = "select pg_sleep(%s)",
    all = [[select pid, state, coalesce(query, '') from pg_stat_activity
      where datname = '%s' and pid <> pg_backend_pid() and backend_type = 'client backend']],
    stale = [[select coalesce(max(extract(epoch from clock_timestamp() - state_change)), 0)
      from pg_stat_activity where datname = '%s' and state like 'idle in transaction%%']],
  },
  mariadb = {
    sleep = "select sleep(%s)",
    all = [[select id, if(command = 'Sleep', 'idle', 'active'), coalesce(info, '')
      from information_schema.processlist where db = '%s' and id <> connection_id()]],
    stale = [[select coalesce(max(p.time_ms), 0) / 1000 from information_schema.processlist p
      join information_schema.innodb_trx t on t.trx_mysql_thread_id = p.id
      where p.command = 'Sleep' and p.db = '%s']],
  },
}

---For describing something for each kind of server; what is not installed is said to be pending.
---
---```lua
---local each = sessions.each(describe, it, pending)
---each("a session", function(kind, module)
---  it("ends", function() ... end)
---end)
---```
---@param describe function busted's, which a module does not see
---@param it function
---@param pending function
---@return fun(what: string, fn: fun(kind: string, module: table))
function sessions.each(describe, it, pending)
  return function(what, fn)
    for _, module in ipairs { postgres, mariadb } do
      local kind = module == postgres and "postgres" or "mariadb"
      describe(what .. ": " .. kind, function()
        local missing = module.missing()
        if missing then
          return it("is tested", function() pending(missing) end)
        end
        fn(kind, module)
      end)
    end
  end
end

---What a program begins with whose answers say which error it was.
sessions.PRELUDE = [[
local app, db, fiber = require "tycho.app", require "tycho.db", require "tycho.fiber"
app.envelope {
  success = function(result) return result end,
  error = function(err)
    return nil, { kind = err.kind or "bug", detail = err.detail, message = tostring(err.message) }
  end,
}
]]

---A statement that takes so long.
---@param kind string
---@param seconds number|string
---@return string
function sessions.sleep(kind, seconds)
  return WORDS[kind].sleep:format(seconds)
end

---@class blackbox.Session
---@field id string
---@field state string "idle", "active", "idle in transaction"
---@field text string what it does or did last

---What a database has now.
---@async
---@param db blackbox.Database
---@param name string
---@return blackbox.Session[]
function sessions.list(db, name)
  local list = {}
  for line in db:sql(WORDS[db.kind].all:format(name)):gmatch "[^\n]+" do
    local id, state, text = line:match "^(%d+)[|\t]([^|\t]*)[|\t](.*)$"
    if id then -- statements may have several lines
      list[#list + 1] = { id = id, state = state, text = text }
    end
  end
  return list
end

---How many of a database's sessions run a statement that has this in it.
---@async
---@param db blackbox.Database
---@param name string
---@param text string
---@return integer
function sessions.running(db, name, text)
  local count = 0
  for _, one in ipairs(sessions.list(db, name)) do
    count = count + (one.state == "active" and one.text:find(text, 1, true) and 1 or 0)
  end
  return count
end

---Seconds for which the longest of those has done nothing that are in a transaction.
---@async
---@param db blackbox.Database
---@param name string
---@return number
function sessions.stale(db, name)
  return tonumber(db:sql(WORDS[db.kind].stale:format(name)))
end

---Ends the sessions of a database that are idle, as an operator does.
---@async
---@param db blackbox.Database
---@param name string
---@return integer count
function sessions.end_idle(db, name)
  local count = 0
  if db.kind == "postgres" then
    local text = "select count(pg_terminate_backend(pid, 1000)) from pg_stat_activity "
      .. "where state = 'idle' and datname = '%s'"
    return tonumber(db:sql(text:format(name)))
  end
  local idle = "select id from information_schema.processlist "
    .. "where command = 'Sleep' and db = '%s'"
  for id in db:sql(idle:format(name)):gmatch "%d+" do
    count = count + (pcall(db.sql, db, "kill " .. id) and 1 or 0)
  end
  return count
end

---Waits until nothing of a database is in use or in a transaction.
---@async
---@param db blackbox.Database
---@param name string
---@param timeout? number
function sessions.wait_idle(db, name, timeout)
  clock.eventually(function()
    for _, one in ipairs(sessions.list(db, name)) do
      if one.state ~= "idle" then
        error(("session %s: %s: %s"):format(one.id, one.state, one.text), 0)
      end
    end
    return true
  end, timeout, "idle sessions")
end

---Looks again and again beside the test, and keeps what was greatest.
---
---```lua
---local watch = sessions.watch(function() return sessions.stale(db, name) end)
---... -- the test
---assert.is_true(watch.stop() < 1)
---```
---@param look fun(): number
---@param pause? number seconds; 0.01 by default
---@return table watch with `.stop()`, which returns the greatest number, and `.count`
function sessions.watch(look, pause)
  local self = { most = 0, count = 0 }
  self.handle = fiber.spawn(function()
    while not self.stopped do
      self.most = math.max(self.most, look())
      self.count = self.count + 1
      fiber.sleep(pause or 0.01)
    end
  end)
  function self.stop()
    self.stopped = true
    self.handle:join()
    return self.most
  end
  return self
end

return sessions
