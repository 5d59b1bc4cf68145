#define _GNU_SOURCE /* pthread_getattr_np() */
#include "cstack.h"

#include <luajit.h>
#include <pthread.h>

/* check: allow SAME-NAME because tests/blackbox/nesting_spec.lua tests it */

/* Raising an error takes time in proportion to the square of the depth, so there may be less than
 * the stack has. */
enum { NESTED_MAX = 1024 * 1024 };

#if TY_LUAJIT_CHECKHOOK
#define low luajit_cstack_low
#else
static char *low;
#endif

void ty_cstack_open(void)
{
    pthread_attr_t attributes;
    void *first;
    size_t size;

    if (low || pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    if (pthread_attr_getstack(&attributes, &first, &size) == 0)
        low = (char *)first + size - (size / 2 < NESTED_MAX ? size / 2 : NESTED_MAX);
    pthread_attr_destroy(&attributes);
}

bool ty_cstack_has_room(void)
{
    return (char *)__builtin_frame_address(0) > low;
}

int ty_cstack_ask(lua_State *L)
{
    lua_pushboolean(L, ty_cstack_has_room());
    return 1;
}
