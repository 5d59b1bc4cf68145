/* Memory for small, bounded things: never fails, aborts with a message instead.
 *
 * A long-running server that is out of memory for a 64-byte struct cannot do anything useful;
 * recovery code for it would never be run, and never be right. Sizes that a peer chooses are
 * another matter: they are bounded by configuration first and allocated with ty_try_alloc(),
 * which can fail, and which tests can make fail.
 */
#pragma once

#include <stddef.h>

/* All but the ty_try_ functions return memory or abort. Freed with free(). */
void *ty_alloc(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *ty_zalloc(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *ty_realloc(void *old, size_t size) __attribute__((returns_nonnull, warn_unused_result));
char *ty_strdup(const char *text) __attribute__((malloc, returns_nonnull, warn_unused_result));
char *ty_strndup(const char *text, size_t len)
    __attribute__((malloc, returns_nonnull, warn_unused_result));
char *ty_asprintf(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), returns_nonnull, warn_unused_result));

/* NULL when there is no memory; for peer-sized allocations. */
void *ty_try_alloc(size_t size) __attribute__((warn_unused_result));
void *ty_try_realloc(void *old, size_t size) __attribute__((warn_unused_result));

/* Tests: the `nth` ty_try_ call from now fails (1 = the next one); 0 switches it off. */
void ty_memory_fail_nth(unsigned nth);
