-- What `tycho dev` shows whoever is writing the code, and `tycho serve` nobody.

local clock = require "tests.blackbox.support.clock"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"

local function through(req, next)
  return next(req)
end

app.get("/plain", function()
  return nil + 1
end)

app.get("/middleware", { use = through }, function()
  return nil + 1
end)
]]

local HTML = { headers = { Accept = "text/html" } }

describe("a fault of the program", function()
  after_each(server.clean_up)

  it("is shown in development, with and without middleware", function()
    local s = server.start { command = "dev", scripts = { ["app/main.lua"] = APP }, workers = 1 }

    for path, line in pairs { ["/plain"] = 8, ["/middleware"] = 12 } do
      local text, page = s:request("GET", path), s:request("GET", path, HTML)
      local place = ("scripts/app/main.lua:%d: attempt to perform arithmetic"):format(line)

      assert.equal(500, text.status)
      assert.matches(place, text:json().exception, 1, true)
      assert.matches("^stack traceback:", text:json().traceback)
      assert.matches("text/html", page.headers["content-type"])
      assert.matches(place, page.body, 1, true)
      assert.matches("return nil + 1", page.body, 1, true)
    end
  end)

  it("is not shown in production", function()
    local s = server.start { scripts = { ["app/main.lua"] = APP }, workers = 1 }

    for _, path in ipairs { "/plain", "/middleware" } do
      local res = s:request("GET", path, HTML)
      assert.equal(500, res.status)
      assert.not_matches("main.lua", res.body)
      assert.not_matches("arithmetic", res.body)
    end
  end)

  it("in a file that was just saved is shown instead of any page, until it is mended", function()
    local s = server.start { command = "dev", scripts = { ["app/main.lua"] = APP }, workers = 1 }

    s:write("app/main.lua", "local app = require 'tycho.ap'\n")
    clock.eventually(function()
      local res = s:request("GET", "/plain", HTML)
      return res.status == 500 and res.body:find("scripts/app/main.lua:1", 1, true)
    end)
    s:write("app/main.lua", [[require("tycho.app").get("/plain", function() return "mended" end)]])

    clock.eventually(function()
      return s:request("GET", "/plain").body == "mended"
    end)
  end)
end)
