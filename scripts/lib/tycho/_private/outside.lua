--- The innermost line outside of the library: whose code it was that led here.

local getinfo = debug.getinfo

local LEVELS_MAX = 100

-- The library's own files are called "@tycho/..."; C has no lines.
local function is_outside(info)
  return info.currentline > 0 and info.source:sub(1, 7) ~= "@tycho/"
end

---@return string? place "scripts/app/orders.lua:12"; nil if there is none
return function()
  for level = 2, LEVELS_MAX do
    local info = getinfo(level, "Sl")
    if not info then
      return nil
    elseif is_outside(info) then
      local name = info.source:sub(1, 1) == "@" and info.source:sub(2) or info.short_src
      return ("%s:%d"):format(name, info.currentline)
    end
  end
end
