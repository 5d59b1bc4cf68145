-- wrk: posts the document in the file that BODY names.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method, wrk.body = "POST", file:read("*a") -- luacheck: ignore 113
wrk.headers["Content-Type"] = "application/json" -- luacheck: ignore 113
file:close()
