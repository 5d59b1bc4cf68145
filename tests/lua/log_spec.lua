local fs = require "tycho.fs"
local json = require "tycho.json"
local log = require "tycho.log"
local process = require "tycho.process"

-- Runs `body` in a process of its own and returns the records that it wrote.
local function records_of(body, level)
  local path = os.tmpname()
  fs.write(path, 'local log, fiber = require "tycho.log", require "tycho.fiber"\n' .. body)
  local exit, _, text = process.run({
    args = { "/proc/self/exe", "run", path },
    env = { TYCHO_LOG__FORMAT = "json", TYCHO_LOG__LEVEL = level or "debug" },
  }, 30)
  fs.remove(path)
  assert.equal(0, exit.code, text)

  local records = {}
  for line in text:gmatch "[^\n]+" do
    local record = json.decode(line)
    if record.module ~= "host" then
      records[#records + 1] = record
    end
  end
  return records
end

describe("tycho.log", function()
  it("writes level, module, message and fields", function()
    local records = records_of [[
      log.debug("one")
      log.info("two", { n = 1, ok = true, big = 9007199254740993LL, text = "a\nb" })
      log.module("orders"):warn("three", { list = { 1, "x" }, nested = { a = { b = 2.5 } } })
      log.error({ kind = "x" } and 42)
    ]]

    assert.equal(4, #records)
    assert.equal("debug", records[1].level)
    assert.equal("app", records[1].module)
    assert.equal("one", records[1].msg)
    assert.equal(1, records[2].n)
    assert.is_true(records[2].ok)
    assert.is_true(records[2].big == 9007199254740993LL)
    assert.equal("a\nb", records[2].text)
    assert.equal("orders", records[3].module)
    assert.same({ 1, "x" }, records[3].list)
    assert.equal(2.5, records[3].nested.a.b)
    assert.equal("42", records[4].msg)
  end)

  it("leaves out what is below the level", function()
    local records = records_of([[
      log.info("no")
      log.warn("yes")
      log.warn(tostring(log.is_enabled "info"))
    ]], "warn")

    assert.equal(2, #records)
    assert.equal("yes", records[1].msg)
    assert.equal("false", records[2].msg)
  end)

  it("never shows secrets, however deep", function()
    local records = records_of [[
      log.info("login token=CANARY https://u:CANARY@h/", {
        password = "CANARY", user = { ["X-Api-Key"] = "CANARY", refresh_token = { "CANARY" } },
        url = "https://h/?access_token=CANARY&x=1", list = { "Bearer CANARY-CANARY" },
      })
    ]]

    assert.equal(1, #records)
    assert.is_nil(json.encode(records[1]):find("CANARY", 1, true))
    assert.equal("[redacted]", records[1].password)
    assert.equal("https://h/?access_token=[redacted]&x=1", records[1].url)
  end)

  it("does not let fields pass for members of the record", function()
    local records = records_of [[
      log.info("message", { level = "error", msg = "forged", request_id = "forged" })
    ]]

    assert.equal("info", records[1].level)
    assert.equal("message", records[1].msg)
    assert.equal("forged", records[1].msg_)
    assert.is_nil(records[1].request_id)
  end)

  it("survives any value", function()
    local records = records_of [[
      local circle = {}
      circle.circle = circle
      local many = {}
      for i = 1, 1000 do many["k" .. i] = i end
      log.info("odd", {
        f = print, nan = 0 / 0, inf = math.huge, circle = circle, bytes = "\255\0\27[31m",
        null = require("tycho.json").null, many = many, [7] = "seven", list = { 1, nil, 3 },
      })
      log.info(nil)
      log.info("\27[2J\r\n{}")
    ]]

    assert.equal(3, #records)
    assert.equal("function", records[1].f)
    assert.equal("NaN", records[1].nan)
    assert.equal("Infinity", records[1].inf)
    assert.equal(json.null, records[1].null)
    assert.equal("seven", records[1]["7"])
    assert.is_true(records[1].many["..."])
    assert.equal("nil", records[2].msg)
    assert.equal("\27[2J\r\n{}", records[3].msg)
  end)

  it("knows the request, also in its fibers", function()
    local records = records_of [[
      local test = require "tycho.test"
      local request = test.application(function(app)
        app.get("/", function(req)
          log.info("in handler", { expected = req.id })
          fiber.spawn(function() log.info("in child", { expected = req.id }) end):join()
          return "ok"
        end)
      end)
      request("GET", "/")
      log.info("outside")
    ]]

    for i = 1, 2 do
      assert.is_string(records[i].request_id)
      assert.equal(records[i].expected, records[i].request_id)
    end
    assert.equal("outside", records[3].msg)
    assert.is_nil(records[3].request_id)
  end)

  it("adds what was bound to a fiber, and to its children", function()
    local records = records_of [[
      log.bind { tenant = "t1", a = 1 }
      log.bind { a = 2 }
      log.info("bound", { n = 1 })
      log.info("overridden", { tenant = "t2" })
      fiber.spawn(function()
        log.bind { child = true }
        log.info("child")
      end):join()
      log.info("back")
    ]]

    assert.same({ "t1", 2, 1 }, { records[1].tenant, records[1].a, records[1].n })
    assert.same({ "t2", 2 }, { records[2].tenant, records[2].a })
    assert.same({ "t1", true }, { records[3].tenant, records[3].child })
    assert.is_nil(records[4].child)
  end)

  it("blames the caller for wrong arguments", function()
    local function message(fn)
      return select(2, pcall(fn))
    end

    assert.matches("log_spec.lua:%d+: log.error: fields are a table, not a string",
      message(function()
        log.error("a", "b")
      end))
    assert.matches("log_spec.lua:%d+: log.module: a name", message(function()
      return (log.module "not a word")
    end))
  end)
end)
