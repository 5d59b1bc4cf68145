-- Tokens: nothing is accepted but what the key has signed, as it was signed. An input that begins
-- with "!" is header.claims to be signed for it, so that what is behind the signature is reached.

local crypto = require "tycho.crypto"
local json = require "tycho.json"
local jwt = require "tycho.jwt"

local SECRET, OTHER = ("k"):rep(32), ("o"):rep(48)
local NOW = 1700000000

local key = jwt.key(SECRET)
local keys = {
  one = jwt.key(SECRET, { kid = "one" }),
  two = jwt.key(OTHER, { kid = "two", alg = "HS384" }),
}

local REASONS = { format = true, header = true, claims = true, signature = true, kid = true,
  alg = true, typ = true }

local function signature_of(text, header)
  if header.alg == "HS384" and header.kid == "two" then
    return crypto.hmac_sha384(OTHER, text)
  end
  return crypto.hmac_sha256(SECRET, text)
end

-- By the letter of RFC 7515: decoded, and encoded again, it must be the same text.
local function check_accepted(token, claims)
  local head, body, signature = token:match "^([^.]+)%.([^.]+)%.([^.]+)$"
  local header = json.decode(crypto.from_base64url(head))
  assert(header.alg == "HS256" or header.alg == "HS384" and header.kid == "two", "algorithm")
  assert(crypto.base64url(signature_of(head .. "." .. body, header)) == signature, "signature")
  assert(crypto.base64url(crypto.from_base64url(head)) == head, "another form of its header")
  assert(crypto.base64url(crypto.from_base64url(body)) == body, "another form of its claims")
  assert(type(claims) == "table" and type(claims.exp) == "number" and claims.exp > NOW - 31, "end")
  assert(claims.nbf == nil or claims.nbf <= NOW + 31, "beginning")
end

local function verify(token, with, opts)
  local ok, result = pcall(jwt.verify, token, with, opts)
  if ok then
    return check_accepted(token, result)
  end
  assert(type(result) == "table" and result.kind == "unauthorized", tostring(result))
  assert(REASONS[result.detail] or type(result.detail) == "string", "a reason")
end

local function signed(text)
  local head, body = text:match "^([^.]*)%.(.*)$"
  if not head then
    return text
  end
  head, body = crypto.base64url(head), crypto.base64url(body)
  local _, header = pcall(json.decode, crypto.from_base64url(head))
  header = type(header) == "table" and header or {}
  return head .. "." .. body .. "."
    .. crypto.base64url(signature_of(head .. "." .. body, header))
end

return function(input)
  local token = input:sub(1, 1) == "!" and signed(input:sub(2)) or input
  verify(token, key, { now = NOW })
  verify(token, keys, { now = NOW, issuer = "shop", require = { "sub" } })
  verify(token, keys, { now = NOW, audience = "api", typ = "at+jwt", leeway = 0 })
end
