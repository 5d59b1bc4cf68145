#include "host/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tycho/clock.h"

/* A path, or a name in the abstract namespace written with '@'. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    int fd;

    if (len == 0 || len >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return -1;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address,
                           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void ty_notify_open(struct notify *notify)
{
    const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC"),
               *pid = getenv("WATCHDOG_PID");

    *notify = (struct notify){.fd = path ? connect_to(path) : -1};
    if (notify->fd >= 0 && usec && (!pid || strtol(pid, NULL, 10) == getpid()))
        notify->watchdog_ms = strtoull(usec, NULL, 10) / 1000 / 2;
}

void ty_notify_send(const struct notify *notify, const char *state)
{
    char text[256];

    if (notify->fd < 0)
        return;
    if (strcmp(state, "RELOADING=1") == 0) {
        snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, ty_now_ns() / 1000);
        state = text;
    }
    /* A manager that does not listen is its own problem. */
    (void)!send(notify->fd, state, strlen(state), MSG_NOSIGNAL);
}

void ty_notify_main(const struct notify *notify, int pid)
{
    char text[64];

    snprintf(text, sizeof(text), "MAINPID=%d\nREADY=1", pid);
    ty_notify_send(notify, text);
}

void ty_notify_close(struct notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}
