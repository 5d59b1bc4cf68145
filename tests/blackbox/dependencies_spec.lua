-- A dependency that is down at the start delays readiness, and nothing else.

local clock = require "tests.blackbox.support.clock"
local fs = require "tycho.fs"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
app.get("/plain", function() return { ok = true } end)
app.get("/rows", function() return db.query("select 1 as n") end)
]]

-- Where a folder should be, there is a file: nothing can be opened in it.
local function prepare()
  local s = server.prepare {
    scripts = { ["app/main.lua"] = APP },
    config = { databases = { default = { url = "sqlite:store/main.db" } } },
  }
  fs.write(s.folder .. "/store", "in the way")
  return s
end

describe("a database that cannot be used at the start", function()
  after_each(server.clean_up)

  local function eventually_alive(s)
    clock.eventually(function()
      return http.request(s.port, "GET", "/livez").status == 200
    end, 10, "livez")
  end

  it("leaves the server alive, but not ready, and named", function()
    local s = prepare()
    s:launch()
    eventually_alive(s)

    for _, port in ipairs { s.port, s.admin_port } do
      local res = http.request(port, "GET", "/readyz")
      assert.equal(503, res.status)
      assert.is_truthy(res.body:find("default", 1, true), res.body)
      assert.equal(200, http.request(port, "GET", "/livez").status)
    end
    assert.equal(200, s:request("GET", "/plain").status)
    assert.equal(503, s:request("GET", "/rows").status)
    clock.eventually(function()
      return s:log():find("database default cannot be used: sqlite: ", 1, true)
    end, 5, "the reason in the log")
  end)

  it("is used within two seconds of appearing", function()
    local s = prepare()
    s:launch()
    eventually_alive(s)
    clock.eventually(function() return s:request("GET", "/rows").status == 503 end)

    os.remove(s.folder .. "/store")
    fs.mkdir(s.folder .. "/store")
    clock.eventually(function()
      return http.request(s.port, "GET", "/readyz").status == 200
        and s:request("GET", "/rows").status == 200
    end, 2, "readiness")
  end)

  it("makes the start fail when it is required", function()
    local s = prepare()
    s.opts.args = { "--require", "--set", "host.start_timeout=1s" }
    s:launch()

    assert.equal(1, s.process:wait(20).code)
    s.stopped = true
    assert.is_truthy(s:output():find("default", 1, true), s:output())
    assert.is_false(fs.exists(s.folder .. "/.tycho/control.sock"))
  end)
end)
