/* Every C module of the product, in one list. Lua sees each as tycho.core.<name>. */
#pragma once

#include <lua.h>

#define TY_MODULES(X) \
    X(config)         \
    X(crypto)         \
    X(db)             \
    X(error)          \
    X(fiber)          \
    X(fs)             \
    X(http)           \
    X(int64)          \
    X(json)           \
    X(log)            \
    X(metrics)        \
    X(password)       \
    X(process)        \
    X(stream)         \
    X(vm)

#define X(name) int luaopen_tycho_core_##name(lua_State *L);
TY_MODULES(X)
#undef X
