-- make bench: Tycho beside its peers, in one run, as ratios.
--
-- Every server runs on core 0 and wrk on core 1. For each endpoint and round every contender is
-- loaded once, in an order that rotates and reverses, so that drift cancels. What is printed are
-- medians of the per-round ratios; CPU is what the server's processes used, from /proc. PostgreSQL
-- runs on core 1. Those who are compared at the database's endpoints are FastAPI with asyncpg,
-- Fastify with pg (installed by npm, if that is there), and nginx with pgmoon, if PGMOON says where
-- its files are.
--
--   tycho run bench/run.lua [--rounds 5] [--seconds 2] [--connections 64] [--only a,b] [PROGRAM]

local HERE = arg[0]:match("^(.*)/") or "."
local RUN = os.tmpname()

local options = { rounds = 5, seconds = 2, connections = 64, program = "build/tycho" }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%w+)$")
    if name then
      options[name] = tonumber(arg[i + 1]) or arg[i + 1]
      i = i + 2
    else
      options.program = arg[i]
      i = i + 1
    end
  end
end

local BASE = 18480
local database = dofile(HERE .. "/database.lua")
local DATABASE -- its URL; nil: there is none
local PGMOON = os.getenv "PGMOON" -- the folder that has pgmoon/init.lua
local ENDPOINTS = {
  { name = "plaintext", path = "/plaintext", floor = { nginx = 0.95, bare = 1.2 } },
  { name = "pipelined", path = "/plaintext", script = "pipeline.lua" },
  { name = "json", path = "/json", floor = { nginx = 0.92 } },
  { name = "user", path = "/user/123?q=abc", floor = { nginx = 0.85 } },
  { name = "echo", path = "/echo", script = "echo.lua", floor = { nginx = 0.65 } },
  { name = "db", path = "/db", database = true,
    least = { fastapi = 6.5, fastify = 3, nginx = 2.8 } },
  { name = "queries", path = "/queries?n=20", database = true,
    least = { fastapi = 2.4, fastify = 2.7, nginx = 3.5 } },
}

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function start(name, command)
  local log = RUN .. "/" .. name .. ".log"
  return tonumber(capture(("taskset -c 0 %s >%s 2>&1 & echo $!"):format(command, log)))
end

