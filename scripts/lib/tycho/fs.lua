--- Files, for tests, tools and `tycho run`.
---
--- Work is done on the thread pool; the loop goes on meanwhile.

local core = require "tycho.core.fs"
local check = require("tycho.errors").check
local options = require "tycho.options"

local fs = {}

local READ_MAX = 256 * 1024 * 1024

---Reads a whole file.
---
---```lua
---local text = fs.read("conf/tycho.yaml")
---```
---@async
---@param path string
---@param max? integer bytes; 256 MiB by default
---@return string bytes
---Raises `not_found`, `forbidden`, `too_large`, `invalid` (a folder).
function fs.read(path, max)
  return (check(core.read(path, max or READ_MAX)))
end

---Writes a file, or replaces it: others see the old content or the new, never half.
---
---```lua
---fs.write("out/report.json", json.encode(report))
---```
---@async
---@param path string
---@param bytes string
---Raises `not_found` (no such folder), `forbidden`, `invalid`, `unavailable` (disk full).
function fs.write(path, bytes)
  check(core.write(path, bytes))
end

---Is there something?
---
---```lua
---if not fs.exists("data") then fs.mkdir("data") end
---```
---@async
---@param path string
---@return boolean
function fs.exists(path)
  return fs.stat(path) ~= nil
end

---The names in a folder, sorted.
---
---```lua
---for _, name in ipairs(fs.list("scripts/app")) do print(name) end
---```
---@async
---@param path string
---@return string[] names
---Raises `not_found`, `forbidden`, `invalid` (not a folder).
function fs.list(path)
  local names = check(core.list(path))
  table.sort(names)
  return names
end

---Makes a folder, and those above it; it may be there already.
---
---```lua
---fs.mkdir("data/uploads/2026")
---```
---@async
---@param path string
---Raises `conflict` (a file is in the way), `forbidden`.
function fs.mkdir(path)
  check(core.mkdir(path))
end

---@class tycho.fs.RemoveOptions
---@field recursive? boolean a folder with all in it; it may be missing

local REMOVE = options.set { "recursive" }

---Removes a file or an empty folder; links are removed, not followed.
---
---```lua
---fs.remove("/tmp/build", { recursive = true })
---```
---@async
---@param path string
---@param opts? tycho.fs.RemoveOptions
---Raises `not_found`, `conflict` (a folder that is not empty), `forbidden`.
function fs.remove(path, opts)
  opts = options.check(opts, REMOVE)
  check(core.remove(path, opts.recursive or false))
end

---@class tycho.fs.Stat
---@field type "file"|"folder"|"link"|"other"
---@field size integer bytes
---@field modified number seconds since 1970
---@field mode integer permission bits

---What is there; links are not followed.
---
---```lua
---local size = fs.stat("tycho.log").size
---```
---@async
---@param path string
---@return tycho.fs.Stat? nil if there is nothing
---Raises `forbidden`, `invalid`.
function fs.stat(path)
  local there, err = core.stat(path)
  if not there and err.kind ~= "not_found" then
    error(err, 0)
  end
  return there
end

return fs
