-- Scripts that functions in C call, and that call those again, take C stack: there is little of it.

local fiber = require "tycho.fiber"
local server = require "tests.blackbox.support.server"

-- Each shape nests to a depth, or without an end.
local APP = [[
local app, fiber = require "tycho.app", require "tycho.fiber"

local shapes = {}

function shapes.gsub(depth)
  local function go(left)
    if left == 0 then return "end" end
    return (("x"):gsub("x", function() return go(left - 1) end))
  end
  return go(depth)
end
function shapes.sort(depth)
  local function go(left)
    if left > 0 then table.sort({ 1, 2 }, function() go(left - 1) return false end) end
    return "end"
  end
  return go(depth)
end
function shapes.format(depth)
  local left, t = depth, nil
  t = setmetatable({}, { __tostring = function()
    left = left - 1
    return left <= 0 and "end" or ("%s"):format(t)
  end })
  return tostring(t)
end
function shapes.resume(depth)
  local function go(left)
    if left == 0 then return "end" end
    return coroutine.wrap(function() return go(left - 1) end)()
  end
  return go(depth)
end
function shapes.spawn(depth)
  local function go(left)
    return left == 0 and "end" or fiber.spawn(go, left - 1):join()
  end
  return go(depth)
end
function shapes.all_of_them(depth)
  local function go(left)
    if left == 0 then return "end" end
    return coroutine.wrap(function()
      return (("x"):gsub("x", function()
        local result
        table.sort({ 1, 2 }, function() result = go(left - 1) return false end)
        return result
      end))
    end)()
  end
  return go(depth)
end

app.get("/some/{shape}", function(req) return shapes[req.params.shape](50) end)
app.get("/endless/{shape}", function(req) return shapes[req.params.shape](math.huge) end)
app.get("/caught/{shape}", function(req)
  local ok, err = pcall(shapes[req.params.shape], math.huge)
  return ("%s %s"):format(ok, err)
end)
app.get("/ok", function() return "ok" end)
app.get("/sleep", function() fiber.sleep(0.3) return "slept" end)
]]

describe("a script that nests without an end", function()
  local s, workers

  setup(function()
    s = server.start {
      workers = 1, scripts = { ["app/main.lua"] = APP },
      config = { lua = { slice_max = "4s" }, host = { heartbeat_timeout = "30s" } },
    }
    workers = s:workers()
  end)
  teardown(server.clean_up)

  for _, shape in ipairs { "gsub", "sort", "format", "resume", "spawn", "all_of_them" } do
    it("gets an error that says so, and nobody else notices: " .. shape, function()
      local neighbour = fiber.spawn(s.request, s, "GET", "/sleep")

      assert.equal("end", s:request("GET", "/some/" .. shape).body)
      local status = s:request("GET", "/endless/" .. shape).status
      assert.is_true(status == 500 or status == 503, "it is answered with " .. status)
      assert.matches("^false .*stack overflow", s:request("GET", "/caught/" .. shape).body)

      assert.equal("slept", neighbour:join().body)
      assert.equal("ok", s:request("GET", "/ok").body)
      assert.same(workers, s:workers())
    end)
  end
end)
