--- An application's own counters, gauges and histograms, on the /metrics page with the server's.
---
--- Values are kept in memory that all workers share: they are added up over the workers, and
--- counters survive a worker's death and a reload. Declare a metric once, at the top of a file.
---
--- Every combination of label values is a series of its own and is never forgotten. So values
--- come from a small closed set - a method, a currency, an outcome - never from a user. A metric
--- has at most `series` of them (100 by default); what is beyond counts into one where every label
--- is "other".

local core = require "tycho.core.metrics"
local options = require "tycho.options"

local metrics = {}

local KNOWN = options.set { "name", "help", "labels", "buckets", "series" }
local NONE = {}
local SERIES_DEFAULT, VALUE_MAX = 100, 100

---@class tycho.metrics.Options
---@field name string `shop_orders_total`; counters end in `_total`, durations in `_seconds`
---@field help string a sentence
---@field labels? string[] their names
---@field buckets? number[] of a histogram: at most 16 ascending bounds; by default for seconds
---@field series? integer how many combinations of label values there may be

---@class tycho.metrics.Metric
---@field protected opts tycho.metrics.Options
---@field protected kind "counter"|"gauge"|"histogram"
local Metric = {}
Metric.__index = Metric

local declared = {}

-- Series are addresses: they stay where no script can put other ones.
local series = setmetatable({}, { __mode = "k" }) -- metric -> key -> series
local OVERFLOW = {}

local function text_of(value)
  local text = tostring(value)
  return #text > VALUE_MAX and text:sub(1, VALUE_MAX) or text
end

-- Only where a new series begins, which is rare; level 5 is who used the metric.
local function check_labels(self, labels)
  for name in pairs(labels) do
    if not self.known[name] then
      error(("%s has no label %q"):format(self.opts.name, tostring(name)), 5)
    end
  end
  for _, name in ipairs(self.names) do
    if labels[name] == nil then
      error(("%s: label %q is missing"):format(self.opts.name, name), 5)
    end
  end
end

local function open(self, value_of)
  local text = ""
  for _, name in ipairs(self.names) do
    text = core.label(text, name, value_of(name))
  end
  return core.series(self.kind, self.opts.name, self.opts.help, text, self.opts.buckets), text
end

local function new_series(self, labels, key)
  check_labels(self, labels)
  if self.count >= (self.opts.series or SERIES_DEFAULT) then
    local own = series[self]
    own[OVERFLOW] = own[OVERFLOW] or open(self, function()
      return "other"
    end)
    return own[OVERFLOW]
  end
  self.count = self.count + 1
  local made = open(self, function(name)
    return text_of(labels[name])
  end)
  series[self][key] = made
  return made
end

local function series_of(self, labels)
  labels = labels or NONE
  local names, key = self.names, ""
  for i = 1, #names do
    key = key .. "\0" .. text_of(labels[names[i]])
  end
  return series[self][key] or new_series(self, labels, key)
end

local function number(amount, what)
  if type(amount) ~= "number" or amount ~= amount then
    error(what .. " is a number", 3)
  end
  return amount
end

---The sum over all workers; of a histogram, how many values it has seen. For tests.
---
---```lua
---assert.equal(1, orders:value { currency = "EUR" })
---```
---@param labels? table<string, any>
---@return number
function Metric:value(labels)
  local text = ""
  for _, name in ipairs(self.names) do
    text = core.label(text, name, text_of((labels or NONE)[name]))
  end
  return core.value(self.opts.name, text)
end

---@class tycho.metrics.Counter: tycho.metrics.Metric
local Counter = setmetatable({}, Metric)
Counter.__index = Counter

---Counts; an amount is never negative.
---
---```lua
---orders:add(1, { currency = "EUR" })
---```
---@param amount? number 1 by default
---@param labels? table<string, any> a value for each label
function Counter:add(amount, labels)
  amount = number(amount or 1, "an amount")
  if amount < 0 or amount == math.huge then
    error("a counter only goes up", 2)
  end
  core.add(series_of(self, labels), amount)
end

---@class tycho.metrics.Gauge: tycho.metrics.Metric
local Gauge = setmetatable({}, Metric)
Gauge.__index = Gauge

---Says how much there is now, of this worker; /metrics shows the sum over the workers.
---
---```lua
---waiting:set(#queue)
---```
---@param value number
---@param labels? table<string, any> a value for each label
function Gauge:set(value, labels)
  core.set(series_of(self, labels), number(value, "a value"))
