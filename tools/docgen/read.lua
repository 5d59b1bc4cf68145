-- Reads the annotations of one module, for tools/docgen.lua.

local read = {}

-- A type may hold spaces: inside brackets and quotes, and after `:` `,` `|`.
local function take_type(text)
  local depth, at = 0, 1
  while at <= #text do
    local char = text:sub(at, at)
    if char == '"' then
      at = text:find('"', at + 1, true) or at
    elseif char:match("[%(%[{<]") then
      depth = depth + 1
    elseif char:match("[%)%]}>]") then
      depth = depth - 1
    elseif char == " " and depth == 0 and not text:sub(1, at - 1):match("[:,|]$") then
      break
    end
    at = at + 1
  end
  return text:sub(1, at - 1), (text:sub(at + 1):gsub("^%s+", ""))
end

-- What stands behind a tag may go on in the next lines.
local function add(doc, list, item)
  list[#list + 1] = item
  doc.last = item
end

local tags = {}

function tags.param(doc, rest)
  local name, more = rest:match("^(%S+)%s*(.*)$")
  local kind, text = take_type(more or "")
  add(doc, doc.params, { name = name, kind = kind, text = text })
end

tags.field = tags.param
tags["return"] = function(doc, rest)
  local kind, text = take_type(rest)
  add(doc, doc.returns, { kind = kind, text = text })
end

function tags.class(doc, rest)
  doc.class, doc.class_text = rest:match("^([%w_.]+)[^%s]*%s*(.*)$")
end

function tags.async(doc)
  doc.async = true
end

function tags.private(doc)
  doc.private = true
end
tags.package = tags.private

local function read_doc(block)
  local doc = { text = {}, params = {}, returns = {} }
  for _, line in ipairs(block) do
    local tag, rest = line:match("^@(%l+)%s*(.*)$")
    if not tag and doc.last then
      doc.last.text = doc.last.text .. " " .. line
    elseif not tag then
      doc.text[#doc.text + 1] = line
    elseif tags[tag] then
      tags[tag](doc, rest)
    end
  end
  doc.text = table.concat(doc.text, "\n")
  return doc
end

local function head_of(line)
  local name, args = line:match("^%s*function ([%w_.:]+)%((.*)%)")
  if not name then
    name, args = line:match("^([%w_]+%.[%w_]+) = function%((.*)%)")
  end
  return name, args or "", not name and line:match("^([%w_]+%.[%w_]+) = ") or nil
end

-- What a block of comments, perhaps empty, says about the line after it; nil if nothing public. A
-- function in a function is, if something is said of it.
local function read_entry(block, line, number)
  local name, args, alias = head_of(line)
  if #block == 0 and (not name or line:find "^%s") then
    return nil
  end
  local doc = read_doc(block)
  doc.name, doc.args, doc.alias, doc.line = name or alias, args, alias, number
  doc.indent = #line:match("^%s*")
  local public = doc.class or doc.name and not doc.private and not doc.name:match("[.:]_")
  return public and doc or nil
end

-- The classes of another file and their methods, as the module's own.
local function add_classes(module, file)
  local other = read.module(module.path:match("^(.*/)[^/]*$") .. file)
  for _, doc in ipairs(other.entries) do
    if doc.class or doc.name:find(":", 1, true) then
      doc.path = other.path
      module.entries[#module.entries + 1] = doc
    end
  end
end

-- Does the line end the function that is open? At whatever depth that stands.
local function is_end(line, open)
  local indent = line:match("^(%s*)end")
  return indent and (not open or #indent <= open.indent)
end

-- The module's own text, its classes and its functions, in the order of the source; and where it
-- says "-- Classes: _private/name.lua", those that stand there.
function read.module(path)
  local module = { entries = {}, name = path:match("([%w_]+)%.lua$"), path = path }
  local block, number, open = {}, 0, nil
  for line in io.lines(path) do
    number = number + 1
    local comment = line:match("^%s*%-%-%-(.*)$")
    if comment then
      block[#block + 1] = comment
    elseif not module.text then
      module.text = ("\n" .. table.concat(block, "\n")):gsub("\n ", "\n"):sub(2)
    else
      local doc = read_entry(block, line, number)
      module.entries[#module.entries + 1] = doc
      open = doc or not is_end(line, open) and open or nil
      if open and line:match("^%s+return%s+%S") then
        open.gives = true
      end
    end
    block = comment and block or {}
    local file = line:match("^%-%- Classes: (%S+)$")
    if file then
      add_classes(module, file)
    end
  end
  return module
end

return read
