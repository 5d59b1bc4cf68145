--- What a server has: connections, requests, fibers, descriptors, threads, work, files. After a
--- storm all of it must be as before.

local clock = require "tests.blackbox.support.clock"
local fs = require "tycho.fs"
local proc = require "tests.blackbox.support.proc"
local process = require "tycho.process"

local accounts = {}

local METRICS = {
  work_running = { "tycho_work_running" },
  work_queued = { "tycho_work_queued" },
  db_used = { "db_client_connection_count", { db_client_connection_state = "used" } },
  db_waiting = { "db_client_connection_pending_requests" },
  generations = { "tycho_generations_alive" },
}

local function threads(pid)
  return #fs.list(("/proc/%d/task"):format(pid))
end

-- How many descriptors are open of what: sockets, and so on, and each file.
local function add_open(pid, open)
  local _, out = process.run {
    args = { "find", ("/proc/%d/fd"):format(pid), "-mindepth", "1", "-printf", "%l\n" },
  }
  for what in out:gmatch "[^\n]+" do
    what = what:gsub(":%[%d+%]$", "")
    open[what] = (open[what] or 0) + 1
  end
end

local function describe_growth(now, before)
  local parts = {}
  for what, count in pairs(now) do
    if count > (before[what] or 0) then
      parts[#parts + 1] = ("%d more of %s"):format(count - (before[what] or 0), what)
    end
  end
  table.sort(parts)
  return table.concat(parts, ", ")
end

local function count_files(folder)
  local count = 0
  for _, name in ipairs(fs.list(folder)) do
    local path = folder .. "/" .. name
    count = count + (fs.stat(path).type == "folder" and count_files(path) or 1)
  end
  return count
end

---What it has now. Descriptors and threads are summed over its processes.
---@async
---@param s blackbox.Server
---@return table<string, number> also `open`: how many descriptors of what
function accounts.of(s)
  local now = { processes = 0, fds = 0, threads = 0, connections = 0, requests = 0, fibers = 0,
    open = {} }
  for _, pid in ipairs(proc.tree(s.pid)) do
    now.processes = now.processes + 1
    now.fds = now.fds + proc.fds(pid)
    add_open(pid, now.open)
    now.threads = now.threads + threads(pid)
  end
  for _, worker in ipairs(s:status().workers) do
    for _, what in ipairs { "connections", "requests", "fibers" } do
      now[what] = now[what] + worker[what]
    end
  end
  local metrics = s:metrics()
  for what, of in pairs(METRICS) do
    now[what] = metrics:sum(of[1], of[2])
  end
  now.files = count_files(s.folder)
  return now
end

---Waits until nothing is going on: no connection, no request, no fiber, no work.
---@async
---@param s blackbox.Server
---@param timeout? number seconds; 5 by default
function accounts.wait_idle(s, timeout)
  accounts.wait_back(s, { connections = 0, requests = 0, fibers = 0, work_running = 0,
    work_queued = 0, db_used = 0, db_waiting = 0 }, timeout)
end

---Waits until it has no more than it had before. What is named in `before` counts.
---
---```lua
---local before = accounts.of(s)
---... -- the storm
---accounts.wait_back(s, before)
---```
---@async
---@param s blackbox.Server
---@param before table<string, number>
---@param timeout? number seconds; 5 by default
function accounts.wait_back(s, before, timeout)
  clock.eventually(function()
    local now, more = accounts.of(s), {}
    for what, value in pairs(before) do
      if type(value) == "number" and now[what] > value then
        more[#more + 1] = ("%s %g, before %g"):format(what, now[what], value)
      end
    end
    if before.open then
      more[#more + 1] = #more > 0 and describe_growth(now.open, before.open) or nil
    end
    table.sort(more)
    return #more == 0 or error(table.concat(more, "; "), 0)
  end, timeout, "everything given back")
end

return accounts
