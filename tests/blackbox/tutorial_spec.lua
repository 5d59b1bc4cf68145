-- Does what docs/tutorial.md says, block by block, in an empty folder.
--
-- A block of Lua or SQL is saved under the name in its first line. A block of shell is run, and
-- must print what the block of text behind it says, in which `...` stands for anything; it is run
-- again until it does, because a reload takes its moment. `sh server` starts a server, the one
-- before being stopped.

local clock = require "tests.blackbox.support.clock"
local fs = require "tycho.fs"
local http = require "tests.blackbox.support.http"
local json = require "tycho.json"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local PATIENCE = 30

local function blocks_of(markdown)
  local blocks, number, open = {}, 0, nil
  for line in markdown:gmatch("([^\n]*)\n") do
    number = number + 1
    local info = line:match("^```(.*)$")
    if open and info then
      blocks[#blocks + 1], open = open, nil
    elseif info then
      open = { kind = info, line = number, text = "" }
    elseif open then
      open.text = open.text .. line .. "\n"
    end
  end
  return blocks
end

-- A pattern for the text with `...`; spaces and line ends around it do not matter.
local function pattern_of(text)
  local escaped = text:gsub("%s+$", ""):gsub("[%^$()%%.%[%]*+%-?]", "%%%0")
  return "^" .. escaped:gsub("%%%.%%%.%%%.", ".-") .. "%s*$"
end

local function fits(wanted, got)
  if wanted == "..." then
    return true
  elseif type(wanted) ~= "table" or type(got) ~= "table" then
    return wanted == got
  end
  for name, value in pairs(wanted) do
    if not fits(value, got[name]) then
      return false
    end
  end
  for name in pairs(got) do
    if wanted[name] == nil then
      return false
    end
  end
  return true
end

local function is_printed(wanted, printed)
  local is_json, value = pcall(json.decode, wanted)
  if is_json then
    local ok, got = pcall(json.decode, printed)
    return ok and fits(value, got)
  end
  return printed:match(pattern_of(wanted)) ~= nil
end

describe("the tutorial", function()
  local folder, env, port, running

  local function stop()
    if running then
      running:kill "TERM"
      running:wait(PATIENCE)
      running = nil
    end
  end

  after_each(function()
    stop()
    server.clean_up()
  end)

  local function start(command)
    stop()
    running = process.spawn {
      args = { "setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", "exec " .. command },
      cwd = folder, env = env, stdout = folder .. "/../out", stderr = folder .. "/../err",
    }
    clock.eventually(function()
      return http.request(port, "GET", "/readyz").status == 200
    end, PATIENCE, command)
  end

  local function run(block, wanted)
    local script = block.text:gsub("localhost:8080", "localhost:" .. port)
    local printed
    local ok = pcall(clock.eventually, function()
      local exit, out = process.run({
        args = { "sh", "-c", "exec 2>&1\n" .. script }, cwd = folder, env = env,
      }, PATIENCE)
      printed = out
      return exit.code == 0 and (not wanted or is_printed(wanted.text, printed))
    end, PATIENCE)
    if not ok then
      error(("docs/tutorial.md:%d: wanted\n%s\ngot\n%s"):format(block.line,
        wanted and wanted.text or "exit code 0", printed), 0)
    end
  end

  it("works as it is written", function()
    local s = server.prepare { scripts = {} }
    port, folder = s.port, s.folder .. "/notes"
    env = {
      PATH = server.program():match("^(.*)/") .. ":" .. os.getenv "PATH",
      HOME = s.folder, LANG = "C.UTF-8", TYCHO_HTTP__PORT = tostring(port),
      TYCHO_ADMIN__PORT = tostring(s.admin_port), TYCHO_WORKERS = "2",
    }
    local blocks = blocks_of(fs.read "docs/tutorial.md")
    assert.is_true(#blocks > 15)

    -- The first block makes the folder that all others are for.
    local made = process.run({
      args = { "sh", "-c", blocks[1].text }, cwd = s.folder, env = env,
    }, PATIENCE)
    assert.equal(0, made.code)

    for i = 2, #blocks do
      local block, following = blocks[i], blocks[i + 1]
      local path = block.text:match("^%-%- (%S+)\n")
      if block.kind == "sh server" then
        start((block.text:gsub("%s+$", "")))
      elseif block.kind == "sh" then
        run(block, following and following.kind == "text" and following or nil)
      elseif path then
        fs.mkdir((folder .. "/" .. path):match("^(.*)/"))
        fs.write(folder .. "/" .. path, block.text)
      end
    end
  end)
end)
