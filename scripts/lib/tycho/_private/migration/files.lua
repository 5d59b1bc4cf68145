--- The files of migrations: which there are, in order, and which one counts on this database.
---
--- `NNN_name.sql` or `NNN_name.lua`; what undoes it is `NNN_name.down.sql` (a Lua file has both). A
--- name that says a database too, `NNN_name.mysql.sql`, counts there instead of the one that does
--- not; a step that has files for other databases only is none on this one.

local crypto = require "tycho.crypto"
local vm = require "tycho.core.vm"

local files = {}

local SYSTEMS = { sqlite = true, postgresql = true, mysql = true }
local DIGITS_MAX = 15

---@class tycho.migration.Step
---@field version integer
---@field name string
---@field file string in the bundle
---@field kind "sql"|"lua"
---@field text string
---@field checksum string
---@field down? { file: string, text: string } of SQL

---A file as people find it.
---@param file string in the bundle
---@return string
function files.shown(file)
  local root = vm.about().root
  return root and root .. "/" .. file or file
end

local shown = files.shown

---The folder of a database's migrations, in the bundle.
---@param database string
---@return string folder ends in "/"
function files.folder(database)
  return database == "default" and "migrations/" or ("migrations/%s/"):format(database)
end

---Can a migration have this name?
---@return boolean
function files.is_name(name)
  return type(name) == "string" and name:find("^[%w_%-]+$") ~= nil
end

-- What stands between name and ending: `.down`, and a database, in either order.
local function read_marks(part, marks)
  for mark in part:gmatch("%.([^.]*)") do
    if mark == "down" and not marks.down then
      marks.down = true
    elseif SYSTEMS[mark] and not marks.system then
      marks.system = mark
    else
      return nil
    end
  end
  return marks
end

local function parse(file, folder)
  local base = file:sub(#folder + 1)
  local ending = base:match("%.(%a+)$")
  if base:find("/", 1, true) or (ending ~= "sql" and ending ~= "lua") then
    return nil
  end
  local version, name, marks = base:match("^(%d+)_([%w_%-]+)([%w.]*)%.%a+$")
  local found = version and #version <= DIGITS_MAX and read_marks(marks, {
    version = tonumber(version), name = name, file = file, kind = ending,
  })
  if not found then
    error(("%s: the name of a migration is NNN_name.sql or NNN_name.lua, and .down before .sql "
      .. "for what undoes it"):format(shown(file)), 0)
  elseif found.down and ending == "lua" then
    error(("%s: a migration in Lua has its `down` in the same file"):format(shown(file)), 0)
  end
  return found
end

local function refuse_twin(one, other)
  if one.version == other.version and (one.name ~= other.name
      or one.system == other.system and one.down == other.down) then
    error(("%s: has the same number as %s"):format(shown(one.file), shown(other.file)), 0)
  end
end

-- The file that counts: the one for this database, else the one for all.
local function choose(found, system, down)
  local chosen
  for _, each in ipairs(found) do
    if each.down == down and (each.system == system or not (each.system or chosen)) then
      chosen = each
    end
  end
  return chosen
end

local function make_step(found, system)
  local chosen, down = choose(found, system), choose(found, system, true)
  if not chosen then
    return nil
  end
  local text = vm.file(chosen.file)
  return {
    version = chosen.version, name = chosen.name, file = chosen.file, kind = chosen.kind,
    text = text, checksum = crypto.hex(crypto.sha256(text)),
    down = down and { file = down.file, text = vm.file(down.file) },
  }
end

local function group(database)
  local folder = files.folder(database)
  local groups, versions = {}, {}
  for _, file in ipairs(vm.files(folder)) do
    local found = parse(file, folder)
    if found then
      local same = groups[found.version] or {}
      for _, other in ipairs(same) do
        refuse_twin(found, other)
      end
      if not groups[found.version] then
        groups[found.version] = same
        versions[#versions + 1] = found.version
      end
      same[#same + 1] = found
    end
  end
  table.sort(versions)
  return groups, versions
end

---The steps that the scripts have for a database of that system, in order.
---@param database string
---@param system string
---@return tycho.migration.Step[] steps
---@return table<integer, tycho.migration.Step> by_version
function files.read(database, system)
  local groups, versions = group(database)
  local steps, by_version = {}, {}
  for _, version in ipairs(versions) do
    local step = make_step(groups[version], system)
    if step then
      steps[#steps + 1] = step
      by_version[version] = step
    end
  end
  return steps, by_version
end

---Are there any files at all? Asked before a database is opened for them.
---@param database string
---@return boolean
function files.any(database)
  local _, versions = group(database)
  return versions[1] ~= nil
end

---The next free number, as it is written: three digits, or as many as the others have.
---@param database string
---@return string
function files.next_number(database)
  local folder = files.folder(database)
  local _, versions = group(database)
  local width = 3
  for _, file in ipairs(vm.files(folder)) do
    local digits = file:sub(#folder + 1):match("^(%d+)_")
    width = math.max(width, digits and #digits or 0)
  end
  return ("%0" .. width .. "d"):format((versions[#versions] or 0) + 1)
end

return files
