--- JSON Web Tokens (RFC 7519), signed with HMAC: HS256, HS384, HS512.
---
--- A key is made once, with its algorithm; a token does not get to choose. What this module
--- refuses: other algorithms and none, weak keys, tokens without an end, headers that bring or name
--- keys, ask for extensions, or say anything twice. A token is refused with an error of kind
--- `unauthorized` whose `detail` says why, for the log; the caller is told no more than to sign in.

local crypto = require "tycho.crypto"
local claims_of = require "tycho._private.claims"
local json = require "tycho.json"
local options = require "tycho.options"
local time = require "tycho.time"

local jwt = {}

local refuse, is_array = claims_of.refuse, claims_of.is_array

local ALGORITHMS = {
  HS256 = { mac = crypto.hmac_sha256, len = 32 },
  HS384 = { mac = crypto.hmac_sha384, len = 48 },
  HS512 = { mac = crypto.hmac_sha512, len = 64 },
}

local TOKEN_MAX = 8192
local LEEWAY_MAX = 60
local LIMITS = { depth = 16, keys = 100, repeats = "error" }

---What may be in a header. Everything else asks for something that is not done here: keys that the
---token brings along (jwk, jku, x5c, x5u), extensions (crit, b64), compression, nesting (cty).
local HEADER = options.set { "alg", "typ", "kid" }

---@class tycho.jwt.Key
---@field alg "HS256"|"HS384"|"HS512"
---@field kid? string
local Key = {}
Key.__index = Key

---@class tycho.jwt.KeyOptions
---@field alg? "HS256"|"HS384"|"HS512" `HS256` by default
---@field kid? string goes into the header of tokens, so that keys can be replaced

---@class tycho.jwt.SignOptions
---@field expires_in? number seconds from now; claims.exp otherwise
---@field typ? string `JWT` by default; another for tokens of another purpose ("refresh+jwt")

---@class tycho.jwt.VerifyOptions
---@field issuer? string the only one accepted
---@field audience? string what we are called in `aud`; without it, tokens with an `aud` are refused
---@field typ? string the only one accepted; by default `JWT`, or none
---@field leeway? number seconds that clocks may differ; 30 by default, at most 60
---@field require? string[] claims that must be there, besides `exp`
---@field no_end? boolean accept a token without `exp`
---@field revoked? fun(jti: string, claims: table): boolean asked for each; they must have `jti`
---@field now? number seconds since 1970, for tests

local KEY = options.set { "alg", "kid" }
local SIGN = options.set { "expires_in", "typ" }
local VERIFY = options.set { "issuer", "audience", "typ", "leeway", "require", "no_end", "revoked",
  "now" }

-- Secrets are kept out of the key's table, so that nobody prints one.
local secrets = setmetatable({}, { __mode = "k" })

---Makes a key. A secret that is shorter than the algorithm's digest (RFC 7518, 3.2), or that is a
---public key, is an error of the program: raised where the key is made, at load.
---
---```lua
---local key = jwt.key(config.need "app.jwt.secret", { kid = "2026-01" })
---```
---@param secret string random bytes: 32 for HS256, 48 for HS384, 64 for HS512, or more
---@param opts? tycho.jwt.KeyOptions
---@return tycho.jwt.Key
function jwt.key(secret, opts)
  opts = options.check(opts, KEY)
  local alg = opts.alg or "HS256"
  local algorithm = ALGORITHMS[alg]
  if not algorithm then
    error(("unknown algorithm %q: HS256, HS384 or HS512"):format(tostring(alg)), 2)
  elseif type(secret) ~= "string" or #secret < algorithm.len then
    error(("a key for %s has at least %d bytes"):format(alg, algorithm.len), 2)
  elseif secret:find("-----BEGIN", 1, true) then
    error("that is a key for signatures, not a secret", 2)
  elseif opts.kid ~= nil and (type(opts.kid) ~= "string" or opts.kid == "") then
    error("kid is a string", 2)
  end
  local key = setmetatable({ alg = alg, kid = opts.kid }, Key)
  secrets[key] = secret
  return key
end

local function is_key(value)
  return getmetatable(value) == Key and secrets[value] ~= nil
end

local function mac(key, text)
  return ALGORITHMS[key.alg].mac(secrets[key], text)
end

local function encode(value)
  return crypto.base64url(json.encode(value))
end

