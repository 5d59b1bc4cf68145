#define _GNU_SOURCE /* dladdr, REG_RIP */
#include <dlfcn.h>
#include <execinfo.h>
#include <string.h>
#include <ucontext.h>

#include "crash/record.h"
#include "crash/text.h"
#include "tycho/unwind.h"

enum { DEPTH_MAX = 64, PAGE = 4096 };

/* check: allow NO-GLOBALS because a signal's handler has no other way to its data */
static struct ty_unwinder *unwinder; /* of the loop's thread */

void crash_backtrace_prepare(void)
{
    void *frame;

    unwinder = ty_unwinder_new();
    backtrace(&frame, 1); /* the first one loads libgcc_s */
}

/* Where the thread was, and where its stack ends; 0 where we do not know the machine. */
static void *program_counter(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (void *)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (void *)context->uc_mcontext.pc;
#else
    (void)context;
    return NULL;
#endif
}

/* A call of what is not there has left a return address and nothing else: goes back to the caller.
 * False if that is not how it came here. */
static bool undo_call(ucontext_t *context)
{
    if ((uintptr_t)program_counter(context) >= PAGE)
        return false;
#if defined(__x86_64__)
    greg_t *registers = context->uc_mcontext.gregs;
    registers[REG_RIP] = *(greg_t *)registers[REG_RSP];
    registers[REG_RSP] += (greg_t)sizeof(greg_t);
    return true;
#else
    return false;
#endif
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* "libc.so.6+0x9a2f raise+0x12". A return address is behind its call: `back` is 1 for those. */
static void describe(char *out, uintptr_t pc, uintptr_t back)
{
    struct crash_text text = {.data = out, .max = CRASH_FRAME_MAX - 1};
    Dl_info info, own;

    if (!dladdr((void *)(pc - back), &info) || !info.dli_fname) {
        crash_text_addx(&text, pc);
        return;
    }
    /* The program itself is known by argv[0], which for a worker is a title. */
    if (dladdr((void *)(uintptr_t)describe, &own) && own.dli_fbase == info.dli_fbase)
        crash_text_adds(&text, "tycho");
    else
        crash_text_adds(&text, base_name(info.dli_fname));
    crash_text_adds(&text, "+");
    crash_text_addx(&text, pc - (uintptr_t)info.dli_fbase);
    if (!info.dli_sname)
        return;
    crash_text_adds(&text, " ");
    crash_text_adds(&text, info.dli_sname);
    crash_text_adds(&text, "+");
    crash_text_addx(&text, pc - (uintptr_t)info.dli_saddr);
}

/* Nothing if as much is known already. */
static void take(struct crash_facts *facts, const uintptr_t *addresses, unsigned count)
{
    if (count <= facts->depth)
        return;
    facts->depth = count;
    for (unsigned i = 0; i < count && i < CRASH_FRAMES_MAX; i++)
        describe(facts->frames[i], addresses[i], i > 0);
}

void crash_backtrace(struct crash_facts *facts, const void *context)
{
    uintptr_t addresses[DEPTH_MAX] = {(uintptr_t)program_counter(context)};
    ucontext_t before = *(const ucontext_t *)context;
    unsigned count;

    take(facts, addresses, 1); /* this much is certain */
    count = ty_unwind(unwinder, context, addresses, DEPTH_MAX);
    if (count == 1 && undo_call(&before))
        count += ty_unwind(unwinder, &before, addresses + 1, DEPTH_MAX - 1);
    take(facts, addresses, count);
}

void crash_backtrace_again(struct crash_facts *facts, const void *context)
{
    void *addresses[DEPTH_MAX], *pc = program_counter(context);
    int count = backtrace(addresses, DEPTH_MAX), first = 0;

    while (first < count && addresses[first] != pc)
        first++; /* the handler's own */
    take(facts, (const uintptr_t *)addresses + first, (unsigned)(count - first));
}
