-- A start that cannot work says why in one line, with a remedy, and leaves nothing half-started.

local clock = require "tests.blackbox.support.clock"
local figure = require "tests.blackbox.support.figure"
local fs = require "tycho.fs"
local limits = require "tests.blackbox.support.limits"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"
local stream = require "tycho.stream"

-- Starts a server that must refuse to; returns what it said.
local function refused(opts, prepare)
  local s = server.prepare(opts)
  if prepare then
    prepare(s)
  end
  s:launch()
  local exit = s.process:wait(20)
  s.stopped = true

  assert.equal(1, exit.code, s:output())
  assert.is_false(fs.exists(s.folder .. "/.tycho/control.sock"))
  assert.is_false(pcall(stream.connect, "127.0.0.1", s.port))
  assert.is_false(pcall(stream.connect, "127.0.0.1", s.admin_port))
  assert.same({}, proc.in_folder(s.folder))
  local said = fs.read(s.folder .. "/stderr")
  assert.is_nil(said:find("stack traceback", 1, true), said)
  return said, s
end

local function one_line(said)
  local _, lines = said:gsub("\n", "")
  assert.equal(1, lines, said)
  return said
end

describe("a start", function()
  after_each(server.clean_up)

  it("refuses an unknown key, with file and line, and what was perhaps meant", function()
    local said = one_line(refused {
      files = { ["conf/tycho.yaml"] = "workers: 1\nhttp:\n  prot: 8080\n" },
    })

    assert.is_truthy(said:find("conf/tycho.yaml:3", 1, true), said)
    assert.is_truthy(said:find("prot", 1, true))
    assert.is_truthy(said:find("port", 1, true))
  end)

  it("refuses a wrong type, and says what was expected", function()
    local said = one_line(refused {
      files = { ["conf/tycho.yaml"] = "http:\n  port: eighty\n" },
    })

    assert.is_truthy(said:find("conf/tycho.yaml:2", 1, true), said)
    assert.is_truthy(said:find("http.port", 1, true))
  end)

  it("refuses a wrong value from the environment, and names the variable", function()
    local said = one_line(refused { env = { TYCHO_HTTP__BODY_MAX = "lots" } })

    assert.is_truthy(said:find("TYCHO_HTTP__BODY_MAX", 1, true), said)
  end)

  it("refuses a file that is no YAML", function()
    local said = one_line(refused { files = { ["conf/tycho.yaml"] = "http: [\n" } })

    assert.matches("conf/tycho%.yaml:%d+", said)
  end)

  it("refuses a port in use, and names it", function()
    local listener
    local said, s = refused(nil, function(s)
      listener = stream.listen("127.0.0.1", s.port)
      s.taken = s.port
      s.port = 1 -- nobody listens there
    end)
    listener:close()

    assert.is_truthy(one_line(said):find(tostring(s.taken), 1, true), said)
    assert.is_truthy(said:find("http.port", 1, true), said)
  end)

  it("refuses an admin port in use", function()
    local listener
    local said, s = refused(nil, function(s)
      listener = stream.listen("127.0.0.1", s.admin_port)
      s.taken = s.admin_port
      s.admin_port = 1
    end)
    listener:close()

    assert.is_truthy(one_line(said):find(tostring(s.taken), 1, true), said)
  end)

  it("refuses a folder of scripts that is not there, or cannot be read", function()
    local said = one_line(refused(nil, function(s)
      fs.remove(s.folder .. "/scripts", { recursive = true })
    end))
    assert.is_truthy(said:find("scripts", 1, true), said)
    assert.is_truthy(said:find("scripts.path", 1, true), said)

    said = one_line(refused(nil, function(s)
      fs.remove(s.folder .. "/scripts", { recursive = true })
      fs.write(s.folder .. "/scripts", "a file")
    end))
    assert.is_truthy(said:find("scripts", 1, true), said)
  end)

  it("refuses a syntax error, with file and line", function()
    local said = one_line(refused {
      scripts = { ["app/orders.lua"] = "local x = 1\n\nlocal = 2\n" },
    })

    assert.is_truthy(said:find("scripts/app/orders.lua:3:", 1, true), said)
  end)

  it("refuses scripts that raise, wait or loop at load, or write globals", function()
    for text, where in pairs {
      ['error("at load")'] = "scripts/app/main.lua:1: at load",
      ["\nrequire('tycho.fiber').sleep(1)"] = "scripts/app/main.lua:2:",
      ["\n\nwhile true do end"] = "scripts/app/main.lua:3:",
      ["x = 1"] = "scripts/app/main.lua:1: global variable 'x'",
    } do
      local said = one_line(refused {
        scripts = { ["app/main.lua"] = text }, config = { reload = { load_timeout = "300ms" } },
      })
      assert.is_truthy(said:find(where, 1, true), said)
    end
  end)

  it("refuses a place where no database can be, and names the setting", function()
    local said = one_line(refused {
      files = { nowhere = "a file" },
      scripts = {
        ["app/main.lua"] = "", ["migrations/001_first.sql"] = "create table things (id integer);",
      },
      config = { databases = { default = { url = "sqlite:nowhere/tycho.db" } } },
    })

    assert.matches("nowhere/tycho%.db: Not a directory %(databases%.default%.url%)", said)
  end)

  it("refuses a route that would outlive its worker", function()
    local said = one_line(refused {
      scripts = { ["app/main.lua"] = [[
local app = require "tycho.app"
app.get("/report", { slice_max = 2 }, function() end)
]] },
      config = { host = { heartbeat_timeout = "2s" } },
    })

    assert.matches("^scripts/app/main%.lua:2: slice_max: must be at least 500ms less than", said)
  end)

  it("refuses to be with so few descriptors that it could not work", function()
    local said = one_line(refused { prefix = limits.prefix { nofile = 63 } })

    assert.matches("63 files only; at least 64 are needed", said)
  end)

  it("works without standard descriptors, and takes no file of its own for one", function()
    local s = server.start { prefix = { "sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh" },
      config = { host = { core_dumps = true } } } -- or none but root may look at its descriptors

    for _, pid in ipairs { s.pid, unpack(s:workers()) } do
      for fd = 0, 2 do
        local path = ("/proc/%d/fd/%d"):format(pid, fd)
        local _, target = process.run { args = { "readlink", path } }
        assert.equal("/dev/null\n", target)
      end
    end
    assert.equal(200, s:request("GET", "/").status)
  end)

  it("refuses a second server with the same control socket, and leaves the first alone", function()
    local first = server.start()
    local child = process.spawn {
      args = { server.program(), "serve", "--set", "http.port=0", "--set", "admin.port=0" },
      cwd = first.folder, stderr = first.folder .. "/second",
      env = { PATH = os.getenv "PATH" },
    }

    assert.equal(1, child:wait(20).code)
    assert.is_truthy(fs.read(first.folder .. "/second"):find("control.sock", 1, true))
    assert.equal(200, first:request("GET", "/").status)
    assert.equal("serving", first:status().state)
  end)

  it("gives its first answer within 100 ms", function()
    figure.at_most(figure.best(0.1, function()
      local s = server.prepare()
      local began = clock.now()
      s:launch()
      clock.eventually(function() return s:request("GET", "/").status == 200 end)
      local took = clock.now() - began
      s:kill()
      return took
    end), 0.1, "seconds to the first answer")
  end)

  it("leaves nothing behind when it is stopped", function()
    local s = server.start()
    assert.is_true(fs.exists(s.folder .. "/.tycho/control.sock"))

    assert.same({ code = 0, signal = 0 }, s:stop())
    assert.is_false(fs.exists(s.folder .. "/.tycho/control.sock"))
    assert.same({}, proc.in_folder(s.folder))
  end)

  it("puts the control socket where only its owner can use it", function()
    local s = server.start()

    assert.equal(tonumber("600", 8), fs.stat(s.folder .. "/.tycho/control.sock").mode)
  end)
end)

