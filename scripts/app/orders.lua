-- Orders: from PENDING to one of three ends.
local crypto = require "tycho.crypto"
local db = require "tycho.db"
local errors = require "tycho.errors"
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

local orders = {}

local function new_order_no(now)
  return time.iso(now):sub(1, 10):gsub("-", "") .. crypto.hex(crypto.random(8)):upper()
end

function orders.create(user_id, new)
  local now = time.now()
  return db.one([[
    insert into orders (order_no, user_id, product, amount, currency, state, created_at, expires_at)
    values ($1, $2, $3, $4, $5, 'PENDING', $6, $7) returning *]],
    new_order_no(now), user_id, new.product, new.amount, new.currency, time.iso(now),
    time.iso(now + PAY_WITHIN))
end

-- Moves an order on. Of two that try at once, one finds it moved already and is refused.
function orders.move(order, to)
  if not MOVES[order.state][to] then
    errors.raise("order.illegal_move", { from = order.state, to = to })
  end
  local moved = db.one("update orders set state = $1 where id = $2 and state = $3 returning *",
    to, order.id, order.state)
  if moved then
    return moved
  end
  local now = db.value("select state from orders where id = $1", order.id)
  errors.raise("order.illegal_move", { from = now, to = to })
end

-- An order that nobody paid in time has expired, whether or not anybody noticed.
local function current(order)
  if order.state == "PENDING" and order.expires_at <= time.iso() then
    return tycho.try(orders.move, order, "EXPIRED")
      or db.one("select * from orders where id = $1", order.id)
  end
  return order
end

function orders.find(user_id, order_no)
  local order = db.one("select * from orders where order_no = $1 and user_id = $2",
    order_no, user_id)
  return order and current(order) or errors.raise "order.not_found"
end

-- A page ends at an order, not at a number: new orders neither repeat nor hide others.
local function cursor_of(order)
  return crypto.base64url(order.created_at .. "/" .. order.id)
end

local function read_cursor(cursor)
  local text = tycho.try(crypto.from_base64url, cursor) or ""
  local created_at, id = text:match("^(%d[%d:.TZ-]+)/(%d+)$")
  if not created_at or #id > 15 then
    errors.raise "order.bad_cursor"
  end
  return created_at, tonumber(id)
end

-- The newest first. Returns a page and the cursor of the next one, nil if there is none.
function orders.list(user_id, limit, cursor)
  local created_at, id = "9", 0
  if cursor then
    created_at, id = read_cursor(cursor)
  end
  local page = db.query([[
    select * from orders
    where user_id = $1 and (created_at < $2 or (created_at = $2 and id < $3))
    order by created_at desc, id desc limit $4]], user_id, created_at, id, limit + 1)

  local more = table.remove(page, limit + 1)
  for i, order in ipairs(page) do
    page[i] = current(order)
  end
  return page, more and cursor_of(page[limit]) or nil
end

return orders
