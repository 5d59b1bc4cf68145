#include "tycho/crypto.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

/* The last version 7 that this process made: its time, and the 74 random bits behind it.
 * check: allow NO-GLOBALS because the order holds for the whole process. */
static struct {
    pthread_mutex_t lock;
    uint64_t ms;
    uint64_t high; /* 12 bits */
    uint64_t low;  /* 62 bits */
} last = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const uint64_t low_mask = (UINT64_C(1) << 62) - 1;

static void store(unsigned char *out, uint64_t value, int len)
{
    for (int i = len - 1; i >= 0; i--, value >>= 8)
        out[i] = (unsigned char)value;
}

static void write_text(unsigned char bytes[16], unsigned version, char out[TY_UUID_LEN + 1])
{
    char hex[32];

    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    ty_hex_encode(bytes, 16, hex);
    for (int i = 0, at = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            out[at++] = '-';
        out[at++] = hex[i];
    }
    out[TY_UUID_LEN] = '\0';
}

void ty_uuid_v4(char out[TY_UUID_LEN + 1])
{
    unsigned char bytes[16];

    ty_crypto_random(bytes, sizeof(bytes));
    write_text(bytes, 4, out);
}

/* A step of random size: the next id of this millisecond is greater and still not guessed. */
static void step_within(uint32_t random)
{
    last.low += (uint64_t)random + 1;
    if (last.low <= low_mask)
        return;
    last.low &= low_mask;
    last.high++;
    if (last.high > 0xfff) {
        last.high = 0;
        last.ms++;
    }
}

void ty_uuid_v7(char out[TY_UUID_LEN + 1])
{
    struct timespec now;
    uint64_t random[2];
    unsigned char bytes[16];

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    ty_crypto_random(random, sizeof(random));

    pthread_mutex_lock(&last.lock);
    if (ms > last.ms) {
        last.ms = ms;
        last.high = random[0] & 0x7ff; /* the top bit stays free for carries */
        last.low = random[1] & low_mask;
    } else {
        step_within((uint32_t)random[0]);
    }
    store(bytes, last.ms, 6);
    store(bytes + 6, last.high, 2);
    store(bytes + 8, last.low, 8);
    pthread_mutex_unlock(&last.lock);

    write_text(bytes, 7, out);
}

bool ty_uuid_valid(const char *text, size_t len)
{
    unsigned char byte;

    if (len != TY_UUID_LEN)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        char pair[2] = {'0', text[i]};

        if (dash ? text[i] != '-' : ty_hex_decode(pair, 2, &byte) < 0)
            return false;
    }
    return true;
}
