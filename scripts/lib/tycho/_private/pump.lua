--- Sends the pieces of a streamed body, one after the other, as fast as the client takes them.

local write = require("tycho.core.http").write
local check = require("tycho.errors").check

return function(iterator)
  for chunk in iterator do
    if chunk ~= "" then
      check(write(chunk))
    end
  end
end