-- A document of exactly 1,024 bytes: nested objects, numbers, strings, arrays.
local function document()
  local items = {}
  for i = 0, 11 do
    items[#items + 1] = ('{"sku":"SKU-%04d","qty":%d,"price":%s,"gift":%s}')
      :format(i, i + 1, 9.5 + i, tostring(i % 2 == 0))
  end
  local head = '{"order":918273,"customer":{"name":"Ada Example","tags":["a","b","c"]},"items":['
    .. table.concat(items, ",") .. '],"note":null,"pad":"'
  return head .. ("x"):rep(1024 - #head - 2) .. '"}'
end

-- CPU time in microseconds of a process and its children.
local function cpu(pid)
  local sum, todo = 0, { pid }
  while #todo > 0 do
    local p = table.remove(todo)
    for child in (read(("/proc/%d/task/%d/children"):format(p, p)) or ""):gmatch("%d+") do
      todo[#todo + 1] = tonumber(child)
    end
    local threads = capture(("cat /proc/%d/task/*/schedstat 2>/dev/null"):format(p))
    for nanoseconds in threads:gmatch("(%d+) %d+ %d+") do
      sum = sum + tonumber(nanoseconds) / 1000
    end
  end
  return sum
end

local function median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[(n + 1) / 2] or (list[n / 2] + list[n / 2 + 1]) / 2
end

local function load_once(contender, endpoint)
  local script = endpoint.script and ("-s %s/peers/%s"):format(HERE, endpoint.script) or ""
  local before = cpu(contender.pid)
  local text = capture(("BODY=%s/body.json taskset -c 1 wrk -t1 -c%d -d%ds %s %s%s 2>&1"):format(
    RUN, options.connections, options.seconds, script, contender.url, endpoint.path))
  local used = cpu(contender.pid) - before
  local requests = tonumber(text:match("(%d+) requests in"))
  local rps = tonumber(text:match("Requests/sec:%s+([%d.]+)"))
  if not rps or text:find("Socket errors") or text:find("Non%-2xx") then
    error(("%s failed at %s:\n%s"):format(contender.name, endpoint.path, text), 0)
  end
  return { rps = rps, us = used / requests }
end

-- One real answer, checked: a server that answers wrongly fast must not be ranked.
local function check_answers(contender)
  local function get(path, extra)
    return capture(("curl -s -m 5 -D - %s '%s%s'"):format(extra or "", contender.url, path))
  end
  local expected = {
    { "/plaintext", "Hello, World!" }, { "/json", '"Hello, World!"' },
  }
  if not contender.bare then
    expected[3] = { "/user/123?q=abc", '"abc"' }
    expected[4] = { "/echo", '"SKU%-0011"',
      ("-H 'Content-Type: application/json' -d @%s/body.json"):format(RUN) }
  end
  for _, e in ipairs(expected) do
    local text = get(e[1], e[3])
    if not (text:find("^HTTP/1.1 200") and text:find(e[2])) then
      error(("%s answers %s wrongly:\n%s"):format(contender.name, e[1], text), 0)
    end
  end
end

local function wait_for(contender)
  for _ = 1, 100 do
    local ask = "curl -s -m 1 -o /dev/null -w '%%{http_code}' %s/plaintext"
    if capture(ask:format(contender.url)) == "200" then
      return
    end
    os.execute("sleep 0.1")
  end
  local said = read(RUN .. "/" .. contender.name .. ".log") or ""
  error(contender.name .. " does not answer:\n" .. said, 0)
end

local function check_rows(contender)
  local one = capture(("curl -s -m 5 %s/db"):format(contender.url))
  local many = capture(("curl -s -m 5 '%s/queries?n=20'"):format(contender.url))
  local _, count = many:gsub('"randomNumber":%d+', "")
  local id, number = tonumber(one:match('"id":(%d+)')), tonumber(one:match('"randomNumber":(%d+)'))
  if not id or number ~= id * 7919 % 10000 + 1 or count ~= 20 then
    error(("%s answers /db or /queries wrongly:\n%s\n%s"):format(contender.name, one, many), 0)
  end
end

local contenders = {}

-- `kind`: "bare" answers /plaintext only, "rows" the database's endpoints only.
local function add(name, port, command, kind, has_rows)
  local contender = { name = name, url = "http://127.0.0.1:" .. port, bare = kind == "bare",
    rows_only = kind == "rows", has_rows = DATABASE and has_rows }
  contender.pid = start(name, command)
  contenders[#contenders + 1] = contender
  wait_for(contender)
  if not kind then
    check_answers(contender)
  end
  if contender.has_rows then
    check_rows(contender)
  end
end

local function available(command)
  return os.execute("command -v " .. command .. " >/dev/null 2>&1") == 0
end

-- Its packages are kept from run to run.
local function start_fastify(url)
  local folder = (os.getenv("XDG_CACHE_HOME") or os.getenv("HOME") .. "/.cache") .. "/tycho/fastify"
  os.execute(("mkdir -p %s && cp %s/peers/fastify/* %s"):format(folder, HERE, folder))
  if not available("npm") or os.execute(("cd %s && npm install --silent --no-audit --no-fund "
    .. ">npm.log 2>&1"):format(folder)) ~= 0 then
    print("no Fastify: npm is missing, or could not install it")
    return
  end
  add("fastify", BASE + 4, ("env NODE_ENV=production PORT=%d DATABASE=%s node %s/app.js")
    :format(BASE + 4, url, folder), "rows", true)
end

local function start_all()
  os.remove(RUN)
  os.execute(("mkdir -p %s && chmod 755 %s"):format(RUN, RUN))
  write(RUN .. "/body.json", document())
  local url, why = database.start(RUN .. "/postgres", BASE + 9)
  DATABASE = url
  if not url then
    print("no database: " .. why)
  end
  add("tycho", BASE, ("%s serve --config %s/app/conf/tycho.yaml --set scripts.path=%s/app/scripts "
    .. "--set http.port=%d --set host.socket=%s/control.sock %s"):format(options.program, HERE,
    HERE, BASE, RUN, url and ("--set databases.default.url=%s --set app.database=true"):format(url)
    or ""), nil, true)
  if available("nginx") then
    local conf = read(HERE .. "/peers/nginx.conf.in"):gsub("@([%w_]+)@", {
      RUN = RUN, PORT = BASE + 1, PGMOON = PGMOON or "", DATABASE_PORT = BASE + 9,
      HERE = capture("cd " .. HERE .. "/peers && pwd"):gsub("\n", ""),
    })
    write(RUN .. "/nginx.conf", conf)
    add("nginx", BASE + 1, ("nginx -p %s -e %s/nginx-error.log -c %s/nginx.conf -g 'daemon off;'")
      :format(RUN, RUN, RUN), nil, PGMOON)
  end
  local bare = options.program:match("^(.*)/[^/]*$") .. "/bench_bare"
  if read(bare) then
    add("bare", BASE + 2, bare .. " " .. BASE + 2, "bare")
  end
  local python = "/usr/bin/python3"
  if os.execute(python .. " -c 'import fastapi, uvicorn, uvloop, httptools' 2>/dev/null") == 0 then
    local env = "env PYTHONDONTWRITEBYTECODE=1 " .. (url and "DATABASE=" .. url .. " " or "")
    add("fastapi", BASE + 3, (env .. python
      .. " -m uvicorn --app-dir %s/peers fastapi_app:app --host 127.0.0.1 --port %d"
      .. " --loop uvloop --http httptools --no-access-log "
      .. "--log-level warning"):format(HERE, BASE + 3), nil, true)
  end
  if url then
    start_fastify(url)
  end
end

local function stop_all()
  database.stop(RUN .. "/postgres")
  for _, contender in ipairs(contenders) do
    os.execute(("kill %d 2>/dev/null"):format(contender.pid))
  end
  os.execute("rm -rf " .. RUN)
end

local function order(round)
  local list, n = {}, #contenders
  for i = 1, n do
    list[i] = contenders[(i + round - 2) % n + 1]
  end
  if round % 2 == 0 then
    for i = 1, math.floor(n / 2) do
      list[i], list[n + 1 - i] = list[n + 1 - i], list[i]
    end
  end
  return list
end

local function takes_part(contender, endpoint)
  if endpoint.database then
    return contender.has_rows
  end
  return not contender.rows_only and (not contender.bare or endpoint.path == "/plaintext")
end

local function wanted(endpoint, name)
  local most = endpoint.floor and endpoint.floor[name]
  local least = endpoint.least and endpoint.least[name]
  return most and (" (wanted: at most %.2f)"):format(most)
    or least and (" (wanted: at least %.1f)"):format(least) or ""
end

local function show(endpoint, name, list, ours)
  local rps, us, rps_ratio, us_ratio = {}, {}, {}, {}
  for round, result in ipairs(list) do
    rps[round], us[round] = result.rps, result.us
    rps_ratio[round] = ours[round].rps / result.rps
    us_ratio[round] = ours[round].us / result.us
  end
  print(("%-10s %-8s %10.0f rps %8.2f us/req   tycho: rps x%-6.2f cpu x%.2f%s"):format(
    endpoint.name, name, median(rps), median(us), median(rps_ratio), median(us_ratio),
    wanted(endpoint, name)))
end

local function compare(endpoint)
  local results = {}
  for round = 1, options.rounds do
    for _, contender in ipairs(order(round)) do
      if takes_part(contender, endpoint) then
        local list = results[contender.name] or {}
        results[contender.name] = list
        list[round] = load_once(contender, endpoint)
      end
    end
  end
  for _, contender in ipairs(contenders) do
    if results[contender.name] then
      show(endpoint, contender.name, results[contender.name], results.tycho)
    end
  end
end

local ok, err = pcall(function()
  start_all()
  for _, endpoint in ipairs(ENDPOINTS) do
    local only = options.only and ("," .. options.only .. ",")
    if not only or only:find("," .. endpoint.name .. ",", 1, true) then
      if DATABASE or not endpoint.database then
        compare(endpoint)
      end
    end
  end
end)
stop_all()
if not ok then
  io.stderr:write("bench: ", tostring(err), "\n")
  return 1
end
