-- Runs the Lua of a page of docs/: all blocks as one piece, whose lines are those of the page.
--
-- `expression --> value` must be true; a call may go over several lines, of which the last has the
-- arrow. A block of shell with `tycho db sync` makes the tables of the models so far. A block of
-- "lua postgresql" is for that database only.

local db = require "tycho.db"
local fs = require "tycho.fs"
local json = require "tycho.json"
local model = require "tycho.model"
local registry = require "tycho._private.model_registry"
local tables = require "tests.lua.model_tables"
local test = require "tycho.test"

local guide = {}

local STATEMENT = { "^local ", "^for ", "^if ", "^end", "^return ", "^%s", "^%-%-", "^[%w_.]+ = " }

local function starts_expression(line)
  for _, pattern in ipairs(STATEMENT) do
    if line:find(pattern) then
      return false
    end
  end
  return line:find "^[%w_#]" ~= nil
end

-- Where the expression begins that ends on this line.
local function beginning(lines, last)
  for first = last, 1, -1 do
    if starts_expression(lines[first]) then
      return first
    end
  end
end

local function check_arrow(lines, number)
  local code, wanted = lines[number]:match "^(.-)%s*%-%->%s*(.-)%s*$"
  if not code then
    return
  end
  local first = beginning(lines, number)
  lines[number] = ("%s, %s)"):format(code, wanted)
  lines[first] = ("__check(%d, "):format(number) .. lines[first]
end

local function code_of(text)
  local lines, kind, own = {}, nil, "lua " .. db.system()
  for line in text:gmatch "([^\n]*)\n" do
    local fence = line:match "^```(.*)$"
    if fence then
      kind = kind == nil and fence or nil
      lines[#lines + 1] = ""
    elseif kind == "sh" and line == "tycho db sync" then
      lines[#lines + 1] = "__sync()"
    else
      lines[#lines + 1] = (kind == "lua" or kind == own) and line or ""
    end
  end
  for number = 1, #lines do
    check_arrow(lines, number)
  end
  return table.concat(lines, "\n")
end

local function environment(path, app)
  local env = { __count = 0 }
  env.require = function(name)
    return name == "tycho.app" and app or require(name)
  end
  env.__sync = function()
    tables.create(model.all())
  end
  env.__check = function(line, ...)
    local count = select("#", ...)
    env.__count = env.__count + 1
    local got, wanted = (...), (select(count, ...))
    if got ~= wanted then
      error(("%s:%d: %s is wanted, not %s"):format(path, line, json.encode { wanted },
        type(got) == "cdata" and tostring(got) or json.encode { got }), 0)
    end
  end
  return setmetatable(env, { __index = _G })
end

---Runs it; returns what sends requests to the application that it declares.
---@param path string
---@return fun(method: string, target: string, opts?: table): tycho.test.Response
---@return integer checks how many arrows there were
function guide.run(path)
  local chunk = assert(loadstring(code_of(fs.read(path)), "@" .. path))
  local env
  local request = registry.isolate(test.application, function(app)
    env = environment(path, app)
    setfenv(chunk, env)()
  end)
  return request, env.__count
end

return guide
