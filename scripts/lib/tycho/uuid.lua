--- UUIDs, RFC 9562: random (version 4) and ordered by time (version 7).

local core = require "tycho.core.crypto"

local uuid = {}

---A random UUID: for what must not be guessed and needs no order.
---
---```lua
---local token = uuid.v4() --> "e3b0c442-98fc-4c14-9afb-f4c8996fb924"
---```
---@return string text 36 characters, lower case
function uuid.v4()
  return core.uuid_v4()
end

---A UUID that starts with the time: for keys of rows, because an index likes neighbours. Each is
---greater than the one before in this process, also within one millisecond.
---
---```lua
---local id = uuid.v7() --> "018f3a5e-7c3b-7e21-9d0a-5b6c7d8e9f00"
---```
---@return string text 36 characters, lower case
function uuid.v7()
  return core.uuid_v7()
end

---Is that a UUID in its usual form, of any version and case?
---
---```lua
---if not uuid.is_valid(req.params.id) then return nil end
---```
---@param value any
---@return boolean
function uuid.is_valid(value)
  return core.uuid_valid(value)
end

return uuid
