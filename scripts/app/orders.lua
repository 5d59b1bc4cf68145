-- Orders: from PENDING to one of three ends.
local crypto = require "tycho.crypto"
local errors = require "tycho.errors"
local models = require "app.models"
local repository = require "tycho.repository"
local time = require "tycho.time"
local tycho = require "tycho"

local PAY_WITHIN = 30 * 60

-- Which state may follow which: the only place that says so.
local MOVES = {
  PENDING = { PAID = true, EXPIRED = true, CANCELLED = true },
  PAID = {},
  EXPIRED = {},
  CANCELLED = {},
}

local placed = repository.new(models.Order)

local orders = {}

local function new_order_no(now)
  return time.iso(now):sub(1, 10):gsub("-", "") .. crypto.hex(crypto.random(8)):upper()
end

function orders.create(user_id, new)
  local now = time.now()
  return placed:insert {
    order_no = new_order_no(now), user_id = user_id, product = new.product, amount = new.amount,
    currency = new.currency, state = "PENDING", created_at = now, expires_at = now + PAY_WITHIN,
  }
end

-- Moves an order on. Of two that try at once, one finds it moved already and is refused.
function orders.move(order, to)
  if not MOVES[order.state][to] then
    errors.raise("order.illegal_move", { from = order.state, to = to })
  end
  local moved, err = tycho.try(placed.update, placed, order.id, { state = to }, {
    where = { state = order.state },
  })
  if err and err.detail == "STALE" then
    errors.raise("order.illegal_move", { from = placed:get(order.id).state, to = to })
  end
  return moved or error(err, 0)
end

-- An order that nobody paid in time has expired, whether or not anybody noticed.
local function current(order)
  if order.state == "PENDING" and time.parse(order.expires_at) <= time.now() then
    return tycho.try(orders.move, order, "EXPIRED") or placed:get(order.id)
  end
  return order
end

function orders.find(user_id, order_no)
  local order = placed:find_by { order_no = order_no, user_id = user_id }
  return order and current(order) or errors.raise "order.not_found"
end

-- The newest first. Returns a page and the cursor of the next one, nil if there is none. A page
-- ends at an order, not at a number: new orders neither repeat nor hide others.
function orders.list(user_id, limit, cursor)
  local page, err = tycho.try(placed.list, placed, {
    where = { user_id = user_id }, order = { "-created_at", "-id" }, limit = limit, cursor = cursor,
  })
  if errors.is(err, "invalid") then
    errors.raise "order.bad_cursor"
  elseif err then
    error(err, 0)
  end
  for i, order in ipairs(page.items) do
    page.items[i] = current(order)
  end
  return page.items, page.next_cursor
end

return orders
