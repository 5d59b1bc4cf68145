#define _GNU_SOURCE
#include "tycho/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "tycho/memory.h"

/* The memory file: header, one entry per file, then root, names and contents, each followed by a
 * NUL. Offsets are from the start of the file; one machine, one program: native byte order. */
struct header {
    char magic[8];
    uint32_t size; /* of the whole file */
    uint32_t count;
    uint32_t root;
    uint32_t root_len;
};

struct entry {
    uint32_t name;
    uint32_t name_len;
    uint32_t data;
    uint32_t data_len;
};

enum {
    ID_LEN = 12,
    ROOT_MAX = 4096,
    NAME_MAX_LEN = 4096,
    /* contents, and what names, entries and NULs may add */
    SIZE_MAX_BYTES = TY_BUNDLE_BYTES_MAX + TY_BUNDLE_FILES_MAX * 1024 + ROOT_MAX,
};

static const char magic[8] = "tychoB1";

struct ty_bundle {
    int fd;
    unsigned refs;
    const char *map;
    size_t size;
    const char *root;
    struct ty_bundle_file *files;
    size_t count;
    char id[ID_LEN + 1];
};

/* ---- reading a memory file: nothing in it is trusted */

/* A run of `len` bytes at `offset` that ends in a NUL behind it. NULL: outside. */
static const char *text_at(const char *map, size_t size, uint32_t offset, uint32_t len)
{
    if (offset < sizeof(struct header) || offset >= size || len >= size - offset)
        return NULL;
    return map[offset + len] == '\0' ? map + offset : NULL;
}

/* Parts that are neither empty nor "." nor "..", with '/' between. */
static bool is_relative_name(const char *name, size_t len)
{
    if (len == 0 || len > NAME_MAX_LEN || memchr(name, '\0', len))
        return false;
    for (const char *part = name;; part++) {
        size_t part_len = strcspn(part, "/");
        if (part_len == 0 || strncmp(part, ".", part_len) == 0)
            return false;
        if (part_len == 2 && memcmp(part, "..", 2) == 0)
            return false;
        part += part_len;
        if (*part == '\0')
            return true;
    }
}

static bool read_entries(struct ty_bundle *bundle, const struct header *header)
{
    const char *before = "";

    for (uint32_t i = 0; i < header->count; i++) {
        struct entry entry;
        memcpy(&entry, bundle->map + sizeof(*header) + i * sizeof(entry), sizeof(entry));
        const char *name = text_at(bundle->map, bundle->size, entry.name, entry.name_len);
        const char *data = text_at(bundle->map, bundle->size, entry.data, entry.data_len);
        if (!name || !data || !is_relative_name(name, entry.name_len) || strcmp(before, name) >= 0)
            return false;
        bundle->files[i] = (struct ty_bundle_file){name, data, entry.data_len};
        before = name;
    }
    return true;
}

static bool read_header(struct ty_bundle *bundle)
{
    struct header header;

    memcpy(&header, bundle->map, sizeof(header));
    if (memcmp(header.magic, magic, sizeof(magic)) != 0 || header.size != bundle->size)
        return false;
    if (header.count > TY_BUNDLE_FILES_MAX ||
        header.count > (bundle->size - sizeof(header)) / sizeof(struct entry))
        return false;
    bundle->root = text_at(bundle->map, bundle->size, header.root, header.root_len);
    if (!bundle->root || strlen(bundle->root) != header.root_len)
        return false;

    bundle->count = header.count;
    bundle->files = ty_zalloc((bundle->count + 1) * sizeof(*bundle->files));
    return read_entries(bundle, &header);
}

/* Lengths go in too, or two files could be one. */
static void name_by_content(struct ty_bundle *bundle)
{
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    static const char hex[] = "0123456789abcdef";

    if (!sha || !EVP_DigestInit_ex(sha, EVP_sha256(), NULL))
        abort(); /* out of memory: see tycho/memory.h */
    for (size_t i = 0; i < bundle->count; i++) {
        const struct ty_bundle_file *file = &bundle->files[i];
        uint64_t lens[2] = {strlen(file->name), file->len};
        EVP_DigestUpdate(sha, lens, sizeof(lens));
        EVP_DigestUpdate(sha, file->name, lens[0]);
        EVP_DigestUpdate(sha, file->data, lens[1]);
    }
    EVP_DigestFinal_ex(sha, digest, NULL);
    EVP_MD_CTX_free(sha);
    for (int i = 0; i < ID_LEN; i++)
        bundle->id[i] = hex[(digest[i / 2] >> (i % 2 ? 0 : 4)) & 15];
}

struct ty_bundle *ty_bundle_open(int fd, struct ty_error *error)
{
    const int sealed = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    struct ty_bundle *bundle;
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || (seals & sealed) != sealed || fstat(fd, &st) != 0 ||
        st.st_size < (off_t)sizeof(struct header) || st.st_size > SIZE_MAX_BYTES) {
        ty_error_set(error, TY_ERR_INVALID, NULL, "not a bundle of script files");
        return NULL;
    }
    bundle = ty_zalloc(sizeof(*bundle));
    bundle->refs = 1;
    bundle->size = (size_t)st.st_size;
    bundle->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    void *map = mmap(NULL, bundle->size, PROT_READ, MAP_SHARED, fd, 0);
    bundle->map = map == MAP_FAILED ? NULL : map;
    if (bundle->fd < 0 || !bundle->map)
        ty_error_set(error, TY_ERR_UNAVAILABLE, NULL, "bundle: %s", strerror(errno));
    else if (!read_header(bundle))
        ty_error_set(error, TY_ERR_INVALID, NULL, "not a bundle of script files");
    else {
        name_by_content(bundle);
        return bundle;
    }
    ty_bundle_unref(bundle);
    return NULL;
}

