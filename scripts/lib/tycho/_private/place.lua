--- Where in the scripts something stands: "scripts/app/orders.lua:12".

local getinfo = debug.getinfo

---@param level integer as for `error()`: 1 is the function that calls, 2 its caller
---@return string place
return function(level)
  local info = getinfo(level + 1, "Sl")
  if not info then
    return "?"
  end
  local name = info.source:sub(1, 1) == "@" and info.source:sub(2) or info.short_src
  return ("%s:%d"):format(name, info.currentline)
end
