#include "profile.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "fiber_private.h"
#include "guard.h"
#include "tycho/memory.h"
#include "tycho/profile.h"
#include "tycho/symbols.h"

/* check: allow SAME-NAME because tests/blackbox/diagnostics_spec.lua tests it */

enum { LEVELS_MAX = 60, NAME_MAX_ = 96, EMPTY_MS = 100 };

/* One profile at a time in a process. */
static struct {
    struct ty_folded *folded; /* NULL: none is being made */
    struct ty_symbols *symbols;
    struct ty_buf scripts, stack; /* the Lua part of a stack; a whole one */
    uv_timer_t *timer;            /* empties the ring when no scripts run */
} profile;

/* In the signal handler: Lua tells where it is as soon as it can. */
static bool ask_scripts(void)
{
    if (!(atomic_load_explicit(&ty_guard.slice, memory_order_relaxed) & 1))
        return false;
    ty_vm_arm(atomic_load_explicit(&ty_guard.vm, memory_order_relaxed), TY_HOOK_SAMPLE);
    return true;
}

/* ---- the Lua part */

static void add_text(struct ty_buf *out, const char *text)
{
    for (; *text; text++)
        ty_buf_addc(out, *text == ';' || (unsigned char)*text < ' ' ? '?' : *text);
}

static void add_frame(struct ty_buf *out, const char *text)
{
    ty_buf_addc(out, ';');
    add_text(out, text);
}

/* The level of `co` as a frame; its line too if it is the innermost. Functions of C are left out:
 * the C stack has them. */
static void add_level(struct ty_buf *out, lua_State *co, lua_Debug *ar, bool *is_innermost)
{
    char text[NAME_MAX_];

    lua_getinfo(co, "Sln", ar);
    if (ar->currentline < 0)
        return;
    snprintf(text, sizeof(text), "%.40s%s%s:%d", ar->name ? ar->name : "", ar->name ? " " : "",
             ar->source + (ar->source[0] == '@'), ar->linedefined);
    add_text(out, text);
    if (*is_innermost)
        ty_buf_addf(out, ";line %d", ar->currentline);
    *is_innermost = false;
    ty_buf_addc(out, '\n');
}

/* Adds the frames of `co`, outermost first. */
static void add_stack(struct ty_buf *out, lua_State *co, bool *is_innermost)
{
    struct ty_buf inside_out = {0};
    lua_Debug ar;

    for (int level = 0; level < LEVELS_MAX && lua_getstack(co, level, &ar); level++)
        add_level(&inside_out, co, &ar, is_innermost);
    for (size_t end = inside_out.len, at; end > 0; end = at) {
        for (at = end - 1; at > 0 && inside_out.data[at - 1] != '\n'; at--)
            ;
        ty_buf_addc(out, ';');
        ty_buf_add(out, inside_out.data + at, end - 1 - at);
    }
    ty_buf_close(&inside_out);
}

/* ---- the C part */

/* What LuaJIT is made of: below it is Lua's own stack, which we have from Lua. */
static bool is_interpreter(const char *name)
{
    return strncmp(name, "lj_vm", 5) == 0 || strncmp(name, "lj_BC_", 6) == 0 ||
           strncmp(name, "lj_ff_", 6) == 0 || strncmp(name, "lj_cont_", 8) == 0 ||
           strncmp(name, "lj_fff_", 7) == 0 || strcmp(name, "lua_resume") == 0;
}

/* What is the same in every sample. */
static bool is_base(const char *name)
{
    return strcmp(name, "uv_run") == 0;
}

/* Adds the frames of C, outermost first: those above Lua, or above the loop. */
static void add_native(struct ty_buf *out, const struct ty_sample *sample)
{
    char names[TY_PROFILE_DEPTH][TY_SYMBOL_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < sample->depth; i++) {
        /* a caller's address is that of the instruction behind the call */
        uintptr_t address = sample->stack[i] - (i > 0);
        bool known = ty_symbols_name(profile.symbols, address, names[count]) > 0;

        if (sample->in_script && (!known || is_interpreter(names[count])))
            break;
        if (!known || is_base(names[count]))
            break;
        /* a library without names is one frame, however deep we are in it */
        if (count == 0 || names[count][0] != '[' || strcmp(names[count], names[count - 1]) != 0)
            count++;
    }
    while (count > 0)
        add_frame(out, names[--count]);
}

/* Counts all samples in the ring; `scripts` is the Lua stack of those that were taken in Lua. */
static void empty_ring(const struct ty_buf *scripts)
{
    struct ty_sample sample;

    while (ty_profile_take(&sample)) {
        profile.stack.len = 0;
        ty_buf_adds(&profile.stack, "worker");
        if (!sample.in_script)
            ty_buf_adds(&profile.stack, ";loop");
        else
            ty_buf_add(&profile.stack, scripts->data, scripts->len);
        add_native(&profile.stack, &sample);
        ty_folded_add(profile.folded, profile.stack.data, profile.stack.len, sample.weight);
    }
}

/* ---- when it is known */

void ty_profile_hook(lua_State *L, struct ty_vm *vm)
{
    struct ty_fiber *fiber = ty_fiber_running(L);
    bool is_innermost = true;

    ty_vm_disarm(vm, TY_HOOK_SAMPLE);
    if (!profile.folded)
        return;
    profile.scripts.len = 0;
    add_frame(&profile.scripts, fiber ? fiber->owner : "scripts");
    struct ty_buf inner = {0};
    add_stack(&inner, L, &is_innermost);
    if (fiber && fiber->co != L) /* in a coroutine of the fiber's */
        add_stack(&profile.scripts, fiber->co, &is_innermost);
    ty_buf_add(&profile.scripts, inner.data, inner.len);
    ty_buf_close(&inner);
    empty_ring(&profile.scripts);
}

void ty_profile_settle(lua_State *co, struct ty_vm *vm, const char *owner)
{
    bool is_innermost = true;

    ty_vm_disarm(vm, TY_HOOK_SAMPLE);
    if (!profile.folded)
        return;
    profile.scripts.len = 0;
    add_frame(&profile.scripts, owner);
    add_stack(&profile.scripts, co, &is_innermost);
    empty_ring(&profile.scripts);
}

static void on_timer(uv_timer_t *timer)
{
    static const struct ty_buf nothing;

    (void)timer;
    empty_ring(&nothing);
}

/* ---- its life */

static void on_closed(uv_handle_t *timer)
{
    free(timer);
}

int ty_profile_open(unsigned hz)
{
    int status;

    if (profile.folded)
        return UV_EBUSY;
    if ((status = ty_profile_start(hz, ask_scripts)) != 0)
        return status;
    profile.folded = ty_folded_new();
    profile.symbols = ty_symbols_new();
    profile.timer = ty_zalloc(sizeof(*profile.timer));
    uv_timer_init(ty_engine_env()->loop, profile.timer);
    uv_timer_start(profile.timer, on_timer, EMPTY_MS, EMPTY_MS);
    return 0;
}

struct ty_folded *ty_profile_close(void)
{
    struct ty_folded *folded = profile.folded;
    static const char lost[] = "worker;(lost)";

    if (!folded)
        return NULL;
    on_timer(profile.timer);
    ty_profile_stop();
    ty_folded_add(folded, lost, sizeof(lost) - 1, ty_profile_lost());
    uv_close((uv_handle_t *)profile.timer, on_closed);
    ty_symbols_free(profile.symbols);
    ty_buf_close(&profile.scripts);
    ty_buf_close(&profile.stack);
    profile.folded = NULL;
    profile.symbols = NULL;
    return folded;
}
