--- Memory and descriptors of a tree of processes over time, and whether they grow.
---
--- Processes come and go while the soak kills them, and a young one is still warming up. So every
--- process has a line of its own, from its own level, and what is asked for is the slope that all
--- lines have in common: least squares within each process. The least value of a few seconds
--- stands for these seconds, because a reload keeps two generations alive for a moment.

local clock = require "tests.blackbox.support.clock"
local fs = require "tycho.fs"
local proc = require "tests.blackbox.support.proc"
local tycho = require "tycho"

local WINDOW = 10 -- seconds

local Samples = {}
Samples.__index = Samples

---@param s blackbox.Server
---@param warm_up number seconds of a process's life that say nothing yet
---@return table samples
local function new(s, warm_up)
  return setmetatable({ server = s, warm_up = warm_up, lives = {} }, Samples)
end

-- All of it, and what is no share of a file: how many share those changes with every kill.
local function pss(pid)
  local text = tycho.try(fs.read, ("/proc/%d/smaps_rollup"):format(pid)) or ""
  local all = tonumber(text:match "\nPss:%s*(%d+)")
  return all, all and all - tonumber(text:match "\nPss_File:%s*(%d+)")
end

local function pids(master)
  local text = tycho.try(fs.read, ("/proc/%d/task/%d/children"):format(master, master)) or ""
  local all = { master }
  for pid in text:gmatch "%d+" do
    all[#all + 1] = tonumber(pid)
  end
  return all
end

local function note(life, now, kib)
  local window = math.floor((now - life.began) / WINDOW)
  local last = life.points[#life.points]
  if last and last.window == window then
    last.kib = math.min(last.kib, kib)
  else
    life.points[#life.points + 1] = { window = window, at = now, kib = kib }
  end
end

---Looks at all processes once.
---@async
---@param is_rest? boolean without load, which says nothing about growth
function Samples:take(is_rest)
  local now = clock.now()
  self.now = {}
  for _, pid in ipairs(pids(self.server.pid)) do
    local kib, own = pss(pid)
    if kib then
      local life = self.lives[pid] or { pid = pid, began = now, points = {} }
      self.lives[pid] = life
      if not is_rest then
        note(life, now, own)
      end
      self.now[#self.now + 1] = { pid = pid, kib = kib, fds = proc.fds(pid) }
    end
  end
end

---@return integer kib of all processes at the last look
function Samples:total()
  local sum = 0
  for _, process in ipairs(self.now) do
    sum = sum + process.kib
  end
  return sum
end

-- The points of a life that count, and their means.
local function settled(self, life)
  local points, at, kib = {}, 0, 0
  for _, point in ipairs(life.points) do
    if point.at - life.began >= self.warm_up then
      points[#points + 1] = point
      at, kib = at + point.at, kib + point.kib
    end
  end
  return points, at / #points, kib / #points
end

-- The common slope of these lives in KiB a second, and its standard error.
local function slope_of(self, lives)
  local xx, xy, yy, n, lines = 0, 0, 0, 0, 0
  for _, life in ipairs(lives) do
    local points, at, kib = settled(self, life)
    for _, point in ipairs(points) do
      local x, y = point.at - at, point.kib - kib
      xx, xy, yy = xx + x * x, xy + x * y, yy + y * y
    end
    n, lines = n + #points, lines + (#points > 0 and 1 or 0)
  end
  local freedom = n - lines - 1
  if freedom < 3 or xx == 0 then
    return 0, math.huge, n
  end
  local slope = xy / xx
  return slope, math.sqrt(math.max(0, yy - slope * xy) / freedom / xx), n
end

---The growth of the whole tree: the master's, and as many times the workers' as there are.
---@param workers integer
---@return number slope MiB in ten minutes
---@return number error of it: two standard errors
---@return integer points that it rests on
function Samples:growth(workers)
  local master, others = {}, {}
  for pid, life in pairs(self.lives) do
    table.insert(pid == self.server.pid and master or others, life)
  end
  local of_master, error_master, n = slope_of(self, master)
  local of_worker, error_worker, m = slope_of(self, others)
  local unit = 600 / 1024
  return (of_master + workers * of_worker) * unit,
    2 * math.sqrt(error_master ^ 2 + (workers * error_worker) ^ 2) * unit, n + m
end

---@return integer most descriptors of a worker at the last look
function Samples:most_fds()
  local most = 0
  for _, process in ipairs(self.now) do
    most = process.pid ~= self.server.pid and math.max(most, process.fds) or most
  end
  return most
end

---One line: process, memory, descriptors.
---@return string
function Samples:line()
  local parts = {}
  for _, process in ipairs(self.now) do
    parts[#parts + 1] = ("%d: %.1f MiB %d fds"):format(process.pid, process.kib / 1024,
      process.fds)
  end
  return table.concat(parts, ", ")
end

return { new = new }
