--- Differences in words for people.

local words = {}

local function column_words(column)
  local text = column.type
  if column.identity then
    return text .. ", counted up"
  end
  text = text .. (column.null and ", may be null" or ", not null")
  return column.default and ("%s, default %s"):format(text, column.default) or text
end

local function item_words(item)
  if item.parts then
    return ("%s(%s)%s"):format(item.unique and "unique " or "", table.concat(item.parts, ", "),
      item.where and " where " .. item.where or "")
  elseif item.targets then
    return ("%s to %s.%s%s"):format(table.concat(item.columns, ", "), item.table,
      table.concat(item.targets, ", "),
      item.on_delete ~= "no_action" and ", on delete " .. item.on_delete:gsub("_", " ") or "")
  end
  return item.sql
end

local function null_words(difference)
  return difference.wanted.null and "may be null" or "may not be null any more"
end

local OF = {
  create_table = function(d) return "create table " .. d.table end,
  drop_table = function(d) return "drop table " .. d.table end,
  rename_column = function(d)
    return ("rename column %s.%s to %s"):format(d.table, d.live.name, d.name)
  end,
  add_column = function(d)
    return ("add column %s.%s: %s"):format(d.table, d.name, column_words(d.wanted))
  end,
  drop_column = function(d) return ("drop column %s.%s"):format(d.table, d.name) end,
  change_type = function(d)
    return ("change the type of %s.%s from %s to %s"):format(d.table, d.name, d.live.type_key,
      d.wanted.type_key)
  end,
  change_null = function(d) return ("%s.%s %s"):format(d.table, d.name, null_words(d)) end,
  change_default = function(d)
    return ("change the default of %s.%s from %s to %s"):format(d.table, d.name,
      d.live.default or "none", d.wanted.default or "none")
  end,
  change_identity = function(d)
    return ("%s.%s %s"):format(d.table, d.name,
      d.wanted.identity and "is to count itself up" or "is not to count itself up any more")
  end,
  change_primary = function(d)
    return ("change the primary key of %s from (%s) to (%s)"):format(d.table,
      table.concat(d.live, ", "), table.concat(d.wanted, ", "))
  end,
}

local NOUNS = { index = "index", check = "check", reference = "reference" }

local function item_difference(difference)
  local verb, kind = difference.action:match("^(%a+)_(%a+)$")
  local noun = NOUNS[kind]
  if verb == "change" then
    return ("change %s %s of %s from %s to %s"):format(noun, difference.name, difference.table,
      item_words(difference.live), item_words(difference.wanted))
  end
  local item = difference.wanted or difference.live
  return ("%s %s %s of %s: %s"):format(verb, noun, difference.name or "without a name",
    difference.table, item_words(item))
end

---@param difference tycho.schema_sync.Difference
---@return string
function words.of(difference)
  return (OF[difference.action] or item_difference)(difference)
end

local WHY = {
  create = "a model has it, the database has not",
  add = "the model has it, the table has not",
  drop = "the table has it, the model has not",
  change = "the model says so",
  rename = "the model says renamed_from",
}

---@param difference tycho.schema_sync.Difference
---@return string
function words.why(difference)
  if difference.action == "drop_table" then
    return "no model has it"
  elseif difference.action == "add_column" and difference.wanted.fill then
    return WHY.add .. "; rows that are there get the present moment"
  end
  return WHY[difference.action:match("^%a+")]
end

local LOSES = {
  drop_table = "all of its rows are lost",
  drop_column = "its values are lost",
  change_type = "values that do not fit are lost, or make it fail",
  drop_index = "queries that use it get slow; if it is unique, duplicates are let in",
  drop_check = "rows that it refuses are let in",
  drop_reference = "rows that lead nowhere are let in",
}

---What a destructive step loses.
---@param difference tycho.schema_sync.Difference
---@return string?
function words.loses(difference)
  return LOSES[difference.action]
end

return words
