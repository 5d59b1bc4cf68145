-- What is secret is found nowhere but in the application's hands; what is logged forges no log.

local clock = require "tests.blackbox.support.clock"
local fs = require "tycho.fs"
local http = require "tests.blackbox.support.http"
local server = require "tests.blackbox.support.server"

local JSON = { ["Content-Type"] = "application/json" }

local APP = [[
local app = require "tycho.app"
local log = require "tycho.log"

app.post("/login", function(req)
  log.info("a login", { password = req.body.password, token = req.query.token,
    authorization = req.headers.authorization, cookie = req.headers.cookie, name = req.body.name })
  return { ok = true }
end)
app.post("/fail", function(req)
  error("could not use " .. tostring(req.body and "it"))
end)
app.get("/log", function(req)
  log.info(req.query.text, { field = req.query.text })
  log.error("field: " .. req.query.text)
  return {}
end)
app.get("/raise", function(req) error(req.query.text) end)
]]

-- A word that occurs nowhere else.
local function canary(name)
  return ("canary%sq7x%d"):format(name, math.floor(clock.now() * 1e6) % 1e6)
end

describe("secrets", function()
  teardown(server.clean_up)

  it("are in no log, no metric, no answer and no report", function()
    local secrets = {
      authorization = canary "auth", cookie = canary "cookie", token = canary "token",
      password = canary "password", setting = canary "setting", environment = canary "env",
      failed = canary "failed", database = canary "dsn", file = canary "file",
    }
    local s = server.start {
      scripts = { ["app/main.lua"] = APP },
      config = {
        log = { level = "debug" },
        app = { auth = { secret = secrets.setting } },
        databases = { second = { url = "sqlite:data/" .. secrets.database .. ".db" } },
      },
      files = { ["secret"] = secrets.file .. "\n" },
      env = {
        TYCHO_APP__PAY__SECRET = secrets.environment, TYCHO_APP__MAIL__PASSWORD_FILE = "secret",
      },
    }
    local headers = {
      Authorization = "Bearer " .. secrets.authorization, Cookie = "session=" .. secrets.cookie,
    }
    local body = { name = "Ada", password = secrets.password, new_password = secrets.password }
    local said = {}
    local function collect(res)
      said[#said + 1] = res.body
      for _, field in ipairs(res.fields) do
        said[#said + 1] = field[2]
      end
    end

    for _, path in ipairs { "/login", "/fail", "/missing" } do
      collect(s:request("POST", path .. "?token=" .. secrets.token,
        { headers = headers, json = body }))
    end
    collect(s:request("POST", "/fail", { headers = headers,
      body = '{"card":"' .. secrets.failed .. '" broken' }))
    collect(s:request("POST", "/login", { headers = JSON,
      body = '{"password":"' .. secrets.failed .. '" broken' }))
    collect(http.raw(s.port, ("GET /login?token=%s HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\n"
      .. "Bad Field: %s\r\n\r\n"):format(secrets.token, secrets.authorization, secrets.failed)))
    for _, command in ipairs { { "status", "--json" }, { "ps" }, { "config", "show" },
      { "config", "show", "--json" }, { "config", "explain", "databases.default.url" },
      { "routes" }, { "generations" } } do
      local _, out, err = s:cli(unpack(command))
      said[#said + 1] = out .. err
    end
    said[#said + 1] = http.request(s.admin_port, "GET", "/metrics").body
    said[#said + 1] = http.request(s.admin_port, "GET", "/readyz").body
    s:stop()
    said[#said + 1] = s:output()

    local all = table.concat(said, "\n")
    assert.is_truthy(all:find("a login", 1, true))
    for name, secret in pairs(secrets) do
      local at = all:find(secret, 1, true)
      assert.is_nil(at, at and name .. ": " .. all:sub(math.max(1, at - 200), at + 50))
    end
  end)

  it("are in no complaint about the configuration", function()
    local secret = canary "config"
    local s = server.prepare {
      files = { ["conf/tycho.yaml"] = "databases:\n  default:\n    url: \"nosuch://u:"
        .. secret .. "@h/db\"\n" },
    }
    local code, out, err = s:cli "check"

    assert.equal(1, code)
    assert.is_nil((out .. err):find(secret, 1, true), out .. err)
  end)
end)

describe("the log", function()
  teardown(server.clean_up)

  it("is one JSON object a line, whatever is logged", function()
    local s = server.start { scripts = { ["app/main.lua"] = APP } }
    local evil = "%0d%0a%7b%22level%22:%22forged%22%7d%1b[31mred%00%7f%c2%85%e2%80%a8%ff"
    local conn = s:connect()

    conn:request("GET", "/log?text=" .. evil)
    conn:request("GET", "/raise?text=" .. evil)
    conn:request("GET", "/missing/%0a%1b[31m?" .. evil)
    conn:request("GET", "/log?text=x", { headers = {
      ["User-Agent"] = "agent\255\194\133", ["X-Request-Id"] = "id\"}", Referer = "\195\40",
    } })
    http.raw(s.port, "GET /\27[31m HTTP/1.1\r\nHost: a\r\n\r\n")
    s:stop()

    for _, record in ipairs(s:records()) do
      assert.not_equal("forged", record.level)
    end
    local text = s:log()
    assert.is_truthy(text:find("red", 1, true))
    assert.is_nil(text:find("[%z\1-\9\11-\31\127]"))
    assert.is_nil(text:find("\194\133", 1, true))
  end)

  it("is opened again on SIGUSR1", function()
    local s = server.start { scripts = { ["app/main.lua"] = APP } }
    local path = s.folder .. "/tycho.log"

    s:request("GET", "/log?text=first")
    clock.eventually(function() return s:log():find("first", 1, true) end)
    os.rename(path, path .. ".old")
    s:signal "USR1"
    clock.eventually(function() return fs.exists(path) end)
    clock.eventually(function()
      s:request("GET", "/log?text=second")
      return s:log():find("second", 1, true)
    end)
    assert.is_truthy(fs.read(path .. ".old"):find("first", 1, true))
  end)
end)

describe("what a client is told of an error", function()
  teardown(server.clean_up)

  it("holds no path, no traceback and no version", function()
    local s = server.start { scripts = { ["app/main.lua"] = APP } }
    local answers = {
      s:request("GET", "/raise?text=x"), s:request("GET", "/missing"), s:request("PUT", "/login"),
      s:request("POST", "/login", { body = "{", headers = JSON }),
      (http.raw(s.port, "GET / HTTP/1.1\r\n\r\n")),
      (http.raw(s.port, "NONSENSE\r\n\r\n")),
      (http.raw(s.port, "GET /" .. ("a"):rep(9000) .. " HTTP/1.1\r\nHost: a\r\n\r\n")),
    }
    local _, version = s:cli "version"
    local number = version:match "%d+%.%d+%.%d+"

    for _, res in ipairs(answers) do
      assert.is_true(res.status >= 400)
      assert.equal("application/problem+json", res.headers["content-type"])
      assert.equal(res.status, res:json().status)
      local all = res.body
      for _, field in ipairs(res.fields) do
        all = all .. "\n" .. field[2]
      end
      for _, word in ipairs { ".lua", "traceback", s.folder, "llhttp", "LuaJIT", number } do
        assert.is_nil(all:find(word, 1, true), all)
      end
    end
  end)
end)
