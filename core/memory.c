#include "tycho/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which of the next ty_try_ calls fails, counted from 1; 0: none. Only tests write it, and
 * check: allow NO-GLOBALS because they have no other way into a call made deep below. */
static _Atomic unsigned fail_nth;

static void *check(void *memory, size_t size)
{
    if (!memory) {
        fprintf(stderr, "tycho: out of memory (%zu bytes)\n", size);
        abort();
    }
    return memory;
}

void *ty_alloc(size_t size)
{
    return check(malloc(size ? size : 1), size);
}

void *ty_zalloc(size_t size)
{
    return check(calloc(1, size ? size : 1), size);
}

void *ty_realloc(void *old, size_t size)
{
    return check(realloc(old, size ? size : 1), size);
}

char *ty_strdup(const char *text)
{
    return ty_strndup(text, strlen(text));
}

char *ty_strndup(const char *text, size_t len)
{
    char *copy = ty_alloc(len + 1);

    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *ty_asprintf(const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    char *text = ty_alloc((size_t)(len < 0 ? 0 : len) + 1);
    *text = '\0';
    vsnprintf(text, (size_t)(len < 0 ? 0 : len) + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}

static int must_fail(void)
{
    unsigned nth = atomic_load_explicit(&fail_nth, memory_order_relaxed);

    if (nth == 0)
        return 0;
    atomic_store_explicit(&fail_nth, nth - 1, memory_order_relaxed);
    return nth == 1;
}

void *ty_try_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size ? size : 1);
}

void *ty_try_realloc(void *old, size_t size)
{
    return must_fail() ? NULL : realloc(old, size ? size : 1);
}

void ty_memory_fail_nth(unsigned nth)
{
    fail_nth = nth;
}
