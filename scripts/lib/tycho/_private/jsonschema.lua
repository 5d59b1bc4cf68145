--- A schema as JSON Schema, draft 2020-12.

local json = require "tycho.json"

local convert

local writers = {}

function writers.string(what, out)
  out.type = "string"
  out.minLength, out.maxLength = what.opts.min, what.opts.max
  out.pattern, out.format = what.regex, what.opts.format
end

function writers.integer(what, out)
  out.type = "integer"
  out.minimum, out.maximum = what.opts.min, what.opts.max
end

function writers.number(what, out)
  out.type = "number"
  out.minimum, out.maximum = what.opts.min, what.opts.max
end

function writers.decimal(what, out)
  local scale = what.opts.scale
  local fraction = scale == 0 and "" or ("(\\.[0-9]{1,%s})?"):format(scale or "")
  out.type, out.format = "string", "decimal"
  out.pattern = "^-?(0|[1-9][0-9]*)" .. fraction .. "$"
end

function writers.boolean(_, out)
  out.type = "boolean"
end

function writers.enum(what, out)
  out.enum = json.array { unpack(what.values) }
end

function writers.any()
end

function writers.object(what, out)
  out.type, out.properties = "object", {}
  local required = json.array {}
  for _, name in ipairs(what.names) do
    local field = what.fields[name]
    out.properties[name] = convert(field)
    if not field.optional then
      required[#required + 1] = name
    end
  end
  out.required = required[1] and required or nil
  if not what.is_open then
    out.additionalProperties = false
  end
end

function writers.array(what, out)
  out.type, out.items = "array", convert(what.of)
  out.minItems, out.maxItems = what.opts.min, what.opts.max
  out.uniqueItems = what.opts.unique
end

function writers.map(what, out)
  out.type, out.additionalProperties = "object", convert(what.of)
  out.maxProperties = what.max
end

function writers.union(what, out)
  out.anyOf = json.array {}
  for i, alternative in ipairs(what.alternatives) do
    out.anyOf[i] = convert(alternative)
  end
end

local function make_nullable(out)
  if type(out.type) == "string" then
    out.type = json.array { out.type, "null" }
  elseif out.enum then
    out.enum[#out.enum + 1] = json.null
  elseif out.anyOf then
    out.anyOf[#out.anyOf + 1] = { type = "null" }
  end
end

function convert(what)
  local out = {
    title = what.opts.title, description = what.opts.description, default = what.default,
  }
  if what.opts.example ~= nil then
    out.examples = json.array { what.opts.example }
  end
  writers[what.kind](what, out)
  if what.nullable then
    make_nullable(out)
  end
  return out
end

---@param what tycho.schema.Schema
---@return table
return function(what)
  local out = convert(what)
  out["$schema"] = "https://json-schema.org/draft/2020-12/schema"
  return out
end
