-- The command line, from outside: what it prints, where, and with which exit code.

local clock = require "tests.blackbox.support.clock"
local fiber = require "tycho.fiber"
local fs = require "tycho.fs"
local json = require "tycho.json"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local SLOW = [[
local app = require "tycho.app"
local fiber = require "tycho.fiber"

app.get("/slow", function()
  fiber.sleep(30)
  return {}
end)
app.get("/quick/{name}", function(req) return { name = req.params.name } end)
]]

local TYPO = "local app = require 'tycho.app'\napp.get('/x', function() return {} end\n"

describe("tycho ps", function()
  after_each(server.clean_up)

  it("shows the Lua line that a request waits in", function()
    local s = server.start { scripts = { ["app/main.lua"] = SLOW } }
    local conn = s:connect()
    conn:send "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"

    local out = clock.eventually(function()
      local code, text = s:cli "ps"
      return code == 0 and text:find("/slow", 1, true) and text
    end, 5, "the fiber in tycho ps")

    assert.matches("^WORKER +GENERATION +OWNER +AGE +LEFT +WAITS FOR +LINE +REQUEST\n", out)
    assert.matches("GET /slow +%d+m?s? .*sleep .*scripts/app/main.lua:5 +[%x-]+\n", out)
  end)
end)

describe("tycho reload", function()
  after_each(server.clean_up)

  it("names the new generation", function()
    local s = server.start { scripts = { ["app/main.lua"] = SLOW } }
    s:write("app/main.lua", SLOW .. "-- changed\n")

    local code, out, err = s:cli "reload"

    assert.equal(0, code, err)
    assert.matches("^ok: generation %x+, ", out)
    assert.equal("", err)
  end)

  it("says file and line of a typo, with code 1, and keeps serving", function()
    local s = server.start { scripts = { ["app/main.lua"] = SLOW } }
    s:write("app/main.lua", TYPO)

    local code, out, err = s:cli "reload"

    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("^scripts/app/main.lua:%d+: ", err)
    assert.equal(200, s:request("GET", "/quick/a").status)
  end)

  it("prints JSON when asked to", function()
    local s = server.start { scripts = { ["app/main.lua"] = SLOW } }

    local code, out = s:cli("reload", "--json")
    local answer = json.decode(out)

    assert.equal(0, code)
    assert.is_true(answer.ok)
    assert.equal("unchanged", answer.outcome)
  end)

  it("says a fault of the configuration once", function()
    local s = server.start {}
    local code, _, err = s:cli("reload", "--set", "http.prot=1")

    assert.equal(1, code)
    assert.equal("--set: http.prot: no such key; did you mean http.port?\n", err)
  end)
end)

describe("tycho config explain", function()
  after_each(server.clean_up)

  it("explains a key to whoever has to mend it", function()
    local s = server.prepare()
    fs.write(s.folder .. "/conf/tycho.yaml", "http: {port: none}\n")

    local code, out, err = s:cli("config", "explain", "http.port")
    assert.equal(0, code)
    assert.matches("8080", out)
    assert.matches("tycho.yaml:1: http.port: expected an integer", err)
  end)
end)

describe("tycho stop", function()
  after_each(server.clean_up)

  it("comes back when the server has finished what it ran", function()
    local s = server.start { scripts = { ["app/main.lua"] = SLOW:gsub("30", "1") } }
    local conn = s:connect()
    conn:send "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    clock.eventually(function() return s:metrics():sum "tycho_worker_fibers" == 1 end)

    local code, out = s:cli "stop"
    local alive = proc.is_alive(s.pid)
    s.stopped = true
    assert.equal(0, code)
    assert.matches("^ok: pid " .. s.pid .. " has ended\n$", out)
    assert.is_false(alive)
    assert.equal(200, conn:receive().status)
    assert.equal(0, s.process:wait(1).code)
  end)

  it("has code 3 when no server is there", function()
    assert.equal(3, (server.prepare():cli "stop"))
  end)
end)

describe("tycho rollback", function()
  after_each(server.clean_up)

  it("goes back, and tycho generations shows it", function()
    local s = server.start { scripts = { ["app/main.lua"] = SLOW } }
    local _, before = s:cli("generations", "--json")
    local first = json.decode(before).generations[1].id
    s:write("app/main.lua", SLOW .. "-- changed\n")
    s:reload()

    assert.equal(0, (s:cli "rollback"))

    local _, out = s:cli "generations"
    assert.matches(first .. " +active", out)
  end)

  it("refuses a generation that is not kept", function()
    local s = server.start {}
    local code, out, err = s:cli("rollback", "000000000000")

    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("no such generation", err)
  end)
end)

