--- What every application may want, whatever it does.

local is_error = require("tycho.core.error").is

local tycho = {
  ---The version of the program, such as "0.1.0".
  ---@type string
  version = require("tycho.core.vm").about().version,
}

local function outcome(ok, first, ...)
  if ok then
    return first, ...
  end
  if is_error(first) then
    return nil, first
  end
  error(first, 0)
end

---Calls `fn` and turns an error object that it raises into a result. Faults of the program (a nil
---that is indexed, a misspelt option) are not turned: they go on up.
---
---```lua
---local order, err = tycho.try(orders.create, user, body)
---if not order and err.kind == "conflict" then ... end
---```
---@async
---@param fn fun(...): ...
---@param ... any
---@return any ... what `fn` returned, or nil and the error object
function tycho.try(fn, ...)
  return outcome(pcall(fn, ...))
end

return tycho