---Makes a token. It ends: by `claims.exp`, or `opts.expires_in` from now.
---
---```lua
---local token = jwt.sign({ sub = tostring(user.id) }, key, { expires_in = 15 * 60 })
---```
---@param claims table<string, any>
---@param key tycho.jwt.Key
---@param opts? tycho.jwt.SignOptions
---@return string token
function jwt.sign(claims, key, opts)
  opts = options.check(opts, SIGN)
  if not is_key(key) then
    error("the key is made with jwt.key()", 2)
  end
  local all = {}
  for name, value in pairs(claims) do
    all[name] = value
  end
  if opts.expires_in then
    local now = math.floor(time.now())
    all.iat = all.iat or now
    all.exp = now + math.floor(opts.expires_in)
  elseif all.exp == nil then
    error("a token ends: give it exp, or expires_in", 2)
  end
  local header = { alg = key.alg, typ = opts.typ or "JWT", kid = key.kid }
  local text = encode(header) .. "." .. encode(all)
  local token = text .. "." .. crypto.base64url(mac(key, text))
  if #token > TOKEN_MAX then
    error(("the token is longer than %d bytes"):format(TOKEN_MAX), 2)
  end
  return token
end

-- ---- verifying: each step returns, or raises

local function decode(part, detail)
  local ok, bytes = pcall(crypto.from_base64url, part)
  if not ok then
    refuse(detail, "not base64url")
  end
  return bytes
end

local function decode_object(part, detail)
  local ok, value = pcall(json.decode, decode(part, detail), LIMITS)
  if not ok or type(value) ~= "table" or is_array(value) then
    refuse(detail, "its " .. detail .. " is not a proper object")
  end
  return value
end

local function split(token)
  if type(token) ~= "string" or #token > TOKEN_MAX then
    refuse("format", "not a token")
  end
  local header, claims, signature = token:match("^([%w_%-]+)%.([%w_%-]+)%.([%w_%-]+)$")
  if not header then
    refuse("format", "not three parts")
  end
  return header, claims, signature
end

local function same_typ(typ, wanted)
  if type(typ) == "string" then
    typ = typ:lower():gsub("^application/", "")
  end
  return typ == wanted:lower()
end

local function check_header(header, opts)
  for name in pairs(header) do
    if not HEADER[name] then
      refuse("header", ("%q in its header"):format(name))
    end
  end
  if type(header.alg) ~= "string" then
    refuse("header", "no algorithm")
  elseif header.kid ~= nil and type(header.kid) ~= "string" then
    refuse("header", "kid is not a string")
  elseif opts.typ and not same_typ(header.typ, opts.typ) then
    refuse("typ", "made for another purpose")
  elseif not opts.typ and header.typ ~= nil and not same_typ(header.typ, "JWT") then
    refuse("typ", "made for another purpose")
  end
end

-- One key, or a table of them by kid. A kid is looked up there, and means nothing else.
local function find_key(keys, header)
  local key = keys
  if not is_key(keys) then
    key = header.kid and rawget(keys, header.kid)
  elseif keys.kid and header.kid and header.kid ~= keys.kid then
    key = nil
  end
  if not key then
    refuse("kid", "unknown key")
  elseif header.alg ~= key.alg then
    refuse("alg", "not the algorithm of its key")
  end
  return key
end

local function check_signature(key, text, signature)
  if not crypto.equal(mac(key, text), decode(signature, "signature")) then
    refuse("signature", "wrong signature")
  end
end

local function check_verify_options(opts, keys)
  opts = options.check(opts, VERIFY, 4)
  if opts.leeway and not (opts.leeway >= 0 and opts.leeway <= LEEWAY_MAX) then
    error(("leeway is from 0 to %d seconds"):format(LEEWAY_MAX), 3)
  elseif is_key(keys) then
    return opts
  elseif type(keys) ~= "table" then
    error("keys are made with jwt.key()", 3)
  end
  for kid, key in pairs(keys) do
    if not is_key(key) then
      error(("key %q was not made with jwt.key()"):format(tostring(kid)), 3)
    end
  end
  return opts
end

---Returns the claims of a token that is what it says: signed with one of our keys by that key's
---algorithm, in time, for us. Raises `unauthorized` for anything else.
---
---```lua
---local claims = jwt.verify(token, key, { issuer = "shop", audience = "api" })
---```
---@async
---@param token string
---@param keys tycho.jwt.Key|table<string, tycho.jwt.Key> one key, or several by `kid`
---@param opts? tycho.jwt.VerifyOptions
---@return table<string, any> claims
function jwt.verify(token, keys, opts)
  opts = check_verify_options(opts, keys)
  local head, body, signature = split(token)
  local header = decode_object(head, "header")
  check_header(header, opts)
  check_signature(find_key(keys, header), head .. "." .. body, signature)
  local claims = decode_object(body, "claims")
  claims_of.check(claims, opts)
  return claims
end

return jwt