end

---Raises the value by so much, or lowers it.
---
---```lua
---waiting:add(-1)
---```
---@param amount number
---@param labels? table<string, any> a value for each label
function Gauge:add(amount, labels)
  core.add(series_of(self, labels), number(amount, "an amount"))
end

---@class tycho.metrics.Histogram: tycho.metrics.Metric
local Histogram = setmetatable({}, Metric)
Histogram.__index = Histogram

---Takes a value into account.
---
---```lua
---checkout_seconds:observe(elapsed, { outcome = "paid" })
---```
---@param value number
---@param labels? table<string, any> a value for each label
function Histogram:observe(value, labels)
  core.observe(series_of(self, labels), number(value, "a value"))
end

-- What is wrong with the name, or nil.
local function name_fault(kind, name)
  if type(name) ~= "string" or #name > 100 or not name:find "^[%a_:][%w_:]*$" then
    return ("%q is no name for a metric"):format(tostring(name))
  elseif name:find "^tycho_" then
    return "names with tycho_ are the server's own"
  elseif (kind == "counter") ~= (name:find "_total$" ~= nil) then
    return ("%s: a counter's name ends in _total, and no other's"):format(name)
  end
end

local function label_fault(kind, labels)
  local seen = {}
  for _, name in ipairs(labels or NONE) do
    if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" or name:find "^__" then
      return ("%q is no name for a label"):format(tostring(name))
    elseif seen[name] or (kind == "histogram" and name == "le") then
      return ("label %q is taken"):format(name)
    end
    seen[name] = true
  end
end

local function same(a, b)
  if #a ~= #b then
    return false
  end
  for i = 1, #a do
    if a[i] ~= b[i] then
      return false
    end
  end
  return true
end

local function is_like(before, kind, opts)
  return before.kind == kind and same(before.names, opts.labels or NONE)
    and same(before.opts.buckets or NONE, opts.buckets or NONE)
end

local function fault_of(kind, opts)
  if opts == nil then
    return "options are a table"
  elseif type(opts.help) ~= "string" then
    return "help is a sentence"
  elseif opts.buckets and kind ~= "histogram" then
    return "only a histogram has buckets"
  end
  return name_fault(kind, opts.name) or label_fault(kind, opts.labels)
end

-- Level 3 of the errors is who declares the metric.
local function declare(class, kind, opts)
  options.check(opts, KNOWN, 4)
  local fault = fault_of(kind, opts)
  local before = not fault and declared[opts.name]
  if before and not is_like(before, kind, opts) then
    fault = opts.name .. " was declared before, and differently"
  end
  if fault then
    error(("metrics.%s: %s"):format(kind, fault), 3)
  elseif before then
    return before
  end
  local self = { opts = opts, kind = kind, names = opts.labels or {}, count = 0 }
  series[self] = {}
  self.known = options.set(self.names)
  declared[opts.name] = setmetatable(self, class)
  if #self.names == 0 then
    series_of(self) -- there from the start, with 0
  end
  return self
end

---Declares something that only grows.
---
---```lua
---local orders = metrics.counter {
---  name = "shop_orders_total", help = "Orders placed.", labels = { "currency" },
---}
---```
---@param opts tycho.metrics.Options
---@return tycho.metrics.Counter
function metrics.counter(opts)
  return declare(Counter, "counter", opts)
end

---Declares something that goes up and down. It starts at 0 in a new worker.
---
---```lua
---local waiting = metrics.gauge { name = "shop_waiting_carts", help = "Carts that wait." }
---```
---@param opts tycho.metrics.Options
---@return tycho.metrics.Gauge
function metrics.gauge(opts)
  return declare(Gauge, "gauge", opts)
end

---Declares something of which the distribution matters: durations, sizes.
---
---```lua
---local checkout_seconds = metrics.histogram {
---  name = "shop_checkout_seconds", help = "From cart to payment.", labels = { "outcome" },
---}
---```
---@param opts tycho.metrics.Options
---@return tycho.metrics.Histogram
function metrics.histogram(opts)
  return declare(Histogram, "histogram", opts)
end

---All metrics of all workers, as Prometheus text.
---
---```lua
---local page = metrics.render()
---```
---@return string text
function metrics.render()
  return core.render()
end

return metrics
