#define _GNU_SOURCE /* nftw() */
#include "tycho/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "tycho/clock.h"
#include "tycho/memory.h"

enum { CHUNK = 64 * 1024, OPEN_FOLDERS = 16 };

static enum ty_error_kind kind_of(int number)
{
    switch (number) {
    case ENOENT:
        return TY_ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return TY_ERR_FORBIDDEN;
    case EEXIST:
    case ENOTEMPTY:
        return TY_ERR_CONFLICT;
    case EISDIR:
    case ENOTDIR:
    case ENAMETOOLONG:
    case EINVAL:
    case ELOOP:
        return TY_ERR_INVALID;
    case EFBIG:
        return TY_ERR_TOO_LARGE;
    default:
        return TY_ERR_UNAVAILABLE; /* disk full, no descriptors, broken disk */
    }
}

static int fail(struct ty_error *error, int number, const char *path)
{
    return ty_error_set(error, kind_of(number), uv_err_name(uv_translate_sys_error(number)),
                        "%s: %s", path, strerror(number));
}

static int read_all(int fd, size_t max, struct ty_buf *out)
{
    for (;;) {
        char chunk[CHUNK];
        ssize_t count = read(fd, chunk, sizeof(chunk));

        if (count == 0)
            return 0;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno;
        if (!ty_buf_try_add(out, chunk, (size_t)count, max))
            return EFBIG;
    }
}

int ty_fs_read(const char *path, size_t max, struct ty_buf *out, struct ty_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return fail(error, errno, path);
    int number = read_all(fd, max, out);
    close(fd);
    return number ? fail(error, number, path) : 0;
}

static int write_all(int fd, struct ty_slice data)
{
    while (data.len > 0) {
        ssize_t count = write(fd, data.data, data.len);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno;
        data.data += count;
        data.len -= (size_t)count;
    }
    return fsync(fd) < 0 ? errno : 0;
}

/* A rename is durable once its folder is. */
static int sync_folder_of(const char *path)
{
    char *copy = ty_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int number = fd < 0 || fsync(fd) < 0 ? errno : 0;

    if (fd >= 0)
        close(fd);
    free(copy);
    return number;
}

/* What was private is so from its first byte on; umask may take more than the old file had lost. */
static int replace(const char *path, const char *temporary, struct ty_slice data)
{
    struct stat old;
    bool is_there = stat(path, &old) == 0;
    mode_t mode = is_there ? old.st_mode & 07777 : 0666;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0)
        return errno;
    int number = is_there && fchmod(fd, mode) < 0 ? errno : 0;
    if (number == 0)
        number = write_all(fd, data);
    close(fd);
    if (number == 0 && rename(temporary, path) < 0)
        number = errno;
    if (number != 0) {
        unlink(temporary);
        return number;
    }
    return sync_folder_of(path);
}

int ty_fs_write(const char *path, struct ty_slice data, struct ty_error *error)
{
    char *temporary =
        ty_asprintf("%s.%d-%llu.tmp", path, (int)gettid(), (unsigned long long)ty_now_ns());
    int number = replace(path, temporary, data);

    free(temporary);
    return number ? fail(error, number, path) : 0;
}

int ty_fs_list(const char *path, struct ty_buf *out, struct ty_error *error)
{
    DIR *folder = opendir(path);
    struct dirent *entry;

    if (!folder)
        return fail(error, errno, path);
    while ((errno = 0, entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ty_buf_add(out, entry->d_name, strlen(entry->d_name) + 1);
    }
    int number = errno;
    closedir(folder);
    return number ? fail(error, number, path) : 0;
}

static int make_folder(const char *path)
{
    struct stat there;

    if (mkdir(path, 0777) == 0)
        return 0;
    if (errno == EEXIST)
        return stat(path, &there) == 0 && S_ISDIR(there.st_mode) ? 0 : EEXIST;
    return errno;
}

int ty_fs_mkdir(const char *path, struct ty_error *error)
{
    char *copy = ty_strdup(path);
    int number = 0;

    for (char *slash = copy; number == 0 && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        number = make_folder(copy);
        if (slash)
            *slash = '/';
    }
    free(copy);
    return number ? fail(error, number, path) : 0;
}

static int remove_one(const char *path, const struct stat *there, int type, struct FTW *where)
{
    (void)there, (void)type, (void)where;
    return remove(path) < 0 && errno != ENOENT ? errno : 0;
}

int ty_fs_remove(const char *path, bool recursive, struct ty_error *error)
{
    int number;

    if (recursive) {
        number = nftw(path, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
        if (number < 0)
            number = errno == ENOENT ? 0 : errno;
    } else {
        number = remove(path) < 0 ? errno : 0;
    }
    return number ? fail(error, number, path) : 0;
}

int ty_fs_stat(const char *path, struct ty_fs_stat *out, struct ty_error *error)
{
    struct stat there;

    if (lstat(path, &there) < 0)
        return fail(error, errno, path);
    *out = (struct ty_fs_stat){
        .type = S_ISREG(there.st_mode)   ? TY_FS_FILE
                : S_ISDIR(there.st_mode) ? TY_FS_FOLDER
                : S_ISLNK(there.st_mode) ? TY_FS_LINK
                                         : TY_FS_OTHER,
        .size = (uint64_t)there.st_size,
        .modified_us = (int64_t)there.st_mtim.tv_sec * 1000000 + there.st_mtim.tv_nsec / 1000,
        .mode = there.st_mode & 07777,
    };
    return 0;
}
