--- What a database lacks, and what it has too much, to be as the models are.
---
--- Tables, columns, indexes, checks and references are compared by their keys; names do not matter
--- where the thing is the same. The result is a list of differences, each of one thing; what is
--- done about them is decided by `plan`.

local compare = {}

---@class tycho.schema_sync.Difference
---@field action string "create_table", "add_column", "drop_index", ...
---@field table string
---@field name? string of the column, index or constraint
---@field wanted? any what it shall be
---@field live? any what it is

local function differ(list, action, live, name, parts)
  parts = parts or {}
  list[#list + 1] = {
    action = action, table = live.name, name = name, wanted = parts.wanted, live = parts.live,
  }
end

-- The live shape as it will be once columns have their new names.
local function rename(list, live, wanted)
  for _, column in ipairs(wanted.columns) do
    local from = column.renamed_from
    local old = from and not live.by_name[column.name] and live.by_name[from]
    if old and not wanted.by_name[from] then
      differ(list, "rename_column", live, column.name, { wanted = column, live = { name = from } })
      live.by_name[from], live.by_name[column.name] = nil, old
      old.name, old.was = column.name, from
      compare.rename_uses(live, from, column.name)
    end
  end
end

local function renamed_list(list, from, to)
  local copy = {}
  for i, name in ipairs(list) do
    copy[i] = name == from and to or name
  end
  return copy
end

-- In an expression the name is a word of its own.
local function renamed_text(text, from, to)
  return text and (" " .. text .. " "):gsub("%f[%w_]" .. from .. "%f[^%w_]", to):sub(2, -2)
end

-- Databases change the names in what uses the column themselves; so does the copy of the shape.
function compare.rename_uses(live, from, to)
  live.primary = renamed_list(live.primary, from, to)
  for _, kind in ipairs { "indexes", "checks", "references" } do
    for i, item in ipairs(live[kind]) do
      local copy = {}
      for key, value in pairs(item) do
        copy[key] = value
      end
      copy.key = renamed_text(item.key, from, to)
      copy.sql, copy.where = renamed_text(item.sql, from, to), renamed_text(item.where, from, to)
      copy.parts = item.parts and renamed_list(item.parts, from, to)
      copy.columns = item.columns and renamed_list(item.columns, from, to)
      if item.uses and item.uses[from] then
        copy.uses = { [to] = true }
        for name in pairs(item.uses) do
          copy.uses[name ~= from and name or to] = true
        end
      end
      live[kind][i] = copy
    end
  end
end

local function compare_column(list, live, column, wanted)
  if column.type_key ~= wanted.type_key then
    differ(list, "change_type", live, wanted.name, { wanted = wanted, live = column })
  end
  if column.null ~= wanted.null and not wanted.identity then
    differ(list, "change_null", live, wanted.name, { wanted = wanted, live = column })
  end
  if column.identity ~= wanted.identity then
    differ(list, "change_identity", live, wanted.name, { wanted = wanted, live = column })
  elseif column.default_key ~= wanted.default_key and not wanted.identity then
    differ(list, "change_default", live, wanted.name, { wanted = wanted, live = column })
  end
end

local function compare_columns(list, live, wanted)
  for _, column in ipairs(wanted.columns) do
    local own = live.by_name[column.name]
    if own then
      compare_column(list, live, own, column)
    else
      differ(list, "add_column", live, column.name, { wanted = column })
    end
  end
  for _, column in ipairs(live.columns) do
    if not wanted.by_name[column.name] then
      differ(list, "drop_column", live, column.name, { live = column })
    end
  end
end

local function keyed(items)
  local by_key, by_name = {}, {}
  for _, item in ipairs(items) do
    by_key[item.key] = by_key[item.key] or {}
    table.insert(by_key[item.key], item)
    if item.name then
      by_name[item.name] = item
    end
  end
  return by_key, by_name
end

-- One with the same key, preferably of the same name; each is the other of one only.
local function take(by_key, item)
  local same = by_key[item.key]
  for i, other in ipairs(same or {}) do
    if other.name == item.name then
      return table.remove(same, i)
    end
  end
  return same and table.remove(same, 1)
end

-- What goes with a column that no model has is not told of by itself.
local function belongs_to_extra(item, wanted)
  local uses = item.uses or {}
  for _, name in ipairs(item.columns or {}) do
    if not wanted.by_name[name] then
      return true
    end
  end
  for name in pairs(uses) do
    if not wanted.by_name[name] then
      return true
    end
  end
  return false
end

local function compare_items(list, live, wanted, kind, word)
  local by_key, by_name = keyed(live[kind])
  local matched, missing = {}, {}
  for _, item in ipairs(wanted[kind]) do
    local own = take(by_key, item)
    if own then
      matched[own] = true
    else
      missing[#missing + 1] = item
    end
  end
  for _, item in ipairs(missing) do
    local own = by_name[item.name]
    if own and not matched[own] then
      matched[own] = true
      differ(list, "change_" .. word, live, item.name, { wanted = item, live = own })
    else
      differ(list, "add_" .. word, live, item.name, { wanted = item })
    end
  end
  for _, item in ipairs(live[kind]) do
    if not matched[item] and not belongs_to_extra(item, wanted) then
      differ(list, "drop_" .. word, live, item.name, { live = item })
    end
  end
end

-- References have no names on SQLite: one of the same columns is the same one, changed.
local function pair_references(live, wanted)
  for _, own in ipairs(live.references) do
    for _, other in ipairs(wanted.references) do
      if not own.name and table.concat(own.columns, "/") == table.concat(other.columns, "/") then
        own.name = other.name
      end
    end
  end
end

---Compares one table. `live` is changed: its columns get their new names.
---@param live tycho.schema_sync.Shape
---@param wanted tycho.schema_sync.Shape
---@return tycho.schema_sync.Difference[]
function compare.tables(live, wanted)
  local list = {}
  rename(list, live, wanted)
  compare_columns(list, live, wanted)
  if table.concat(live.primary, "/") ~= table.concat(wanted.primary, "/") then
    differ(list, "change_primary", live, nil, { wanted = wanted.primary, live = live.primary })
  end
  pair_references(live, wanted)
  compare_items(list, live, wanted, "checks", "check")
  compare_items(list, live, wanted, "indexes", "index")
  compare_items(list, live, wanted, "references", "reference")
  return list
end

return compare
