/* "Did you mean?": the nearest of the words that would have been right. */
#pragma once

#include <stddef.h>

enum { TY_SUGGEST_MAX = 128 };

struct ty_suggest {
    const char *wanted;        /* what was written */
    char best[TY_SUGGEST_MAX]; /* the nearest so far; "" if nothing is near enough */
    size_t distance;
};

void ty_suggest_init(struct ty_suggest *suggest, const char *wanted);

/* Compares a word that would have been right; it is copied. Overlong ones are passed over. */
void ty_suggest_offer(struct ty_suggest *suggest, const char *candidate);

/* Edits (a letter more, less, other, or two swapped) that make `a` into `b`; case counts as
 * nothing. Words beyond TY_SUGGEST_MAX are infinitely far from everything. */
size_t ty_suggest_distance(const char *a, const char *b);
