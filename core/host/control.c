#define _GNU_SOURCE
#include "host/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/inherit.h"
#include "host/upgrade.h"
#include "tycho/log.h"
#include "tycho/memory.h"

enum { CLIENTS_MAX = 32 };

struct client {
    struct control *control;
    struct ty_channel *channel;
};

/* Where they come in. */
struct door {
    uv_poll_t poll;
    int fd;
    bool is_paused, is_short; /* of descriptors; that was said */
    struct control *control;
};

struct control {
    struct master *master;
    struct door *door; /* NULL: closed */
    char *path, *hidden;
    struct stat made; /* which file is ours */
    bool is_hidden;
    struct client clients[CLIENTS_MAX]; /* free while channel is NULL */
};

/* ---- clients */

static void drop_client(struct client *client)
{
    ty_reload_forget(client->control->master->reload, client);
    ty_upgrade_forget(client->control->master->upgrade, client);
    ty_command_forget(client->control->master, client);
    ty_channel_close(client->channel);
    client->channel = NULL;
}

static void on_message(struct ty_channel *channel, const char *json, size_t len, int fd, void *arg)
{
    struct client *client = arg;

    (void)channel;
    if (fd >= 0)
        close(fd);
    ty_command_run(client->control->master, client, json, len);
}

static void on_gone(struct ty_channel *channel, void *arg)
{
    (void)channel;
    drop_client(arg);
}

static bool may_command(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static void accept_client(struct control *control, int fd)
{
    struct client *client = control->clients;

    while (client < control->clients + CLIENTS_MAX && client->channel)
        client++;
    if (client == control->clients + CLIENTS_MAX || !may_command(fd)) {
        ty_log_warn("host", "control socket: a connection was refused");
        close(fd);
        return;
    }
    client->control = control;
    client->channel = ty_channel_new(&control->master->loop, fd, on_message, on_gone, client);
}

/* Without a free descriptor the loop would look at who waits again and again. */
static void pause_door(struct door *door)
{
    if (!door->is_short)
        ty_log_warn("host", "control socket: accepting pauses: %s", strerror(errno));
    door->is_short = door->is_paused = true;
    uv_poll_stop(&door->poll);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct door *door = poll->data;
    int fd;

    (void)status, (void)events;
    while ((fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        door->is_short = false;
        accept_client(door->control, fd);
    }
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        pause_door(door);
}

void ty_control_retry(struct control *control)
{
    struct door *door = control->door;

    if (!door || !door->is_paused)
        return;
    door->is_paused = false;
    uv_poll_start(&door->poll, UV_READABLE, on_connection);
}

void ty_control_progress(struct client *client, const char *text)
{
    struct ty_buf json = {0};

    ty_buf_adds(&json, "{\"progress\":\"");
    ty_buf_add_json(&json, text, strlen(text));
    ty_buf_adds(&json, "\"}");
    ty_channel_send(client->channel, -1, json.data, json.len);
    ty_buf_close(&json);
}

void ty_control_send(struct client *client, const struct ty_buf *json)
{
    ty_channel_send(client->channel, -1, json->data, json->len);
}

void ty_control_answer(struct client *client, bool ok, const char *more)
{
    ty_channel_sendf(client->channel, -1, "{\"done\":true,\"ok\":%s%s}", ok ? "true" : "false",
                     more);
}

void ty_control_refuse(struct client *client, const char *fmt, ...)
{
    struct ty_buf text = {0}, json = {0};
    va_list args;

    va_start(args, fmt);
    ty_buf_vaddf(&text, fmt, args);
    va_end(args);
    ty_buf_adds(&json, ",\"error\":\"");
    ty_buf_add_json(&json, text.data, text.len);
    ty_buf_adds(&json, "\"");
    ty_control_answer(client, false, ty_buf_cstr(&json));
    ty_buf_close(&text);
    ty_buf_close(&json);
}

/* ---- the socket */

static int fail(const char *path, const char *why, struct ty_error *error)
{
    return ty_error_set(error, TY_ERR_INVALID, NULL, "control socket %s: %s (host.socket)", path,
                        why);
}

static int make_folder(const char *path, struct ty_error *error)
{
    char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const char *slash = strrchr(path, '/');

    if (!slash || slash == path)
        return 0;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    if (mkdir(folder, 0700) == 0 || errno == EEXIST)
        return 0;
    return fail(path, strerror(errno), error);
}

/* Is it this process who answers? */
static bool is_of(int fd, int pid)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == pid;
}

/* A file that nobody answers on is left over from a master that was killed. */
static int clear_stale(const char *path, int predecessor, const struct sockaddr_un *address,
                       struct ty_error *error)
{
    struct stat st;
    bool is_predecessor;
    int fd, code;

    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : fail(path, strerror(errno), error);
    if (!S_ISSOCK(st.st_mode))
        return fail(path, "there is something else under this name", error);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(path, strerror(errno), error);
    code = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
    is_predecessor = code == 0 && predecessor && is_of(fd, predecessor);
    close(fd);
    if (is_predecessor)
        return 0;
    if (code == 0 || code == EAGAIN) /* EAGAIN: others are waiting for it already */
        return fail(path, "another tycho is running here; stop it, or set another socket", error);
    if (code != ECONNREFUSED)
        return fail(path, strerror(code), error);
    return unlink(path) == 0 ? 0 : fail(path, strerror(errno), error);
}

static int set_path(struct sockaddr_un *address, const char *path, struct ty_error *error)
{
    if (strlen(path) >= sizeof(address->sun_path))
        return fail(path, "the name is too long for a socket, at most 107 bytes", error);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, strlen(path) + 1);
    return 0;
}

