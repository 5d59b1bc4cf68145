-- Does what docs/guide/migrations.md says, block by block: a block that begins with the name of a
-- file is saved, one of shell is run and must print what the block of text behind it says, in which
-- `...` stands for anything. A block of Lua without a name must run.

local fs = require "tycho.fs"
local process = require "tycho.process"
local server = require "tests.blackbox.support.server"

local function blocks_of(markdown)
  local blocks, open = {}, nil
  for line in markdown:gmatch "([^\n]*)\n" do
    local info = line:match "^```(.*)$"
    if open and info then
      blocks[#blocks + 1], open = open, nil
    elseif info then
      open = { kind = info, text = "" }
    elseif open then
      open.text = open.text .. line .. "\n"
    end
  end
  return blocks
end

local function pattern_of(text)
  local escaped = text:gsub("[%^$()%%.%[%]*+%-?]", "%%%0")
  return "^" .. escaped:gsub("%%%.%%%.%%%.", "[^\n]*") .. "$"
end

describe("the guide to changing the schema", function()
  after_each(server.clean_up)

  it("is true, block by block", function()
    local s = server.prepare { scripts = { ["app/main.lua"] = "require 'app.users'\n" } }
    local bin, printed = s.folder .. "/bin", nil
    fs.mkdir(bin)
    process.run { args = { "ln", "-s", server.program(), bin .. "/tycho" } }

    local function run(command)
      local exit, out, err = process.run({
        args = { "sh", "-c", command }, cwd = s.folder,
        env = { PATH = bin .. ":" .. os.getenv "PATH" },
      }, 60)
      assert.equal(0, exit.code, command .. ": " .. out .. err)
      return out
    end

    local seen = 0
    for _, block in ipairs(blocks_of(fs.read(server.root .. "/docs/guide/migrations.md"))) do
      local file = block.text:match "^%-%- scripts/([^\n]+)\n"
      if file then
        s:write(file, block.text)
      elseif block.kind == "lua" then
        fs.write(s.folder .. "/program.lua", block.text)
        run "tycho run program.lua"
      elseif block.kind == "sh" then
        printed = run(block.text)
      elseif block.kind == "text" then
        assert.matches(pattern_of(block.text), printed)
        seen = seen + 1
      end
    end
    assert.equal(7, seen)
  end)
end)
