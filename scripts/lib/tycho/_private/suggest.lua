--- "Did you mean": the closest of some names to a misspelt one.

local min = math.min

-- Restricted Damerau-Levenshtein distance: insertions, deletions, swaps of neighbours.
local function distance(a, b)
  local before, last, this = {}, {}, {}
  for j = 0, #b do
    last[j] = j
  end
  for i = 1, #a do
    this[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = min(last[j] + 1, this[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = min(best, before[j - 2] + 1)
      end
      this[j] = best
    end
    before, last, this = last, this, before
  end
  return last[#b]
end

---Returns `', did you mean "x"?'`, or an empty string when no name is close.
---@param name any
---@param names table<string, any> a set: its keys are the names
---@return string text
return function(name, names)
  if type(name) ~= "string" or #name > 64 then
    return ""
  end
  local best, best_distance = nil, math.max(1, math.floor(#name / 3)) + 1
  for candidate in pairs(names) do
    local d = distance(name, candidate)
    if d < best_distance or (d == best_distance and best and candidate < best) then
      best, best_distance = candidate, d
    end
  end
  return best and (", did you mean %q?"):format(best) or ""
end
