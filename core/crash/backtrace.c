#define _GNU_SOURCE /* dladdr, REG_RIP */
#include <dlfcn.h>
#include <execinfo.h>
#include <string.h>
#include <ucontext.h>

#include "crash/record.h"
#include "crash/text.h"

enum { DEPTH_MAX = 64 };

void crash_backtrace_prepare(void)
{
    void *frame;

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

/* Who called what is not there: a jump through a null pointer has left a return address. */
static void *caller(const ucontext_t *context)
{
#if defined(__x86_64__)
    return *(void **)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return (void *)context->uc_mcontext.regs[30];
#else
    (void)context;
    return NULL;
#endif
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* "libc.so.6+0x9a2f raise+0x12". A return address is behind its call: `back` is 1 for those. */
static void describe(char *out, void *address, uintptr_t back)
{
    struct crash_text text = {.data = out, .max = CRASH_FRAME_MAX - 1};
    uintptr_t pc = (uintptr_t)address;
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

void crash_backtrace(struct crash_facts *facts, const void *context)
{
    void *addresses[DEPTH_MAX], *pc = program_counter(context);
    int count, first = 0, frame = 0;

    describe(facts->frames[frame++], pc, 0); /* this much is certain */
    count = backtrace(addresses, DEPTH_MAX);
    while (first < count && addresses[first] != pc)
        first++; /* the handler's own */
    if (first == count && pc)
        return;
    if (first == count) {
        describe(facts->frames[frame], caller(context), 1);
        return;
    }
    for (int i = first + 1; i < count && frame < CRASH_FRAMES_MAX; i++)
        describe(facts->frames[frame++], addresses[i], 1);
}
