--- A second reading of HTTP/1.1 requests, independent of the server's: strict, slow and short. What
--- it takes for a request, and only that, the server has to take for the same request.

local reader = {}

local METHODS = { GET = true, POST = true, PUT = true, DELETE = true, PATCH = true }
local LINE = "^(%u+) (/[!-~]*) HTTP/1%.([01])\r\n()"
local FIELD = "^([%w!#$%%&'*+%-.^_`|~]+):([^\r\n]*)\r\n()"

local BAD, PARTIAL, UNSURE = "bad", "partial", "unsure"

-- A pattern did not fit: is that because there is no more?
local function misfit(text, at)
  return text:find("\r\n", at, true) and BAD or PARTIAL
end

-- What is wrong with a field, if anything.
local function fault_of(name, value)
  if value:find "[%z\1-\8\10-\31\127]" then
    return BAD
  end
  -- a blank to be strict about, or not
  return name == "content-length" and value:find "\t" and UNSURE or nil
end

local function read_fields(text, at)
  local fields, counts = {}, {}
  while text:sub(at, at + 1) ~= "\r\n" do
    local name, value, next_at = text:match(FIELD, at)
    if not name then
      return nil, misfit(text, at)
    end
    name = name:lower()
    local fault = fault_of(name, value)
    if fault then
      return nil, fault
    end
    counts[name], value = (counts[name] or 0) + 1, value:match "^[ \t]*(.-)[ \t]*$"
    local separator = name == "cookie" and "; " or ", "
    fields[name] = fields[name] and fields[name] .. separator .. value or value
    at = next_at
  end
  return fields, at + 2, counts
end

local function read_chunks(text, at)
  local body = {}
  while true do
    local size, extension, next_at = text:match("^(%x+)([^\r\n]*)\r\n()", at)
    if not size then
      return nil, misfit(text, at)
    elseif extension ~= "" or #size > 6 then
      return nil, UNSURE -- or too large
    elseif tonumber(size, 16) == 0 then
      local trailers, after = read_fields(text, next_at)
      if trailers and next(trailers) then
        return nil, UNSURE -- some trailers are refused, which is not the question here
      end
      return trailers and table.concat(body), after
    end
    local from, to = next_at, next_at + tonumber(size, 16) - 1
    local ending = text:sub(to + 1, to + 2)
    if ending ~= "\r\n" then
      return nil, ("\r\n"):sub(1, #ending) == ending and PARTIAL or BAD
    end
    body[#body + 1] = text:sub(from, to)
    at = to + 3
  end
end

local function check_host(fields, counts, minor)
  local host = fields.host
  if not host then
    return minor == "0"
  end
  local name, port = host:match "^([%w%-.]+):?(%d*)$"
  if counts.host > 1 then
    return false
  end
  return name and (port == "" or tonumber(port) <= 65535) or nil -- nil: other forms may be valid
end

local function read_body(text, at, fields, counts, minor)
  local length, coding = fields["content-length"], fields["transfer-encoding"]
  if length and (counts["content-length"] > 1 or coding or not length:find "^%d+$") then
    return nil, BAD
  elseif coding and (coding:lower() ~= "chunked" or minor == "0") then
    return nil, BAD
  elseif coding then
    return read_chunks(text, at)
  elseif not length then
    return false, at
  elseif #length > 5 then
    return nil, UNSURE
  end
  local to = at + tonumber(length)
  if to - 1 > #text then
    return nil, PARTIAL
  end
  return text:sub(at, to - 1), to
end

-- Other forms of target, and other methods, are refused or served: not the question here.
local function read_line(text, at)
  local method, target, minor, after = text:match(LINE, at)
  if not method then
    local is_partial = not text:find("\n", at, true) and not text:find("\r.", at)
    return nil, is_partial and PARTIAL or UNSURE
  elseif not METHODS[method] or target:find "[%%#]" then
    return nil, UNSURE
  end
  return { method = method, target = target, minor = minor }, after
end

local function ends_connection(fields, minor)
  local tokens = {}
  for token in (fields.connection or ""):lower():gmatch "[^,]+" do
    tokens[token:match "^[ \t]*(.-)[ \t]*$"] = true
  end
  return tokens.close or minor == "0" and not tokens["keep-alive"]
end

-- One request, or nil and what is the matter.
local function read_one(text, at)
  local request, fields_at = read_line(text, text:sub(at, at + 1) == "\r\n" and at + 2 or at)
  if not request then
    return nil, fields_at
  end
  local fields, body_at, counts = read_fields(text, fields_at)
  if not fields then
    return nil, body_at
  end
  local has_host = check_host(fields, counts, request.minor)
  if not has_host then
    return nil, has_host == nil and UNSURE or BAD
  elseif fields.expect or fields.upgrade then
    return nil, UNSURE
  end
  local body, next_at = read_body(text, body_at, fields, counts, request.minor)
  if body == nil then
    return nil, next_at
  end
  request.fields, request.body, request.next_at = fields, body, next_at
  request.closes = ends_connection(fields, request.minor)
  return request
end

---Reads a stream.
---
---@param text string
---@return table[] requests method, target, fields (by name in lower case), body (false: none)
---@return "end"|"closed"|"bad"|"partial"|"unsure" how it goes on behind the last one
function reader.read(text)
  local requests, at = {}, 1
  while at <= #text do
    local request, why = read_one(text, at)
    if not request then
      return requests, why
    end
    requests[#requests + 1] = request
    if request.closes then
      return requests, "closed"
    end
    at = request.next_at
  end
  return requests, "end"
end

return reader
