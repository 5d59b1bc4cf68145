-- The PostgreSQL that `make bench` asks: in a folder of its own, on core 1 beside wrk, with the
-- table `world` of 10,000 rows.

local database = {}

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("*a")
  local ok = pipe:close()
  return text, ok
end

local SEED = [[
  create table world (id int primary key, randomnumber int not null);
  insert into world select n, (n * 7919) % 10000 + 1 from generate_series(1, 10000) n;
  vacuum analyze world;
]]

-- Root starts it as nobody: PostgreSQL wants that.
local function as_server(command)
  local root = run("id -u"):match("%d+") == "0"
  return (root and "setpriv --reuid nobody --regid $(id -g nobody) --clear-groups " or "")
    .. command
end

---Starts it; nil, and why, if that is not possible here.
---@param folder string that is made
---@param port integer
function database.start(folder, port)
  local bin = run("ls -d /usr/lib/postgresql/*/bin | tail -1"):match("^(/%S+)\n")
  if not bin then
    return nil, "PostgreSQL is not installed"
  end
  run(("mkdir -p %s && chmod 777 %s"):format(folder, folder))
  run(as_server(("%s/initdb -D %s/data -U bench -A trust --no-sync"):format(bin, folder)))
  run(("taskset -c 1 " .. as_server("%s/postgres -D %s/data -p %d -k %s -c fsync=off"
    .. " -c shared_buffers=128MB -c listen_addresses=127.0.0.1 -c max_connections=100")
    .. " >%s/log 2>&1 & echo $! >%s/pid"):format(bin, folder, port, folder, folder, folder))
  local psql = ("%s/psql -qtA -h %s -p %d -U bench postgres"):format(bin, folder, port)
  for _ = 1, 100 do
    if run(psql .. " -c 'select 1'") == "1\n" then
      break
    end
    run "sleep 0.1"
  end
  local seed = assert(io.open(folder .. "/seed.sql", "w"))
  seed:write(SEED)
  seed:close()
  local text = run(("%s -f %s/seed.sql"):format(psql, folder))
  if text ~= "" then
    return nil, text
  end
  return ("postgres://bench@127.0.0.1:%d/postgres"):format(port)
end

function database.stop(folder)
  run(("kill -QUIT $(head -1 %s/data/postmaster.pid) && sleep 0.3; rm -rf %s"):format(folder,
    folder))
end

return database
