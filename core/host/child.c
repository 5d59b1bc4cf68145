#define _GNU_SOURCE
#include "host/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tycho/memory.h"

static const char variable[] = "TYCHO_CHILD";

enum { LINGER_MS = 2000, AFTERWORD_MS = 1000 };

struct child {
    uv_process_t process;
    uv_timer_t linger;          /* a process without a channel may end, not live on */
    struct ty_channel *channel; /* NULL once it is gone */
    struct child_events events;
    bool has_exited, is_dropped;
    int exit_code, signal;
};

/* ---- the end */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_linger_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;

    uv_close((uv_handle_t *)&child->process, on_closed);
}

static void close_handles(struct child *child)
{
    uv_close((uv_handle_t *)&child->linger, on_linger_closed);
}

/* The last messages may be read after the process is reaped: both ends are waited for. */
static void maybe_end(struct child *child)
{
    if (!child->has_exited || child->channel)
        return;
    if (!child->is_dropped)
        child->events.ended(child, child->exit_code, child->signal, child->events.arg);
    close_handles(child);
}

static void on_linger(uv_timer_t *timer)
{
    struct child *child = timer->data;

    if (!child->has_exited) {
        ty_child_kill(child, SIGKILL);
        return;
    }
    if (child->channel)
        ty_channel_close(child->channel);
    child->channel = NULL;
    maybe_end(child);
}

static void on_exit_(uv_process_t *process, int64_t exit_code, int signal)
{
    struct child *child = process->data;

    child->has_exited = true;
    child->exit_code = (int)exit_code;
    child->signal = signal;
    if (child->channel) /* read to its end, unless somebody it left behind holds it open */
        uv_timer_start(&child->linger, on_linger, AFTERWORD_MS, 0);
    maybe_end(child);
}

static void on_message(struct ty_channel *channel, const char *json, size_t len, int fd, void *arg)
{
    struct child *child = arg;

    (void)channel;
    if (fd >= 0)
        close(fd); /* children have nothing to pass */
    if (!child->is_dropped)
        child->events.message(child, json, len, child->events.arg);
}

static void on_gone(struct ty_channel *channel, void *arg)
{
    struct child *child = arg;

    ty_channel_close(channel);
    child->channel = NULL;
    uv_timer_start(&child->linger, on_linger, LINGER_MS, 0);
    maybe_end(child);
}

/* ---- starting */

static bool is_one_of(const char *entry, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static bool is_private(const char *entry, bool with_manager)
{
    static const char *const own[] = {
        "TYCHO_CHILD=", "TYCHO_UPGRADE=", "WATCHDOG_PID=", "LISTEN_FDS=", "LISTEN_PID="};
    static const char *const manager[] = {"NOTIFY_SOCKET=", "WATCHDOG_USEC="};

    return is_one_of(entry, own, sizeof(own) / sizeof(*own)) ||
           (!with_manager && is_one_of(entry, manager, sizeof(manager) / sizeof(*manager)));
}

char **ty_child_environment(char *entry, bool with_manager)
{
    size_t count = 0, kept = 1;

    while (environ[count])
        count++;
    char **list = ty_zalloc((count + 2) * sizeof(*list));
    list[0] = entry;
    for (size_t i = 0; i < count; i++)
        if (!is_private(environ[i], with_manager))
            list[kept++] = environ[i];
    return list;
}

void ty_child_environment_free(char **list)
{
    free(list[0]);
    free(list);
}

static int spawn(uv_loop_t *loop, struct child *child, const struct child_program *program,
                 int channel)
{
    uv_stdio_container_t stdio[CHILD_FDS_MAX] = {0};
    uv_process_options_t options = {.file = program->file,
                                    .args = program->args,
                                    .env = program->env,
                                    .exit_cb = on_exit_,
                                    .stdio = stdio,
                                    .stdio_count = (int)program->fd_count};

    if (program->fd_count > CHILD_FDS_MAX)
        return UV_EINVAL;
    for (unsigned i = 0; i < program->fd_count; i++) {
        stdio[i].flags = program->fds[i] >= 0 ? UV_INHERIT_FD : UV_IGNORE;
        stdio[i].data.fd = program->fds[i];
    }
    stdio[CHILD_CHANNEL_FD].flags = UV_INHERIT_FD;
    stdio[CHILD_CHANNEL_FD].data.fd = channel;
    return uv_spawn(loop, &child->process, &options);
}

struct child *ty_child_start(uv_loop_t *loop, const struct child_order *order,
                             const struct child_events *events, int *status)
{
    int fds[CHILD_FDS_MAX] = {-1, 1, 2, -1, order->shm_fd, order->ledger_fd};
    char *args[] = {(char *)order->title, NULL};
    struct child_program program = {.file = "/proc/self/exe",
                                    .args = args,
                                    .fds = fds,
                                    .fd_count = CHILD_LISTENER_FD + order->listener_count};

    for (unsigned i = 0; i < order->listener_count; i++)
        fds[CHILD_LISTENER_FD + i] = order->listeners[i];
    program.env = ty_child_environment(ty_asprintf("%s=%s:%u:%u:%d", variable, order->role,
                                                   order->slot, order->listener_count, getpid()),
                                       false);
    struct child *child = ty_child_run(loop, &program, events, status);
    ty_child_environment_free(program.env);
    return child;
}

struct child *ty_child_run(uv_loop_t *loop, const struct child_program *program,
                           const struct child_events *events, int *status)
{
    struct child *child = ty_zalloc(sizeof(*child));
    int fds[2];

    child->events = *events;
    child->process.data = child->linger.data = child;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
        *status = -errno;
        free(child);
        return NULL;
    }
    uv_timer_init(loop, &child->linger);
    *status = spawn(loop, child, program, fds[1]);
    close(fds[1]);
    if (*status < 0) {
        close(fds[0]);
        close_handles(child);
        return NULL;
    }
    child->channel = ty_channel_new(loop, fds[0], on_message, on_gone, child);
    return child;
}