describe("tycho status", function()
  after_each(server.clean_up)

  it("lists the workers", function()
    local s = server.start { workers = 2 }
    local code, out = s:cli "status"

    assert.equal(0, code)
    assert.matches("^state +serving, ready\n", out)
    assert.matches("\n1 +%d+ +serving ", out)
    assert.matches("\n2 +%d+ +serving ", out)
    assert.is_nil(out:find("\27", 1, true)) -- no colours into a pipe
  end)

  it("works although the files on disk are faulty", function()
    local s = server.start {}
    local code, out, err = s:cli("status", "--set", "http.prot=1")

    assert.equal(0, code)
    assert.matches("^state +serving", out)
    assert.matches("http.prot: no such key", err)
  end)

  it("has code 3 when no server is there", function()
    local s = server.prepare {}
    local code, out, err = s:cli "status"

    assert.equal(3, code)
    assert.equal("", out)
    assert.matches("^tycho: .*control%.sock", err)
  end)
end)

describe("tycho check", function()
  after_each(server.clean_up)

  it("counts what it has found fine", function()
    local s = server.prepare { scripts = { ["app/main.lua"] = SLOW } }
    local code, out = s:cli "check"

    assert.equal(0, code)
    assert.matches("^ok: generation %x+, 1 file, 2 routes\n$", out)
  end)

  it("says what a reload would refuse, with file and line", function()
    local s = server.prepare { scripts = { ["app/main.lua"] = SLOW, ["app/typo.lua"] = TYPO } }
    local code, out, err = s:cli "check"

    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("^scripts/app/typo.lua:%d+: ", err)

    code, out = s:cli("check", "--json")
    assert.equal(1, code)
    assert.matches("^scripts/app/typo.lua:%d+: ", json.decode(out).faults[1])
  end)

  it("says what is wrong with the folder", function()
    local s = server.prepare {}
    local code, _, err = s:cli("check", "--set", "scripts.path=nowhere")

    assert.equal(1, code)
    assert.matches("^nowhere", err)
  end)
end)

describe("tycho routes", function()
  after_each(server.clean_up)

  it("lists them with the line of each", function()
    local s = server.prepare { scripts = { ["app/main.lua"] = SLOW } }
    local code, out = s:cli "routes"

    assert.equal(0, code)
    assert.matches("^METHOD +PATH +WHERE\n", out)
    assert.matches("GET +/slow +scripts/app/main.lua:4\n", out)
    assert.matches("GET +/quick/{name} +scripts/app/main.lua:8\n", out)
  end)
end)

describe("tycho run", function()
  after_each(server.clean_up)

  local function run(script, ...)
    local s = server.prepare { files = { ["script.lua"] = script } }
    return s:cli("run", "script.lua", ...)
  end

  it("gives the script its arguments, options too", function()
    local code, out = run("print(#arg, arg[0], arg[2], ...)", "a", "--json", "-h")

    assert.equal(0, code)
    assert.equal("3\tscript.lua\t--json\ta\t--json\t-h\n", out)
  end)

  it("lets the script wait", function()
    local code, out = run [[
      local fiber = require "tycho.fiber"
      fiber.sleep(0.01)
      print "woken"
    ]]

    assert.equal(0, code)
    assert.equal("woken\n", out)
  end)

  it("exits with what the script returns", function()
    assert.equal(7, (run "return 7"))
    assert.equal(1, (run "return false"))
    assert.equal(0, (run "return true"))
  end)

  it("says where a script fails, with code 1", function()
    local code, _, err = run "local x = nil\nprint(x.y)"

    assert.equal(1, code)
    assert.matches("script.lua:2: ", err)
  end)
end)

