--- Queries that read.

local base = require "tycho._private.query_base"
local blame = require "tycho._private.blame"
local filter = require "tycho._private.filter"
local options = require "tycho.options"

local with, append = base.with, base.append

local select_query = {}

---@class tycho.query.Select: tycho.query.Query
local Select = base.class()

---@param name string
---@return tycho.query.Select
function select_query.new(name)
  if type(name) ~= "string" then
    blame("query.from: the name of a table is wanted, not a %s", type(name))
  end
  return setmetatable({ source = name }, Select)
end

-- A name, SQL, or either of them by the name that it shall have.
local function check_selected(item)
  if item == nil or type(item) == "string" or filter.is_raw(item) then
    return
  elseif type(item) ~= "table" then
    blame("select: a name is wanted, not a %s", type(item))
  end
  for name in pairs(item) do
    if type(name) ~= "string" then
      blame("select: names stand one after the other; a table has names or SQL by name")
    end
  end
end

---Columns to return; all of them by default. A table gives SQL a name.
---
---```lua
---query.from("orders"):select("state", { total = query.sql "sum(amount)" }):group("state")
---```
---@param ... string|tycho.query.Raw|table<string, string|tycho.query.Raw>
---@return tycho.query.Select
function Select:select(...)
  for i = 1, select("#", ...) do
    check_selected((select(i, ...)))
  end
  return append(self, "columns", ...)
end

---Leaves rows out that are there already.
---
---```lua
---query.from("orders"):distinct():select("user_id")
---```
---@return tycho.query.Select
function Select:distinct()
  return with(self, "is_distinct", true)
end

local function joined(self, kind, name, left, right)
  local on
  if type(left) == "string" and type(right) == "string" then
    on = filter.parse { [left] = filter.column(right) }
  elseif type(left) == "table" then
    on = filter.parse(left)
  end
  if not on or #on == 0 then
    blame("join: two columns, or a filter, are wanted")
  end
  return append(self, "joins", { kind = kind, name = name, on = on })
end

---Rows of another table beside them, where there are any.
---
---```lua
---query.from("orders as o"):join("users as u", "u.id", "o.user_id"):where { ["u.active"] = true }
---```
---@param name string of the table
---@param left string|tycho.query.Filter a column, or what must hold
---@param right? string the column that is the same
---@return tycho.query.Select
function Select:join(name, left, right)
  return joined(self, " join ", name, left, right)
end

---Rows of another table beside them, or NULL.
---
---```lua
---query.from("users as u"):left_join("teams as t", "t.id", "u.team_id")
---```
---@param name string of the table
---@param left string|tycho.query.Filter a column, or what must hold
---@param right? string the column that is the same
---@return tycho.query.Select
function Select:left_join(name, left, right)
  return joined(self, " left join ", name, left, right)
end

---One row for all rows in which these columns are the same.
---
---```lua
---query.from("orders"):select("state", { count = query.sql "count(*)" }):group("state")
---```
---@param ... string|tycho.query.Raw
---@return tycho.query.Select
function Select:group(...)
  base.check_names("group", ...)
  return append(self, "groups", ...)
end

---Lets only groups through for which the filter holds.
---
---```lua
---orders:group("user_id"):having(query.sql("count(*) > $1", 10))
---```
---@param condition tycho.query.Filter|tycho.query.Raw
---@return tycho.query.Select
function Select:having(condition)
  local tree = filter.parse(condition)
  return #tree > 0 and append(self, "havings", tree) or self
end

---The order of the rows: columns, downwards with a `-` before them. Where NULLs go is up to the
---database, unless "nulls first" or "nulls last" stands behind.
---
---```lua
---query.from("orders"):order("-paid_at nulls last", "id")
---```
---@param ... string|tycho.query.Raw
---@return tycho.query.Select
function Select:order(...)
  base.check_names("order", ...)
  return append(self, "orders", ...)
end

local function check_count(what, n)
  if n ~= nil and (type(n) ~= "number" or n < 0 or n % 1 ~= 0 or n >= 2 ^ 53) then
    blame("%s: a whole number is wanted, not %s", what, tostring(n))
  end
end

---At most so many rows.
---
---```lua
---query.from("orders"):order("-id"):limit(20)
---```
---@param n? integer
---@return tycho.query.Select
function Select:limit(n)
  check_count("limit", n)
  return with(self, "limit_n", n)
end

