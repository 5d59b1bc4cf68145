#include "tycho/clock.h"

#include <string.h>
#include <time.h>

enum { NS_PER_S = 1000000000, US_PER_S = 1000000, NS_PER_US = 1000, NS_PER_MS = 1000000 };

uint64_t ty_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t ty_now_ms(void)
{
    return ty_now_ns() / NS_PER_MS;
}

int64_t ty_wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / NS_PER_US;
}

/* Decimal with leading zeros, `width` digits; returns what is behind it. */
static char *put(char *at, unsigned number, int width)
{
    for (int i = width - 1; i >= 0; i--, number /= 10)
        at[i] = (char)('0' + number % 10);
    return at + width;
}

void ty_http_date(int64_t wall_seconds, char out[TY_HTTP_DATE_LEN + 1])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)wall_seconds;
    struct tm tm;
    char *at = out;

    /* Not strftime(): its names are the locale's. */
    gmtime_r(&seconds, &tm);
    memcpy(at, days + 3 * tm.tm_wday, 3);
    memcpy(at + 3, ", ", 2);
    at = put(at + 5, (unsigned)tm.tm_mday, 2);
    *at++ = ' ';
    memcpy(at, months + 3 * tm.tm_mon, 3);
    at[3] = ' ';
    at = put(at + 4, (unsigned)tm.tm_year + 1900, 4);
    *at++ = ' ';
    at = put(at, (unsigned)tm.tm_hour, 2);
    *at++ = ':';
    at = put(at, (unsigned)tm.tm_min, 2);
    *at++ = ':';
    at = put(at, (unsigned)tm.tm_sec, 2);
    memcpy(at, " GMT", sizeof(" GMT"));
}

size_t ty_rfc3339(int64_t wall_us, char out[TY_RFC3339_MAX])
{
    int64_t us = wall_us % US_PER_S;
    time_t seconds = (time_t)(wall_us / US_PER_S);
    struct tm tm;
    char *at = out;

    if (us < 0) {
        us += US_PER_S;
        seconds--;
    }
    gmtime_r(&seconds, &tm);
    at = put(at, (unsigned)tm.tm_year + 1900, 4);
    *at++ = '-';
    at = put(at, (unsigned)tm.tm_mon + 1, 2);
    *at++ = '-';
    at = put(at, (unsigned)tm.tm_mday, 2);
    *at++ = 'T';
    at = put(at, (unsigned)tm.tm_hour, 2);
    *at++ = ':';
    at = put(at, (unsigned)tm.tm_min, 2);
    *at++ = ':';
    at = put(at, (unsigned)tm.tm_sec, 2);
    *at++ = '.';
    at = put(at, (unsigned)us, 6);
    memcpy(at, "Z", 2);
    return (size_t)(at + 1 - out);
}
