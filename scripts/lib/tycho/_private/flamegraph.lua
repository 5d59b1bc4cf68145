-- Draws folded stacks ("root;caller;callee 12", a line each) as a flame graph: one SVG file that
-- needs nothing else, in which a browser zooms and searches.

local fs = require "tycho.fs"

local flamegraph = {}

local WIDTH, MARGIN, ROW, TOP, BOTTOM = 1200, 10, 18, 70, 34
local SMALLEST = 0.0004 -- of the width; what is narrower could not be seen

-- Kinds of frames: a name for the legend, and hue, saturation and lightness to vary.
local KINDS = {
  { id = "app", label = "application", hue = 18, sat = 85, light = 62 },
  { id = "line", label = "line", hue = 42, sat = 90, light = 68 },
  { id = "lib", label = "tycho library", hue = 78, sat = 45, light = 62 },
  { id = "c", label = "C", hue = 204, sat = 55, light = 68 },
  { id = "vm", label = "LuaJIT", hue = 275, sat = 40, light = 74 },
  { id = "base", label = "worker, route", hue = 215, sat = 12, light = 80 },
}

local function kind_of(name, depth)
  if depth == 0 or name == "loop" or depth == 1 and name:find "^%u+[ ,]" then
    return "base"
  elseif name:find "^line %d+$" then
    return "line"
  elseif name:find "^tycho/[^ ]*:%d+$" or name:find " tycho/[^ ]*:%d+$" then
    return "lib"
  elseif name:find ":%d+$" then
    return "app"
  elseif name:find "^lj_" or name:find "^luaL?_" or name:find "^gc_" then
    return "vm"
  end
  return "c"
end

