-- Accounts: making one, and proving to be its owner.
local db = require "tycho.db"
local errors = require "tycho.errors"
local password = require "tycho.password"
local time = require "tycho.time"
local tycho = require "tycho"

local users = {}

function users.create(email, text, nickname)
  local hash = password.hash(text)
  local user, err = tycho.try(db.one, [[
    insert into users (email, password_hash, nickname, created_at)
    values ($1, $2, $3, $4) returning *]],
    email:lower(), hash, nickname or email:match("^[^@]+"), time.iso())

  if errors.is(err, "conflict") then
    errors.raise "user.email_taken"
  elseif err then
    error(err, 0)
  end
  return user
end

function users.find(id)
  return db.one("select * from users where id = $1", id) or errors.raise "user.not_found"
end

-- An unknown address costs the same time as a wrong password and gets the same answer, so that
-- nobody learns who has an account.
function users.authenticate(email, text)
  local user = db.one("select * from users where email = $1", email:lower())
  if not password.verify(text, user and user.password_hash) then
    errors.raise "auth.bad_credentials"
  end
  return db.one([[
    update users set login_count = login_count + 1, last_login_at = $2
    where id = $1 returning *]], user.id, time.iso())
end

return users
