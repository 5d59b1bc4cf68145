--- Numbers that are the same in every run with the same seed, whoever else draws some.

local Random = {}
Random.__index = Random

local MODULUS, FACTOR = 2147483647, 16807 -- of Park and Miller: exact in a double

---@return integer from 1 to n
function Random:upto(n)
  self.state = self.state * FACTOR % MODULUS
  return self.state % n + 1
end

---@return number from low to high
function Random:between(low, high)
  return low + (high - low) * (self:upto(1000001) - 1) / 1000000
end

---One of a list.
---@generic T
---@param list T[]
---@return T
function Random:pick(list)
  return list[self:upto(#list)]
end

return {
  ---@param seed integer
  ---@return table random
  new = function(seed)
    return setmetatable({ state = seed % (MODULUS - 1) + 1 }, Random)
  end,
}
