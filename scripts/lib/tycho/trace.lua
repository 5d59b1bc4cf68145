--- W3C trace context: the trace that a request belongs to, for other services.
---
--- The server reads `traceparent` and `tracestate`, gives each request a span of its own, and puts
--- both ids into every log line. What a script calls in turn gets `trace.headers()`.

local core = require "tycho.core.http"
local crypto = require "tycho.crypto"

local trace = {}

---@class tycho.trace.Context
---@field trace_id string 32 hex digits
---@field span_id string 16 hex digits: this request's
---@field parent_id? string the caller's span
---@field flags integer 1: the caller records this trace
---@field state? string tracestate, as it came

---The trace of the running request, also in the fibers that it started; nil outside of requests.
---
---```lua
---local context = trace.current()
---```
---@return tycho.trace.Context?
function trace.current()
  return core.trace()
end

---The headers that tell another service about the trace. Each call is a new child of this span, so
---ask once for each request that is sent. Without a trace they start one.
---
---```lua
---local headers = trace.headers() -- { traceparent = "00-4bf9...-00f0...-01" }
---```
---@return table<string, string>
function trace.headers()
  local current = core.trace()
  local trace_id = current and current.trace_id or crypto.hex(crypto.random(16))
  return {
    traceparent = ("00-%s-%s-%02x"):format(trace_id, crypto.hex(crypto.random(8)),
      current and current.flags or 0),
    tracestate = current and current.state or nil,
  }
end

return trace
