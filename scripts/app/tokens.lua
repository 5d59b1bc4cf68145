-- Tokens: what a client shows instead of its password.
local app = require "tycho.app"
local config = require "tycho.config"
local crypto = require "tycho.crypto"
local errors = require "tycho.errors"
local jwt = require "tycho.jwt"
local log = require "tycho.log"
local models = require "app.models"
local repository = require "tycho.repository"
local tycho = require "tycho"

local LIFETIME = 24 * 60 * 60
local SECRET_MIN = 32
local ISSUER = "tycho-reference"

local tokens = { lifetime = LIFETIME }

local settings = repository.new(models.Setting)
local secret = config.get "app.auth.secret"

app.check(function()
  if config.get "env" == "production" and not secret then
    error "app.auth.secret is not set: production needs it, in TYCHO_APP__AUTH__SECRET for example"
  elseif secret and #secret < SECRET_MIN then
    error(("app.auth.secret has %d bytes: at least %d are needed"):format(#secret, SECRET_MIN))
  end
end)

-- Development needs no configuration: the first worker that signs makes a secret, and all workers
-- find it in the database.
local function development_secret()
  log.warn "app.auth.secret is not set: tokens are signed with a key that is kept in the database"
  local found = settings:get "auth.secret"
  if not found then
    tycho.try(settings.insert, settings,
      { name = "auth.secret", value = crypto.base64url(crypto.random(SECRET_MIN)) })
    found = settings:get "auth.secret" or error "the settings cannot be written"
  end
  return found.value
end

local key

local function signing_key()
  key = key or jwt.key(secret or development_secret())
  return key
end

function tokens.issue(user)
  return jwt.sign({ iss = ISSUER, sub = tostring(user.id) }, signing_key(),
    { expires_in = LIFETIME })
end

-- "Bearer ..." -> who that is; the answer to anything else is 401.
app.auth("user", function(req)
  local token = (req.headers.authorization or ""):match("^[Bb]earer +(%S+)$")
  local claims = token and tycho.try(jwt.verify, token, signing_key(), { issuer = ISSUER })
  if not claims then
    errors.raise "auth.required"
  end
  return { id = tonumber(claims.sub) }
end)

return tokens
