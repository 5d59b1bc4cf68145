--- Faults of whoever uses the library, from any depth of its own functions.

local outside = require "tycho._private.outside"

---Raises a text that starts with the innermost line outside of the library.
---@param text string
---@param ... any for string.format
return function(text, ...)
  if select("#", ...) > 0 then
    text = text:format(...)
  end
  local line = outside.line()
  error(line and ("%s: %s"):format(line, text) or text, 0)
end
