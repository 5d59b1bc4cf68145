--- What every repository does, wherever it keeps its rows: finding them.
---
--- A storage finds, counts, inserts, changes and deletes rows in their canonical form; what a row
--- is and who may see it is decided here, once; what becomes of changes in the file beside this.

local blame = require "tycho._private.blame"
local filter = require "tycho._private.filter"
local json = require "tycho.json"
local options = require "tycho.options"
local pages = require "tycho._private.repository_pages"
local rows = require "tycho._private.repository_rows"

local null = json.null

local base = {}

---@class tycho.repository.Repository
---@field model tycho.model.Model
local Repository = {}
Repository.__index = Repository
base.Repository = Repository

local FIND = options.set { "with_deleted" }
local LIST = options.set {
  "where", "order", "limit", "cursor", "page", "per_page", "with_deleted",
}
local EACH = options.set { "where", "order", "with_deleted", "batch" }

---@param model tycho.model.Model
---@param storage table
---@param opts tycho.repository.Options
---@return tycho.repository.Repository
function base.new(model, storage, opts)
  local described = model.table
  return setmetatable({
    model = model, storage = storage, described = described,
    limit = opts.limit or 20, limit_max = opts.limit_max or 1000,
    on_conflict = opts.on_conflict or {}, on_missing = opts.on_missing, on_stale = opts.on_stale,
    natural = pages.order(described, {}),
  }, Repository)
end