int ty_child_pid(const struct child *child)
{
    return child->process.pid;
}

struct ty_channel *ty_child_channel(struct child *child)
{
    return child->channel;
}

void ty_child_kill(struct child *child, int signal)
{
    if (!child->has_exited)
        uv_process_kill(&child->process, signal);
}

void ty_child_drop(struct child *child)
{
    child->is_dropped = true;
    ty_child_kill(child, SIGKILL);
}

void ty_child_release(struct child *child)
{
    if (child->channel)
        ty_channel_close(child->channel);
    close_handles(child);
}

/* ---- in the child */

/* A variable that leaked into a shell is not enough: the channel must be there, and in
 * ty_child_settle() the parent must be the one that wrote it. */
bool ty_child_self(struct child_self *self)
{
    const char *value = getenv(variable);
    struct stat st;
    int parent;
    char end;

    if (!value || sscanf(value, "%7[a-z]:%u:%u:%d%c", self->role, &self->slot,
                         &self->listener_count, &parent, &end) != 4)
        return false;
    return self->slot < TY_SHM_SLOTS_MAX && self->listener_count <= TY_SHM_SLOTS_MAX &&
           fstat(CHILD_CHANNEL_FD, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* When memory ends the kernel takes the one with the highest score: never the master, which holds
 * the sockets, and can start another worker. */
static void offer_to_oom_killer(void)
{
    enum { MORE = 300, SCORE_MAX = 1000 };
    FILE *file = fopen("/proc/self/oom_score_adj", "r+e");
    int score;

    if (!file)
        return;
    if (fscanf(file, "%d", &score) == 1) {
        rewind(file);
        fprintf(file, "%d\n", score + MORE < SCORE_MAX ? score + MORE : SCORE_MAX);
    }
    fclose(file);
}

void ty_child_settle(const struct child_self *self)
{
    int parent = 0;
    char name[32];

    sscanf(getenv(variable), "%*[^:]:%*u:%*u:%d", &parent);
    unsetenv(variable);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* it has died meanwhile */
    if (self->slot > 0)
        snprintf(name, sizeof(name), "tycho-%s-%u", self->role, self->slot);
    else
        snprintf(name, sizeof(name), "tycho-%s", self->role);
    offer_to_oom_killer();
    prctl(PR_SET_NAME, name); /* else it is called after /proc/self/exe */
    for (unsigned i = 0; i < CHILD_LISTENER_FD - 3 + self->listener_count; i++)
        fcntl((int)i + 3, F_SETFD, FD_CLOEXEC);
}
