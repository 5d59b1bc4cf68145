/* The C stack of interrupted code, from inside a signal handler.
 *
 * backtrace() is not for handlers here: the unwinder of GCC takes a lock that code may hold that
 * was interrupted while raising a Lua error, and it aborts the process when LuaJIT's compiled code
 * misleads it. This one reads the same tables (.eh_frame) where they lie in memory, allocates
 * nothing, locks nothing, and looks at nothing but its thread's stack. It ends at code that has no
 * tables, such as what LuaJIT has compiled. On processors other than x86-64 it knows the innermost
 * address only.
 */
#pragma once

#include <stdint.h>

struct ty_unwinder;

/* Of the calling thread. Code that is loaded later is not known. */
struct ty_unwinder *ty_unwinder_new(void);
void ty_unwinder_free(struct ty_unwinder *unwinder);

/* The addresses of the frames, innermost first, of what was interrupted: `context` is a handler's
 * third argument (ucontext_t *). The first one is that of an instruction, the others are those that
 * calls return to. Safe in a signal handler. Returns how many there are, at most `max`. */
unsigned ty_unwind(const struct ty_unwinder *unwinder, const void *context, uintptr_t *out,
                   unsigned max);
