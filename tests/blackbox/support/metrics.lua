--- Reads the Prometheus text format, strictly: what a scraper would refuse raises.

local metrics = {}

---@class blackbox.Metrics
---@field samples table[] name, labels, value
---@field types table<string, string>
---@field help table<string, string>
local Metrics = {}
Metrics.__index = Metrics

local function parse_labels(text, line)
  local labels = {}
  local at = 1
  while at <= #text do
    local name, from = text:match('^([%a_][%w_]*)="()', at)
    if not name or labels[name] then
      error(("bad labels in %q"):format(line), 0)
    end
    local value = {}
    at = from
    while text:sub(at, at) ~= '"' do
      local char = text:sub(at, at)
      if char == "" or char == "\n" then
        error(("unfinished label in %q"):format(line), 0)
      elseif char == "\\" then
        char = ({ n = "\n", ["\\"] = "\\", ['"'] = '"' })[text:sub(at + 1, at + 1)]
        at = at + 1
        if not char then
          error(("bad escape in %q"):format(line), 0)
        end
      end
      value[#value + 1] = char
      at = at + 1
    end
    labels[name] = table.concat(value)
    at = at + 1
    if text:sub(at, at) == "," then
      at = at + 1
    elseif at <= #text then
      error(("bad labels in %q"):format(line), 0)
    end
  end
  return labels
end

local SPECIAL = { ["+Inf"] = math.huge, ["-Inf"] = -math.huge, NaN = 0 / 0 }

local function parse_sample(line)
  local name, rest = line:match("^([%a_:][%w_:]*)(.*)$")
  if not name then
    error(("bad sample %q"):format(line), 0)
  end
  local inside, value = rest:match("^{(.*)} (%S+)$")
  if not inside then
    inside, value = "", rest:match("^ (%S+)$")
  end
  local number = SPECIAL[value] or tonumber(value)
  if not number then
    error(("bad value in %q"):format(line), 0)
  end
  return { name = name, labels = parse_labels(inside, line), value = number }
end

local function family_of(self, name)
  if self.types[name] then
    return name
  end
  local base = name:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "")
  local type = self.types[base]
  return (type == "histogram" or type == "summary") and base or nil
end

local function identity(sample)
  local parts = { sample.name }
  for name, value in pairs(sample.labels) do
    parts[#parts + 1] = name .. "\0" .. value
  end
  table.sort(parts)
  return table.concat(parts, "\1")
end

---Parses and checks: one TYPE and HELP before a family's samples, which stand together; no sample
---twice; the last line ended.
---@param text string
---@return blackbox.Metrics
function metrics.parse(text)
  local self = setmetatable({ samples = {}, types = {}, help = {} }, Metrics)
  local seen, closed, current = {}, {}, nil
  if text:sub(-1) ~= "\n" or text:find("\r", 1, true) then
    error("the last line is not ended, or there is a CR", 0)
  end
  local function enter(family)
    if family ~= current and closed[family] then
      error(("family %s is not in one piece"):format(family), 0)
    end
    closed[current or ""] = family ~= current or nil
    current = family
  end
  local function add_sample(line)
    local sample = parse_sample(line)
    enter(family_of(self, sample.name) or error(("no TYPE before %q"):format(line), 0))
    if seen[identity(sample)] then
      error(("twice: %q"):format(line), 0)
    end
    seen[identity(sample)] = true
    self.samples[#self.samples + 1] = sample
  end
  for line in text:gmatch("(.-)\n") do
    local what, name, rest = line:match("^# (%u+) ([%a_:][%w_:]*) (.*)$")
    if what == "TYPE" or what == "HELP" then
      enter(name)
      local into = what == "TYPE" and self.types or self.help
      if into[name] then
        error(("%s of %s twice"):format(what, name), 0)
      end
      into[name] = rest
    elseif line:sub(1, 1) ~= "#" and line ~= "" then
      add_sample(line)
    end
  end
  return self
end

---The sum of all samples of that name whose labels include these.
---@param name string
---@param labels? table<string, string>
---@return number sum
---@return integer count of samples that were added
function Metrics:sum(name, labels)
  local sum, count = 0, 0
  for _, sample in ipairs(self.samples) do
    local fits = sample.name == name
    for label, value in pairs(labels or {}) do
      fits = fits and sample.labels[label] == value
    end
    if fits then
      sum, count = sum + sample.value, count + 1
    end
  end
  return sum, count
end

return metrics
