local metrics = require "tycho.metrics"

local function fault(declare, opts)
  local ok, err = pcall(declare, opts)
  assert.is_false(ok)
  return err
end

-- Metrics are never forgotten, so each test has names of its own.
local number = 0
local function fresh(opts)
  number = number + 1
  opts.name = opts.name:format(number)
  opts.help = "For a test."
  return opts
end

describe("tycho.metrics", function()
  it("counts, by label", function()
    local counter = metrics.counter(fresh { name = "spec_%d_total", labels = { "a", "b" } })

    counter:add(2, { a = "x", b = 1 })
    counter:add(nil, { a = "x", b = "1" })
    counter:add(5, { a = "y", b = 1 })

    assert.equal(3, counter:value { a = "x", b = 1 })
    assert.equal(5, counter:value { a = "y", b = "1" })
  end)

  it("shows a metric without labels from the start", function()
    local opts = fresh { name = "spec_%d_total" }
    metrics.counter(opts)

    assert.truthy(metrics.render():find("\n" .. opts.name .. " 0\n", 1, true))
  end)

  it("sets gauges, up and down", function()
    local gauge = metrics.gauge(fresh { name = "spec_%d" })

    gauge:set(5)
    gauge:add(-7.5)

    assert.equal(-2.5, gauge:value())
  end)

  it("puts values into buckets", function()
    local opts = fresh { name = "spec_%d_seconds", labels = { "kind" }, buckets = { 1, 2 } }
    local histogram = metrics.histogram(opts)

    for _, value in ipairs { 0.5, 1, 1.5, 99 } do
      histogram:observe(value, { kind = "k" })
    end

    assert.equal(4, histogram:value { kind = "k" })
    local page = metrics.render()
    for _, line in ipairs { '_bucket{kind="k",le="1"} 2', '_bucket{kind="k",le="2"} 3',
      '_bucket{kind="k",le="+Inf"} 4', '_sum{kind="k"} 102', '_count{kind="k"} 4' } do
      assert.truthy(page:find("\n" .. opts.name .. line .. "\n", 1, true), line)
    end
  end)

  it("has buckets for seconds by default", function()
    local opts = fresh { name = "spec_%d_seconds" }
    metrics.histogram(opts):observe(0.3)

    local page = metrics.render()
    assert.truthy(page:find(opts.name .. '_bucket{le="0.25"} 0\n', 1, true))
    assert.truthy(page:find(opts.name .. '_bucket{le="0.5"} 1\n', 1, true))
  end)

  it("bounds the combinations of label values and keeps the total right", function()
    local counter = metrics.counter(fresh { name = "spec_%d_total", labels = { "u" }, series = 3 })

    for i = 1, 50 do
      counter:add(1, { u = i })
    end

    assert.equal(1, counter:value { u = 3 })
    assert.equal(0, counter:value { u = 4 })
    assert.equal(47, counter:value { u = "other" })
  end)

  it("escapes label values", function()
    local opts = fresh { name = "spec_%d_total", labels = { "path" } }
    metrics.counter(opts):add(1, { path = 'a"b\\c\nd\255' })

    assert.truthy(metrics.render():find(opts.name .. '{path="a\\"b\\\\c\\nd\239\191\189"} 1\n', 1,
      true))
  end)

  it("gives the same metric to who declares it again", function()
    local opts = fresh { name = "spec_%d_total", labels = { "a" } }
    local first = metrics.counter(opts)

    assert.equal(first, metrics.counter { name = opts.name, help = opts.help, labels = { "a" } })
    assert.matches("declared before, and differently", fault(metrics.counter,
      { name = opts.name, help = opts.help, labels = { "b" } }))
  end)

  it("refuses a wrong declaration", function()
    local function about(kind, opts)
      opts.help = opts.help or "For a test."
      return fault(metrics[kind], opts)
    end

    assert.matches("no name for a metric", about("counter", { name = "a-b_total" }))
    assert.matches("ends in _total", about("counter", { name = "spec_orders" }))
    assert.matches("ends in _total", about("gauge", { name = "spec_orders_total" }))
    assert.matches("server's own", about("gauge", { name = "tycho_orders" }))
    assert.matches("no name for a label", about("gauge", { name = "spec_x", labels = { "__a" } }))
    assert.matches("is taken", about("gauge", { name = "spec_x", labels = { "a", "a" } }))
    assert.matches("is taken", about("histogram", { name = "spec_x", labels = { "le" } }))
    assert.matches("only a histogram", about("gauge", { name = "spec_x", buckets = { 1 } }))
    assert.matches("buckets ascend", about("histogram", { name = "spec_y", buckets = { 2, 1 } }))
    assert.matches("help is a sentence", about("gauge", { name = "spec_x", help = 1 }))
    assert.matches('unknown option "label"', about("gauge", { name = "spec_x", label = {} }))
    assert.matches("options are a table", fault(metrics.gauge))
  end)

  it("refuses wrong values and labels, in the caller's line", function()
    local counter = metrics.counter(fresh { name = "spec_%d_total", labels = { "a" } })
    local gauge = metrics.gauge(fresh { name = "spec_%d" })
    local function message(fn)
      return select(2, pcall(fn))
    end

    assert.matches("metrics_spec.lua:%d+: a counter only goes up", message(function()
      counter:add(-1, { a = 1 })
    end))
    assert.matches("metrics_spec.lua:%d+: .*label \"a\" is missing", message(function()
      counter:add(1)
    end))
    assert.matches("metrics_spec.lua:%d+: .*no label \"b\"", message(function()
      counter:add(1, { a = 1, b = 2 })
    end))
    assert.matches("metrics_spec.lua:%d+: a value is a number", message(function()
      gauge:set("7")
    end))
  end)
end)
