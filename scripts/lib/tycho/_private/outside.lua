--- Lines outside of the library: whose code it was that led here.

local getinfo = debug.getinfo

local outside = {}

local LEVELS_MAX = 100

-- The library's own files are called "@tycho/..."; C has no lines.
local function place_of(info)
  if info.currentline <= 0 or info.source:sub(1, 7) == "@tycho/" then
    return nil
  end
  local name = info.source:sub(1, 1) == "@" and info.source:sub(2) or info.short_src
  return ("%s:%d"):format(name, info.currentline)
end

---The innermost one.
---@return string? place "scripts/app/orders.lua:12"; nil if there is none
function outside.line()
  for level = 2, LEVELS_MAX do
    local info = getinfo(level, "Sl")
    if not info then
      return nil
    end
    local place = place_of(info)
    if place then
      return place
    end
  end
end

---That of a certain caller; nil if it is the library's, as after `return f()`, which leaves none.
---@param level integer as for `error()`
---@return string? place
function outside.caller(level)
  local info = getinfo(level + 1, "Sl")
  return info and place_of(info)
end

return outside
