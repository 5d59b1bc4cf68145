#include "crash.h"

#include <stdio.h>
#include <string.h>

#include "fiber_private.h"
#include "tycho/http.h"
#include "vm.h"

/* check: allow SAME-NAME because tests/blackbox/crash_spec.lua tests it */

enum { LEVELS_MAX = 24, NESTED_MAX = 8 };

struct ty_vm *volatile ty_crash_vm;

/* Copies, as all that is gathered may be cut short at any instruction. */
static void add(struct ty_crash_scripts *out, const char *text)
{
    size_t len = strlen(out->stack), room = sizeof(out->stack) - 1 - len, n = strlen(text);

    memcpy(out->stack + len, text, n < room ? n : room);
}

static void add_line(struct ty_crash_scripts *out, const lua_Debug *ar)
{
    char number[16];

    if (strcmp(ar->what, "C") == 0) {
        add(out, "[C]");
    } else {
        snprintf(number, sizeof(number), ":%d", ar->currentline);
        add(out, ar->short_src);
        add(out, number);
    }
    if (strcmp(ar->what, "main") == 0) {
        add(out, " in the main chunk");
    } else if (ar->name && ar->name[0]) {
        add(out, " in function '");
        add(out, ar->name);
        add(out, "'");
    } else if (strcmp(ar->what, "C") != 0) {
        snprintf(number, sizeof(number), "%d", ar->linedefined);
        add(out, " in the function of line ");
        add(out, number);
    }
    add(out, "\n");
}

static void add_request(struct ty_crash_scripts *out, const struct ty_fiber *fiber)
{
    const struct ty_request *req = fiber->request;

    if (req)
        memcpy(out->request_id, req->id, sizeof(out->request_id) - 1);
}

/* The coroutine that `L` is resuming, NULL if there is none: resume's argument. */
static lua_State *resumed(lua_State *L)
{
    lua_Debug ar;
    lua_State *co = NULL;

    if (lua_getstack(L, 0, &ar) && lua_getinfo(L, "S", &ar) && strcmp(ar.what, "C") == 0 &&
        lua_getlocal(L, &ar, 1)) {
        co = lua_tothread(L, -1);
        lua_pop(L, 1);
    }
    return co == L ? NULL : co;
}

static void add_lines(struct ty_crash_scripts *out, lua_State *L)
{
    lua_Debug ar;

    for (int level = 0; level < LEVELS_MAX && lua_getstack(L, level, &ar); level++)
        if (lua_getinfo(L, "nSl", &ar))
            add_line(out, &ar);
}

/* lua_getinfo() allocates nothing as long as it is not asked for the function itself. */
void ty_crash_describe(struct ty_crash_scripts *out)
{
    struct ty_vm *vm = ty_crash_vm;
    struct ty_fiber *fiber = vm && vm->fibers ? vm->fibers->running : NULL;
    lua_State *stack[NESTED_MAX] = {fiber ? fiber->co : vm ? vm->L : NULL};
    int count = 0;

    if (fiber)
        add_request(out, fiber);
    while (count < NESTED_MAX && stack[count])
        if (++count < NESTED_MAX)
            stack[count] = resumed(stack[count - 1]);
    while (count > 0)
        add_lines(out, stack[--count]);
}
