--- Applications that must never go live: each is one mistake, with the place and the words that
--- the refusal must have.

local HEAD = [[
local app = require "tycho.app"
]]

-- what it is, the lines behind HEAD, the line of the mistake in the file, words of the message
local MISTAKES = {
  { "an unfinished string", [[app.get("/a, function() end)]], 2, "unfinished string" },
  { "a missing end", "app.get('/a', function()\n  return {}", 4, "expected" },
  { "a doubled operator", "local x = = 1", 2, "unexpected symbol" },
  { "a stray word", "local x = 1 2", 2, "expected" },
  { "a goto to nowhere", "do goto nowhere end", 2, "nowhere" },
  { "break outside of a loop", "break", 2, "break" },
  { "an unfinished comment", "--[[ and so on", 3, "unfinished" },
  { "a number that is none", "local x = 12abc", 2, "malformed number" },
  { "a new global", "counter = 0", 2, "counter" },
  { "a misspelt global", "local x = tostirng(1)", 2, "tostirng" },
  { "a call of nil", "local x\nx()", 3, "call" },
  { "an index of nil", "local x\nlocal y = x.y", 3, "index" },
  { "arithmetic on text", "local x = {} + 1", 2, "arithmetic" },
  { "an error", "error('the shop is closed')", 2, "the shop is closed" },
  { "an error that is no text", "error({})", 2, "a table was raised" },
  { "a module that the library does not have", "require 'tycho.jsno'", 2, "tycho.jsno" },
  { "a failed assertion in a function", "local function f()\n  error('not like this')\nend\nf()", 3,
    "not like this" },
  { "a module that is not there", "local x = require 'app.nowhere'", 2, "app.nowhere" },
  { "a module of the system", "local x = require 'ffi'", 2, "ffi" },
  { "a process started", "os.execute 'true'", 2, "execute" },
  { "a pipe opened", "io.popen 'true'", 2, "io" },
  { "two routes for the same", "app.get('/a', function() end)\napp.get('/a', function() end)", 3,
    "/a" },
  { "two routes that differ in a name",
    "app.get('/a/{x}', function() end)\napp.get('/a/{y}', function() end)", 3, "/a/{" },
  { "a route without a handler", "app.get('/a')", 2, "handler" },
  { "a handler that is none", "app.get('/a', {}, 'handler')", 2, "handler" },
  { "a path without a slash", "app.get('a', function() end)", 2, "/" },
  { "a parameter without an end", "app.get('/{a', function() end)", 2, "{a" },
  { "a parameter twice", "app.get('/{a}/{a}', function() end)", 2, "a" },
  { "a catch-all in the middle", "app.get('/{a...}/b', function() end)", 2, "a..." },
  { "an option that does not exist", "app.get('/a', { sumary = 'x' }, function() end)", 2,
    "sumary" },
  { "a wait while loading", "require('tycho.fiber').sleep(0.01)", 2, "wait" },
  { "a module that loads itself", "require 'app.main'", 2, "app.main" },
  { "a check that fails", "app.check(function()\n  error('no ink in the printer')\nend)", 3,
    "no ink in the printer" },
  { "code without end", "while true do end", 2, "load" },
}

local broken = {}

---@class blackbox.Broken
---@field name string
---@field text string of scripts/app/main.lua
---@field line integer
---@field words string

for i, mistake in ipairs(MISTAKES) do
  broken[i] = { name = mistake[1], text = HEAD .. mistake[2] .. "\n", line = mistake[3],
    words = mistake[4] }
end

return broken
