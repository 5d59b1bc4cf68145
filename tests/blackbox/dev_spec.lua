-- `tycho dev`: save the file, it is live; and a readable page while it does not run.

local clock = require "tests.blackbox.support.clock"
local figure = require "tests.blackbox.support.figure"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
app.get("/", function() return { says = "%s" } end)
]]

local HTML = { headers = { Accept = "text/html" } }

local function start()
  return server.start { command = "dev", scripts = { ["app/main.lua"] = APP:format "one" } }
end

local function says(s, word)
  local res = s:request("GET", "/")
  return res.status == 200 and res:json().says == word
end

local function until_it_says(s, word)
  local began = clock.now()
  clock.eventually(function() return says(s, word) end, 5, word)
  return clock.now() - began
end

-- Without any of the kernel's means to notice saved files.
local function blind(...)
  return { "unshare", "--user", "--map-root-user", "sh", "-c",
    'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"', "sh", ... }
end

describe("tycho dev", function()
  after_each(server.clean_up)

  it("says when it cannot notice saved files", function()
    if process.run({ args = blind "true" }).code ~= 0 then
      return pending "the means to notice files cannot be taken away here"
    end
    local s = server.start {
      command = "dev", scripts = { ["app/main.lua"] = APP:format "one" }, prefix = blind(),
    }

    s:wait_log "files saved in scripts will not be noticed: .*`tycho reload`"
    s:write("app/main.lua", APP:format "two")
    s:reload()
    assert.is_true(says(s, "two"))
  end)

  it("makes a saved file live in well under a second", function()
    local s = start()
    assert.is_true(says(s, "one"))

    s:write("app/main.lua", APP:format "two")
    local took = until_it_says(s, "two")

    figure.at_most(took, 0.5, "seconds until it is live")
    clock.eventually(function() return s:output():find("reloaded in %d+ ms") end)
  end)

  it("shows where a save does not run, in the terminal and on the page", function()
    local s = start()
    s:write("app/main.lua", APP:format "two" .. "local x = = 1\n")
    clock.eventually(function() return s:request("GET", "/", HTML).status == 500 end)

    local page = s:request("GET", "/", HTML).body
    assert.is_truthy(page:find("scripts/app/main.lua:3: unexpected symbol", 1, true), page)
    assert.is_truthy(page:find('class="hit">   3  local x = = 1', 1, true), page)
    assert.is_truthy(s:output():find("scripts/app/main.lua:3: unexpected symbol", 1, true))

    s:write("app/main.lua", APP:format "three")
    until_it_says(s, "three")
  end)

  it("takes the page away when the file is as it was", function()
    local s = start()
    s:write("app/main.lua", "local x = = 1\n")
    clock.eventually(function() return s:request("GET", "/", HTML).status == 500 end)

    s:write("app/main.lua", APP:format "one")
    until_it_says(s, "one")
  end)

  it("sees new files in new folders", function()
    local s = start()
    s:write("app/more/hello.lua", 'require("tycho.app").get("/more", function() return 1 end)\n')

    clock.eventually(function() return s:request("GET", "/more").status == 200 end)
  end)
end)
