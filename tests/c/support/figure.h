/* How long something may take. `make test-long`, on a machine for itself, holds promises to the
 * letter; other runs share their machine and give them room (tests/blackbox/support/figure.lua). */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What is promised to take `ms` at most. */
__attribute__((unused)) static uint64_t at_most_ms(uint64_t ms)
{
    const char *is_long = getenv("TYCHO_TEST_LONG");

    return is_long && strcmp(is_long, "1") == 0 ? ms : 4 * ms;
}