---The tree of the rows that are meant: those that were deleted are not, unless they are asked for.
function base.tree_of(self, where, with_deleted)
  local tree = filter.parse(where)
  if self.described.soft_delete and not with_deleted then
    tree[#tree + 1] = { column = self.described.soft_delete, op = "eq", value = null }
  end
  return tree
end

local tree_of = base.tree_of

---The tree of one row.
function base.key_tree(self, key, with_deleted)
  local tree = tree_of(self, nil, with_deleted)
  for i, name in ipairs(self.described.primary) do
    table.insert(tree, i, { column = name, op = "eq", value = key[name] })
  end
  return tree
end

---Options, with whoever called the library to blame.
function base.check_opts(opts, known)
  if opts == nil then
    return {}
  elseif type(opts) ~= "table" then
    blame("options are a table, not a %s", type(opts))
  end
  local ok, err = pcall(options.check, opts, known)
  if not ok then
    blame((err:gsub("^[^\n]-:%d+: ", "")))
  end
  return opts
end

local check_opts = base.check_opts

---The entity with this key, or nil.
---
---```lua
---local user = users:get(id)
---local member = members:get { team_id = 1, user_id = 2 }
---```
---@async
---@param key any the primary key; of several columns, a table with them
---@param opts? { with_deleted?: boolean }
---@return table<string, any>? entity
function Repository:get(key, opts)
  opts = check_opts(opts, FIND)
  return self.storage:get((rows.key(self.described, key)), opts.with_deleted)
end

---The first entity for which the filter holds, or nil.
---
---```lua
---local user = users:find_by { email = email }
---```
---@async
---@param where tycho.query.Filter
---@param opts? { with_deleted?: boolean }
---@return table<string, any>? entity
function Repository:find_by(where, opts)
  opts = check_opts(opts, FIND)
  local tree = filter.parse(where)
  if #tree == 0 then
    blame("%s: find_by without a filter would find anything", self.described.name)
  end
  return self.storage:find(tree_of(self, where, opts.with_deleted), self.natural, 1)[1]
end

---How many there are.
---
---```lua
---local count = users:count { active = true }
---```
---@async
---@param where? tycho.query.Filter
---@param opts? { with_deleted?: boolean }
---@return integer
function Repository:count(where, opts)
  opts = check_opts(opts, FIND)
  return self.storage:count(tree_of(self, where, opts.with_deleted))
end

---Is there any?
---
---```lua
---if users:exists { email = email } then ... end
---```
---@async
---@param where? tycho.query.Filter
---@param opts? { with_deleted?: boolean }
---@return boolean
function Repository:exists(where, opts)
  opts = check_opts(opts, FIND)
  return self.storage:exists(tree_of(self, where, opts.with_deleted))
end

local function count_of(self, name, value, default)
  if value == nil then
    return default
  elseif type(value) ~= "number" or value < 1 or value % 1 ~= 0 then
    blame("%s: %s is a whole number above 0, not %s", self.described.name, name, tostring(value))
  elseif name ~= "page" and value > self.limit_max then
    blame("%s: %s is at most %d (limit_max)", self.described.name, name, self.limit_max)
  end
  return value
end

local OFFSET_MAX = 2 ^ 53 - 1 -- a client may ask for any page

local function numbered_page(self, opts, order)
  if opts.cursor or opts.limit then
    blame("%s: page goes with per_page, not with limit and cursor", self.described.name)
  end
  local page = count_of(self, "page", opts.page, 1)
  local per_page = count_of(self, "per_page", opts.per_page, self.limit)
  local tree = tree_of(self, opts.where, opts.with_deleted)
  local total = self.storage:count(tree)
  local offset = math.min((page - 1) * per_page, OFFSET_MAX)
  return {
    items = json.array(self.storage:find(tree, order, per_page, offset)),
    page = page, per_page = per_page, total = total, pages = math.ceil(total / per_page),
  }
end

---@class tycho.repository.ListOptions
---@field where? tycho.query.Filter
---@field order? string|string[] columns, downwards with a `-` before them
---@field limit? integer 20 by default
---@field cursor? string of the page before
---@field page? integer instead of a cursor: the number of the page
---@field per_page? integer
---@field with_deleted? boolean

---@class tycho.repository.Page
---@field items table<string, any>[]
---@field next_cursor? string of the next page; nil: there is none
---@field page? integer with page numbers; and so below
---@field per_page? integer
---@field total? integer
---@field pages? integer

---A page of entities. By default the newest first, where rows have a time, else by their key.
---
---```lua
---local page = orders:list { where = { user_id = id }, limit = 20, cursor = req.query.cursor }
---local numbered = orders:list { order = { "state", "-amount" }, page = 3, per_page = 50 }
---```
---@async
---@param opts? tycho.repository.ListOptions
---@return tycho.repository.Page
function Repository:list(opts)
  opts = check_opts(opts, LIST)
  local order = pages.order(self.described, opts.order)
  if opts.page or opts.per_page then
    return numbered_page(self, opts, order)
  end
  local limit = count_of(self, "limit", opts.limit, self.limit)
  local tree = tree_of(self, opts.where, opts.with_deleted)
  if opts.cursor then
    tree[#tree + 1] = pages.after(self.described, order, opts.cursor)
  end
  local items = self.storage:find(tree, order, limit + 1)
  local more = table.remove(items, limit + 1) ~= nil
  return {
    items = json.array(items),
    next_cursor = more and pages.cursor(self.described, order, items[limit]) or nil,
  }
end

---@class tycho.repository.EachOptions
---@field where? tycho.query.Filter
---@field order? string|string[] columns, downwards with a `-` before them
---@field with_deleted? boolean
---@field batch? integer how many are fetched at once: 500

---All entities, one after the other, in bounded memory: they are fetched in pages.
---
---```lua
---for user in users:each { where = { active = true }, order = "id" } do ... end
---```
---@async
---@param opts? tycho.repository.EachOptions
---@return fun(): table<string, any>?
function Repository:each(opts)
  opts = check_opts(opts, EACH)
  local page, position = nil, 0
  local limit = opts.batch or math.min(500, self.limit_max)
  return function()
    position = position + 1
    if page and not page.items[position] and not page.next_cursor then
      return nil
    elseif not page or not page.items[position] then
      page, position = self:list {
        where = opts.where, order = opts.order, with_deleted = opts.with_deleted, limit = limit,
        cursor = page and page.next_cursor,
      }, 1
    end
    return page.items[position]
  end
end

---Runs `fn()` so that all that it does with this database is undone if it raises.
---
---```lua
---users:transaction(function()
---  users:insert(user)
---  teams:update(team, { size = team.size + 1 })
---end)
---```
---@async
---@param fn fun(): ...
---@return any ... what `fn` returned
function Repository:transaction(fn)
  if type(fn) ~= "function" then
    blame("%s: a transaction is a function, not a %s", self.described.name, type(fn))
  end
  return self.storage:transaction(fn)
end

return base
