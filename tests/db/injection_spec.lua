-- Whatever is given as a value is a value: there is no function by which it becomes SQL. And what
-- has to be a name is checked before it is one.

local db = require "tycho.db"
local model = require "tycho.model"
local query = require "tycho.query"
local registry = require "tycho._private.model_registry"
local repository = require "tycho.repository"
local support = require "tests.db.support"
local tables = require "tests.lua.model_tables"
local texts = require "tests.db.injections"

local Victim = registry.isolate(function()
  return model.define("victims", {
    model.id(), model.text("label", { null = true }), model.text "secret",
    model.json("doc", { null = true }), model.array("tags", { of = "text", null = true }),
  })
end)

local FIND = "select label from victims where label = $1"
local ADD = "insert into victims(label, secret) values ($1, 's')"

describe("nothing that is given to " .. support.system .. " becomes SQL", function()
  local victims

  before_each(function()
    tables.create { Victim }
    victims = repository.new(Victim)
    victims:insert { label = "first", secret = "hidden" }
  end)

  -- Of what was there, all is there still; and of what was given, as often as it was.
  local function check(text, count)
    assert.equal("hidden", db.value "select secret from victims where label = 'first'")
    assert.equal(count + 1, db.value "select count(*) from victims", text)
    if count > 0 then
      assert.equal(count, db.value("select count(*) from victims where label = $1", text), text)
      db.exec "delete from victims where label <> 'first'"
    end
  end

  it("in query, one, value, exec, each and batch", function()
    for _, text in ipairs(texts) do
      assert.same({}, db.query(FIND, text))
      assert.is_nil(db.one(FIND, text))
      assert.is_nil(db.value(FIND, text))
      assert.equal(0, db.each(FIND, text, error))
      assert.same({ {}, n = 1 }, db.batch { { FIND, text } })
      assert.equal(0, db.exec("delete from victims where label = $1", text).changes)
      check(text, 0)
      db.exec(ADD, text)
      db.batch { { ADD, text, as = "exec" }, { ADD, text, as = "exec" } }
      check(text, 3)
    end
  end)

  it("in transactions, on all their levels", function()
    for _, text in ipairs(texts) do
      db.transaction(function(tx)
        assert.same({}, tx:query(FIND, text))
        assert.is_nil(tx:one(FIND, text))
        assert.is_nil(tx:value(FIND, text))
        assert.equal(0, tx:each(FIND, text, error))
        tx:exec(ADD, text)
        tx:transaction(function(inner)
          inner:batch { { ADD, text, as = "exec" } }
        end)
      end)
      check(text, 2)
    end
  end)

  it("as a document, as a list, as bytes", function()
    for _, text in ipairs(texts) do
      db.exec("insert into victims(label, secret, doc, tags) values ($1, 's', $2, $3)", text,
        db.json { [text] = text }, db.array { text, { text } and text })
      local row = db.one("select * from victims where label = $1", text)
      assert.same({ [text] = text }, row.doc)
      assert.same({ text, text }, row.tags)
      check(text, 1)
    end
  end)

  it("in filters of the query builder, whatever the operator", function()
    for _, text in ipairs(texts) do
      for _, operator in ipairs { "", "__eq", "__in", "__contains", "__starts_with", "__ends_with",
                                  "__icontains", "__istarts_with", "__iends_with", "__between" } do
        local value = text
        if operator == "__in" or operator == "__between" then
          value = { text, text }
        end
        local condition = { ["label" .. operator] = value, secret = "hidden" }
        assert.equal(0, query.from("victims"):where(condition):count(), text)
      end
      query.insert("victims"):values({ label = text, secret = text }):exec()
      query.update("victims"):set({ secret = text }):where({ label = text }):exec()
      assert.equal(text, query.from("victims"):select("secret"):where({ label = text }):value())
      check(text, 1)
    end
  end)

  it("in patterns: % and _ are found where they stand, and nowhere else", function()
    for _, text in ipairs { "100%", "100 percent", "a_b", "aXb", "!", "c!%" } do
      db.exec(ADD, text)
    end
    local function found(text)
      return query.from("victims"):where({ label__contains = text }):count()
    end

    assert.equal(2, found "%")
    assert.equal(1, found "a_b")
    assert.equal(2, found "!")
    assert.equal(1, found "!%")
    assert.equal(0, found "%%")
    assert.equal(1, db.value("select count(*) from victims where label like $1 escape '!'",
      "%" .. query.escape_like "0%"))
  end)

  it("as the name of a table or a column: it is refused before anything is sent", function()
    for _, text in ipairs(texts) do
      if not text:find "^[%a_][%w_.]*$" then -- else it is a name
        for _, build in ipairs {
          function() return query.from(text) end,
          function() return query.from("victims as " .. text) end,
          function() return query.from("victims"):select(text) end,
          function() return query.from("victims"):select { [text] = "label" } end,
          function() return query.from("victims"):where { [text] = 1 } end,
          function() return query.from("victims"):where { ["label__" .. text .. " "] = 1 } end,
          function() return query.from("victims"):where { label = query.column(text) } end,
          function() return query.from("victims"):order(text) end,
          function() return query.from("victims"):order("label " .. text) end,
          function() return query.from("victims"):select("label"):group(text) end,
          function() return query.from("victims"):join(text, "a", "b") end,
          function() return query.from("victims"):join("victims as v", text, "v.id") end,
          function() return query.insert(text):values { label = 1 } end,
          function() return query.insert("victims"):values { [text] = 1 } end,
          function()
            return query.insert("victims"):values({ id = 1 }):on_conflict({ text }, { "label" })
          end,
          function() return query.update("victims"):set({ [text] = 1 }):everywhere() end,
          function() return query.delete(text):everywhere() end,
          function()
            return query.update("victims"):set({ label = "x" }):everywhere():returning(text)
          end,
        } do
          local ok, err = pcall(function() return build():build() end)
          assert.is_false(ok, text)
          assert.is_string(err)
        end
      end
    end
    assert.matches("limit", support.fault(function() query.from("victims"):limit "1; drop" end))
    check("", 0)
  end)

  it("in repositories: values, filters, orders and cursors", function()
    for _, text in ipairs(texts) do
      local made = victims:insert { label = text, secret = text, doc = { text }, tags = { text } }
      assert.equal(made.id, victims:find_by({ label = text }).id)
      assert.equal(1, victims:count { label = text })
      assert.is_true(victims:exists { label = text, secret = text })
      assert.equal(text, victims:list({ where = { label = text } }).items[1].secret)
      made = victims:update(made, { secret = text .. text })
      assert.equal(text .. text, victims:get(made.id).secret)
      victims:upsert({ id = made.id, label = text, secret = "s" }, { by = { "id" } })
      check(text, 1)
      assert.is_false(pcall(victims.list, victims, { order = text .. " " }))
      assert.is_false(pcall(victims.list, victims, { cursor = text }))
      assert.is_false(pcall(victims.find_by, victims, { [text .. " "] = 1 }))
      assert.is_false(pcall(victims.get, victims, { [text .. " "] = 1 }))
    end
  end)

  it("as a name of a model or of one of its columns", function()
    for _, text in ipairs(texts) do
      if not text:find "^[%a_][%w_]*$" then
        assert.is_false(pcall(registry.isolate, function()
          model.define(text, { model.id() })
        end), text)
        assert.is_false(pcall(registry.isolate, function()
          model.define("fine", { model.id(), model.text(text) })
        end), text)
      end
    end
  end)

  it("as an option of a transaction, or as the name of a database", function()
    for _, text in ipairs(texts) do
      assert.matches("isolation:", support.fault(db.transaction, function() end,
        { isolation = text }))
      local ok, err = pcall(function() return db.use(text .. " ").value "select 1" end)
      assert.is_false(ok, text)
      assert.matches("database", tostring(err.message or err))
    end
    check("", 0)
  end)

  if support.system == "postgresql" then
    it("in what is copied: a line that ends COPY ends no statement", function()
      db.exec "drop table if exists lines"
      db.exec "create table lines(text_ text)"
      local source = {}
      for i, text in ipairs(texts) do
        source[i] = '"' .. text:gsub('"', '""') .. '"\n'
      end
      assert.equal(#texts, db.copy_in("copy lines from stdin with csv", source))
      for _, text in ipairs(texts) do
        assert.equal(1, db.value("select count(*) from lines where text_ = $1", text), text)
      end
      pcall(db.copy_in, "copy lines from stdin", { "a\n\\.\n; drop table victims;\n" })
      check("", 0)
    end)
  end
end)
