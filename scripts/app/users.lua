-- Accounts: making one, and proving to be its owner.
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
  return accounts:update(user.id, {
    login_count = repository.increment(), last_login_at = time.now(),
  })
end

return users
