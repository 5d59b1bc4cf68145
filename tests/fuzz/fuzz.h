/* What the fuzz targets share. A target is one file, fuzz_NAME.c, that gives libFuzzer one function
 * from bytes to nothing: it ends by returning, or it has found something. Besides what the
 * sanitizers see, each target states what must hold for any input, with REQUIRE().
 *
 * Targets keep what is expensive to make, from one input to the next, in one static struct.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tycho/buffer.h"

/* libFuzzer's side of the contract. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define REQUIRE(condition)                                                            \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                  \
        }                                                                             \
    } while (0)

/* A copy that ends where the text ends, so that a byte too many is seen. The caller frees it. */
static inline char *exact_copy(const void *data, size_t len)
{
    char *copy = malloc(len ? len : 1);

    REQUIRE(copy);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

static inline bool same(struct ty_slice a, struct ty_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Lengths of pieces to cut an input into: 0 is byte by byte, 255 all in one. */
struct cuts {
    uint32_t state;
    uint8_t kind;
};

static inline size_t next_piece(struct cuts *cuts, size_t left)
{
    size_t len = 1;

    if (cuts->kind == 255)
        return left;
    if (cuts->kind) {
        cuts->state = cuts->state * 1664525u + 1013904223u + cuts->kind;
        len = 1 + (cuts->state >> 24) % cuts->kind;
    }
    return len < left ? len : left;
}
