local s = require "tycho.schema"
local test = require "tycho.test"

-- With the place in front, which busted's own assertion cuts off.
local function refusal(declare)
  local ok, message = pcall(test.application, declare)
  assert.is_false(ok)
  return message
end

describe("a wrong declaration is refused at its line", function()
  local function nothing() end

  for name, case in pairs {
    ["an unknown option"] = {
      function(app) app.get("/", { boddy = s.any() }, nothing) end,
      'unknown option "boddy", did you mean "body"' },
    ["a route's option of the wrong type"] = {
      function(app) app.get("/", { timeout = "5s" }, nothing) end,
      "timeout: a number is wanted, not a string" },
    ["a concurrency of one and a half"] = {
      function(app) app.get("/", { concurrency = 1.5 }, nothing) end,
      "concurrency: a whole number is wanted" },
    ["a concurrency of nothing"] = {
      function(app) app.group("/a", { concurrency = 0 }) end,
      "concurrency: a positive number is wanted" },
    ["an option that only a route can have"] = {
      function(app) app.group("/a", { status = 201 }) end, 'unknown option "status"' },
    ["a schema that is none"] = {
      function(app) app.post("/", { body = { a = 1 } }, nothing) end,
      "body: a schema is wanted, not a table" },
    ["a handler that is none"] = {
      function(app) app.get("/", "hello") end, "the handler is a function, not a nil" },
    ["a path without a slash"] = {
      function(app) app.get("orders", nothing) end, "a path is like" },
    ["a path with another framework's parameter"] = {
      function(app) app.get("/orders/:id/items", nothing) end,
      "/orders/:id/items: a parameter is {id}" },
    ["a group's function with a dot"] = {
      function(app) app.group("/api").get("/a", nothing) end, "with a colon: group:get" },
    ["the app's function with a colon"] = {
      function(app) app:get("/a", nothing) end, "with a dot: app.get" },
    ["a method that is none"] = {
      function(app) app.route("FETCH", "/a", nothing) end, "'FETCH' is not a method" },
    ["a prefix with a slash at the end"] = {
      function(app) app.group("/api/") end, "a prefix is like" },
    ["middleware that is none"] = {
      function(app) app.use(7) end, "middleware is a function or a table, not a number" },
    ["middleware that does nothing"] = {
      function(app) app.group("/a"):use {} end, "before, after or around is wanted" },
    ["a parameter that the path does not have"] = {
      function(app) app.get("/{id}", { params = s.object { it = s.any() } }, nothing) end,
      'params: "it" is not in /{id}' },
    ["an authenticator twice"] = {
      function(app)
        app.auth("user", nothing)
        app.auth("user", nothing)
      end, '"user" was declared at' },
    ["an envelope twice"] = {
      function(app)
        app.envelope {}
        app.envelope {}
      end, "app.envelope: it was declared at" },
    ["an envelope with an unknown part"] = {
      function(app) app.envelope { sucess = nothing } end, 'did you mean "success"' },
    ["a check that is none"] = {
      function(app) app.check(true) end, "app.check: a function is wanted" },
    ["an unknown authenticator"] = {
      function(app)
        app.auth("user", nothing)
        app.get("/", { auth = "usr" }, nothing)
      end, 'unknown authenticator "usr", did you mean "user"' },
    ["a route twice"] = {
      function(app)
        app.get("/a/{id}", nothing)
        app.get("/a/{id}", nothing)
      end, "app_declare_spec.lua:%d+.*app_declare_spec.lua:%d+" },
    ["a route after loading"] = {
      function(app)
        app.seal()
        app.get("/", nothing)
      end, "declared while the scripts load, not later" },
  } do
    it(name, function()
      local message = refusal(case[1])

      assert.matches("app_declare_spec.lua:%d+", message)
      assert.is_truthy(message:find(case[2], 1, true) or message:find(case[2]), message)
    end)
  end

  it("and all conflicts are named at once", function()
    local message = refusal(function(app)
      app.get("/a", { auth = "nobody" }, nothing)
      app.get("/b", { auth = "nobody" }, nothing)
    end)

    assert.equal(2, select(2, message:gsub("unknown authenticator", "")))
  end)
end)

describe("app.routes", function()
  it("lists what was declared, with its place", function()
    local routes
    test.application(function(app)
      local api = app.group("/api", { tags = { "a" } })
      api:get("/x/{id}", { summary = "An x" }, function() end)
      api:group("/deep"):route({ "PUT", "PATCH" }, "", function() end)
      routes = app.routes()
    end)

    assert.equal("/api/x/{id}", routes[1].path)
    assert.equal("An x", routes[1].options.summary)
    assert.matches("app_declare_spec.lua:%d+$", routes[1].where)
    assert.equal("/api/deep", routes[2].path)
    assert.same({ "PUT", "PATCH" }, routes[2].methods)
    assert.same({ "a" }, routes[2].tags)
  end)
end)
