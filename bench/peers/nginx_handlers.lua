-- What bench/app answers, written for nginx's Lua module.
local cjson = require "cjson"
local ngx = ngx -- luacheck: ignore 113

local handlers = {}

local function send(content_type, body)
  ngx.header["Content-Type"] = content_type
  ngx.header["Content-Length"] = #body
  ngx.print(body)
end

function handlers.plaintext()
  send("text/plain", "Hello, World!")
end

function handlers.json()
  send("application/json", cjson.encode { message = "Hello, World!" })
end

function handlers.user()
  local id = ngx.var.user_id
  ngx.header["X-User-Id"] = id
  send("application/json", cjson.encode { id = id, q = ngx.req.get_uri_args().q })
end

function handlers.echo()
  ngx.req.read_body()
  send("application/json", cjson.encode(cjson.decode(ngx.req.get_body_data())))
end

return handlers
