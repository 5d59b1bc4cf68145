--- What the soak runs on: the reference application, with routes that misbehave beside it.

local fs = require "tycho.fs"
local server = require "tests.blackbox.support.server"

local ground = {}

-- Each way to go wrong, under one roof. The version is said before and after a wait.
local NASTY = [[
local app = require "tycho.app"
local db = require "tycho.db"
local fiber = require "tycho.fiber"
local errors = require "tycho.errors"

local nasty = app.group("/soak", { envelope = false, auth = false })
local before = %d

nasty:get("/version", function()
  fiber.sleep(0.002)
  return { before = before, after = require("app.version").number }
end)
nasty:get("/pair", function() fiber.sleep(0.002) return {} end)
nasty:get("/error", function() error("on purpose") end)
nasty:get("/odd", function(req)
  if req.query.how == "nil" then
    error(nil)
  elseif req.query.how == "table" then
    error({ secret = "soak" })
  end
  errors.raise { "not", "an", "error" }
end)
nasty:get("/late", { timeout = 0.05 }, function() fiber.sleep(60) end)
nasty:get("/wait", function() fiber.sleep(1) return {} end)
nasty:get("/children", function()
  fiber.spawn(function() fiber.sleep(60) end)
  return fiber.all {
    function() fiber.sleep(0.2) return 1 end,
    function() fiber.sleep(0.3) return 2 end,
  }
end)
nasty:post("/upload", function(req) return { size = #(req.raw_body or "") } end)
nasty:get("/stream", function()
  local piece, n = ("x"):rep(16384), 0
  return app.response(200, function()
    n = n + 1
    fiber.sleep(0.001)
    return n <= 64 and piece or nil
  end)
end)
nasty:post("/prune", function()
  return db.exec "delete from orders where id <= (select max(id) - 2000 from orders)"
end)
nasty:get("/spin", function() while true do end end)

-- More than a connection of SQLite keeps in memory (2 MiB), read by all of a worker's at once: what
-- they keep is full from the start, and no growth afterwards.
nasty:post("/stock", function()
  db.exec "create table stock (id integer primary key, text text)"
  return db.exec([=[
    with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < 4000)
    insert into stock(text) select hex(randomblob(400)) from numbers
  ]=])
end)
local STOCK, asked = "select sum(length(text)) from stock", 0
nasty:get("/stock", function()
  asked = asked + 1
  if asked %% 20 ~= 1 then
    return {}
  end
  local readers = {}
  for i = 1, 4 do
    readers[i] = function() return db.value(STOCK) end
  end
  local all = fiber.all(readers)
  all[5] = db.transaction(function(tx) return tx:value(STOCK) end)
  return all
end)
]]

---The application's files by path below scripts/, as in version `number`.
---@async
---@param number integer
---@return table<string, string>
function ground.version(number)
  return {
    ["app/routes/soak.lua"] = NASTY:format(number),
    ["app/version.lua"] = ("return { number = %d }\n"):format(number),
  }
end

local function add_folder(scripts, folder)
  for _, name in ipairs(fs.list(server.root .. "/scripts/" .. folder)) do
    local path = folder .. "/" .. name
    if fs.stat(server.root .. "/scripts/" .. path).type == "folder" then
      add_folder(scripts, path)
    else
      scripts[path] = fs.read(server.root .. "/scripts/" .. path)
    end
  end
end

-- That the machine is busy with something else is no fault of the server's: it has time to wait for
-- its database. A client's patience is the limit.
local PATIENT = {
  databases = { default = { url = "sqlite:data/tycho.db", wait_timeout = "30s", slow = "0s" } },
}

---Starts the server.
---@async
---@param workers integer
---@return blackbox.Server
function ground.start(workers)
  local scripts = ground.version(0)
  add_folder(scripts, "app")
  add_folder(scripts, "migrations")
  local s = server.start { scripts = scripts, workers = workers, timeout = 60, config = PATIENT }
  local res = s:request("POST", "/soak/stock")
  assert(res.status == 200, res.body)
  return s
end

return ground
