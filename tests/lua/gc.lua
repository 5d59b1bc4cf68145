-- For `tycho test --helper=tests/lua/gc.lua`: the collector is always on, so that what somebody
-- forgot to hold on to is gone at once.

collectgarbage("setpause", 0)
collectgarbage("setstepmul", 1000)
