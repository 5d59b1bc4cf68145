#define _GNU_SOURCE /* memfd_create */
#include "tycho/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tycho/clock.h"
#include "tycho/memory.h"
#include "tycho/metrics.h"

enum { MAGIC = 0x7479636f, LAYOUT = 1, PAGE = 4096 };

struct header {
    uint32_t magic;
    uint32_t layout;
    uint32_t slots;
    uint32_t slot_size; /* with the size of the whole, tells another build's file from ours */
    struct ty_slot slot[];
};

struct ty_shm {
    int fd;
    struct header *header;
    size_t size;
};

static size_t metrics_offset(unsigned slots)
{
    size_t used = sizeof(struct header) + slots * sizeof(struct ty_slot);

    return (used + PAGE - 1) / PAGE * PAGE;
}

static size_t total_size(unsigned slots)
{
    return metrics_offset(slots) + ty_metrics_size(slots);
}

/* Takes the descriptor only if it succeeds. */
static struct ty_shm *map(int fd, size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (memory == MAP_FAILED)
        return NULL;
    struct ty_shm *shm = ty_zalloc(sizeof(*shm));
    shm->fd = fd;
    shm->header = memory;
    shm->size = size;
    return shm;
}

static struct ty_shm *make(int fd, unsigned slots)
{
    size_t size = total_size(slots);

    /* Sealed: nobody can make it shorter under those who have it mapped. */
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return NULL;
    struct ty_shm *shm = map(fd, size);
    if (!shm)
        return NULL;
    shm->header->layout = LAYOUT;
    shm->header->slots = slots;
    shm->header->slot_size = sizeof(struct ty_slot);
    ty_metrics_format(ty_shm_metrics(shm), slots);
    shm->header->magic = MAGIC;
    return shm;
}

struct ty_shm *ty_shm_create(unsigned slots)
{
    if (slots >= TY_SHM_SLOTS_MAX) {
        errno = EINVAL;
        return NULL;
    }
    int fd = memfd_create("tycho", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return NULL;
    struct ty_shm *shm = make(fd, slots + 1);
    if (!shm) {
        int why = errno;

        close(fd);
        errno = why;
    }
    return shm;
}

static bool is_ours(const struct ty_shm *shm)
{
    const struct header *header = shm->header;

    return header->magic == MAGIC && header->layout == LAYOUT &&
           header->slot_size == sizeof(struct ty_slot) && header->slots > 0 &&
           header->slots <= TY_SHM_SLOTS_MAX && total_size(header->slots) == shm->size;
}

struct ty_shm *ty_shm_attach(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return NULL;
    if (!S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof(struct header)) {
        errno = EINVAL;
        return NULL;
    }
    struct ty_shm *shm = map(fd, (size_t)st.st_size);
    if (shm && !is_ours(shm)) {
        munmap(shm->header, shm->size);
        free(shm);
        errno = EINVAL;
        return NULL;
    }
    return shm;
}

void ty_shm_detach(struct ty_shm *shm)
{
    if (!shm)
        return;
    munmap(shm->header, shm->size);
    close(shm->fd);
    free(shm);
}

int ty_shm_fd(const struct ty_shm *shm)
{
    return shm->fd;
}

unsigned ty_shm_slot_count(const struct ty_shm *shm)
{
    return shm->header->slots;
}

struct ty_slot *ty_shm_slot(struct ty_shm *shm, unsigned index)
{
    return index < shm->header->slots ? &shm->header->slot[index] : NULL;
}

void *ty_shm_metrics(struct ty_shm *shm)
{
    return (char *)shm->header + metrics_offset(shm->header->slots);
}

void ty_slot_route(const struct ty_slot *slot, char *out, size_t size)
{
    const char *running = slot->running;
    size_t len = 0, max = size < sizeof(slot->running) ? size : sizeof(slot->running);
    bool in_path = false; /* methods are separated by ", " */

    for (; len + 1 < max && running[len] && !(in_path && running[len] == ' '); len++) {
        in_path = in_path || (running[len] == '/' && len > 0 && running[len - 1] == ' ');
        out[len] = running[len];
    }
    out[in_path ? len : 0] = '\0';
}

bool ty_slot_is_fresh(const struct ty_slot *slot, uint64_t max_age_ms)
{
    uint64_t beat = atomic_load(&slot->heartbeat_ms), now = ty_now_ms();

    /* A beat that came after we read the clock is as fresh as can be. */
    return atomic_load(&slot->pid) != 0 && (beat >= now || now - beat <= max_age_ms);
}
