--- What the claims of a token must say: when, from whom, for whom.

local json = require "tycho.json"
local new_error = require("tycho.core.error").new
local time = require "tycho.time"

local claims_of = {}

---Raises `unauthorized`; the detail is for the log.
---@param detail string
---@param message string
function claims_of.refuse(detail, message)
  error(new_error("unauthorized", "token: " .. message, "jwt." .. detail), 0)
end

local refuse = claims_of.refuse

---Was the table an array in the text? It is marked if it was empty.
---@param value table
---@return boolean
function claims_of.is_array(value)
  return value[1] ~= nil or json.is_array(value)
end

local is_array = claims_of.is_array

-- A moment: a whole number of seconds, and exact.
local function check_moment(claims, name)
  local value = claims[name]
  if value == nil then
    return nil
  end
  if type(value) ~= "number" or value < 0 or value % 1 ~= 0 then
    refuse("claims", name .. " is not a moment")
  end
  return value
end

local function check_times(claims, opts)
  local now, leeway = opts.now or time.now(), opts.leeway or 30
  local ends = check_moment(claims, "exp")
  local starts, issued = check_moment(claims, "nbf"), check_moment(claims, "iat")
  if not ends and not opts.no_end then
    refuse("claims", "no end")
  elseif ends and now >= ends + leeway then
    refuse("expired", "expired")
  elseif starts and now < starts - leeway then
    refuse("not_yet", "not valid yet")
  elseif issued and now < issued - leeway then
    refuse("not_yet", "issued in the future")
  end
end

local function is_for_us(audience, us)
  if type(audience) == "string" then
    return audience == us
  elseif type(audience) ~= "table" or not is_array(audience) then
    return false
  end
  local found = false
  for _, name in ipairs(audience) do
    if type(name) ~= "string" then
      return false
    end
    found = found or name == us
  end
  return found
end

local function check_names(claims, opts)
  if opts.issuer and claims.iss ~= opts.issuer then
    refuse("issuer", "from another issuer")
  elseif (opts.audience or claims.aud ~= nil) and not is_for_us(claims.aud, opts.audience) then
    refuse("audience", "not for us")
  end
  for _, name in ipairs(opts.require or {}) do
    if claims[name] == nil or claims[name] == json.null then
      refuse("claims", "no " .. name)
    end
  end
end

local function check_revoked(claims, opts)
  if not opts.revoked then
    return
  elseif type(claims.jti) ~= "string" then
    refuse("claims", "no jti")
  elseif opts.revoked(claims.jti, claims) then
    refuse("revoked", "revoked")
  end
end

---Checks what `tycho.jwt.VerifyOptions` ask for; returns, or raises `unauthorized`.
---@param claims table<string, any>
---@param opts tycho.jwt.VerifyOptions
function claims_of.check(claims, opts)
  check_times(claims, opts)
  check_names(claims, opts)
  check_revoked(claims, opts)
end

return claims_of
