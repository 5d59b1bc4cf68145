--- What /proc says about processes.

local fs = require "tycho.fs"
local process = require "tycho.process"
local tycho = require "tycho"

local proc = {}

local function read(pid, name)
  return tycho.try(fs.read, ("/proc/%d/%s"):format(pid, name))
end

-- State, parent and so on: the fields behind the name, which may contain anything.
local function stat(pid)
  local text = read(pid, "stat")
  local fields = {}
  for field in (text and text:match("^.*%) (.*)$") or ""):gmatch("%S+") do
    fields[#fields + 1] = field
  end
  return fields
end

---Is it there, and more than a zombie?
---@async
---@param pid integer
---@return boolean
function proc.is_alive(pid)
  local state = stat(pid)[1]
  return state ~= nil and state ~= "Z" and state ~= "X"
end

---Resident memory.
---@async
---@param pid integer
---@return integer bytes
function proc.rss(pid)
  return tonumber((read(pid, "status") or ""):match("VmRSS:%s*(%d+)") or 0) * 1024
end

---Open file descriptors.
---@async
---@param pid integer
---@return integer count
function proc.fds(pid)
  return #(tycho.try(fs.list, ("/proc/%d/fd"):format(pid)) or {})
end

---Processor time used so far, user and system.
---@async
---@param pid integer
---@return number seconds
function proc.cpu(pid)
  local fields = stat(pid)
  return (tonumber(fields[12] or 0) + tonumber(fields[13] or 0)) / 100
end

---The command line, arguments separated by blanks.
---@async
---@param pid integer
---@return string
function proc.command(pid)
  return ((read(pid, "cmdline") or ""):gsub("%z$", ""):gsub("%z", " "))
end

---Direct children, in order of their ids.
---@async
---@param pid integer
---@return integer[] pids
function proc.children(pid)
  local children = {}
  for _, name in ipairs(fs.list "/proc") do
    local child = tonumber(name)
    if child and tonumber(stat(child)[2]) == pid and stat(child)[1] ~= "Z" then
      children[#children + 1] = child
    end
  end
  table.sort(children)
  return children
end

---The process and all below it.
---@async
---@param pid integer
---@return integer[] pids
function proc.tree(pid)
  local all = { pid }
  for i = 1, 1e6 do
    if not all[i] then
      break
    end
    for _, child in ipairs(proc.children(all[i])) do
      all[#all + 1] = child
    end
  end
  return all
end

---All processes that work in this folder.
---@async
---@param folder string
---@return integer[] pids
function proc.in_folder(folder)
  local _, out = process.run {
    args = { "find", "/proc", "-maxdepth", "2", "-name", "cwd", "-lname", folder },
  }
  local pids = {}
  for pid in out:gmatch "/proc/(%d+)/cwd" do
    pids[#pids + 1] = tonumber(pid)
  end
  return pids
end

return proc
