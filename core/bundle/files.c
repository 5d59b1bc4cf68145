#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tycho/memory.h"

enum { DEPTH_MAX = 32 };

struct walk {
    struct bundle_files *files;
    const char *root;
    char real_root[PATH_MAX];
    struct ty_error *error;
};

static int fail(struct walk *walk, const char *path, const char *why)
{
    return ty_error_set(walk->error, TY_ERR_INVALID, NULL, "%s: %s", path, why);
}

/* Reads until the end, whatever stat() said, but never more than the bundle may still take. */
static int read_all(struct walk *walk, int fd, const char *path, struct ty_bundle_file *file)
{
    size_t cap = 4096, left = TY_BUNDLE_BYTES_MAX - walk->files->bytes;
    char *data = ty_alloc(cap);
    ssize_t n;

    file->data = data;
    while ((n = read(fd, data + file->len, cap - file->len)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(walk, path, strerror(errno));
        file->len += (size_t)n;
        if (file->len > left)
            return fail(walk, path, "the script folder holds more than 64 MiB");
        if (file->len == cap)
            file->data = data = ty_realloc(data, cap *= 2);
    }
    walk->files->bytes += file->len;
    return 0;
}

static int add_file(struct walk *walk, const char *path)
{
    struct bundle_files *files = walk->files;
    int fd, status;

    if (files->count == TY_BUNDLE_FILES_MAX)
        return fail(walk, walk->root, "more than 10000 files");
    if (files->count == files->cap) {
        files->cap = files->cap ? files->cap * 2 : 64;
        files->list = ty_realloc(files->list, files->cap * sizeof(*files->list));
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return 0; /* gone since the folder was read */
    if (fd < 0)
        return fail(walk, path, strerror(errno));
    struct ty_bundle_file *file = &files->list[files->count++];
    *file = (struct ty_bundle_file){.name = ty_strdup(path + strlen(walk->root) + 1)};
    status = read_all(walk, fd, path, file);
    close(fd);
    return status;
}

static bool is_inside(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* May this link be followed? A link to a folder above itself would never end. */
static bool is_followed(const struct walk *walk, const char *folder, const char *path)
{
    char real[PATH_MAX], real_folder[PATH_MAX];

    return realpath(path, real) && realpath(folder, real_folder) &&
           is_inside(real, walk->real_root) && !is_inside(real_folder, real);
}

static int walk_folder(struct walk *walk, const char *folder, int depth);

static int add(struct walk *walk, const char *folder, const char *name, int depth)
{
    char path[PATH_MAX];
    struct stat st;
    int len = snprintf(path, sizeof(path), "%s/%s", folder, name);

    if (len < 0 || (size_t)len >= sizeof(path))
        return fail(walk, folder, "a name in it is too long");
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : fail(walk, path, strerror(errno));
    if (S_ISLNK(st.st_mode) && (!is_followed(walk, folder, path) || stat(path, &st) != 0))
        return 0;
    if (S_ISDIR(st.st_mode))
        return walk_folder(walk, path, depth + 1);
    return S_ISREG(st.st_mode) ? add_file(walk, path) : 0;
}

static int walk_folder(struct walk *walk, const char *folder, int depth)
{
    struct dirent *entry;
    int status = 0;
    DIR *dir;

    if (depth > DEPTH_MAX)
        return fail(walk, folder, "folders are nested more than 32 deep");
    dir = opendir(folder);
    if (!dir)
        return fail(walk, folder, strerror(errno));
    while (status == 0 && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            status = add(walk, folder, entry->d_name, depth);
    closedir(dir);
    return status;
}

int ty_bundle_files_read(struct bundle_files *files, const char *root, struct ty_error *error)
{
    struct walk walk = {.files = files, .root = root, .error = error};

    if (!realpath(root, walk.real_root))
        return fail(&walk, root, strerror(errno));
    return walk_folder(&walk, root, 0);
}

void ty_bundle_files_close(struct bundle_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free((void *)files->list[i].name);
        free((void *)files->list[i].data);
    }
    free(files->list);
    *files = (struct bundle_files){0};
}
