--- Cookies: writing them so that nothing can be smuggled in. Reading is `req.cookies`.
---
--- A cookie goes back to the host that set it and is out of the reach of scripts in the browser:
--- `HttpOnly`, `SameSite=Lax` and `Path=/` are what you get unless you say otherwise; say
--- `secure = true` where there is TLS.

local options = require "tycho.options"

local cookie = {}

---@class tycho.cookie.Options
---@field max_age? integer seconds; without it the cookie ends with the browser's session
---@field path? string "/" by default
---@field domain? string the host alone by default
---@field secure? boolean
---@field http_only? boolean true by default
---@field same_site? "Strict"|"Lax"|"None" "Lax" by default; "None" needs `secure`

local KNOWN = options.set { "max_age", "path", "domain", "secure", "http_only", "same_site" }
local SAME_SITE = { Strict = true, Lax = true, None = true }
local AGE_MAX = 400 * 24 * 60 * 60 -- browsers allow no more

local function name_fault(name, opts)
  if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
    return ("%q is not the name of a cookie"):format(tostring(name))
  elseif name:find("^__Secure%-") and not opts.secure then
    return ("%s needs secure"):format(name)
  elseif name:find("^__Host%-")
    and not (opts.secure and (opts.path or "/") == "/" and not opts.domain) then
    return ("%s needs secure, the path / and no domain"):format(name)
  end
end

local function is_text(value, pattern)
  return value == nil or type(value) == "string" and value:find(pattern) ~= nil
end

local function option_fault(opts)
  local age, same_site = opts.max_age, opts.same_site
  if age and (type(age) ~= "number" or age % 1 ~= 0) then
    return "max_age is a number of seconds"
  elseif not is_text(opts.path, "^/[^%c;\128-\255]*$") then
    return "path begins with / and has neither ; nor control characters"
  elseif not is_text(opts.domain, "^[%w.-]+$") then
    return "domain is the name of a host"
  elseif same_site and not SAME_SITE[same_site] then
    return "same_site is Strict, Lax or None"
  elseif same_site == "None" and not opts.secure then
    return "same_site None needs secure"
  end
end

---The value of a `Set-Cookie` header. What a cookie cannot hold is percent-encoded; read it back
---with `cookie.decode`.
---
---```lua
---local session = cookie.format("session", id, { secure = true })
---return app.response(204, nil, { ["Set-Cookie"] = session })
---```
---@param name string
---@param value string
---@param opts? tycho.cookie.Options
---@return string header
function cookie.format(name, value, opts)
  opts = options.check(opts, KNOWN)
  local fault = name_fault(name, opts) or option_fault(opts)
    or (type(value) ~= "string" and "the value is a string")
  if fault then
    error("cookie: " .. fault, 2)
  end
  local parts = {
    name .. "=" .. value:gsub("[^%w!#$&'()*+./:<=>?@%[%]^_`{|}~-]", function(char)
      return ("%%%02X"):format(char:byte())
    end),
    "Path=" .. (opts.path or "/"),
  }
  if opts.max_age then
    parts[#parts + 1] = ("Max-Age=%d"):format(math.max(0, math.min(opts.max_age, AGE_MAX)))
  end
  if opts.domain then
    parts[#parts + 1] = "Domain=" .. opts.domain
  end
  if opts.secure then
    parts[#parts + 1] = "Secure"
  end
  if opts.http_only ~= false then
    parts[#parts + 1] = "HttpOnly"
  end
  parts[#parts + 1] = "SameSite=" .. (opts.same_site or "Lax")
  return table.concat(parts, "; ")
end

---The value of a `Set-Cookie` header that makes the browser forget a cookie. Path and domain must
---be those that it was set with.
---
---```lua
---return app.response(204, nil, { ["Set-Cookie"] = cookie.forget "session" })
---```
---@param name string
---@param opts? tycho.cookie.Options
---@return string header
function cookie.forget(name, opts)
  options.check(opts, KNOWN)
  local all = { max_age = 0 }
  for key, value in pairs(opts or {}) do
    all[key] = key == "max_age" and 0 or value
  end
  local ok, header = pcall(cookie.format, name, "", all)
  if not ok then
    error((header:gsub("^[^\n]-:%d+: ", "")), 2) -- with the caller's place instead
  end
  return header
end

---Undoes the percent-encoding of `cookie.format`.
---
---```lua
---local session = cookie.decode(req.cookies.session or "")
---```
---@param value string
---@return string
function cookie.decode(value)
  return (value:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

return cookie
