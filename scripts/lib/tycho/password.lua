--- Passwords: hashed slowly, on the thread pool, and verified.
---
--- Hashes are bcrypt over a digest of the password, so that a password of any length (up to 4095
--- bytes) counts to its last byte. The text that `hash` returns says how it was made; keep it in a
--- column of text. Plain bcrypt hashes of other systems are verified as well.
---
--- At most `password.parallel` are computed at once and `password.queue` wait; beyond that calls
--- raise `unavailable`, so that a storm of log-ins cannot stop everything else.

local core = require "tycho.core.password"
local check = require("tycho.errors").check

local password = {}

---Hashes a password with a fresh salt and the cost of `password.cost`.
---
---```lua
---db.exec("update users set password = $1 where id = $2", password.hash(new), user.id)
---```
---@async
---@param text string the password, any bytes; more than 4095 raise `invalid`
---@return string hash
function password.hash(text)
  return (check(core.hash(text)))
end

---Is that the password? Without a hash (there is no such user) the answer is false after the same
---time, so that nobody learns from the clock who has an account: look the user up, and verify in
---any case.
---
---```lua
---local user = db.one("select * from users where email = $1", email)
---if not password.verify(text, user and user.password) then
---  errors.raise("auth.bad_credentials")
---end
---```
---
---Verifies hashes of `password.hash`, and `$2a$`, `$2b$` and `$2y$` hashes of other systems; a
---password of more than 72 bytes, or with a NUL, matches none of those. Raises `internal` for a
---text that is not a hash.
---@async
---@param text string
---@param hash? string
---@return boolean
function password.verify(text, hash)
  return (check(core.verify(text, hash or nil)))
end

---Was the hash made elsewhere, or at another cost than `password.cost` says now? Then hash the
---password again while it is at hand.
---
---```lua
---if password.needs_rehash(user.password) then user.password = password.hash(text) end
---```
---@param hash string
---@return boolean
function password.needs_rehash(hash)
  return core.needs_rehash(hash)
end

return password
