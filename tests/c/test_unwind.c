#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/symbols.h"
#include "tycho/unwind.h"

static struct ty_unwinder *unwinder;
static uintptr_t frames[64];
static volatile unsigned count;

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    count = ty_unwind(unwinder, context, frames, 64);
}

static int compare(const void *a, const void *b)
{
    if (count == 0)
        raise(SIGUSR2);
    return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) static void sort_something(void)
{
    int numbers[] = {3, 1, 2};

    qsort(numbers, 3, sizeof(int), compare);
}

static int position_of(struct ty_symbols *symbols, const char *wanted)
{
    char name[TY_SYMBOL_MAX];

    for (unsigned i = 0; i < count; i++)
        if (ty_symbols_name(symbols, frames[i] - (i > 0), name) && strcmp(name, wanted) == 0)
            return (int)i;
    return -1;
}

static void catch_signal(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

    sigaction(SIGUSR2, &action, NULL);
    count = 0;
}

static void a_stack_through_a_library_is_walked_to_its_end(void **state)
{
    struct ty_symbols *symbols = ty_symbols_new();

    (void)state;
    unwinder = ty_unwinder_new();
    catch_signal();
    sort_something();

#ifdef __x86_64__
    int inner = position_of(symbols, "compare"), outer = position_of(symbols, "sort_something");
    int base = position_of(symbols, "main");
    assert_true(inner > 0);
    assert_true(outer > inner);
    assert_true(base > outer);
#else
    assert_true(position_of(symbols, "none") < 0);
#endif
    ty_unwinder_free(unwinder);
    ty_symbols_free(symbols);
}

#ifdef __x86_64__
#include <sys/mman.h>

/* push %rbp; call *%rdi; pop %rbp; ret: as a compiler at run time leaves it, without a table */
static const unsigned char code[] = {0x55, 0xff, 0xd7, 0x5d, 0xc3};

static void raise_one(void)
{
    raise(SIGUSR2);
    __asm__ volatile(""); /* or the call becomes a jump, and leaves no frame */
}

static void it_ends_at_code_that_has_no_table(void **state)
{
    struct ty_symbols *symbols = ty_symbols_new();
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void (*compiled)(void (*)(void));

    (void)state;
    memcpy(page, code, sizeof(code));
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    memcpy(&compiled, &page, sizeof(compiled));
    unwinder = ty_unwinder_new();
    catch_signal();
    compiled(raise_one);

    int inner = position_of(symbols, "raise_one");
    assert_true(inner > 0);
    assert_int_equal(count, inner + 2);
    assert_in_range(frames[inner + 1], (uintptr_t)page, (uintptr_t)page + sizeof(code));
    ty_unwinder_free(unwinder);
    ty_symbols_free(symbols);
    munmap(page, 4096);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stack_through_a_library_is_walked_to_its_end),
#ifdef __x86_64__
        cmocka_unit_test(it_ends_at_code_that_has_no_table),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
