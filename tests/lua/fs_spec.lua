local errors = require "tycho.errors"
local fiber = require "tycho.fiber"
local fs = require "tycho.fs"

local function kind_of(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err), tostring(err))
  return err.kind
end

describe("tycho.fs", function()
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    fs.mkdir(folder)
  end)

  after_each(function()
    fs.remove(folder, { recursive = true })
  end)

  it("reads back what was written", function()
    fs.write(folder .. "/file", "a\0b\n")
    assert.equal("a\0b\n", fs.read(folder .. "/file"))
    fs.write(folder .. "/file", "")
    assert.equal("", fs.read(folder .. "/file"))
    assert.same({ "file" }, fs.list(folder))
  end)

  it("never shows half a file while it is replaced", function()
    local path = folder .. "/file"
    local texts = { [("a"):rep(200000)] = true, [("b"):rep(200000)] = true }
    fs.write(path, (next(texts)))
    local writer = fiber.spawn(function()
      for _ = 1, 10 do
        for text in pairs(texts) do
          fs.write(path, text)
        end
      end
    end)

    while not writer.done do
      assert.is_true(texts[fs.read(path)])
    end
    writer:join()
  end)

  it("makes folders with those above, and lists names in order", function()
    fs.mkdir(folder .. "/b/c")
    fs.mkdir(folder .. "/b/c")
    fs.write(folder .. "/a", "x")
    assert.same({ "a", "b" }, fs.list(folder))
    assert.equal("conflict", kind_of(fs.mkdir, folder .. "/a"))
  end)

  it("tells what is there", function()
    fs.write(folder .. "/file", "12345")

    local there = fs.stat(folder .. "/file")
    assert.equal("file", there.type)
    assert.equal(5, there.size)
    assert.is_true(math.abs(there.modified - os.time()) < 60)
    assert.equal("folder", fs.stat(folder).type)
    assert.is_nil(fs.stat(folder .. "/missing"))
    assert.is_false(fs.exists(folder .. "/missing"))
  end)

  it("removes a tree only when told to", function()
    fs.mkdir(folder .. "/tree/branch")

    assert.equal("conflict", kind_of(fs.remove, folder .. "/tree"))
    fs.remove(folder .. "/tree", { recursive = true })
    assert.is_false(fs.exists(folder .. "/tree"))
    assert.equal("not_found", kind_of(fs.remove, folder .. "/tree"))
  end)

  it("raises what is wrong", function()
    assert.equal("not_found", kind_of(fs.read, folder .. "/missing"))
    assert.equal("invalid", kind_of(fs.read, folder))
    assert.equal("not_found", kind_of(fs.write, folder .. "/missing/file", "x"))
    fs.write(folder .. "/file", "12345")
    assert.equal("too_large", kind_of(fs.read, folder .. "/file", 4))
    assert.equal("invalid", kind_of(fs.list, folder .. "/file"))
  end)
end)
