/* What is wrong with a configuration: one line each, in the order found, all of one load. */
#pragma once

#include <stddef.h>

#include "tycho/buffer.h"
#include "tycho/error.h"

struct ty_faults {
    struct ty_buf text; /* lines without a newline at the end */
    size_t count;
};

void ty_fault(struct ty_faults *faults, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Fills `error` with as many lines as fit, says how many more there are, and frees `faults`. */
void ty_faults_close(struct ty_faults *faults, struct ty_error *error);
