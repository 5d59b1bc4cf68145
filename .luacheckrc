std = "luajit"
max_line_length = 100
max_cyclomatic_complexity = 12
ignore = { "212/_.*" } -- unused arguments that start with an underscore
files["tests/lua"] = { std = "+busted" }
files["tests/blackbox"] = { std = "+busted" }
files["**/*_spec.lua"] = { std = "+busted" }
files["scripts/lib/tycho/coroutine.lua"] = { globals = { "coroutine" } }
files["bench/peers"] = { globals = { "wrk", "request", "response", "ngx" } }