/* ---- writing one */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct ty_bundle_file *)a)->name,
                  ((const struct ty_bundle_file *)b)->name);
}

static size_t size_of(const struct ty_bundle_file *files, size_t count, const char *root)
{
    size_t size = sizeof(struct header) + count * sizeof(struct entry) + strlen(root) + 1;

    for (size_t i = 0; i < count; i++)
        size += strlen(files[i].name) + 1 + files[i].len + 1;
    return size;
}

/* The map is zeroed: what lies between the texts is their NUL. */
static uint32_t put(char *map, size_t *end, const char *text, size_t len)
{
    size_t at = *end;

    if (len > 0)
        memcpy(map + at, text, len);
    *end = at + len + 1;
    return (uint32_t)at;
}

static void write_files(char *map, size_t size, const struct ty_bundle_file *files, size_t count,
                        const char *root)
{
    struct header header = {.size = (uint32_t)size, .count = (uint32_t)count};
    size_t end = sizeof(header) + count * sizeof(struct entry);

    memcpy(header.magic, magic, sizeof(magic));
    header.root_len = (uint32_t)strlen(root);
    header.root = put(map, &end, root, header.root_len);
    memcpy(map, &header, sizeof(header));
    for (size_t i = 0; i < count; i++) {
        size_t name_len = strlen(files[i].name);
        struct entry entry = {.name_len = (uint32_t)name_len, .data_len = (uint32_t)files[i].len};
        entry.name = put(map, &end, files[i].name, name_len);
        entry.data = put(map, &end, files[i].data, files[i].len);
        memcpy(map + sizeof(header) + i * sizeof(entry), &entry, sizeof(entry));
    }
}

/* Returns the sealed descriptor, or -1 with errno. */
static int seal_files(const struct ty_bundle_file *files, size_t count, const char *root)
{
    size_t size = size_of(files, count, root);
    int fd = memfd_create("tycho bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *map = MAP_FAILED;

    if (size > SIZE_MAX_BYTES)
        errno = EFBIG;
    else if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        goto failed;
    write_files(map, size, files, count, root);
    munmap(map, size);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
        return fd;
failed:
    if (fd >= 0)
        close(fd);
    return -1;
}

static struct ty_bundle *make(struct ty_bundle_file *files, size_t count, const char *root,
                              struct ty_error *error)
{
    struct ty_bundle *bundle;
    int fd;

    if (count > 0)
        qsort(files, count, sizeof(*files), compare_names);
    fd = seal_files(files, count, root);
    if (fd < 0) {
        ty_error_set(error, TY_ERR_UNAVAILABLE, NULL, "%s: no memory file for the scripts: %s",
                     root, strerror(errno));
        return NULL;
    }
    bundle = ty_bundle_open(fd, error);
    close(fd);
    return bundle;
}

struct ty_bundle *ty_bundle_read(const char *root, struct ty_error *error)
{
    struct bundle_files files = {0};
    struct ty_bundle *bundle = NULL;

    if (strlen(root) >= ROOT_MAX)
        ty_error_set(error, TY_ERR_INVALID, NULL, "%.64s...: too long for a folder's name", root);
    else if (ty_bundle_files_read(&files, root, error) == 0)
        bundle = make(files.list, files.count, root, error);
    ty_bundle_files_close(&files);
    return bundle;
}

struct ty_bundle *ty_bundle_of(const struct ty_bundle_file *files, size_t count, const char *root)
{
    struct ty_bundle_file *sorted = ty_zalloc((count + 1) * sizeof(*sorted));
    struct ty_bundle *bundle;

    if (count > 0)
        memcpy(sorted, files, count * sizeof(*files));
    bundle = make(sorted, count, root, NULL);
    free(sorted);
    return bundle;
}

/* ---- using one */

struct ty_bundle *ty_bundle_ref(struct ty_bundle *bundle)
{
    bundle->refs++;
    return bundle;
}

void ty_bundle_unref(struct ty_bundle *bundle)
{
    if (!bundle || --bundle->refs > 0)
        return;
    if (bundle->map)
        munmap((void *)bundle->map, bundle->size);
    if (bundle->fd >= 0)
        close(bundle->fd);
    free(bundle->files);
    free(bundle);
}

int ty_bundle_fd(const struct ty_bundle *bundle)
{
    return bundle->fd;
}

const char *ty_bundle_id(const struct ty_bundle *bundle)
{
    return bundle->id;
}

const char *ty_bundle_root(const struct ty_bundle *bundle)
{
    return bundle->root;
}

size_t ty_bundle_count(const struct ty_bundle *bundle)
{
    return bundle->count;
}

const struct ty_bundle_file *ty_bundle_at(const struct ty_bundle *bundle, size_t index)
{
    return index < bundle->count ? &bundle->files[index] : NULL;
}

const struct ty_bundle_file *ty_bundle_find(const struct ty_bundle *bundle, const char *name)
{
    const struct ty_bundle_file key = {.name = name};

    if (bundle->count == 0)
        return NULL;
    return bsearch(&key, bundle->files, bundle->count, sizeof(key), compare_names);
}
