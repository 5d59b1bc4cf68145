-- Writes docs/api/*.md from the annotations of the standard library: luajit tools/docgen.lua
--
-- Every public function has a sentence, its parameters, what it returns, and an example; what
-- lacks one of them is printed (rule DOCUMENTED) and the exit status is 1. Names that start with
-- an underscore, and what is marked ---@private or ---@package, are not public.

package.path = assert(arg[0]:match("^(.*)/[^/]*$")) .. "/?.lua;" .. package.path
local read = require "docgen.read"

local FROM, TO = "scripts/lib/tycho/", "docs/api/"

local findings = 0

local function full_name(module)
  return module.name == "init" and "tycho" or "tycho." .. module.name
end

local function report(module, doc, what)
  findings = findings + 1
  print(("%s:%d: DOCUMENTED: %s has no %s"):format(doc.path or module.path, doc.line, doc.name,
    what))
end

local function check_params(module, doc)
  local known = {}
  for _, param in ipairs(doc.params) do
    known[param.name:gsub("%?$", "")] = true
  end
  for arg in doc.args:gmatch("[%w_.]+") do
    if not known[arg] and not arg:match("^_") then
      report(module, doc, "@param " .. arg)
    end
  end
end

local function check(module, doc)
  if not doc.text:match("%S") then
    report(module, doc, "sentence")
  end
  check_params(module, doc)
  if doc.gives and #doc.returns == 0 then
    report(module, doc, "@return")
  end
  if not doc.alias and not doc.name:find(":") and not doc.text:find("```lua") then
    report(module, doc, "example")
  end
end

local function list(out, title, items)
  if #items > 0 then
    out[#out + 1] = title .. "\n"
    for _, item in ipairs(items) do
      local name = item.name and ("`%s` "):format(item.name) or ""
      local text = item.text ~= "" and (": " .. item.text) or ""
      out[#out + 1] = ("- %s`%s`%s"):format(name, item.kind, text)
    end
    out[#out + 1] = ""
  end
end

local function add(out, text)
  if text and text ~= "" then
    out[#out + 1] = text .. "\n"
  end
end

local function render_entry(out, doc)
  if doc.class and #doc.params == 0 and doc.class_text == "" then
    return -- only gives a name to a table
  end
  local call = doc.class or doc.alias or ("%s(%s)"):format(doc.name, doc.args)
  add(out, "## " .. call)
  add(out, doc.async and "*May wait.*")
  add(out, doc.class_text)
  add(out, doc.text)
  list(out, doc.class and "Fields:" or "Parameters:", doc.params)
  list(out, "Returns:", doc.returns)
end

local function render(module)
  local out = { "# " .. full_name(module) .. "\n", module.text .. "\n" }
  for _, doc in ipairs(module.entries) do
    if doc.name then
      check(module, doc)
    end
    render_entry(out, doc)
  end
  return (table.concat(out, "\n"):gsub("\n\n\n+", "\n\n"):gsub("%s+$", "") .. "\n")
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

os.execute("mkdir -p " .. TO .. " && rm -f " .. TO .. "*.md")
local index = { "# The standard library\n" }
local listing = io.popen("LC_ALL=C ls " .. FROM .. "*.lua")
for path in listing:lines() do
  local module = read.module(path)
  write(TO .. module.name .. ".md", render(module))
  local summary = module.text:match("^%s*([^\n]*)")
  index[#index + 1] = ("- [%s](%s.md): %s"):format(full_name(module), module.name, summary)
end
listing:close()
write(TO .. "README.md", table.concat(index, "\n") .. "\n")
os.exit(findings == 0 and 0 or 1)
