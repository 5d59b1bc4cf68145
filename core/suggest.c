#include "tycho/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

size_t ty_suggest_distance(const char *a, const char *b)
{
    size_t rows[3][TY_SUGGEST_MAX + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > TY_SUGGEST_MAX || b_len > TY_SUGGEST_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *spare = before;

        before = above;
        above = row;
        row = spare;
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = min(min(above[j], row[j - 1]) + 1,
                         above[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1));
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                row[j] = min(row[j], before[j - 2] + 1);
        }
    }
    return row[b_len];
}

void ty_suggest_init(struct ty_suggest *suggest, const char *wanted)
{
    suggest->wanted = wanted;
    suggest->best[0] = '\0';
    suggest->distance = strlen(wanted) / 4 + 2; /* this far is not near enough any more */
}

void ty_suggest_offer(struct ty_suggest *suggest, const char *candidate)
{
    size_t distance = ty_suggest_distance(suggest->wanted, candidate);
    size_t len = strlen(candidate);

    if (distance >= suggest->distance || len >= TY_SUGGEST_MAX || distance >= len)
        return;
    memcpy(suggest->best, candidate, len + 1);
    suggest->distance = distance;
}
