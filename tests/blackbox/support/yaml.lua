--- Writes configuration files.

local json = require "tycho.json"

-- YAML of nested maps, lists and scalars.
local function to_yaml(value, indent)
  if type(value) ~= "table" then
    return type(value) == "string" and json.encode(value) or tostring(value)
  elseif value[1] ~= nil then
    local items = {}
    for i, item in ipairs(value) do
      items[i] = to_yaml(item)
    end
    return "[" .. table.concat(items, ", ") .. "]"
  end
  local lines = {}
  for key, item in pairs(value) do
    local text = to_yaml(item, indent .. "  ")
    local nested = type(item) == "table" and item[1] == nil
    lines[#lines + 1] = ("%s%s:%s%s"):format(indent, key, nested and "\n" or " ", text)
  end
  return table.concat(lines, "\n")
end

return to_yaml