describe("tycho test", function()
  after_each(server.clean_up)

  local SPEC = [[
    describe("sums", function()
      it("is right", function()
        require("tycho.fiber").sleep(0.01)
        assert.equal(2, require("app.sums").add(1, 1))
      end)
      it("is wrong", function() assert.equal(3, require("app.sums").add(1, 1)) end)
    end)
  ]]
  local FILES = {
    scripts = { ["app/sums.lua"] = "return { add = function(a, b) return a + b end }" },
    files = { ["spec/sums_spec.lua"] = SPEC },
  }

  it("runs spec/ in a fiber, with the application's modules, and fails as they do", function()
    local s = server.prepare(FILES)
    local code, out = s:cli "test"

    assert.equal(1, code)
    assert.matches("1 success / 1 failure / 0 errors", out)
    assert.matches("spec/sums_spec.lua", out)
  end)

  it("hands options to busted", function()
    local s = server.prepare(FILES)
    local code, out = s:cli("test", "spec", "--filter=right", "-o", "TAP")

    assert.equal(0, code)
    assert.matches("ok 1 %- sums is right", out)
  end)

  it("goes on after a test that takes too much memory, even one that keeps it", function()
    local s = server.prepare { files = { ["spec/a_spec.lua"] = [[
      local kept = {}
      describe("memory", function()
        it("is taken", function()
          local taken = {}
          for i = 1, 1e9 do taken[i] = { i } end
        end)
        it("is there again", function() end)
        it("is kept", function()
          for i = 1, 1e9 do kept[i] = { i } end
        end)
        it("is short", function() end)
      end)
    ]], ["spec/b_spec.lua"] = 'it("is run", function() end)' } }
    local code, out, err = s:cli("test", "--set", "lua.memory_max=32MiB")

    assert.equal(1, code)
    assert.matches("3 successes / 0 failures / 2 errors", out)
    assert.matches("a_spec.lua:5: not enough memory %(lua.memory_max%)", out)
    assert.matches("a_spec.lua:9: not enough memory %(lua.memory_max%)", out)
    assert.matches("MiB are kept after spec/a_spec.lua %(lua.memory_max: 32 MiB%)", err)
  end)

  it("says which test it was that ended all of them", function()
    local s = server.prepare { files = { ["spec/a_spec.lua"] = [[
      require("busted").subscribe({ "error" }, function() error "the listener" end)
      it("ends it", function() error "the test" end)
      it("is not run", function() end)
    ]] } }
    local code, _, err = s:cli "test"

    assert.equal(1, code)
    assert.matches("the listener", err)
    assert.matches("The tests ended in spec/a_spec.lua %(ends it%)", err)
  end)

  it("says that there are no specs", function()
    local s = server.prepare {}
    local code, _, err = s:cli "test"

    assert.equal(1, code)
    assert.matches("no specs", err)
  end)
end)

describe("tycho repl", function()
  after_each(server.clean_up)

  it("answers each line while it goes on reading, and ends with its input", function()
    local s = server.prepare { scripts = { ["app/main.lua"] = SLOW } }
    local child = process.spawn {
      args = { server.program(), "repl" }, cwd = s.folder,
      stdin = "pipe", stdout = "pipe", stderr = s.folder .. "/stderr",
    }
    child.stdout:timeout(20)
    local function ask(line)
      child.stdin:write(line .. "\n")
      return child.stdout:read_line()
    end

    assert.equal("3", ask "1 + 2")
    assert.equal('{ 1, a = "b" }', ask 'x = { 1, a = "b" }\nx')
    assert.equal("10", ask "for i = 1, 1 do\n  y = 10\nend\ny")
    assert.equal('"waited"', ask '(require("tycho.fiber").sleep(0.01) or "waited")')
    assert.equal("4", ask "error 'on purpose'\n2 + 2")
    assert.equal("5", ask "while true do end\n2 + 3")
    child.stdin:close()
    assert.equal(0, child:wait(20).code)
    assert.matches("^on purpose\n=repl:1: stopped after %d+ ms %(lua%.slice_max%)\n",
      fs.read(s.folder .. "/stderr"))
  end)
end)

describe("wrong usage", function()
  after_each(server.clean_up)

  it("has code 2, says what was meant, on standard error", function()
    local s = server.prepare {}
    local code, out, err = s:cli "relaod"

    assert.equal(2, code)
    assert.equal("", out)
    assert.matches("did you mean reload%?", err)
  end)

  it("starts nothing", function()
    local s = server.prepare {}
    local results = fiber.all {
      function() return (s:cli("serve", "--prot", "1")) end,
      function() return (s:cli("serve", "surplus")) end,
      function() return (s:cli("dev", "--role", "nobody")) end,
    }

    assert.same({ 2, 2, 2 }, results)
  end)
end)
