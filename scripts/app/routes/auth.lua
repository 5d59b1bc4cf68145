-- /api/client/auth: accounts and tokens.
local app = require "tycho.app"
local s = require "tycho.schema"
local tokens = require "app.tokens"
local users = require "app.users"

local auth = app.group("/api/client/auth", { tags = { "auth" } })

local Register = s.object {
  email = s.string { format = "email", max = 254 },
  password = s.string { min = 8, max = 128, description = "any characters: length is what counts" },
  nickname = s.optional(s.string { min = 1, max = 32 }),
}

local Login = s.object {
  email = s.string { min = 1, max = 254 },
  password = s.string { min = 1, max = 128 },
}

-- What others may see of an account; whatever else the row has stays here.
local User = s.object {
  id = s.integer(),
  email = s.string(),
  nickname = s.string(),
  created_at = s.string { format = "date-time" },
  last_login_at = s.nullable(s.string { format = "date-time" }),
}

local Token = s.object {
  token = s.string(),
  token_type = s.enum { "Bearer" },
  expires_in = s.integer { description = "seconds" },
  user = User,
}

auth:post("/register", {
  summary = "Make an account", body = Register, response = User, status = 201,
}, function(req)
  return users.create(req.body.email, req.body.password, req.body.nickname)
end)

auth:post("/login", {
  summary = "Exchange a password for a token", body = Login, response = Token,
}, function(req)
  local user = users.authenticate(req.body.email, req.body.password)
  return {
    token = tokens.issue(user), token_type = "Bearer", expires_in = tokens.lifetime, user = user,
  }
end)

auth:get("/me", { summary = "Who am I?", auth = "user", response = User }, function(req)
  return users.find(req.user.id)
end)
