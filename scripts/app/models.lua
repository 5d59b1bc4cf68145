-- What the database keeps: `tycho db sync --check` compares it with these models.
local model = require "tycho.model"

local models = {}

models.User = model.define("users", {
  model.id(),
  model.text("email", { max = 254, unique = true, description = "in lower case" }),
  model.text("password_hash", { max = 255, private = true }),
  model.text("nickname", { max = 254 }),
  model.integer("login_count", { default = 0, private = true }),
  model.timestamp("last_login_at", { null = true }),
  model.timestamp "created_at",
})

models.Order = model.define("orders", {
  model.id(),
  model.text("order_no", { max = 64, unique = true }),
  model.reference("user_id", "users"),
  model.text("product", { max = 64 }),
  model.integer("amount", { check = "amount > 0", description = "in the smallest unit" }),
  model.text("currency", { max = 3 }),
  model.enum("state", { values = { "PENDING", "PAID", "EXPIRED", "CANCELLED" } }),
  model.timestamp "created_at",
  model.timestamp "expires_at",
  indexes = { { "user_id", "created_at", "id", name = "orders_of_a_user" } },
})

-- What the application keeps about itself, such as the key that development signs tokens with.
models.Setting = model.define("settings", {
  model.text("name", { max = 100, primary = true }),
  model.text "value",
})

return models
