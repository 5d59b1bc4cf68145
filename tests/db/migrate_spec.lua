-- Migrations, on whichever database there is: the specs of tests/lua.

local specs = assert(loadfile "tests/lua/migrate_spec.lua")

setfenv(specs, getfenv(1))()
