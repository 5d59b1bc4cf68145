#include "host/pid_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tycho/log.h"
#include "tycho/memory.h"

/* Beside the real one; to be freed. */
static char *hidden_path(const struct pid_file *file)
{
    return ty_asprintf("%s~", file->path);
}

static bool is_file(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int write_id(const char *path)
{
    FILE *out = fopen(path, "we");
    int code;

    if (!out)
        return errno;
    fprintf(out, "%d\n", getpid());
    code = ferror(out) ? EIO : 0;
    code = fclose(out) == 0 ? code : errno;
    if (code != 0 && is_file(path))
        unlink(path); /* the disk is full: an empty one names nobody */
    return code;
}

static int read_id(const char *path)
{
    FILE *in = fopen(path, "re");
    int id = 0;

    if (in && fscanf(in, "%d", &id) != 1)
        id = 0;
    if (in)
        fclose(in);
    return id;
}

int ty_pid_file_write(struct pid_file *file, const char *path, bool is_hidden,
                      struct ty_error *error)
{
    char *hidden;
    int code;

    if (!path || path[0] == '\0')
        return 0;
    file->path = ty_strdup(path);
    file->is_hidden = is_hidden;
    hidden = hidden_path(file);
    code = write_id(is_hidden ? hidden : path);
    free(hidden);
    if (code == 0)
        return 0;
    free(file->path);
    file->path = NULL;
    return ty_error_set(error, TY_ERR_INVALID, NULL, "%s: %s (host.pid_file)", path,
                        strerror(code));
}

void ty_pid_file_reveal(struct pid_file *file)
{
    char *hidden;

    if (!file->path || !file->is_hidden)
        return;
    hidden = hidden_path(file);
    if (rename(hidden, file->path) != 0)
        ty_log_error("host", "%s: %s (host.pid_file)", file->path, strerror(errno));
    file->is_hidden = false;
    free(hidden);
}

void ty_pid_file_sweep(const struct pid_file *file)
{
    char *hidden = file->path ? hidden_path(file) : NULL;

    if (hidden)
        unlink(hidden);
    free(hidden);
}

void ty_pid_file_reclaim(struct pid_file *file)
{
    int code = 0;

    if (!file->path)
        return;
    if (read_id(file->path) != getpid())
        code = write_id(file->path);
    if (code != 0)
        ty_log_error("host", "%s: %s (host.pid_file)", file->path, strerror(code));
}

void ty_pid_file_close(struct pid_file *file)
{
    char *path = file->path ? (file->is_hidden ? hidden_path(file) : ty_strdup(file->path)) : NULL;

    if (path && read_id(path) == getpid())
        unlink(path);
    free(path);
    free(file->path);
    file->path = NULL;
}
