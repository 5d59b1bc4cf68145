--- Values as SQL has them, for defaults in a schema: nowhere else are values part of a statement. A
--- backslash is one: that is the mode of MySQL's sessions here.

local int64 = require "tycho.int64"
local json = require "tycho.json"

local literal = {}

---@param text string
---@return string
function literal.text(text)
  return "'" .. text:gsub("'", "''") .. "'"
end

local function number_text(value)
  if type(value) == "cdata" or type(value) == "userdata" then
    return int64.format(value)
  end
  return value % 1 == 0 and ("%.0f"):format(value) or ("%.17g"):format(value)
end

local function to_hex(bytes)
  return (bytes:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

-- An array as PostgreSQL writes it: {"a","b",NULL}.
local function array_text(list, column)
  local items = {}
  for i, item in ipairs(list) do
    if item == json.null then
      items[i] = "NULL"
    else
      local text = type(item) == "string" and item or type(item) == "boolean" and tostring(item)
        or number_text(item)
      local is_plain = column.of ~= "text" and not text:find('[{},"\\%s]')
      items[i] = is_plain and text or '"' .. text:gsub('["\\]', "\\%0") .. '"'
    end
  end
  return "{" .. table.concat(items, ",") .. "}"
end

local OF = {}

function OF.boolean(value, system)
  if system == "postgresql" then
    return tostring(value)
  end
  return value and "1" or "0"
end

function OF.integer(value)
  return number_text(value)
end

OF.smallint, OF.real = OF.integer, OF.integer

-- Text on SQLite, which has no exact decimals.
function OF.decimal(value, system)
  return system == "sqlite" and literal.text(value) or value
end

function OF.timestamp(value, system)
  if system == "mysql" then
    value = value:gsub("T", " "):gsub("Z$", "")
  end
  return literal.text(value)
end

function OF.bytes(value, system)
  if system == "postgresql" then
    return "'\\x" .. to_hex(value) .. "'"
  elseif system == "mysql" then
    return "(x'" .. to_hex(value) .. "')"
  end
  return "x'" .. to_hex(value) .. "'"
end

function OF.json(value, system)
  local text = literal.text(json.encode(value))
  return system == "mysql" and "(" .. text .. ")" or text
end

function OF.array(value, system, column)
  if system == "postgresql" then
    return literal.text(array_text(value, column))
  end
  return OF.json(json.array(value), system)
end

---@param value any in its canonical form (`model_values.write`)
---@param column tycho.model.Column
---@param system string
---@return string
function literal.of(value, column, system)
  local make = OF[column.kind]
  return make and make(value, system, column) or literal.text(value)
end

return literal
