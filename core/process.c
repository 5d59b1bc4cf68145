#include "tycho/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "tycho/memory.h"

struct ty_process {
    uv_process_t handle;
    int pipes[3]; /* our ends; -1 */
    ty_process_exit_fn *exited;
    void *arg;
    int64_t code;
    int signum;
    bool ended;
    bool released;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_exit_seen(uv_process_t *handle, int64_t code, int signum)
{
    struct ty_process *process = handle->data;

    process->ended = true;
    process->code = code;
    process->signum = signum;
    if (process->released)
        uv_close((uv_handle_t *)handle, on_closed);
    else
        process->exited(process, process->arg); /* may close */
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Sets the child's end and, for a pipe, ours. The child's is closed again after the start. */
static int open_stdio(const struct ty_stdio *stdio, int index, int *child, int *own)
{
    uv_file ends[2];
    int status;

    switch (stdio->kind) {
    case TY_STDIO_NULL:
    case TY_STDIO_INHERIT:
        return 0;
    case TY_STDIO_PIPE:
        status = uv_pipe(ends, 0, 0);
        if (status < 0)
            return status;
        *child = ends[index == 0 ? 0 : 1];
        *own = ends[index == 0 ? 1 : 0];
        return 0;
    case TY_STDIO_FILE:
        *child = open(stdio->path,
                      O_CLOEXEC | (index == 0 ? O_RDONLY : O_WRONLY | O_CREAT | O_APPEND), 0600);
        return *child < 0 ? uv_translate_sys_error(errno) : 0;
    }
    return UV_EINVAL;
}

static void fill_container(uv_stdio_container_t *out, const struct ty_stdio *stdio, int index,
                           int child)
{
    if (stdio->kind == TY_STDIO_NULL) {
        out->flags = UV_IGNORE;
        return;
    }
    out->flags = UV_INHERIT_FD;
    out->data.fd = stdio->kind == TY_STDIO_INHERIT ? index : child;
}

static int start(uv_loop_t *loop, struct ty_process *process,
                 const struct ty_process_options *options)
{
    uv_stdio_container_t containers[3];
    int child[3] = {-1, -1, -1};
    int status = 0;

    for (int i = 0; i < 3 && status == 0; i++) {
        status = open_stdio(&options->stdio[i], i, &child[i], &process->pipes[i]);
        fill_container(&containers[i], &options->stdio[i], i, child[i]);
    }
    if (status == 0) {
        const uv_process_options_t uv_options = {
            .exit_cb = on_exit_seen,
            .file = options->args[0],
            .args = options->args,
            .env = options->env,
            .cwd = options->cwd,
            .stdio_count = 3,
            .stdio = containers,
        };
        status = uv_spawn(loop, &process->handle, &uv_options);
    } else {
        process->handle.type = UV_UNKNOWN_HANDLE; /* never initialised: nothing to close */
    }
    for (int i = 0; i < 3; i++)
        close_fd(&child[i]);
    return status;
}

struct ty_process *ty_process_spawn(uv_loop_t *loop, const struct ty_process_options *options,
                                    ty_process_exit_fn *exited, void *arg, int *status)
{
    struct ty_process *process = ty_zalloc(sizeof(*process));

    process->handle.data = process;
    process->exited = exited;
    process->arg = arg;
    for (int i = 0; i < 3; i++)
        process->pipes[i] = -1;

    *status = start(loop, process, options);
    if (*status == 0)
        return process;

    for (int i = 0; i < 3; i++)
        close_fd(&process->pipes[i]);
    if (process->handle.type == UV_PROCESS)
        uv_close((uv_handle_t *)&process->handle, on_closed);
    else
        free(process);
    return NULL;
}

int ty_process_pid(const struct ty_process *process)
{
    return process->handle.pid;
}

int ty_process_take_pipe(struct ty_process *process, int index)
{
    int fd = process->pipes[index];

    process->pipes[index] = -1;
    return fd;
}

bool ty_process_ended(const struct ty_process *process, int64_t *code, int *signum)
{
    *code = process->code;
    *signum = process->signum;
    return process->ended;
}

int ty_process_kill(struct ty_process *process, int signum)
{
    return process->ended ? UV_ESRCH : uv_process_kill(&process->handle, signum);
}

void ty_process_close(struct ty_process *process)
{
    process->released = true;
    for (int i = 0; i < 3; i++)
        close_fd(&process->pipes[i]);
    if (process->ended)
        uv_close((uv_handle_t *)&process->handle, on_closed);
    else
        uv_process_kill(&process->handle, SIGKILL); /* on_exit_seen() closes */
}
