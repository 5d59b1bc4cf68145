/* JSON's numbers and strings, written fast.
 *
 * Most numbers of real documents are small integers or have a few decimals, and most strings are
 * plain ASCII; these have paths of their own. The rest is slower and just as exact.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tycho/buffer.h"

/* The shortest digits that read back as the same number. False, and nothing is added, if it is not
 * a number or infinite. */
bool ty_json_add_number(struct ty_buf *out, double number);

void ty_json_add_int64(struct ty_buf *out, int64_t number);
void ty_json_add_uint64(struct ty_buf *out, uint64_t number);

/* With its quotes. False if it is not UTF-8; then part of it may have been added. */
bool ty_json_add_string(struct ty_buf *out, const char *s, size_t len);
