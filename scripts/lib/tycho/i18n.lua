--- Texts in the language of whoever asks.
---
--- A text is a string, or a table with one string for each language: `{ en = "paid", zh = "已支付" }`.
--- `{name}` in it stands for a value. There are no catalogue files: a text stands where it is
--- used, so that a new one cannot be forgotten in another place.

local i18n = {
  ---The language of callers who name none that there is.
  default = "en",
  ---The languages that there are, besides any other that a text happens to have.
  ---@type string[]
  locales = { "en", "zh" },
}

---@alias tycho.i18n.Text string|table<string, string>

local RANGES_MAX = 32

-- "zh-hant-TW" -> zh-hant-tw, zh-hant, zh (RFC 4647, lookup)
local function lookup(range, known)
  while range do
    if known[range] then
      return known[range]
    end
    range = range:match("^(.+)%-[^-]+$")
  end
end

local function known_locales(locales)
  local known = {}
  for _, locale in ipairs(locales) do
    known[locale:lower()] = locale
  end
  return known
end

---Picks the language that the caller likes best.
---
---```lua
---i18n.negotiate("fr;q=0.9, zh-CN, en;q=0.8") -- "zh"
---```
---@param accept_language? string the header
---@param locales? string[] what there is to choose from; `i18n.locales` by default
---@return string locale `i18n.default` if nothing fits
function i18n.negotiate(accept_language, locales)
  local known = known_locales(locales or i18n.locales)
  local best, best_q, count = nil, 0, 0
  for range, parameters in (accept_language or ""):gmatch("([%w%-*]+)([^,]*)") do
    count = count + 1
    if count > RANGES_MAX then
      break
    end
    local q = tonumber(parameters:match("^%s*;%s*[qQ]=([%d.]+)")) or 1
    local locale = range == "*" and i18n.default or lookup(range:lower(), known)
    if locale and q > best_q then
      best, best_q = locale, q
    end
  end
  return best or i18n.default
end

---The language of a request, from its Accept-Language header; `req.locale` once it is known, so
---an application with a better source (the user's settings) sets that.
---
---```lua
---local locale = i18n.locale(req)
---```
---@param req table
---@return string locale
function i18n.locale(req)
  local locale = req.locale
  if not locale then
    locale = i18n.negotiate(req.headers["accept-language"])
    req.locale = locale
  end
  return locale
end

---A text in one language: in that, else in the default one, else in any; with its values.
---
---```lua
---i18n.text({ en = "{n} left", zh = "还剩 {n} 个" }, "zh", { n = 3 }) -- "还剩 3 个"
---```
---@param text tycho.i18n.Text
---@param locale? string
---@param values? table
---@return string
function i18n.text(text, locale, values)
  if type(text) == "table" then
    text = text[locale] or text[i18n.default] or select(2, next(text)) or ""
  end
  if values and text:find("{", 1, true) then
    text = text:gsub("{([%w_]+)}", function(name)
      local value = values[name]
      return value ~= nil and tostring(value) or nil
    end)
  end
  return text
end

return i18n
