-- The form of all answers: {"code":10000,"data":...,"msg":"success"}.
local app = require "tycho.app"
local json = require "tycho.json"
local codes = require "app.errors"

app.envelope {
  success = function(data)
    return { code = codes.success, data = data == nil and json.null or data, msg = "success" }
  end,

  error = function(err, req, message)
    return nil, {
      code = err.code or codes[err.name] or codes[err.kind] or codes.internal,
      data = json.null,
      msg = message,
      request_id = req.id,
      errors = err.errors, -- which values are wrong, where there are any
    }
  end,
}
