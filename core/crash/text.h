/* Text into memory that is there already: for signal handlers, where nothing may be allocated and
 * the C library's own formatting must not be used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Always terminated. What does not fit is cut, and `is_full` says so until somebody clears it. */
struct crash_text {
    char *data;
    size_t len;
    size_t max; /* of `len`: one less than there is room */
    bool is_full;
};

void crash_text_adds(struct crash_text *text, const char *string);
void crash_text_addu(struct crash_text *text, uint64_t number);
void crash_text_addx(struct crash_text *text, uintptr_t number); /* "0x1f" */

/* At most `len` bytes, until a NUL, as the inside of a JSON string. What is no UTF-8 becomes '?'.
 */
void crash_text_add_json(struct crash_text *text, const char *string, size_t len);

/* Back to where it was: what follows did not fit as a whole. */
void crash_text_cut(struct crash_text *text, size_t len);
