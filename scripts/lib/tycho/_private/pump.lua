--- Sends the pieces of a streamed body, one after the other, as fast as the client takes them.

local write = require("tycho.core.http").write
local check = require("tycho.errors").check
local getinfo = debug.getinfo

-- Raises, naming the iterator: whoever made it is not on the stack any more.
local function refuse(iterator, chunk)
  local info = getinfo(iterator, "S")
  error(("%s:%d: a piece of a streamed body is a string, not a %s")
    :format(info.short_src, info.linedefined, type(chunk)), 0)
end

return function(iterator)
  for chunk in iterator do
    if type(chunk) ~= "string" and type(chunk) ~= "number" then
      refuse(iterator, chunk)
    elseif chunk ~= "" then
      check(write(chunk))
    end
  end
end
