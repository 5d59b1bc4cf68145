--- Is a table a list and nothing else? One with a gap is none: what stands behind it would be lost.

---@param value table
---@return boolean
return function(value)
  local count = 0
  for key in pairs(value) do
    if type(key) ~= "number" then
      return false
    end
    count = count + 1
  end
  for i = 1, count do
    if value[i] == nil then
      return false
    end
  end
  return true
end
