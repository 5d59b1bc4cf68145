--- What application code may not have, what opens it, and the words for whoever reaches for it.

local closed = {}

-- By table of Lua's library: the name in scripts.grants that opens it, or false where nothing does.
local FIELDS = {
  os = {
    execute = "os.execute", getenv = "os.execute", exit = false, setlocale = false,
    remove = "io", rename = "io", tmpname = "io",
  },
  package = { loadlib = false, searchpath = false, seeall = false },
  string = { dump = "bytecode" },
}
local GLOBALS = {
  debug = "debug", io = "io",
  dofile = false, getfenv = false, loadfile = false, module = false, newproxy = false,
  setfenv = false,
}

local function words(name, grant)
  local opens = grant and ("; scripts.grants can allow '%s'"):format(grant) or ""
  return ("%s is not for applications%s"):format(name, opens)
end

---Why a global variable is not there.
---@param name any
---@return string words
function closed.global(name)
  local grant = GLOBALS[name]
  if grant == nil then
    return ("global variable '%s' is not defined"):format(tostring(name))
  end
  return words(name, grant)
end

---Puts a function that says so wherever one is missing.
---@param env table<string, table> the application's own copies of Lua's tables
function closed.fill(env)
  for name, fields in pairs(FIELDS) do
    for field, grant in pairs(fields) do
      local text = words(name .. "." .. field, grant)
      env[name][field] = env[name][field] or function()
        error(text, 2)
      end
    end
  end
end

return closed
