--- What a chunk reads from and writes to its environment, with lines.

local util, band, rshift = require "jit.util", bit.band, bit.rshift
local uses = {}

local function opcode(source, pc)
  return band(util.funcbc(loadstring(source), pc), 0xff)
end

local read, write = opcode("return a", 1), opcode("a = ...", 2)

---Each use: from the bytecode, so that what stands in a function that never runs at load is found.
---@param chunk function
---@param each fun(name: string, written: boolean, line: integer)
function uses.globals(chunk, each)
  local function scan(proto)
    for pc = 1, 1e9 do
      local ins = util.funcbc(proto, pc)
      if not ins then
        break
      end
      local op = band(ins, 0xff)
      if op == read or op == write then
        local name = util.funck(proto, -rshift(ins, 16) - 1)
        each(name, op == write, util.funcinfo(proto, pc).currentline)
      end
    end
    for n = -1, -1e9, -1 do
      local constant = util.funck(proto, n)
      if constant == nil then
        break
      elseif type(constant) == "proto" then
        scan(constant)
      end
    end
  end
  scan(chunk)
end

return uses
