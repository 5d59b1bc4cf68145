-- Accept-Language: whatever it says, the answer is a language that there is.

local i18n = require "tycho.i18n"

local LOCALES = { "en", "zh", "pt-BR", "de" }
local known = { en = true, zh = true, ["pt-BR"] = true, de = true }

return function(input)
  local locale = i18n.negotiate(input, LOCALES)
  assert(known[locale], "a language that there is not")
  assert(i18n.negotiate("zh", LOCALES) == "zh")
  local text = i18n.text({ en = input, zh = input }, locale, { name = input, count = 3 })
  assert(type(text) == "string")
end
