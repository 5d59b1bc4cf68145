-- Cookies, in both directions: the field of a request against a second reading, and every value
-- that is written is read back. The first byte chooses.

local cookie = require "tycho.cookie"
local test = require "tycho.test"

local seen

local request = test.application(function(app)
  app.get("/", function(req)
    seen = req.cookies
    return "ok"
  end)
end)

local function read(text)
  local found, count = {}, 0
  for part in (text .. ";"):gmatch "([^;]*);" do
    local name, value = part:match "^[ \t]*(.-)[ \t]*$":match "^([^=]+)=(.*)$"
    if name and count < 50 then
      count = count + 1
      if found[name] == nil then
        found[name] = value
      end
    end
  end
  return found
end

local function same(a, b)
  for name, value in pairs(a) do
    if b[name] ~= value then
      return false
    end
  end
  for name in pairs(b) do
    if a[name] == nil then
      return false
    end
  end
  return true
end

local function check_field(text)
  seen = nil
  local res = request("GET", "/", { headers = { cookie = text } })
  assert(res.status == 200 and res.body == "ok", "the handler runs")
  assert(same(seen, read(text)), "two readings")
end

local function check_value(text)
  local name, value = text:match "^([^=]*)=(.*)$"
  if not name then
    return
  end
  local ok, header = pcall(cookie.format, name, value)
  if not ok then
    assert(type(header) == "string")
    return
  end
  assert(not header:find "[%c\128-\255]", "nothing is smuggled in")
  local pair = header:match "^[^;]*"
  local got = read(pair)[name]
  assert(got and cookie.decode(got) == value, "read back")
  assert(select(2, header:gsub(";", "")) == 3, "Path, HttpOnly, SameSite and no more")
end

return function(input)
  if input:sub(1, 1) == "=" then
    check_value(input:sub(2))
  else
    check_field(input:sub(2))
  end
end
