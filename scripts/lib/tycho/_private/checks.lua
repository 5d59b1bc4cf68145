--- The application's own checks: what must hold before a generation goes live.

local checks = {}

local list = {}

---@param fn function raises if something is wrong; may wait
---@param where string
function checks.add(fn, where)
  list[#list + 1] = { fn = fn, where = where }
end

---Runs all of them, in the order in which they were declared.
---@async
---@return string? faults one a line; nil if there are none
function checks.run()
  local faults = {}
  for _, check in ipairs(list) do
    local ok, err = pcall(check.fn)
    if not ok then
      local message = tostring(err)
      if not message:find("^[^\n:]+:%d+: ") then
        message = check.where .. ": " .. message
      end
      faults[#faults + 1] = message
    end
  end
  return faults[1] and table.concat(faults, "\n") or nil
end

return checks
