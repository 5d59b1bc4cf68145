-- Every error that a client of this application can meet, with its number.
local errors = require "tycho.errors"

errors.define("auth.required", {
  code = 10003, status = 401, msg = { en = "please sign in", zh = "请先登录" },
})
errors.define("auth.bad_credentials", {
  code = 10006, status = 401, msg = { en = "wrong e-mail address or password", zh = "邮箱或密码错误" },
})
errors.define("user.email_taken", {
  code = 10101, status = 409,
  msg = { en = "there is an account with this e-mail address already", zh = "该邮箱已注册" },
})
errors.define("user.not_found", {
  code = 10104, status = 404, msg = { en = "user not found", zh = "用户不存在" },
})
errors.define("order.not_found", {
  code = 20001, status = 404, msg = { en = "order not found", zh = "订单不存在" },
})
errors.define("order.illegal_move", {
  code = 20002, status = 409,
  msg = { en = "an order that is {from} cannot become {to}", zh = "订单状态不能从 {from} 变为 {to}" },
})
errors.define("order.bad_cursor", {
  code = 20003, status = 400, msg = { en = "the cursor is not one of ours", zh = "分页游标无效" },
})

-- Numbers for what has none of its own: by name, then by kind.
return {
  success = 10000,
  ["http.not_found"] = 10005,
  ["http.method_not_allowed"] = 10007,
  invalid = 10001,
  unauthorized = 10003,
  forbidden = 10004,
  not_found = 10005,
  conflict = 10010,
  too_large = 10008,
  limited = 10009,
  cancelled = 10499,
  internal = 10500,
  unknown_outcome = 10500,
  unavailable = 10503,
  timeout = 10504,
}
