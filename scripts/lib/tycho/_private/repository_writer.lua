--- A writer of statements that knows a model's columns: what they are, and what their values are.

local json = require "tycho.json"
local rows = require "tycho._private.repository_rows"
local values = require "tycho._private.model_values"
local writers = require "tycho._private.query_writer"

local null = json.null

local writer = {}

local Writer = writers.derive()

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

---A canonical value as a parameter.
function writer.wrap(column, value)
  local param = values.param[column.kind]
  return param and value ~= null and param(value) or value
end

function Writer:value(name, value)
  local column = rows.column(self.described, name)
  local placed = self:param(writer.wrap(column, rows.value(self.described, column, value)))
  return self.as_number and ("cast(%s as numeric)"):format(placed) or placed
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
