--- The error page of `tycho dev`: what is wrong, where, and the lines around it.
---
--- Never used outside of development: it shows source code and tracebacks.

local core = require "tycho.core.http"
local vm = require "tycho.core.vm"

local devpage = {}

local STYLE = [[
body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#fafafa;color:#222}
main{max-width:60rem;margin:3rem auto;padding:0 1.5rem}
h1{font-size:1.4rem;color:#b00020;margin:0 0 .5rem}
p{margin:.25rem 0 1rem;color:#555}
pre{background:#fff;border:1px solid #ddd;border-radius:6px;padding:1rem;overflow:auto;
font:14px/1.5 ui-monospace,monospace}
.hit{background:#fde7e9;display:block}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}p{color:#aaa}
pre{background:#222;border-color:#444}.hit{background:#4a1f24}h1{color:#ff7b89}}
]]

local function escape(text)
  return (text:gsub('[&<>"]', {
    ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

-- The file as it was saved, which is not what runs; the scripts only: a configuration has secrets.
local function saved_file(name)
  local file = io.open(vm.about().root .. "/" .. name, "rb")
  local text = file and file:read "*a"
  if file then
    file:close()
  end
  return text
end

-- The lines around file:line, the one in question marked; nil when the file is not ours.
local function excerpt(place, read)
  local folder, file, line = place:match("^([^/\n]+)/([^:\n]+):(%d+)")
  local text = file and folder == vm.about().root:match("[^/]+$") and read(file)
  if not text then
    return nil
  end
  line = tonumber(line)
  local out, number = {}, 0
  for content in (text .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    if number >= line - 4 and number <= line + 4 then
      local row = ("%4d  %s\n"):format(number, escape(content))
      out[#out + 1] = number == line and '<span class="hit">' .. row .. "</span>" or row
    end
  end
  return table.concat(out)
end

local function wants_html(req)
  return (req.headers.accept or ""):find("text/html", 1, true) ~= nil
end

---Renders an error for a developer: HTML for browsers, problem+json for everything else.
---@param req tycho.Request
---@param title string
---@param message string "file:line: what", perhaps several lines
---@param traceback? string
---@param read? fun(name: string): string? where the lines come from; what runs by default
---@return tycho.Response
function devpage.render(req, title, message, traceback, read)
  if not wants_html(req) then
    return setmetatable({
      status = 500,
      headers = { ["Content-Type"] = "application/problem+json" },
      body = {
        type = "about:blank", title = title, status = 500, detail = message,
        traceback = traceback, request_id = req.id,
      },
    }, core.Response)
  end
  local parts = {
    "<!doctype html><html lang=en><meta charset=utf-8><title>", escape(title), "</title><style>",
    STYLE, "</style><main><h1>", escape(title), "</h1><p>", escape(req.method .. " " .. req.path),
    "</p><pre>", escape(message), "</pre>",
  }
  local source = excerpt(message, read or vm.file)
  if source then
    parts[#parts + 1] = "<pre>" .. source .. "</pre>"
  end
  if traceback then
    parts[#parts + 1] = "<pre>" .. escape(traceback) .. "</pre>"
  end
  parts[#parts + 1] = "<p>Save the file and load this page again.</p></main></html>"
  return setmetatable({
    status = 500, headers = { ["Content-Type"] = "text/html; charset=utf-8" },
    body = table.concat(parts),
  }, core.Response)
end

---Answers instead of the route's handler while the files on disk do not run.
---@param req tycho.Request
---@return tycho.Response
function devpage.fault(req)
  return devpage.render(req, "The last save does not run", vm.fault() or "", nil, saved_file)
end

return devpage
