--- A writer of statements that knows a model's columns: what they are, and what their values are.

local filter_sql = require "tycho._private.filter_sql"
local json = require "tycho.json"
local rows = require "tycho._private.repository_rows"
local values = require "tycho._private.model_values"
local writers = require "tycho._private.query_writer"

local null = json.null

local writer = {}

local Writer = writers.derive()

local SMALL_MAX = 32767
local IN_ORDER = { lt = true, le = true, gt = true, ge = true, between = true, order = true }

-- SQLite keeps decimals as text, to be exact. Where more or less is the question, and only there,
-- they are numbers.
local function is_text_number(self, column)
  return column.kind == "decimal" and self.dialect.name == "sqlite"
end

function Writer:column(name, op, value)
  local column = rows.comparable(self.described, name, op, value)
  self.as_number = is_text_number(self, column) and IN_ORDER[op] or false
  if self.as_number then
    return ("cast(%s as numeric)"):format(self:name(name))
  end
  return (self:name(name))
end

function Writer:other(name)
  return (self:name(rows.column(self.described, name).name))
end

---A canonical value as a parameter.
function writer.wrap(column, value)
  local param = values.param[column.kind]
  return param and value ~= null and param(value) or value
end

-- PostgreSQL takes a parameter for what it is compared with, and refuses what has no room there.
local function is_wide(self, column, value)
  return column.kind == "smallint" and self.dialect.name == "postgresql" and value ~= null
    and (value > SMALL_MAX or value < -SMALL_MAX - 1)
end

function Writer:value(name, value)
  local column = rows.column(self.described, name)
  local placed = self:param(writer.wrap(column, rows.value(self.described, column, value)))
  if self.as_number then
    return ("cast(%s as numeric)"):format(placed)
  end
  return is_wide(self, column, value) and placed .. "::bigint" or placed
end

---The condition of a tree, with its word.
function Writer:where(tree)
  local condition = filter_sql.write(self, tree)
  return condition and " where " .. condition or ""
end

---An order, with its words. NULL is less than everything.
function Writer:order(order)
  local terms = {}
  for i, term in ipairs(order) do
    local nulls = term.column.null and (term.descending and "last" or "first") or nil
    terms[i] = self.dialect.order(self:column(term.name, "order"), term.descending, nulls)
  end
  return #terms > 0 and " order by " .. table.concat(terms, ", ") or ""
end

---The insertion of rows with these columns.
function Writer:insertion(list, names)
  local described, quoted, lines = self.described, {}, {}
  for i, name in ipairs(names) do
    quoted[i] = self:name(name)
  end
  for i, row in ipairs(list) do
    local items = {}
    for j, name in ipairs(names) do
      items[j] = self:param(writer.wrap(described.by_name[name], row[name]))
    end
    lines[i] = ("(%s)"):format(table.concat(items, ", "))
  end
  return ("insert into %s (%s) values %s"):format(self:name(described.name),
    table.concat(quoted, ", "), table.concat(lines, ", "))
end

local function assignment(self, column, value)
  local name = self:name(column.name)
  if not rows.is_increment(value) then
    return ("%s = %s"):format(name, self:param(writer.wrap(column, value)))
  end
  return ("%s = %s + %s"):format(name, name, self:param(writer.wrap(column, value.by)))
end

---What changes, and the version counted up.
function Writer:assignments(changes)
  local described, set = self.described, {}
  for _, column in ipairs(described.columns) do
    local value = changes[column.name]
    if value ~= nil then
      set[#set + 1] = assignment(self, column, value)
    end
  end
  if described.version then
    local version = self:name(described.version)
    set[#set + 1] = ("%s = %s + 1"):format(version, version)
  end
  return table.concat(set, ", ")
end

---@param db tycho.db.Database
function writer.dialect(db)
  return writers.dialect(writers.system(db))
end

---@param dialect table
---@param described tycho.model.Table
---@return tycho.query.Writer
function writer.new(dialect, described)
  local made = writers.new(dialect, Writer)
  made.described = described
  return made
end

return writer
