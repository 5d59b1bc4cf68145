--- Random bytes, digests, MACs, comparison in constant time, and bytes as text.
---
--- Inputs of more than 256 KiB are hashed on the thread pool, and then the call waits; smaller
--- ones are done at once. Digests and MACs are returned as raw bytes: `crypto.hex()` or
--- `crypto.base64url()` make text of them. Passwords belong into `tycho.password`.

local core = require "tycho.core.crypto"
local check = require("tycho.errors").check

local crypto = {}

---Unpredictable bytes from the operating system's generator.
---
---```lua
---local token = crypto.base64url(crypto.random(32))
---```
---@param count integer at most 65536
---@return string bytes
function crypto.random(count)
  return core.random(count)
end

---SHA-224 of `data`.
---
---```lua
---local digest = crypto.hex(crypto.sha224("abc"))
---```
---@async
---@param data string
---@return string digest 28 bytes
function crypto.sha224(data)
  return (check(core.hash("sha224", data)))
end

---SHA-256 of `data`.
---
---```lua
---local etag = crypto.hex(crypto.sha256(body)):sub(1, 16)
---```
---@async
---@param data string
---@return string digest 32 bytes
function crypto.sha256(data)
  return (check(core.hash("sha256", data)))
end

---SHA-384 of `data`.
---
---```lua
---local integrity = "sha384-" .. crypto.base64(crypto.sha384(script))
---```
---@async
---@param data string
---@return string digest 48 bytes
function crypto.sha384(data)
  return (check(core.hash("sha384", data)))
end

---SHA-512 of `data`.
---
---```lua
---local digest = crypto.hex(crypto.sha512("abc"))
---```
---@async
---@param data string
---@return string digest 64 bytes
function crypto.sha512(data)
  return (check(core.hash("sha512", data)))
end

---HMAC with SHA-256. Compare what a caller sends with `crypto.equal`, never with `==`.
---
---```lua
---local valid = crypto.equal(crypto.hmac_sha256(secret, body), crypto.from_hex(signature))
---```
---@async
---@param key string
---@param data string
---@return string mac 32 bytes
function crypto.hmac_sha256(key, data)
  return (check(core.hmac("sha256", key, data)))
end

---HMAC with SHA-384.
---
---```lua
---local mac = crypto.hmac_sha384(key, message)
---```
---@async
---@param key string
---@param data string
---@return string mac 48 bytes
function crypto.hmac_sha384(key, data)
  return (check(core.hmac("sha384", key, data)))
end

---HMAC with SHA-512.
---
---```lua
---local mac = crypto.hmac_sha512(key, message)
---```
---@async
---@param key string
---@param data string
---@return string mac 64 bytes
function crypto.hmac_sha512(key, data)
  return (check(core.hmac("sha512", key, data)))
end

---Are the two strings the same? The time it takes tells their lengths, and nothing else.
---
---```lua
---if not crypto.equal(given, expected) then errors.raise("unauthorized") end
---```
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b)
  return core.equal(a, b)
end

---Base64 with padding, RFC 4648 section 4.
---
---```lua
---crypto.base64("fo") --> "Zm8="
---```
---@param bytes string
---@return string text
function crypto.base64(bytes)
  return core.base64_encode("base64", bytes)
end

---Reads what `crypto.base64` writes, and no other spelling of it: whitespace, missing padding and
---stray bits raise `invalid`.
---
---```lua
---crypto.from_base64("Zm8=") --> "fo"
---```
---@param text string
---@return string bytes
function crypto.from_base64(text)
  return (check(core.base64_decode("base64", text)))
end

---Base64 for URLs, without padding, RFC 4648 section 5 as JOSE uses it.
---
---```lua
---crypto.base64url("\251\255\254") --> "-__-"
---```
---@param bytes string
---@return string text
function crypto.base64url(bytes)
  return core.base64_encode("base64url", bytes)
end

---Reads what `crypto.base64url` writes; anything else, padding too, raises `invalid`.
---
---```lua
---crypto.from_base64url("-__-") --> "\251\255\254"
---```
---@param text string
---@return string bytes
function crypto.from_base64url(text)
  return (check(core.base64_decode("base64url", text)))
end

---Hexadecimal, lower case.
---
---```lua
---crypto.hex("\0\255") --> "00ff"
---```
---@param bytes string
---@return string text
function crypto.hex(bytes)
  return core.hex_encode(bytes)
end

---Reads hexadecimal of either case; raises `invalid` on anything else.
---
---```lua
---crypto.from_hex("00FF") --> "\0\255"
---```
---@param text string
---@return string bytes
function crypto.from_hex(text)
  return (check(core.hex_decode(text)))
end

return crypto
