--- Schemas from a model, for routes: of what is answered, of what makes a row, of what changes one.
---
--- What the database or the repository fills is not for requests. Columns that are `private`, and
--- bytes, which JSON cannot hold, are in none of them.

local schema = require "tycho.schema"

local model_schema = {}

local of_kind = {}

local SMALL = 32767

function of_kind.integer(column, common)
  common.min, common.max = column.min, column.max
  return schema.integer(common)
end

function of_kind.smallint(column, common)
  common.min, common.max = column.min or -SMALL - 1, column.max or SMALL
  return schema.integer(common)
end

function of_kind.real(column, common)
  common.min, common.max = column.min, column.max
  return schema.number(common)
end

function of_kind.decimal(column, common)
  common.min, common.max = column.min, column.max
  common.scale, common.digits = column.scale, column.precision
  return schema.decimal(common)
end

function of_kind.text(column, common)
  common.min, common.max, common.format = column.min, column.max, column.format
  return schema.string(common)
end

local function formatted(format)
  return function(_, common)
    common.format = format
    return schema.string(common)
  end
end

of_kind.timestamp = formatted "date-time"
of_kind.date = formatted "date"
of_kind.uuid = formatted "uuid"

function of_kind.boolean(_, common)
  return schema.boolean(common)
end

function of_kind.json(_, common)
  return schema.any(common)
end

function of_kind.enum(column, common)
  return schema.enum(column.values, common)
end

function of_kind.array(column, common)
  common.max = column.max
  return schema.array(of_kind[column.of]({}, {}), common)
end

---The schema of one column's values; nil for bytes.
---@param column tycho.model.Column
---@param default? any
---@return tycho.schema.Schema?
function model_schema.of(column, default)
  local make = of_kind[column.kind]
  return make and make(column, { description = column.description, default = default })
end

local function nullable(column, made)
  return column.null and schema.nullable(made) or made
end

local function for_answer(column)
  return nullable(column, model_schema.of(column))
end

-- A default that is SQL is not known here; the member may be left out all the same.
local function for_insert(column)
  if column.identity or column.role or (column.primary and column.kind == "uuid") then
    return nil
  end
  local default = column.default
  if type(default) == "table" and default.sql then
    default = nil
  end
  local made = nullable(column, model_schema.of(column, default))
  if column.null or column.default ~= nil then
    return schema.optional(made)
  end
  return made
end

local function for_update(column)
  if column.primary or (column.role and column.role ~= "version") then
    return nil
  end
  return schema.optional(nullable(column, model_schema.of(column)))
end

local function object(described, make, names)
  local fields = {}
  for _, column in ipairs(described.columns) do
    local wanted = names and names[column.name] or not names and not column.private
    if wanted and of_kind[column.kind] then
      fields[column.name] = make(column)
    end
  end
  return schema.object(fields)
end

---@param described tycho.model.Table
---@param names? table<string, true> only these, whether private or not
function model_schema.answer(described, names)
  return object(described, for_answer, names)
end

---@param described tycho.model.Table
---@param names? table<string, true>
function model_schema.insert(described, names)
  return object(described, for_insert, names)
end

---@param described tycho.model.Table
---@param names? table<string, true>
function model_schema.update(described, names)
  return object(described, for_update, names)
end

return model_schema