describe("the command line", function()
  after_each(server.clean_up)

  it("says 3 when there is no server to talk to", function()
    local s = server.prepare()

    for _, command in ipairs { "status", "reload", "ps", "generations", "rollback" } do
      local code, out, err = s:cli(command)
      assert.equal(3, code, command)
      assert.equal("", out)
      assert.is_truthy(#err > 0)
    end
  end)

  it("says 2 when it is used wrongly", function()
    local s = server.prepare()

    assert.equal(2, (s:cli "sreve"))
    assert.equal(2, (s:cli("serve", "--no-such-option")))
  end)

  it("checks scripts and configuration without serving", function()
    local s = server.prepare()
    assert.equal(0, (s:cli "check"))

    s:write("app/orders.lua", "local ok\n\nok = = 1\n")
    local code, _, err = s:cli "check"
    assert.equal(1, code)
    assert.is_truthy(err:find("scripts/app/orders.lua:3:", 1, true), err)
  end)

  it("reloads, refuses a typo with file and line, and serves on", function()
    local s = server.start()
    local before = s:request("GET", "/").headers["tycho-generation"]

    s:write("app/orders.lua", ("--\n"):rep(11) .. "local function 1\n")
    local code, _, err = s:cli "reload"
    assert.equal(1, code)
    assert.is_truthy(err:find("scripts/app/orders.lua:12:", 1, true), err)
    assert.equal(before, s:request("GET", "/").headers["tycho-generation"])

    s:write("app/orders.lua", 'require("tycho.app").get("/orders", function() return {} end)\n')
    s:reload()
    local now = s:request("GET", "/orders")
    assert.equal(200, now.status)
    assert.not_equal(before, now.headers["tycho-generation"])
  end)
end)
