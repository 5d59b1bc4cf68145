--- What can be wrong with a value, in words.

local i18n = require "tycho.i18n"

local WORDS = {
  required = { en = "is required", zh = "必填" },
  unknown = { en = "is not known here", zh = "未知字段" },
  string = { en = "must be a string", zh = "必须是字符串" },
  integer = { en = "must be an integer", zh = "必须是整数" },
  number = { en = "must be a number", zh = "必须是数字" },
  boolean = { en = "must be true or false", zh = "必须是 true 或 false" },
  object = { en = "must be an object", zh = "必须是对象" },
  array = { en = "must be an array", zh = "必须是数组" },
  decimal = {
    en = 'must be a decimal number in quotes, such as "12.34"',
    zh = '必须是字符串形式的十进制数，例如 "12.34"',
  },
  scale = { en = "must have at most {scale} digits after the point", zh = "小数位最多 {scale} 位" },
  digits = { en = "must have at most {digits} digits", zh = "最多 {digits} 位数字" },
  range = { en = "does not fit into 64 bits", zh = "超出 64 位整数范围" },
  min = { en = "must be at least {min}", zh = "不能小于 {min}" },
  max = { en = "must be at most {max}", zh = "不能大于 {max}" },
  empty = { en = "must not be empty", zh = "不能为空" },
  length_min = { en = "must have at least {min} characters", zh = "至少 {min} 个字符" },
  length_max = { en = "must have at most {max} characters", zh = "最多 {max} 个字符" },
  items_min = { en = "must have at least {min} items", zh = "至少 {min} 项" },
  items_max = { en = "must have at most {max} items", zh = "最多 {max} 项" },
  unique = { en = "must not repeat an item", zh = "不能有重复项" },
  utf8 = { en = "is not valid UTF-8", zh = "不是有效的 UTF-8 文本" },
  pattern = { en = "does not have the right form", zh = "格式不正确" },
  email = { en = "must be an e-mail address", zh = "必须是有效的邮箱地址" },
  uuid = { en = "must be a UUID", zh = "必须是 UUID" },
  date = { en = "must be a date such as 2026-01-31", zh = "必须是日期，例如 2026-01-31" },
  ["date-time"] = {
    en = "must be a time such as 2026-01-31T08:30:00Z", zh = "必须是时间，例如 2026-01-31T08:30:00Z",
  },
  uri = { en = "must be an http or https address", zh = "必须是 http 或 https 地址" },
  enum = { en = "must be one of {values}", zh = "必须是以下之一：{values}" },
  union = { en = "has none of the allowed forms", zh = "不符合任何允许的形式" },
  json_type = {
    en = "must be sent as application/json", zh = "请以 application/json 发送",
  },
}

local faults = {}

---Reporting stops here: a hostile body could have as many faults as bytes.
faults.MAX = 50

---@class tycho.schema.Fault
---@field rule string
---@field pointer string JSON Pointer to the value
---@field values? table for the words

---@param list tycho.schema.Fault[]
---@param rule string
---@param values? table
function faults.add(list, rule, values)
  if #list < faults.MAX then
    list[#list + 1] = { rule = rule, pointer = "", values = values }
  end
end

---Says of all faults after the first `count` that they are inside of member `key`.
---@param list tycho.schema.Fault[]
---@param count integer
---@param key string|integer
function faults.inside(list, count, key)
  local step = "/" .. tostring(key):gsub("~", "~0"):gsub("/", "~1")
  for i = count + 1, #list do
    list[i].pointer = step .. list[i].pointer
  end
end

---A fault in words.
---@param fault tycho.schema.Fault
---@param locale? string
---@return string
function faults.text(fault, locale)
  return i18n.text(WORDS[fault.rule], locale, fault.values)
end

return faults
