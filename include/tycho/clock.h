/* Time, in the two kinds that must never be mixed.
 *
 * Monotonic time is for durations, deadlines and leases; it ignores steps of the wall clock.
 * Wall time is for people and protocols. Both are plain integers with the unit in the name.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    TY_HTTP_DATE_LEN = 29, /* "Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110 5.6.7 */
    TY_RFC3339_MAX = 32,   /* "2026-01-02T03:04:05.678901Z" and its NUL */
};

uint64_t ty_now_ns(void); /* monotonic */
uint64_t ty_now_ms(void); /* monotonic */
int64_t ty_wall_us(void); /* since 1970-01-01 UTC */

/* Writes IMF-fixdate and a NUL. */
void ty_http_date(int64_t wall_seconds, char out[TY_HTTP_DATE_LEN + 1]);

/* Writes RFC 3339 with microseconds and Z, and a NUL; returns the length. */
size_t ty_rfc3339(int64_t wall_us, char out[TY_RFC3339_MAX]);
