/* Reading route patterns: "/user/{id}/file/{path...}". */
#pragma once

#include "tycho/buffer.h"
#include "tycho/router.h"

enum { TY_PATTERN_SEGMENTS_MAX = 64 }; /* bounds the points that a match may go back to */

struct ty_part {
    enum { TY_PART_STATIC, TY_PART_PARAM, TY_PART_REST } kind;
    struct ty_slice text; /* static text, or the name */
};

/* Reads the part of a pattern at *at and moves *at behind it. NULL, or what is wrong. */
const char *ty_pattern_next(const char **at, struct ty_part *part);

/* Checks all of a pattern and collects its parameters' names, which point into it (at most
 * TY_ROUTE_PARAMS_MAX). NULL, or what is wrong. */
const char *ty_pattern_check(const char *pattern, struct ty_slice *names, size_t *count);
