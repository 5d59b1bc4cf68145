#define _GNU_SOURCE /* memfd_create */
#include "sql/pool_ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "tycho/clock.h"
#include "tycho/memory.h"

enum {
    MAGIC = 0x7479636c,
    LAYOUT = 1,
    DATABASES = 64,
    OWNERS_MAX = 256,
    FRESH_MS = 300,
    UNSEEN = 2
};

/* A place: 0 is free; OWNED with the owner's process id and when it started, as ids are used again;
 * PAUSED with the moment from which it is free. */
static const uint64_t OWNED = (uint64_t)1 << 63, PAUSED = (uint64_t)1 << 62;

struct entry {
    _Atomic uint64_t key; /* of the database's name; 0: unused */
    _Atomic uint64_t wanted_ms, wanted_by;
    _Atomic uint64_t teller;
    _Atomic uint64_t place[POOL_PLACES_MAX];
};

struct file {
    uint32_t magic, layout;
    struct entry entry[DATABASES];
};

struct pool_ledger {
    struct entry *entry;
    struct entry *own; /* not shared with anybody; NULL: it is */
    unsigned max;
    uint64_t me;
};

/* check: allow NO-GLOBALS because a process counts in the one ledger that it inherited. */
static struct file *shared;

/* ---- owners */

/* The system's words about a process, with a NUL at the end; its length, 0 if there is no such
 * process, or -1 if that cannot be found out: no descriptor is left, say. */
static ssize_t read_stat(uint32_t pid, char *text, size_t size)
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);
    if (len < 0 && (errno == ENOENT || errno == ESRCH))
        len = 0;
    if (fd >= 0)
        close(fd);
    text[len > 0 ? len : 0] = '\0';
    return len;
}

/* When a process started, in ticks since boot; 0: it is dead; UNSEEN: nobody knows. One that was
 * killed and not yet reaped has closed its files. */
static uint32_t started_at(uint32_t pid)
{
    char text[1024], state;
    unsigned long long ticks;

    if (read_stat(pid, text, sizeof(text)) < 0)
        return UNSEEN;
    const char *after = strrchr(text, ')'); /* names may have any in them */
    if (!after ||
        sscanf(after + 1,
               " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
               " %*s %*s %llu",
               &state, &ticks) != 2 ||
        state == 'Z' || state == 'X')
        return 0;
    return (uint32_t)ticks | 1;
}

static uint64_t owner_of(uint32_t pid, uint32_t started)
{
    return OWNED | (uint64_t)(pid & 0x3fffffff) << 32 | started;
}

static bool is_alive(uint64_t owner)
{
    uint32_t started = started_at((uint32_t)(owner >> 32) & 0x3fffffff);
    bool is_doubtful = started == UNSEEN || (uint32_t)owner == UNSEEN;

    return is_doubtful ? started != 0 : started == (uint32_t)owner;
}

/* ---- the file */

