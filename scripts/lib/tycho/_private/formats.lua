--- The formats that a string can have, as in JSON Schema's `format`.

local match, find = string.match, string.find

local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local formats = {}

local function is_domain(domain)
  if #domain > 253 or not find(domain, ".", 1, true) then
    return false
  end
  for label in (domain .. "."):gmatch("([^.]*)%.") do
    if #label > 63 or not match(label, "^%w[%w-]*$") or match(label, "-$") then
      return false
    end
  end
  return true
end

---One address as people type it: no quotes, no comments, ASCII, a domain with a dot.
function formats.email(text)
  local name, domain = match(text, "^([%w!#$%%&'*+/=?^_`{|}~.-]+)@([%w.-]+)$")
  if not name or #name > 64 or #text > 254 then
    return false
  end
  return not find(name, "^%.") and not find(name, "%.$") and not find(name, "..", 1, true)
    and is_domain(domain)
end

function formats.uuid(text)
  return #text == 36
    and find(text, "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x+$") ~= nil
end

local function is_day(year, month, day)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  local days = DAYS[month]
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then
    days = 29
  end
  return days ~= nil and day >= 1 and day <= days
end

---RFC 3339 full-date.
function formats.date(text)
  local year, month, day = match(text, "^(%d%d%d%d)%-(%d%d)%-(%d%d)$")
  return year ~= nil and is_day(year, month, day)
end

local function is_offset(text)
  if text == "Z" or text == "z" then
    return true
  end
  local hour, minute = match(text, "^[+-](%d%d):(%d%d)$")
  return hour ~= nil and tonumber(hour) < 24 and tonumber(minute) < 60
end

---RFC 3339 date-time, with its offset; a leap second only where one can be.
formats["date-time"] = function(text)
  local date, hour, minute, second, rest =
    match(text, "^(%d%d%d%d%-%d%d%-%d%d)[Tt](%d%d):(%d%d):(%d%d)(.+)$")
  if not date or #text > 64 or not formats.date(date) then
    return false
  end
  local offset = match(rest, "^%.%d+(.+)$") or rest
  local last = tonumber(minute) == 59 and 60 or 59
  return tonumber(hour) < 24 and tonumber(minute) < 60 and tonumber(second) <= last
    and is_offset(offset)
end

---An absolute http or https address.
function formats.uri(text)
  if #text > 2048 or find(text, "[%c%s\128-\255<>\"{}|\\^`]") then
    return false
  end
  local host = match(text, "^[Hh][Tt][Tt][Pp][Ss]?://([^/?#]+)")
  return host ~= nil and find(host, "^[%w.%[%]:@%%_~!$&'()*+,;=-]+$") ~= nil
end

return formats
