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

-- pgmoon has no prepared statements to name: simple queries, on a pool of sixteen connections.
local function with_database(fn)
  local pg = require("pgmoon").new {
    host = "127.0.0.1", port = handlers.database_port, user = "bench", database = "postgres",
    pool_size = 16, backlog = 4096,
  }
  assert(pg:connect())
  local result = fn(pg)
  pg:keepalive(60000, 16)
  return result
end

local function read(pg)
  local found = assert(pg:query("SELECT id, randomnumber FROM world WHERE id = "
    .. math.random(10000)))[1]
  return { id = found.id, randomNumber = found.randomnumber }
end

function handlers.db()
  send("application/json", cjson.encode(with_database(read)))
end

function handlers.queries()
  local list = with_database(function(pg)
    local found = {}
    for i = 1, tonumber(ngx.req.get_uri_args().n) do
      found[i] = read(pg)
    end
    return found
  end)
  send("application/json", cjson.encode(list))
end

return handlers
