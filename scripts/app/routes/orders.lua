-- /api/client/order: placing orders and looking at them.
local app = require "tycho.app"
local json = require "tycho.json"
local s = require "tycho.schema"
local orders = require "app.orders"

local order = app.group("/api/client/order", { auth = "user", tags = { "orders" } })

local NewOrder = s.object {
  product = s.string { min = 1, max = 64 },
  amount = s.integer { min = 1, max = 999999999999, description = "in the smallest unit" },
  currency = s.enum({ "CNY", "USD" }, { default = "CNY" }),
}

local Order = s.object {
  order_no = s.string(),
  product = s.string(),
  amount = s.integer(),
  currency = s.string(),
  state = s.enum { "PENDING", "PAID", "EXPIRED", "CANCELLED" },
  created_at = s.string { format = "date-time" },
  expires_at = s.string { format = "date-time" },
}

local Page = s.object {
  items = s.array(Order),
  next_cursor = s.nullable(s.string()),
}

order:post("/create", {
  summary = "Place an order", body = NewOrder, response = Order, status = 201,
}, function(req)
  return orders.create(req.user.id, req.body)
end)

order:get("/status/{order_no}", {
  summary = "One order", params = s.object { order_no = s.string { max = 64 } }, response = Order,
}, function(req)
  return orders.find(req.user.id, req.params.order_no)
end)

order:get("/list", {
  summary = "My orders, the newest first",
  query = s.object {
    limit = s.integer { min = 1, max = 100, default = 20 },
    cursor = s.optional(s.string { max = 200 }),
  },
  response = Page,
}, function(req)
  local items, next_cursor = orders.list(req.user.id, req.query.limit, req.query.cursor)
  return { items = items, next_cursor = next_cursor or json.null }
end)
