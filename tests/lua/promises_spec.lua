-- docs/promises.md names tests: each of them exists.
local fs = require "tycho.fs"

local FOLDERS = { "tests/blackbox/", "tests/lua/", "tests/lua/app/", "tests/db/", "tests/c/" }

-- Names of tests alone, and behind the name of what they are about.
local function add_names(text, names)
  local about = ""
  for word, name in text:gmatch '(%l+)%("([^"]+)"' do
    if word == "describe" then
      about = name
    elseif word == "it" then
      names[#names + 1] = about .. " " .. name
      names[#names + 1] = name
    end
  end
end

local function read_tests()
  local names, texts = {}, {}
  for _, folder in ipairs(FOLDERS) do
    for _, file in ipairs(fs.list(folder)) do
      if file:find "%.lua$" or file:find "%.c$" then
        local text = fs.read(folder .. file)
        texts[#texts + 1] = text
        add_names(text, names)
      end
    end
  end
  return names, table.concat(texts)
end

local function is_named(names, text, quoted)
  local start = quoted:gsub(":? %.%.%.$", "")
  for _, name in ipairs(names) do
    if name:sub(1, #start) == start then
      return true
    end
  end
  return text:find('"' .. start, 1, true) ~= nil
end

describe("the list of promises", function()
  local page = fs.read "docs/promises.md"
  local rows = page:match "\n|.*"
  local names, text = read_tests()

  it("names tests that exist", function()
    local count = 0
    for quoted in rows:gmatch '"([^"]+)"' do
      count = count + 1
      assert.is_true(is_named(names, text, quoted), quoted)
    end
    assert.is_true(count > 50, count)
  end)

  it("names functions and files that exist", function()
    for name in rows:gmatch "`(%l[%l_%d]+_[%l_%d]+)`" do
      assert.is_truthy(fs.exists("tests/c/" .. name .. ".c")
        or fs.exists("tests/blackbox/" .. name .. "_spec.lua")
        or text:find("%f[%w_]" .. name .. "%f[^%w_]"), name)
    end
    for name in rows:gmatch "`(tests/[%w_/]+%.lua)`" do
      assert.is_true(fs.exists(name), name)
    end
  end)
end)
