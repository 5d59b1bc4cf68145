--- Faults of whoever uses the library, from any depth of its own functions.

local getinfo = debug.getinfo

-- The library's own files are called "@tycho/..."; C has no lines.
local function is_outside(info)
  return info.currentline > 0 and info.source:sub(1, 7) ~= "@tycho/"
end

---Raises a text that starts with the innermost line outside of the library.
---@param text string
---@param ... any for string.format
return function(text, ...)
  if select("#", ...) > 0 then
    text = text:format(...)
  end
  for level = 2, 100 do
    local info = getinfo(level, "Sl")
    if not info then
      break
    elseif is_outside(info) then
      local name = info.source:sub(1, 1) == "@" and info.source:sub(2) or info.short_src
      error(("%s:%d: %s"):format(name, info.currentline, text), 0)
    end
  end
  error(text, 0)
end
