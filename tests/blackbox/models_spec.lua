-- Models in an application: what is wrong with one is found before it serves anybody.

local server = require "tests.blackbox.support.server"

local MAIN = [[
local app = require "tycho.app"
app.get("/", function() return { ok = true } end)
]]

local function model_of(column)
  return ([[
local model = require "tycho.model"

return model.define("users", {
  model.id(),
  %s,
})
]]):format(column)
end

local RIGHT = model_of 'model.text("email", { max = 254 })'
local TABLE = "create table users (id integer primary key, email text not null);"

local WRONG = {
  {
    'model.txet("email")',
    'scripts/app/user.lua:5: model.txet: there is no such kind of column, did you mean "text"?',
  },
  {
    'model.text("email", { maxx = 254 })',
    'scripts/app/user.lua:5: unknown option "maxx", did you mean "max"?',
  },
  {
    'model.text("id")', 'scripts/app/user.lua:5: model "users": there are two columns "id"',
  },
  {
    'model.reference("team_id", "user")',
    'scripts/app/user.lua:5: users.team_id refers to the table "user", which no model has, '
      .. 'did you mean "users"?',
  },
}

local READERS = [[
local app = require "tycho.app"
local model = require "tycho.model"
local repository = require "tycho.repository"

local Note = model.define("notes", { model.id(), model.text("text", { max = 20 }) })
local notes = repository.new(Note, { replica = true })
local own = repository.new(Note)

app.get("/read", function()
  return { replica = notes:get(1).text, own = own:get(1).text, listed = notes:list().items[1].text }
end)

app.post("/write", function()
  local before = notes:get(1).text
  own:update(1, { text = "written" })
  return { before = before, after = notes:get(1).text, counted = notes:count { text = "written" } }
end)
]]

describe("an application with models", function()
  after_each(server.clean_up)

  it("is refused with the line of what is wrong, and goes on as it was", function()
    local s = server.start {
      scripts = {
        ["app/main.lua"] = MAIN, ["app/user.lua"] = RIGHT, ["migrations/001_users.sql"] = TABLE,
      },
      workers = 1,
    }

    for _, each in ipairs(WRONG) do
      s:write("app/user.lua", model_of(each[1]))

      local checked, out, err = s:cli "check"
      local reloaded, out_reload, err_reload = s:cli "reload"

      assert.not_equal(0, checked)
      assert.is_truthy((out .. err):find(each[2], 1, true), out .. err)
      assert.not_equal(0, reloaded)
      assert.is_truthy((out_reload .. err_reload):find(each[2], 1, true), out_reload .. err_reload)
      assert.equal(200, s:request("GET", "/").status)
    end

    s:write("app/user.lua", RIGHT)
    s:write("app/again.lua", RIGHT)
    local _, out, err = s:cli "check"
    assert.is_truthy((out .. err):find('scripts/app/user.lua:4: model "users": there is one '
      .. 'already, at scripts/app/again.lua:4', 1, true), out .. err)

    s:write("app/again.lua", "return {}")
    s:reload()
    assert.equal(200, s:request("GET", "/").status)
  end)

  it("reads from replicas where it says so, and what it wrote from where it wrote", function()
    local made = [[
      create table notes (id integer primary key, text text not null);
      insert into notes values (1, '%s');
    ]]
    local s = server.start {
      scripts = {
        ["app/main.lua"] = READERS, ["migrations/001_notes.sql"] = made:format "default",
        ["migrations/copy/001_notes.sql"] = made:format "copy",
      },
      workers = 1,
      config = { databases = {
        default = { url = "sqlite:main.db", replicas = { "copy" } },
        copy = { url = "sqlite:copy.db" },
      } },
    }

    assert.same({ replica = "copy", own = "default", listed = "copy" },
      s:request("GET", "/read"):json())
    assert.same({ before = "copy", after = "written", counted = 1 },
      s:request("POST", "/write"):json())
    assert.equal("copy", s:request("GET", "/read"):json().replica)
  end)
end)