-- The stacks as a tree: { name, value, children by name, list }.
local function grow(folded)
  local root = { name = "all", value = 0, children = {}, list = {} }
  for stack, count in folded:gmatch "([^\n]+) (%d+)\n" do
    local node = root
    root.value = root.value + tonumber(count)
    for name in stack:gmatch "[^;]+" do
      local child = node.children[name]
      if not child then
        child = { name = name, value = 0, children = {}, list = {} }
        node.children[name] = child
        node.list[#node.list + 1] = child
      end
      child.value = child.value + tonumber(count)
      node = child
    end
  end
  return root
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(text)
  return (text:gsub('[&<>"]', ENTITIES):gsub("%c", "?"))
end

-- The same name has the same colour wherever it is.
local function colour(name, kind)
  local hash = 0
  for i = 1, #name do
    hash = (hash * 31 + name:byte(i)) % 1009
  end
  for _, known in ipairs(KINDS) do
    if known.id == kind then
      return ("hsl(%d,%d%%,%d%%)"):format(known.hue + hash % 17 - 8, known.sat,
        known.light + hash % 7 - 3)
    end
  end
end

-- The widest first: what matters stands on the left.
local function by_value(a, b)
  if a.value ~= b.value then
    return a.value > b.value
  end
  return a.name < b.name
end

-- Lays the frames of a tree out: { name, x, width (of 1), depth, value, self }.
local function lay_out(root)
  local frames, deepest = {}, 0

  local function place(node, x, depth)
    local below = 0
    table.sort(node.list, by_value)
    for _, child in ipairs(node.list) do
      below = below + child.value
    end
    frames[#frames + 1] = {
      name = node.name, x = x, width = node.value / root.value, depth = depth,
      value = node.value, own = node.value - below,
    }
    deepest = math.max(deepest, depth)
    for _, child in ipairs(node.list) do
      if child.value / root.value >= SMALLEST then
        place(child, x, depth + 1)
      end
      x = x + child.value / root.value
    end
  end

  local base = #root.list == 1 and root.list[1] or root -- "worker" is the root of all
  if root.value > 0 then
    place(base, 0, 0)
  end
  return frames, deepest
end

local SCRIPT = [==[
(function () {
  var frames = Array.prototype.slice.call(document.querySelectorAll('g.f'));
  var info = document.getElementById('info'), found = document.getElementById('found');
  var reset = document.getElementById('reset'), wanted = null, W = @INNER@, X = @MARGIN@;
  frames.forEach(function (g) {
    g.x = +g.getAttribute('data-x'); g.w = +g.getAttribute('data-w');
    g.d = +g.getAttribute('data-d'); g.label = g.getAttribute('data-n');
    g.rect = g.querySelector('rect'); g.words = g.querySelector('text');
    g.addEventListener('click', function () { zoom(g); });
    g.addEventListener('mouseover', function () {
      info.textContent = g.querySelector('title').textContent;
    });
    g.addEventListener('mouseout', function () { info.textContent = ''; });
  });
  function fit(g, width) {
    var room = Math.floor((width - 6) / 6.7);
    g.words.textContent = room < 3 ? '' :
      g.label.length <= room ? g.label : g.label.slice(0, room - 1) + '\u2026';
  }
  function zoom(to) {
    var x = to ? to.x : 0, w = to ? to.w : 1, e = 1e-9;
    frames.forEach(function (g) {
      var around = to && g.d < to.d && g.x <= x + e && g.x + g.w >= x + w - e;
      var inside = g.x >= x - e && g.x + g.w <= x + w + e && (!to || g.d >= to.d);
      g.style.display = around || inside ? '' : 'none';
      if (!(around || inside)) return;
      var left = around ? 0 : (g.x - x) / w, width = around ? 1 : g.w / w;
      g.rect.setAttribute('x', X + left * W);
      g.rect.setAttribute('width', Math.max(width * W - 0.5, 0.3));
      g.rect.style.opacity = around ? 0.5 : 1;
      g.words.setAttribute('x', X + left * W + 3);
      fit(g, width * W);
    });
    reset.style.display = to && to.d > 0 ? '' : 'none';
  }
  function search(text) {
    var sum = 0, until = [];
    wanted = text ? text.toLowerCase() : null;
    frames.forEach(function (g) {
      var hit = wanted && g.label.toLowerCase().indexOf(wanted) >= 0;
      g.rect.classList.toggle('hit', !!hit);
      if (hit && !until.some(function (o) {
        return g.x >= o.x - 1e-9 && g.x + g.w <= o.x + o.w + 1e-9 && g.d > o.d;
      })) { sum += g.w; until.push(g); }
    });
    found.textContent = wanted ? '\u201c' + text + '\u201d: ' + (sum * 100).toFixed(1) + '%' : '';
  }
  function ask() {
    if (wanted) return search(null);
    search(prompt('Highlight frames whose name contains'));
  }
  reset.addEventListener('click', function () { zoom(null); });
  document.getElementById('search').addEventListener('click', ask);
  window.addEventListener('keydown', function (e) {
    if (e.key === 'Escape') { zoom(null); search(null); }
    if (e.key === '/' || (e.ctrlKey && e.key === 'f')) { e.preventDefault(); ask(); }
  });
  zoom(null);
})();
]==]

local STYLE = [[
text { font: 11px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #222; }
text.title { font: bold 17px system-ui, "DejaVu Sans", sans-serif; }
text.small { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #555; }
text.button { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #06c; cursor: pointer; }
g.f { cursor: pointer; }
g.f text { pointer-events: none; }
g.f:hover rect { stroke: #000; stroke-width: 1; }
rect.hit { fill: #e0f !important; }
]]

local function add_legend(out)
  local x = MARGIN
  for _, kind in ipairs(KINDS) do
    out[#out + 1] = ('<rect x="%d" y="40" width="12" height="12" rx="2" fill="hsl(%d,%d%%,%d%%)"/>'
      .. '<text class="small" x="%d" y="50">%s</text>'):format(x, kind.hue, kind.sat, kind.light,
      x + 17, kind.label)
    x = x + 36 + #kind.label * 6
  end
end

local function add_frame(out, frame, total, y)
  local text = ("%s: %d samples, %.1f%%"):format(frame.name, frame.value,
    frame.value / total * 100)
  if frame.own > 0 then
    text = text .. (", itself %.1f%%"):format(frame.own / total * 100)
  end
  out[#out + 1] = ('<g class="f" data-x="%.6f" data-w="%.6f" data-d="%d" data-n="%s">'
    .. '<title>%s</title><rect x="%.1f" y="%d" width="%.1f" height="%d" rx="1" fill="%s"/>'
    .. '<text x="%.1f" y="%d"></text></g>'):format(frame.x, frame.width, frame.depth,
    escape(frame.name), escape(text), MARGIN + frame.x * (WIDTH - 2 * MARGIN), y,
    math.max(frame.width * (WIDTH - 2 * MARGIN) - 0.5, 0.3), ROW - 1,
    colour(frame.name, kind_of(frame.name, frame.depth)),
    MARGIN + frame.x * (WIDTH - 2 * MARGIN) + 3, y + 13)
end

---The picture of folded stacks.
---
---```lua
---local svg = flamegraph.render("worker;GET /;line 3 7\n", "7 samples of 1 worker in 1.0s")
---```
---@param folded string
---@param title string
---@return string svg
function flamegraph.render(folded, title)
  local root = grow(folded)
  local frames, deepest = lay_out(root)
  local height = TOP + (deepest + 1) * ROW + BOTTOM
  local out = {
    ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="100%%"'
      .. ' preserveAspectRatio="xMidYMin">'):format(WIDTH, height),
    "<style>" .. STYLE .. "</style>",
    ('<rect width="%d" height="%d" fill="#fff"/>'):format(WIDTH, height),
    ('<text class="title" x="%d" y="26">%s</text>'):format(MARGIN, escape(title)),
    ('<text class="button" id="reset" x="%d" y="26" style="display:none">zoom out</text>')
      :format(WIDTH - 190),
    ('<text class="button" id="search" x="%d" y="26">search (/)</text>'):format(WIDTH - 90),
    ('<text class="small" id="found" text-anchor="end" x="%d" y="50"></text>')
      :format(WIDTH - MARGIN),
    ('<text class="small" id="info" x="%d" y="%d"></text>'):format(MARGIN, height - 12),
  }
  add_legend(out)
  for _, frame in ipairs(frames) do
    add_frame(out, frame, root.value, TOP + (deepest - frame.depth) * ROW)
  end
  local script = SCRIPT:gsub("@INNER@", WIDTH - 2 * MARGIN):gsub("@MARGIN@", MARGIN)
  out[#out + 1] = "<script><![CDATA[\n" .. script .. "]]></script></svg>\n"
  return table.concat(out, "\n")
end

---What `tycho profile` runs: reads stacks from one file, writes the picture to another.
---@async
---@param input string
---@param output string
---@param title string
function flamegraph.main(input, output, title)
  local svg = flamegraph.render(fs.read(input), "tycho profile: " .. title)
  fs.write(output, svg)
end

return flamegraph
