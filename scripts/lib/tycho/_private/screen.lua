--- What commands print: text for people, and questions to them.

local screen = {}

local STYLES = { bold = "\27[1m", dim = "\27[2m", red = "\27[31m", green = "\27[32m",
  yellow = "\27[33m" }

local has_colour, has_progress, is_quiet

---@param call table its `colour` says whether styles are shown; with `json` only JSON is printed
function screen.open(call)
  has_colour, has_progress, is_quiet = call.colour, false, call.json
end

---Names come from databases and scripts: they must not steer the terminal.
---@param text any
---@return string
function screen.clean(text)
  text = tostring(text):gsub("[%z\1-\9\11-\31\127]", "?")
  return (text:gsub("\194[\128-\159]", "?")) -- the control characters of ISO 8859, in UTF-8
end

local clean = screen.clean

-- On one line, whatever a name holds.
local function cell_of(value)
  return (clean(value):gsub("\n", "?"))
end

---Text in a style, where that shows.
---@param style "bold"|"dim"|"red"|"green"|"yellow"
---@param text string
---@return string
function screen.styled(style, text)
  text = clean(text)
  return has_colour and STYLES[style] .. text .. "\27[0m" or text
end

local function clear_progress()
  if has_progress then
    io.stderr:write "\r\27[K"
    has_progress = false
  end
end

---Prints a line, as it is.
---@param text string
function screen.line(text)
  clear_progress()
  io.write(text, "\n")
end

---Prints a line for people: not where JSON is wanted.
---@param text string
function screen.say(text)
  if not is_quiet then
    screen.line(text)
  end
end

---@param text string
function screen.title(text)
  screen.say(screen.styled("bold", text))
end

---Says on standard error what is wrong.
---@param text string
function screen.fault(text)
  clear_progress()
  io.stderr:write("tycho: ", text, "\n")
end

---Shows what is being done, until the next line; nothing takes it away.
---@param text? string
function screen.progress(text)
  clear_progress()
  if text then
    io.stderr:write(clean(text))
    io.stderr:flush()
    has_progress = true
  end
end

---Rows of cells, all columns as wide as their widest cell; the first row is the head.
---@param rows any[][]
function screen.table(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, #cell_of(cell))
    end
  end
  for n, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      local text = cell_of(cell)
      cells[i] = i == #row and text or text .. (" "):rep(widths[i] - #text)
    end
    local line = table.concat(cells, "  ")
    screen.line(n == 1 and screen.styled("bold", line) or line)
  end
end

---Asks, where somebody can be asked; says what to do where nobody can.
---@param call table
---@param question string
---@return boolean
function screen.confirm(call, question)
  if not call.terminal then
    screen.fault "nothing was done: there is nobody to ask; --yes says that it shall be done"
    return false
  end
  io.write(question, " [y/N] ")
  io.flush()
  local answer = io.read "*l"
  if answer and answer:lower():match("^%s*y") then
    return true
  end
  screen.line "Nothing was done."
  return false
end

return screen
