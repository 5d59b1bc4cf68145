-- wrk: sixteen requests in one write.
local batch

function init() -- luacheck: ignore 111
  batch = wrk.format("GET", wrk.path):rep(16) -- luacheck: ignore 113
end

function request() -- luacheck: ignore 111
  return batch
end
