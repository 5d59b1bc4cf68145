/* Stacks that were counted: "root;caller;callee 12", a line each, as flame graphs are drawn from.
 *
 * Bounded in number and in bytes: what is beyond is not kept but counted as lost, so that a profile
 * of anything fits in one message.
 */
#pragma once

#include <stdint.h>

#include "tycho/buffer.h"

enum { TY_FOLDED_MAX = 20000, TY_FOLDED_BYTES_MAX = 4 * 1024 * 1024 };

struct ty_folded;

struct ty_folded *ty_folded_new(void);
void ty_folded_free(struct ty_folded *folded); /* NULL is fine */

/* Counts a stack, which has no newline in it. */
void ty_folded_add(struct ty_folded *folded, const char *stack, size_t len, uint64_t count);
/* The same for every line of `text`; what is no such line is left out. */
void ty_folded_merge(struct ty_folded *folded, const char *text, size_t len);

uint64_t ty_folded_total(const struct ty_folded *folded); /* lost ones included */
uint64_t ty_folded_lost(const struct ty_folded *folded);

/* Adds all lines, sorted. */
void ty_folded_render(const struct ty_folded *folded, struct ty_buf *out);
