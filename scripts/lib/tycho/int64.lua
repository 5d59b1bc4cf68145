--- Integers that a Lua number cannot hold.
---
--- A number is exact up to 2^53. Beyond, integers from databases and JSON are boxed: LuaJIT's own
--- 64-bit integers, with arithmetic and comparison (also with numbers), but not usable as keys of
--- a table. `tostring` writes them with a suffix (`9007199254740993LL`); use `int64.format`.

local core = require "tycho.core.int64"

local int64 = {}

---Is it a boxed integer? Plain numbers are not.
---
---```lua
---if int64.is(id) then id = int64.format(id) end
---```
---@param value any
---@return boolean
function int64.is(value)
  return core.is(value)
end

---The decimal digits of an integer, boxed or a plain number; raises if it is none.
---
---```lua
---local order_no = "A" .. int64.format(row.id)
---```
---@param value number|ffi.cdata*
---@return string digits
function int64.format(value)
  return core.format(value) or error("int64.format: not an exact integer", 2)
end

---The integer that a decimal text stands for: a number where that is exact, else boxed. Nil if the
---text is anything else, or needs more than 64 bits.
---
---```lua
---local cursor = int64.parse(req.query.after) or errors.raise("page.bad_cursor")
---```
---@param text string
---@return number|ffi.cdata*|nil
function int64.parse(text)
  return core.parse(text)
end

return int64
