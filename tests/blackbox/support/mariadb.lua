--- MariaDB for tests: `mariadb.shared()` for most of them, one of its own for those that kill it.

local database = require "tests.blackbox.support.database"

local mariadb = {}

---@class blackbox.Mariadb: blackbox.Database
local Mariadb = setmetatable({ scheme = "mysql", default = "mysql" }, database.Database)
Mariadb.__index = Mariadb

mariadb.clean_up = database.clean_up

---Why there is none; nil if there is.
---@async
---@return string?
function mariadb.missing()
  return database.missing "mariadb"
end

---Starts a server of its own. The zone of its sessions is +05:30 unless they ask for another.
---
---```lua
---local my = mariadb.start { settings = { ["max-connections"] = 20 }, tls = "only" }
---my:crash()
---```
---@async
---@param opts? blackbox.DatabaseOptions
---@return blackbox.Mariadb
function mariadb.start(opts)
  return database.start("mariadb", Mariadb, opts)
end

---The server of this run, which nobody stops.
---
---```lua
---local my = mariadb.shared()
---local name = my:create()
---assert.equal("1", my:sql("select 1", { database = name }))
---```
---@async
---@return blackbox.Mariadb
function mariadb.shared()
  return database.shared("mariadb", function()
    return mariadb.start { settings = { ["max-connections"] = 300 } }
  end)
end

---Runs statements with the client `mariadb`, past passwords and what this project has made.
---@async
---@param text string
---@param opts? { database?: string, port?: integer } a port: through a proxy
---@return string rows one a line, columns separated by tabs
function Mariadb:sql(text, opts)
  opts = opts or {}
  local args = { "mariadb", "--no-defaults", "-u", self.user, "-BN",
    "--default-character-set=utf8mb4", "--connect-timeout=10" }
  if opts.port then
    args[#args + 1] = "-h127.0.0.1"
    args[#args + 1] = "-P" .. opts.port
  else
    args[#args + 1] = "-S" .. self.folder .. "/socket"
  end
  args[#args + 1] = "-D" .. (opts.database or self.default)
  args[#args + 1] = "-e"
  args[#args + 1] = text
  return self.ask(args, { PATH = os.getenv "PATH", MYSQL_PWD = opts.port and self.password })
end

return mariadb
