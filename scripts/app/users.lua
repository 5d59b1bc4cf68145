-- Accounts: making one, and proving to be its owner.
local db = require "tycho.db"
local errors = require "tycho.errors"
local models = require "app.models"
local password = require "tycho.password"
local repository = require "tycho.repository"
local time = require "tycho.time"

local users = {}

local accounts = repository.new(models.User, { on_conflict = { email = "user.email_taken" } })

function users.create(email, text, nickname)
  return accounts:insert {
    email = email:lower(), password_hash = password.hash(text),
    nickname = nickname or email:match("^[^@]+"), created_at = time.now(),
  }
end

function users.find(id)
  return accounts:get(id) or errors.raise "user.not_found"
end

-- An unknown address costs the same time as a wrong password and gets the same answer, so that
-- nobody learns who has an account.
function users.authenticate(email, text)
  local user = accounts:find_by { email = email:lower() }
  if not password.verify(text, user and user.password_hash) then
    errors.raise "auth.bad_credentials"
  end
  -- Counted by the database: two may sign in at once.
  db.exec("update users set login_count = login_count + 1, last_login_at = $1 where id = $2",
    db.timestamp(time.now()), user.id)
  return accounts:get(user.id)
end

return users
