#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/admin.h"
#include "host/upgrade.h"
#include "tycho/memory.h"

/* ---- which program we are */

static bool is_this_program(const char *path)
{
    struct stat self, other;

    return stat("/proc/self/exe", &self) == 0 && stat(path, &other) == 0 &&
           self.st_ino == other.st_ino && self.st_dev == other.st_dev;
}

/* "a/b" below the present folder; symbolic links stay, because they are what a deployment moves. */
static char *make_absolute(const char *path)
{
    char *folder, *absolute;

    if (path[0] == '/')
        return ty_strdup(path);
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    folder = getcwd(NULL, 0);
    absolute = ty_asprintf("%s/%s", folder ? folder : "", path);
    free(folder);
    return absolute;
}

static char *look_in_path(const char *name)
{
    const char *at = getenv("PATH");

    while (at && *at) {
        size_t len = strcspn(at, ":");
        char *path = ty_asprintf("%.*s/%s", (int)len, at, name);
        if (len > 0 && is_this_program(path))
            return path;
        free(path);
        at += len + (at[len] == ':');
    }
    return NULL;
}

static char *executable(void)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

    path[len > 0 ? len : 0] = '\0';
    return ty_strdup(path);
}

char *ty_upgrade_program(const char *argv0)
{
    char *path = strchr(argv0, '/') ? make_absolute(argv0) : look_in_path(argv0);

    if (path && is_this_program(path))
        return path;
    free(path); /* whoever started us called us something else */
    return executable();
}

/* ---- starting the next one */

static char **make_arguments(char **argv, const char *program)
{
    size_t count = 0;

    while (argv[count])
        count++;
    char **args = ty_zalloc((count + 2) * sizeof(*args));
    args[0] = (char *)program; /* a later upgrade stays with it */
    for (size_t i = 1; i < count; i++)
        args[i] = argv[i];
    return args;
}

static int or_nothing(int fd)
{
    return fcntl(fd, F_GETFD) >= 0 ? fd : -1;
}

struct child *ty_upgrade_start(struct master *master, const char *program,
                               const struct child_events *events, int *said, int *status)
{
    const struct listeners *web = &master->listeners;
    unsigned admin = master->admin ? ty_admin_listeners(master->admin)->count : 0;
    int fds[CHILD_FDS_MAX] = {or_nothing(0), or_nothing(1), -1, -1, STDERR_FILENO};
    struct child_program order = {.file = program, .fds = fds};
    struct child *child;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        *status = -errno;
        return NULL;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK); /* a program writes to it as if it were a terminal */
    fds[STDERR_FILENO] = ends[1];
    for (unsigned i = 0; i < web->count; i++)
        fds[UPGRADE_LISTENER_FD + i] = web->fds[i];
    if (admin)
        fds[UPGRADE_LISTENER_FD + web->count] = ty_admin_listeners(master->admin)->fds[0];
    fds[UPGRADE_LISTENER_FD + web->count + admin] = master->ledger_fd;
    order.fd_count = UPGRADE_LISTENER_FD + web->count + admin + 1;
    order.args = make_arguments(master->options->argv, program);
    order.env = ty_child_environment(
        ty_asprintf(UPGRADE_VARIABLE "=%u:%u:%d", web->count, admin, getpid()), true);
    child = ty_child_run(&master->loop, &order, events, status);
    ty_child_environment_free(order.env);
    free(order.args);
    close(ends[1]);
    if (child)
        *said = ends[0];
    else
        close(ends[0]);
    return child;
}
