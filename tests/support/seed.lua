--- Where chance begins in tests: at the same place in every run, so that a change is judged by what
--- it changes. `make test-long` looks elsewhere each time, `TYCHO_TEST_SEED=N` where it is told to.

local fixed = tonumber(os.getenv "TYCHO_TEST_SEED")
local is_long = os.getenv "TYCHO_TEST_LONG" == "1"

---@return integer seed more than 0; what fails names it
return function()
  return fixed or is_long and os.time() % 1000000 + 1 or 1
end