---Leaves out so many rows at the beginning.
---
---```lua
---query.from("orders"):order("id"):limit(20):offset(40)
---```
---@param n? integer
---@return tycho.query.Select
function Select:offset(n)
  check_count("offset", n)
  return with(self, "offset_n", n)
end

local LOCK = options.set { "skip_locked", "share" }

---Keeps the rows for this transaction: nobody else changes them until it ends. SQLite has no such
---locks; there a transaction that writes is alone.
---
---```lua
---local job = query.from("jobs"):limit(1):lock({ skip_locked = true }):one()
---```
---@param opts? { skip_locked?: boolean, share?: boolean }
---@return tycho.query.Select
function Select:lock(opts)
  opts = options.check(opts, LOCK)
  return with(self, "locked", opts)
end

---How many rows there are; of a query with groups, how many groups.
---
---```lua
---local count = query.from("orders"):where({ state = "PAID" }):count()
---```
---@async
---@return integer
function Select:count()
  local counted = with(self, "orders", nil)
  counted = with(counted, "is_counted", true)
  return counted:value()
end

---Is there any such row?
---
---```lua
---if query.from("users"):where({ email = email }):exists() then ... end
---```
---@async
---@return boolean
function Select:exists()
  local probe = with(with(self, "orders", nil), "columns", { filter.raw "1" })
  return probe:limit(1):value() ~= nil
end

local function write_columns(writer, columns)
  if not columns then
    return "*"
  end
  local out = {}
  for _, item in ipairs(columns) do
    if filter.is_raw(item) then
      out[#out + 1] = writer:raw(item)
    elseif type(item) == "table" then
      local names = {}
      for name in pairs(item) do
        names[#names + 1] = name
      end
      table.sort(names)
      for _, name in ipairs(names) do
        local what = item[name]
        out[#out + 1] = ("%s as %s"):format(filter.is_raw(what) and writer:raw(what)
          or writer:name(what), writer:name(name))
      end
    else
      out[#out + 1] = writer:aliased(item)
    end
  end
  return table.concat(out, ", ")
end

local function write_order(writer, text)
  local minus, name, nulls = text:match("^(%-?)(%S+)%s*(.*)$")
  if not name then
    blame("order: %q is no name of a column", text)
  elseif nulls ~= "" then
    nulls = nulls:match("^nulls (%l+)$")
    if nulls ~= "first" and nulls ~= "last" then
      blame("order: behind a column stands nothing, or nulls first, or nulls last")
    end
  end
  return (writer.dialect.order(writer:name(name), minus == "-", nulls ~= "" and nulls or nil))
end

local function write_joins(writer, joins)
  local out = {}
  for i, join in ipairs(joins or {}) do
    out[i] = ("%s%s"):format(join.kind, writer:aliased(join.name))
      .. base.write_filters(writer, " on ", { join.on })
  end
  return table.concat(out)
end

local function write_range(writer, self)
  if self.limit_n then
    local sql = " limit " .. writer:param(self.limit_n)
    return self.offset_n and sql .. " offset " .. writer:param(self.offset_n) or sql
  elseif self.offset_n then
    return (" limit %s offset %s"):format(writer.dialect.limit_all, writer:param(self.offset_n))
  end
  return ""
end

local function body_of(self, writer, columns)
  local sql = ("select %s%s from %s"):format(self.is_distinct and "distinct " or "", columns,
    writer:aliased(self.source))
  sql = sql .. write_joins(writer, self.joins)
    .. base.write_filters(writer, " where ", self.filters)
  if self.groups then
    sql = sql .. " group by " .. base.write_list(writer, self.groups, writer.name)
  end
  sql = sql .. base.write_filters(writer, " having ", self.havings)
  if self.orders then
    sql = sql .. " order by " .. base.write_list(writer, self.orders, write_order)
  end
  return sql .. write_range(writer, self)
end

---@package
function Select:write(writer)
  if self.is_counted then
    if self.groups or self.is_distinct or self.limit_n or self.offset_n then
      local all = not self.is_distinct and { filter.raw "1" } or nil
      local columns = write_columns(writer, self.columns or all)
      return ('select count(*) as "count" from (%s) as "counted"'):format(
        body_of(self, writer, columns))
    end
    return body_of(self, writer, 'count(*) as "count"')
  end
  local sql = body_of(self, writer, write_columns(writer, self.columns))
  if self.locked then
    sql = sql .. writer.dialect.lock(self.locked.share and "share" or "update",
      self.locked.skip_locked)
  end
  return sql
end

return select_query