int ty_sql_ledger_create(void)
{
    int fd = memfd_create("tycho-connections", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    uint32_t head[2] = {MAGIC, LAYOUT};

    if (fd < 0)
        return -1;
    /* Sealed: nobody can make it shorter under those who have it mapped. */
    if (ftruncate(fd, (off_t)sizeof(struct file)) < 0 ||
        pwrite(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int why = errno;

        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

bool ty_sql_ledger_is_one(int fd)
{
    uint32_t head[2];
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)sizeof(struct file) &&
           pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) && head[0] == MAGIC &&
           head[1] == LAYOUT;
}

int ty_sql_ledger_attach(int fd)
{
    if (!ty_sql_ledger_is_one(fd))
        return UV_EINVAL;
    void *memory = mmap(NULL, sizeof(struct file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    ty_sql_ledger_detach();
    shared = memory;
    return 0;
}

void ty_sql_ledger_detach(void)
{
    if (shared)
        munmap(shared, sizeof(struct file));
    shared = NULL;
}

/* ---- one database */

/* FNV-1a. */
static uint64_t key_of(const char *name)
{
    uint64_t key = 14695981039346656037U;

    for (; *name; name++)
        key = (key ^ (unsigned char)*name) * 1099511628211U;
    return key ? key : 1;
}

static struct entry *find(const char *name)
{
    uint64_t key = key_of(name);

    for (unsigned i = 0; shared && i < DATABASES; i++) {
        struct entry *entry = &shared->entry[(key + i) % DATABASES];
        uint64_t none = 0;

        if (atomic_compare_exchange_strong(&entry->key, &none, key) || none == key)
            return entry;
    }
    return NULL;
}

struct pool_ledger *pool_ledger_open(const char *name, unsigned max)
{
    struct pool_ledger *ledger = ty_zalloc(sizeof(*ledger));
    uint32_t pid = (uint32_t)getpid();

    ledger->entry = find(name);
    if (!ledger->entry)
        ledger->entry = ledger->own = ty_zalloc(sizeof(*ledger->own));
    ledger->max = max < POOL_PLACES_MAX ? max : POOL_PLACES_MAX;
    ledger->me = owner_of(pid, started_at(pid));
    return ledger;
}

void pool_ledger_close(struct pool_ledger *ledger)
{
    uint64_t me = ledger->me;

    atomic_compare_exchange_strong(&ledger->entry->teller, &me, 0);
    free(ledger->own);
    free(ledger);
}

/* ---- places */

static bool is_claimable(uint64_t place, uint64_t now)
{
    return place == 0 || (!(place & OWNED) && (place & ~PAUSED) <= now);
}

int pool_ledger_claim(struct pool_ledger *ledger)
{
    uint64_t now = ty_now_ms();

    for (unsigned i = 0; i < ledger->max; i++) {
        _Atomic uint64_t *place = &ledger->entry->place[i];
        uint64_t found = atomic_load(place);

        if (is_claimable(found, now) && atomic_compare_exchange_strong(place, &found, ledger->me))
            return (int)i;
    }
    return POOL_NO_PLACE;
}

void pool_ledger_release(struct pool_ledger *ledger, unsigned place, unsigned grace_ms)
{
    uint64_t me = ledger->me; /* or somebody took us for dead, and may have claimed it since */

    atomic_compare_exchange_strong(&ledger->entry->place[place], &me,
                                   PAUSED | (ty_now_ms() + grace_ms));
}

void pool_ledger_sweep(struct pool_ledger *ledger)
{
    uint64_t alive = ledger->me;

    if (ledger->own)
        return;
    uint64_t teller = atomic_load(&ledger->entry->teller);
    if (teller && !is_alive(teller))
        atomic_compare_exchange_strong(&ledger->entry->teller, &teller, 0);
    for (unsigned i = 0; i < POOL_PLACES_MAX; i++) {
        _Atomic uint64_t *place = &ledger->entry->place[i];
        uint64_t found = atomic_load(place);

        if (!(found & OWNED) || found == ledger->me || found == alive)
            continue;
        if (is_alive(found))
            alive = found; /* the next ones are often the same process's */
        else
            atomic_compare_exchange_strong(place, &found, PAUSED | (ty_now_ms() + POOL_GRACE_MS));
    }
}

unsigned pool_ledger_used(const struct pool_ledger *ledger)
{
    uint64_t now = ty_now_ms();
    unsigned used = 0;

    for (unsigned i = 0; i < POOL_PLACES_MAX; i++)
        used += !is_claimable(atomic_load(&ledger->entry->place[i]), now);
    return used;
}

bool pool_ledger_tells(struct pool_ledger *ledger)
{
    uint64_t nobody = 0;

    return atomic_compare_exchange_strong(&ledger->entry->teller, &nobody, ledger->me) ||
           nobody == ledger->me;
}

/* ---- sharing */

void pool_ledger_want(struct pool_ledger *ledger)
{
    if (ledger->own)
        return;
    atomic_store(&ledger->entry->wanted_by, ledger->me);
    atomic_store(&ledger->entry->wanted_ms, ty_now_ms());
}

bool pool_ledger_is_wanted(const struct pool_ledger *ledger)
{
    if (ledger->own)
        return false;
    uint64_t since = atomic_load(&ledger->entry->wanted_ms), now = ty_now_ms();

    return since && now < since + FRESH_MS && atomic_load(&ledger->entry->wanted_by) != ledger->me;
}

/* Processes that hold places, and the one that wants one. Looked at once: others change it
 * meanwhile. */
static unsigned count_users(const struct pool_ledger *ledger)
{
    uint64_t owner[OWNERS_MAX] = {atomic_load(&ledger->entry->wanted_by)};
    unsigned count = 1;

    for (unsigned i = 0; i < POOL_PLACES_MAX && count < OWNERS_MAX; i++) {
        uint64_t found = atomic_load(&ledger->entry->place[i]);
        unsigned at = 0;

        if (!(found & OWNED))
            continue;
        while (at < count && owner[at] != found)
            at++;
        if (at == count)
            owner[count++] = found;
    }
    return count;
}

bool pool_ledger_is_greedy(const struct pool_ledger *ledger, unsigned held)
{
    unsigned users = count_users(ledger);

    if (users > ledger->max)
        return held > 0; /* in turns */
    return held > (ledger->max + users - 1) / users;
}
