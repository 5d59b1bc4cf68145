--- A route's schemas, applied to its requests.

local node = require "tycho._private.node"
local schema = require "tycho.schema"

local run, TEXT, JSON, ANSWER = node.run, node.TEXT, node.JSON, node.ANSWER

local validate = {}

local function append(all, list, location)
  for _, fault in ipairs(list or {}) do
    fault.location = location
    all[#all + 1] = fault
  end
end

local function is_form(req)
  local media = req.headers["content-type"]
  return media ~= nil and media:lower():find("^application/x%-www%-form%-urlencoded") ~= nil
end

-- A name that is repeated in a query is a list where the schema has an array.
local function lists_of(what)
  local names = {}
  for name, field in pairs(what.fields or {}) do
    if field.kind == "array" then
      names[#names + 1] = name
    end
  end
  return names
end

local function query_reader(what)
  local lists = lists_of(what)
  return function(req)
    local query = req.query
    if #lists > 0 then
      local all = req.query_all
      query = setmetatable({}, { __index = query })
      for name, value in pairs(req.query) do
        query[name] = value
      end
      for _, name in ipairs(lists) do
        query[name] = all[name]
      end
    end
    return query
  end
end

-- Text where the schema wants a structure: the content type was not one that can be decoded. Or
-- it was left to curl, which then claims that JSON is a form.
local function has_wrong_type(what, req, body)
  if type(body) == "string" then
    return what.kind ~= "string" and what.kind ~= "any"
  end
  return type(body) == "table" and is_form(req) and req.raw_body:find("^%s*[{%[]") ~= nil
end

local function check_body(what, req)
  local body = req.body
  if has_wrong_type(what, req, body) then
    local err = schema.error { { rule = "json_type", pointer = "", location = "body" } }
    err.status = 415
    error(err, 0)
  end
  return run(what, body, type(body) == "table" and is_form(req) and TEXT or JSON)
end

---@param options table a route's, with the schemas `params`, `query`, `body`
---@return fun(req: table)? check replaces what it has checked in `req`; raises `invalid`
function validate.request(options)
  local params, query, body = options.params, options.query, options.body
  if not (params or query or body) then
    return nil
  end
  local read_query = query and query_reader(query)

  return function(req)
    local list
    local all = {}
    if params then
      req.params, list = run(params, req.params, TEXT)
      append(all, list, "path")
    end
    if query then
      req.query, list = run(query, read_query(req), TEXT)
      append(all, list, "query")
    end
    if body then
      req.body, list = check_body(body, req)
      append(all, list, "body")
    end
    if all[1] then
      error(schema.error(all), 0)
    end
  end
end

---@param what tycho.schema.Schema
---@param where string the route's place, for the message about a fault of the program
---@return fun(value: any): any filter leaves out what is not declared
function validate.answer(what, where)
  return function(value)
    local filtered, list = run(what, value, ANSWER)
    if list then
      local err = schema.error(list)
      error(("%s: the answer is not what the route's response schema says: %s"):format(where,
        err.message), 0)
    end
    return filtered
  end
end

return validate
