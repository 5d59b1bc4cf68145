-- A full disk: requests that need it not are served as ever, the others fail in a way that the
-- client understands, nothing is broken, and all goes on when there is space again.

local clock = require "tests.blackbox.support.clock"
local disk = require "tests.blackbox.support.disk"
local figure = require "tests.blackbox.support.figure"
local http = require "tests.blackbox.support.http"
local json = require "tycho.json"
local load = require "tests.blackbox.support.load"
local server = require "tests.blackbox.support.server"
local fs = require "tycho.fs"

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local log = require "tycho.log"

local BLOB = ("b"):rep(20000)

app.get("/", function() return { hello = "world" } end)
app.get("/say/{n}", function(req)
  log.info("said", { n = req.params.n, padding = ("p"):rep(500) })
  return { said = req.params.n }
end)
app.post("/table", function()
  db.exec "create table if not exists t(n integer primary key, b blob)"
end)
app.post("/add", { status = 201 }, function()
  return { n = db.exec("insert into t(b) values ($1)", BLOB).last_id }
end)
app.post("/add-many", { status = 201 }, function()
  return db.transaction(function(tx)
    for _ = 1, 50 do
      tx:exec("insert into t(b) values ($1)", BLOB)
    end
    return { n = tx:value "select count(*) from t" }
  end)
end)
app.get("/count", function()
  return { n = db.value "select count(*) from t" }
end)
app.get("/integrity", function() return { check = db.value "pragma integrity_check" } end)
]]

local d, why

local function start(config)
  config.databases = config.databases or { default = { url = "sqlite:data/tycho.db" } }
  return server.start { scripts = { ["app/main.lua"] = APP }, config = config }
end

-- Records in the log, which must all be whole, though some are missing; lines may be empty.
local function records(path)
  local all = {}
  for line in fs.read(path):gmatch "%s*([^\n]+)\n" do
    local ok, record = pcall(json.decode, line)
    all[#all + 1] = ok and record or error("not a whole record: " .. line)
  end
  return all
end

local function has_said(path, n)
  for _, record in ipairs(records(path)) do
    if record.msg == "said" and record.n == tostring(n) then
      return true
    end
  end
  return false
end

describe("a full disk", function()
  before_each(function()
    d, why = disk.new "2m"
  end)
  after_each(function()
    server.clean_up()
    disk.clean_up()
  end)

  it("under the pid file ends the start, and leaves none that is empty", function()
    if not d then
      return pending(why)
    end
    local path = d.path .. "/pid"
    d:fill()
    local s = server.prepare { config = { host = { pid_file = path } } }
    s:launch()
    assert.equal(1, s.process:wait(20).code)
    s.stopped = true

    assert.matches("/pid: No space left on device %(host%.pid_file%)", s:output())
    assert.is_false(fs.exists(path))
  end)

  it("under the log fails no request, loses and counts, and is over when it is", function()
    if not d then
      return pending(why)
    end
    local path = d.path .. "/tycho.log"
    local s = start { log = { path = path, buffer = "64KiB" } }
    local function dropped()
      return (s:metrics():sum "tycho_log_dropped_total")
    end
    assert.equal(200, s:request("GET", "/say/1").status)
    clock.eventually(function() return has_said(path, 1) end, 2, "a record")
    assert.equal(0, dropped())

    local written = #records(path)
    d:fill()
    local result = load.run {
      port = s.port, rate = 300, duration = 2,
      request = function(id) return "GET", "/say/" .. 1000 + id end,
    }
    result.ledger:assert_all_ok(600)
    clock.eventually(function() return dropped() > 500 end, 3, "losses counted")
    assert.equal(200, http.request(s.admin_port, "GET", "/metrics").status)
    s:reload()

    d:free()
    local began = clock.now()
    clock.eventually(function()
      s:request("GET", "/say/2")
      return has_said(path, 2)
    end, 5, "the log going on")
    figure.at_most(clock.now() - began, 1, "seconds")
    -- Each worker says how much it has lost, with its next record.
    clock.eventually(function()
      s:request("GET", "/say/3")
      local said = 0
      for _, record in ipairs(records(path)) do
        said = said + tonumber(record.msg:match "^(%d+) log records were lost" or 0)
      end
      return said >= dropped() and said > 500
    end, 5, "the losses in the log")
    assert.is_true(#records(path) > written)
  end)

  it("under a database is a 503, harms nothing, and is over when there is space", function()
    if not d then
      return pending(why)
    end
    local s = start { databases = { default = { url = "sqlite:" .. d.path .. "/app.db" } } }
    assert.equal(204, s:request("POST", "/table").status)
    local added = 0
    for _ = 1, 5 do
      assert.equal(201, s:request("POST", "/add").status)
      added = added + 1
    end

    d:fill()
    local function add()
      local res = s:request("POST", "/add")
      added = added + (res.status == 201 and 1 or 0)
      return res
    end
    local res = clock.eventually(function()
      local r = add()
      return r.status ~= 201 and r
    end, 10, "a refusal")
    assert.equal(503, res.status)
    assert.equal(503, s:request("POST", "/add-many").status)
    -- Reading goes on, and so does everything that needs no disk.
    assert.equal(added, s:request("GET", "/count"):json().n)
    assert.equal("ok", s:request("GET", "/integrity"):json().check)
    assert.equal(200, s:request("GET", "/").status)

    d:free()
    local began = clock.now()
    clock.eventually(function() return add().status == 201 end, 1, "writing again")
    figure.at_most(clock.now() - began, 1, "seconds")
    assert.equal(added, s:request("GET", "/count"):json().n)
    assert.equal("ok", s:request("GET", "/integrity"):json().check)
    for _, record in ipairs(s:records()) do
      assert.is_nil(record.msg:find("SQLITE_CORRUPT", 1, true))
    end
  end)

  it("under a database does not survive its restart as damage", function()
    if not d then
      return pending(why)
    end
    local s = start { databases = { default = { url = "sqlite:" .. d.path .. "/app.db" } } }
    assert.equal(204, s:request("POST", "/table").status)
    d:fill()
    local added = 0
    clock.eventually(function()
      local status = s:request("POST", "/add").status
      added = added + (status == 201 and 1 or 0)
      return status ~= 201
    end, 10, "a refusal")
    s:kill()
    d:free()
    s:launch()
    s:wait_ready()

    assert.equal(added, s:request("GET", "/count"):json().n)
    assert.equal("ok", s:request("GET", "/integrity"):json().check)
  end)
end)
