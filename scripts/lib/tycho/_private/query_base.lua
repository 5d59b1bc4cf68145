--- What all queries have: they are copied rather than changed, filtered, and run.

local blame = require "tycho._private.blame"
local database = require "tycho.db"
local filter = require "tycho._private.filter"
local filter_sql = require "tycho._private.filter_sql"
local options = require "tycho.options"
local writers = require "tycho._private.query_writer"

local base = {}

---@class tycho.query.Query
---@field is_query boolean
local Query = {}
Query.__index = Query

---A class of queries.
function base.class()
  local class = setmetatable({ is_query = true }, Query)
  class.__index = class
  return class
end

---A copy with a field set.
function base.with(self, field, value)
  local copy = setmetatable({}, getmetatable(self))
  for key, old in pairs(self) do
    copy[key] = old
  end
  copy[field] = value
  return copy
end

---A copy with more in a list; what is nil is left out, and nothing more is the same query.
function base.append(self, field, ...)
  local list, count = { unpack(self[field] or {}) }, 0
  for i = 1, select("#", ...) do
    local item = select(i, ...)
    if item ~= nil then
      count = count + 1
      list[#list + 1] = item
    end
  end
  return count > 0 and base.with(self, field, list) or self
end

---Lets only rows through for which the filter holds, in addition to what was said before.
---
---```lua
---orders = orders:where { state = { "PAID", "SENT" }, created_at__ge = since }
---```
---@param condition? tycho.query.Filter|tycho.query.Raw
---@return self
function Query:where(condition)
  if condition == nil then
    return self
  end
  local tree = filter.parse(condition)
  return #tree > 0 and base.append(self, "filters", tree) or self
end

---Another database than the default one.
---
---```lua
---query.from("daily"):on("reports"):all()
---```
---@param name string
---@return self
function Query:on(name)
  return base.with(self, "database", name)
end

---The condition of all filters, with a word before it.
---@package
function base.write_filters(writer, word, filters)
  local parts = {}
  for _, tree in ipairs(filters or {}) do
    parts[#parts + 1] = filter_sql.write(writer, tree)
  end
  return #parts > 0 and word .. table.concat(parts, " and ") or ""
end

---Names that are separated by commas; also SQL.
---@package
function base.write_list(writer, list, write)
  local out = {}
  for i, item in ipairs(list) do
    out[i] = filter.is_raw(item) and writer:raw(item) or write(writer, item)
  end
  return table.concat(out, ", ")
end

local SYSTEMS = options.set { "sqlite", "postgresql", "mysql" }

---The statement and its values, as they would be run.
---
---```lua
---local sql, values = orders:build()
---log.debug(sql, { values = values.n })
---```
---@param system? string "sqlite", "postgresql" or "mysql"; that of its database by default
---@return string sql
---@return any[] values with their number in `n`
function Query:build(system)
  system = system or writers.system(database.use(self.database or "default"))
  if not SYSTEMS[system] then
    blame('build: "sqlite", "postgresql" or "mysql", not %q', tostring(system))
  end
  local writer = writers.new(writers.dialect(system))
  local sql = self:write(writer)
  return sql, writer.params
end

local function run(self, how)
  local db = database.use(self.database or "default")
  local sql, params = self:build(writers.system(db))
  return db[how](sql, unpack(params, 1, params.n))
end

---All rows.
---
---```lua
---for _, order in ipairs(orders:all()) do ... end
---```
---@async
---@return table<string, any>[] rows
function Query:all()
  return run(self, "query")
end

---The first row, or nil.
---
---```lua
---local order = orders:where({ id = id }):one()
---```
---@async
---@return table<string, any>? row
function Query:one()
  return run(self, "one")
end

---The first column of the first row, or nil.
---
---```lua
---local email = query.from("users"):select("email"):where({ id = id }):value()
---```
---@async
---@return any value
function Query:value()
  return run(self, "value")
end

---Runs it for what it does.
---
---```lua
---local changes = query.delete("sessions"):where({ user_id = id }):exec().changes
---```
---@async
---@return tycho.db.Outcome
function Query:exec()
  return run(self, "exec")
end

---Calls a function with each row, however many there are: see `db.each`.
---
---```lua
---query.from("orders"):where({ state = "PAID" }):each(function(order) report(order) end)
---```
---@async
---@param fn fun(row: table<string, any>): boolean? false ends it
---@return integer count
function Query:each(fn)
  if type(fn) ~= "function" then
    blame("each: a function that gets a row is wanted, not a %s", type(fn))
  end
  local db = database.use(self.database or "default")
  local sql, params = self:build(writers.system(db))
  params[params.n + 1] = fn
  return db.each(sql, unpack(params, 1, params.n + 1))
end

---The statement as one of a batch: what does not depend on each other goes out together.
---
---```lua
---local found = db.batch { users:statement "one", orders:statement() }
---```
---@param as? "query"|"one"|"value"|"exec" what its result is
---@return tycho.db.Statement
function Query:statement(as)
  local sql, params = self:build()
  return { sql, as = as, unpack(params, 1, params.n) }
end

---Raises unless there is a filter, or `everywhere()` was said.
---@package
function base.check_filtered(self, what)
  if not self.filters and not self.is_everywhere then
    blame("%s without a filter: everywhere() would say that all rows are meant", what)
  end
end

---Raises unless it is a list of names.
---@package
function base.check_names(what, ...)
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    if type(name) ~= "string" and not filter.is_raw(name) and name ~= nil then
      blame("%s: names of columns are wanted, not a %s", what, type(name))
    end
  end
end

return base
