-- Results that do not fit into memory: read in pieces they need next to none; read in one piece
-- they are refused, and what they took is given back.

local clock = require "tests.blackbox.support.clock"
local database = require "tests.blackbox.support.database"
local fs = require "tycho.fs"
local mariadb = require "tests.blackbox.support.mariadb"
local postgres = require "tests.blackbox.support.postgres"
local server = require "tests.blackbox.support.server"

local MIB = 1024 * 1024
local ROWS = os.getenv "TYCHO_TEST_LONG" == "1" and 1000000 or 100000
local GROWTH_MAX = 32 * MIB

local APP = [[
local app = require "tycho.app"
local db = require "tycho.db"
local tycho = require "tycho"

local rows = {
  sqlite = "with recursive s(n) as (select 1 union all select n + 1 from s where n < %d) "
    .. "select n, printf('%%0100d', n) as text_ from s",
  postgresql = "select n, lpad(n::text, 100, '0') as text_ from generate_series(1, %d) n",
  mysql = "select seq as n, lpad(seq, 100, '0') as text_ from seq_1_to_%d",
}

local large = {
  sqlite = "with recursive s(n) as (select 1 union all select n + 1 from s where n < 100000) "
    .. "select n, printf('%01000d', n) as text_ from s",
  postgresql = "select n, repeat('x', 1000) as text_ from generate_series(1, 100000) n",
  mysql = "select seq as n, repeat('x', 1000) as text_ from seq_1_to_100000",
}

app.get("/each/{count}", function(req)
  local sum, bytes = 0, 0
  local count = db.each(rows[db.system()]:format(req.params.count), function(row)
    sum, bytes = sum + row.n, bytes + #row.text_
  end)
  return { count = count, sum = sum, bytes = bytes }
end)

app.get("/large/{how}", function(req)
  local _, err = tycho.try(db[req.params.how], large[db.system()])
  return { kind = err and err.kind, detail = err and err.detail, message = err and err.message }
end)

app.get("/ok", function() return { one = db.value "select 1" } end)
]]

local function memory(pid, what)
  local text = fs.read(("/proc/%d/status"):format(pid))
  return tonumber(text:match(what .. ":%s+(%d+) kB")) * 1024
end

for name, module in pairs { SQLite = false, PostgreSQL = postgres, MariaDB = mariadb } do
  describe("a large result of " .. name, function()
    local missing = module and module.missing()
    if missing then
      return it("is read", function() pending(missing) end)
    end
    local s, worker

    setup(function()
      local url = module and module.shared():url(module.shared():create())
      s = server.start {
        workers = 1, scripts = { ["app/main.lua"] = APP },
        config = {
          databases = { default = { url = url or nil, query_timeout = "10m" } },
          lua = { cpu_max = "10m" }, http = { request_timeout = "10m" },
          host = { worker_memory_max = "4GiB" },
        },
      }
      assert.equal(2000, s:request("GET", "/each/2000"):json().count)
      worker = s:workers()[1]
    end)

    teardown(function()
      server.clean_up()
      database.clean_up()
    end)

    it("is read in pieces, and memory does not grow with it", function()
      if server.is_instrumented() then
        return pending "a sanitizer keeps what was freed"
      end
      local before = memory(worker, "VmRSS")
      local began = clock.now()
      local res = s:request("GET", "/each/" .. ROWS, { timeout = 600 }):json()
      local took = clock.now() - began
      local grown = memory(worker, "VmHWM") - before

      assert.same({ count = ROWS, sum = ROWS * (ROWS + 1) / 2, bytes = 100 * ROWS }, res)
      assert(grown <= GROWTH_MAX, ("%d rows: %.1f MiB more"):format(ROWS, grown / MIB))
      if os.getenv "TYCHO_TEST_LONG" == "1" then
        print(("%s: %d rows in %.1f s, %.1f MiB more"):format(name, ROWS, took, grown / MIB))
      end
      assert.same({ worker }, s:workers())
    end)

    it("is refused in one piece, and the memory comes back", function()
      local before = memory(worker, "VmRSS")
      for _, how in ipairs { "query", "exec", "one" } do
        local res = s:request("GET", "/large/" .. how, { timeout = 60 }):json()
        if how == "query" then
          assert.equal("too_large", res.kind)
          assert.equal("result_max", res.detail)
        end
        assert.equal(1, s:request("GET", "/ok"):json().one)
      end
      if server.is_instrumented() then
        return
      end
      clock.eventually(function()
        return s:request("GET", "/ok").status == 200
          and memory(worker, "VmRSS") - before <= GROWTH_MAX
      end, 10, "memory given back")
      assert.same({ worker }, s:workers())
    end)
  end)
end