/* May this name be taken, now or, from the predecessor, later? */
static int look_at(const char *path, int predecessor, struct ty_error *error)
{
    struct sockaddr_un address = {0};

    if (set_path(&address, path, error) != 0 || make_folder(path, error) != 0)
        return -1;
    return clear_stale(path, predecessor, &address, error);
}

/* Returns the listening descriptor, or -1. */
static int listen_at(const char *path, struct ty_error *error)
{
    struct sockaddr_un address = {0};
    mode_t mask;
    int fd, status;

    if (look_at(path, 0, error) != 0 || set_path(&address, path, error) != 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(path, strerror(errno), error);
    mask = umask(0177);
    status = bind(fd, (struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (status == 0 && listen(fd, CLIENTS_MAX) == 0)
        return fd;
    fail(path, strerror(errno), error);
    close(fd);
    return -1;
}

static void open_door(struct control *control, int fd)
{
    struct door *door = ty_zalloc(sizeof(*door));

    door->control = control;
    door->fd = fd;
    door->poll.data = door;
    uv_poll_init(&control->master->loop, &door->poll, fd);
    uv_poll_start(&door->poll, UV_READABLE, on_connection);
    control->door = door;
}

static void on_closed(uv_handle_t *poll)
{
    struct door *door = poll->data;

    close(door->fd);
    free(door);
}

static void close_door(struct control *control)
{
    if (control->door)
        uv_close((uv_handle_t *)&control->door->poll, on_closed);
    control->door = NULL;
}

struct control *ty_control_open(struct master *master, const char *path, struct ty_error *error)
{
    bool is_hidden = master->is_waiting;
    char *hidden = ty_asprintf("%s~", path);
    struct control *control;
    int fd = -1;

    if (!is_hidden || look_at(path, ty_inheritance_pid(master->inheritance), error) == 0)
        fd = listen_at(is_hidden ? hidden : path, error);
    if (fd < 0) {
        free(hidden);
        return NULL;
    }
    control = ty_zalloc(sizeof(*control));
    control->master = master;
    control->path = ty_strdup(path);
    control->hidden = hidden;
    control->is_hidden = is_hidden;
    stat(is_hidden ? hidden : path, &control->made);
    open_door(control, fd);
    return control;
}

int ty_control_reveal(struct control *control, struct ty_error *error)
{
    if (control->is_hidden && rename(control->hidden, control->path) != 0)
        return fail(control->path, strerror(errno), error);
    control->is_hidden = false;
    return 0;
}

/* Is the file of that name still the one we made? */
static bool is_ours(const struct control *control, const char *path)
{
    struct stat now;

    return stat(path, &now) == 0 && now.st_ino == control->made.st_ino &&
           now.st_dev == control->made.st_dev;
}

void ty_control_reclaim(struct control *control)
{
    struct ty_error error;
    int fd;

    if (is_ours(control, control->path))
        return;
    fd = listen_at(control->path, &error);
    if (fd < 0) {
        ty_log_error("host", "%s", error.message);
        return;
    }
    close_door(control);
    stat(control->path, &control->made);
    open_door(control, fd);
}

void ty_control_sweep(const struct control *control)
{
    unlink(control->hidden);
}

void ty_control_close(struct control *control)
{
    const char *path = control->is_hidden ? control->hidden : control->path;

    if (!control->door)
        return;
    if (is_ours(control, path))
        unlink(path);
    close_door(control);
}

void ty_control_hang_up(struct control *control)
{
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (control->clients[i].channel)
            drop_client(&control->clients[i]);
}

void ty_control_free(struct control *control)
{
    free(control->path);
    free(control->hidden);
    free(control);
}
