-- Notifications, where the database has them.

local db = require "tycho.db"
local fiber = require "tycho.fiber"
local support = require "tests.db.support"
local tycho = require "tycho"

describe("notifications of " .. support.system, function()
  if os.getenv "TYCHO_TEST_DATABASE" == "pgbouncer" then
    pending "a pooler that shares sessions cannot listen"
    return
  end

  if support.system ~= "postgresql" then
    it("are not there, which is said", function()
      local listener, err = tycho.try(db.listen, "news")
      assert.is_nil(listener)
      assert.matches("has no notifications", err.message)
      assert.matches("has no notifications", support.failure(db.notify, "news", "x").message)
    end)
    return
  end

  it("are heard by all who listen, in order", function()
    local first, second = db.listen "news", db.listen "news"
    local other = db.listen "other"
    for i = 1, 20 do
      db.notify("news", "note " .. i)
    end
    for _, listener in ipairs { first, second } do
      for i = 1, 20 do
        assert.equal("note " .. i, listener:next(5).payload)
      end
      assert.is_nil(listener:next(0.01))
    end
    assert.is_nil(other:next(0))
  end)

  it("are sent when the transaction commits, or never", function()
    local listener = db.listen "news"
    db.transaction(function()
      db.notify("news", "inside")
      assert.is_nil(listener:next(0.05))
    end)
    assert.is_false(pcall(db.transaction, function()
      db.notify("news", "undone")
      error "no"
    end))
    db.notify "news"

    assert.equal("inside", listener:next(5).payload)
    assert.equal("", listener:next(5).payload)
  end)

  it("may have any name and any text", function()
    local listener = db.listen 'Weird "name"; drop'
    db.notify('Weird "name"; drop', "好 '\"\\")

    assert.equal("好 '\"\\", listener:next(5).payload)
    assert.equal("invalid", support.failure(db.listen, ("x"):rep(64)).kind)
  end)

  it("have a name, a text, and a time to wait", function()
    local listener = db.listen "news"
    for _, wrong in ipairs { -1, 0 / 0, "5" } do
      assert.matches("listen_spec.lua:%d+: how long it waits is a number",
        support.fault(function() listener:next(wrong) end))
    end
    assert.matches("listen_spec.lua:%d+: a channel has a name",
      support.fault(function() db.listen(nil) end))
    assert.matches("listen_spec.lua:%d+: a channel has a name",
      support.fault(function() db.notify(nil, "x") end))
    assert.matches("listen_spec.lua:%d+: what is sent to a channel is a string, not a table",
      support.fault(function() db.notify("news", {}) end))
    assert.equal("invalid", support.failure(db.notify, "news", ("x"):rep(8000)).kind)
    db.notify("news", ("x"):rep(7999))
    assert.equal(7999, #listener:next(5).payload)
  end)

  it("say when some were missed", function()
    local listener, last = db.listen "news", db.listen "last"
    db.query("select pg_notify('news', n::text) from generate_series(1, 1500) n")
    db.notify "last"
    assert.is_not_nil(last:next(5)) -- so all of them have come
    local lost, count = 0, 0
    while true do
      local note = listener:next(0.5)
      if not note then
        break
      elseif note.lost then
        lost = lost + 1
      else
        count = count + 1
      end
    end
    assert.equal(1, lost)
    assert.equal(1024, count)
  end)

  it("end with the fiber that listens, and when they are told to", function()
    local function listening()
      return db.value [[select count(*) from pg_stat_activity
        where query like 'listen%' or query like 'LISTEN%']]
    end
    fiber.spawn(function() db.listen "news" end):join()
    local listener = db.listen "news"
    listener:close()
    assert.matches("the listener is closed", support.fault(listener.next, listener))
    assert.is_true(listening() <= 1)
  end)

  it("are over for others who wait, too, when the fiber that listens ends", function()
    local listener
    local child = fiber.spawn(function()
      listener = db.listen "news"
      fiber.sleep(0.1)
    end)
    while not listener do
      fiber.sleep(0.01)
    end

    local err = support.failure(fiber.timeout, 20, listener.next, listener)
    assert.equal("internal", err.kind)
    assert.matches("the fiber that listened has ended", err.message)
    child:join()
    assert.matches("the listener is closed", support.fault(listener.next, listener, 0))
  end)

  it("are not closed under whoever waits for them", function()
    local listener = db.listen "news"
    local waiter = fiber.spawn(function() return listener:next(5).payload end)
    fiber.sleep(0)
    assert.matches("another fiber waits", support.fault(listener.close, listener))
    db.notify("news", "heard")
    assert.equal("heard", waiter:join())
    listener:close()
    listener:close()
  end)

  it("are heard again after the connection was lost, which is said", function()
    local listener = db.listen "news"
    db.query [[select pg_terminate_backend(pid) from pg_stat_activity
      where query ilike 'listen%' and pid <> pg_backend_pid()]]
    local note = listener:next(5)
    assert.is_true(note and note.lost)
    db.notify("news", "again")
    assert.equal("again", listener:next(5).payload)
  end)
end)
