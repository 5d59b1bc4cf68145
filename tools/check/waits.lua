-- Which functions of a facade wait, judged by the binding that they call.

local waits = {}

---Lua names under which the bindings of a module register functions that park.
function waits.parking(tree, module)
  local parks, names = {}, {}
  for _, file in ipairs(tree.files) do
    if file.path:match("^bindings/" .. module .. "[%w_]*%.c$") then
      for name, body in file.text:gmatch("\nstatic int (l_[%w_]+)%(lua_State %*[%w_]+%)\n(%b{})") do
        parks[name] = body:find("ty_park(", 1, true) ~= nil
      end
      for name, fn in file.text:gmatch('{"([%w_]+)", (l_[%w_]+)}') do
        names[name] = parks[fn] or nil
      end
    end
  end
  return names
end

---Public functions that call one of those of `core` and are not marked as waiting.
function waits.unmarked(file, parking)
  local found = {}
  local marked, name = false, nil
  for number, line in ipairs(file.lines) do
    local header = line:match("^function ([%w_.:]+)")
    if line:match("^%-%-%-@async") then
      marked = true
    elseif header then
      name = header
    elseif line:match("^local ") or line:match("^end") then
      marked, name = false, nil
    end
    local call = name and not marked and line:match("core%.([%w_]+)%(")
    if call and parking[call] then
      found[#found + 1] = { line = number, name = name }
    end
  end
  return found
end

return waits
