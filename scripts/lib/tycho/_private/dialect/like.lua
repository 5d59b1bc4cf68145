--- Patterns for LIKE and GLOB in which a text stands for itself.

local like = {}

local function placed(op, text, any)
  local before = op ~= "starts_with" and any or ""
  local after = op ~= "ends_with" and any or ""
  return before .. text .. after
end

---For LIKE with `escape '!'`: a backslash would mean something in MySQL's strings.
function like.pattern(op, text)
  return placed(op, text:gsub("[!%%_]", "!%0"), "%")
end

---For SQLite's GLOB.
function like.glob(op, text)
  return placed(op, text:gsub("[*?%[]", "[%0]"), "*")
end

return like
