#include "host/inherit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host/admin.h"
#include "host/message.h"
#include "host/upgrade.h"
#include "tycho/embedded.h"
#include "tycho/log.h"
#include "tycho/memory.h"
#include "tycho/sql_ledger.h"

enum { DEATH_MS = 1000, PAUSE_MS = 10 };

struct inheritance {
    struct master *master;
    struct ty_channel *channel; /* NULL: the predecessor is gone */
    int fds[TY_SHM_SLOTS_MAX + 1];
    struct listen_legacy web, admin;
    int ledger_fd; /* negative: there is none */
    int said_fd;   /* what our standard error was: the predecessor reads it; negative: closed */
    int pid;       /* of the predecessor */
    bool is_ready; /* said, and not yet called */
};

/* ---- what there is */

static bool is_listening(int fd)
{
    int yes = 0;
    socklen_t len = sizeof(yes);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 && yes;
}

/* A variable that leaked into a shell is not enough: the sockets must be there. */
static bool read_variable(struct inheritance *inheritance)
{
    const char *value = getenv(UPGRADE_VARIABLE);
    unsigned web, admin;
    char end;

    if (!value || sscanf(value, "%u:%u:%d%c", &web, &admin, &inheritance->pid, &end) != 3 ||
        web == 0 || web > TY_SHM_SLOTS_MAX || admin > 1)
        return false;
    for (unsigned i = 0; i < web + admin; i++) {
        inheritance->fds[i] = UPGRADE_LISTENER_FD + (int)i;
        if (!is_listening(inheritance->fds[i]))
            return false;
    }
    int ledger = UPGRADE_LISTENER_FD + (int)(web + admin); /* older programs leave none */
    inheritance->ledger_fd = ty_sql_ledger_is_one(ledger) ? ledger : -1;
    inheritance->web = (struct listen_legacy){inheritance->fds, web};
    inheritance->admin = (struct listen_legacy){inheritance->fds + web, admin};
    return true;
}

struct inheritance *ty_inheritance_find(void)
{
    struct inheritance *inheritance = ty_zalloc(sizeof(*inheritance));
    bool is_there = read_variable(inheritance);

    unsetenv(UPGRADE_VARIABLE);
    if (!is_there) {
        free(inheritance);
        return NULL;
    }
    inheritance->said_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    dup2(UPGRADE_STDERR_FD, STDERR_FILENO);
    close(UPGRADE_STDERR_FD);
    fcntl(CHILD_CHANNEL_FD, F_SETFD, FD_CLOEXEC);
    for (unsigned i = 0; i < inheritance->web.count + inheritance->admin.count; i++)
        fcntl(inheritance->fds[i], F_SETFD, FD_CLOEXEC);
    if (inheritance->ledger_fd >= 0)
        fcntl(inheritance->ledger_fd, F_SETFD, FD_CLOEXEC);
    return inheritance;
}

const struct listen_legacy *ty_inheritance_web(const struct inheritance *inheritance)
{
    return inheritance ? &inheritance->web : NULL;
}

const struct listen_legacy *ty_inheritance_admin(const struct inheritance *inheritance)
{
    return inheritance ? &inheritance->admin : NULL;
}

int ty_inheritance_ledger(const struct inheritance *inheritance)
{
    return inheritance ? inheritance->ledger_fd : -1;
}

int ty_inheritance_pid(const struct inheritance *inheritance)
{
    return inheritance && inheritance->channel ? inheritance->pid : 0;
}

/* ---- talking */

static void take_over(struct inheritance *inheritance)
{
    inheritance->is_ready = false;
    ty_master_take_over(inheritance->master);
}

static void on_message(struct ty_channel *channel, const char *json, size_t len, int fd, void *arg)
{
    struct inheritance *inheritance = arg;
    struct master *master = inheritance->master;
    yyjson_doc *doc = yyjson_read(json, len, 0);
    const char *type = message_str(yyjson_doc_get_root(doc), "type");
    bool is_call = strcmp(type, "take_over") == 0, is_stop = strcmp(type, "stop") == 0;

    (void)channel;
    yyjson_doc_free(doc);
    if (fd >= 0)
        close(fd);
    if (is_call && inheritance->is_ready)
        take_over(inheritance);
    else if (is_stop && !master->is_stopping)
        ty_master_stop(master);
}

/* Is it there, and more than a zombie? */
static bool is_alive(int pid)
{
    char path[32], state = 'X';
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X';
    if (file)
        fclose(file);
    return state != 'X' && state != 'Z';
}

/* One that gave us up hangs up as well, and perhaps could not kill us: a script in between died in
 * our place. A dying process closes its files a moment before it counts as dead. */
static bool is_dead(const struct inheritance *inheritance)
{
    const struct timespec pause = {0, PAUSE_MS * 1000 * 1000};

    for (int i = 0; i < DEATH_MS / PAUSE_MS; i++) {
        if (!is_alive(inheritance->pid))
            return true;
        nanosleep(&pause, NULL); /* nobody waits for us */
    }
    return false;
}

static void on_gone(struct ty_channel *channel, void *arg)
{
    struct inheritance *inheritance = arg;

    ty_channel_close(channel);
    inheritance->channel = NULL;
    if (inheritance->master->is_stopping)
        return;
    if (inheritance->master->is_waiting && !is_dead(inheritance)) {
        ty_master_fail(inheritance->master, "tycho: the server before this one (pid %d) goes on",
                       inheritance->pid);
        return;
    }
    if (!inheritance->master->is_waiting)
        ty_log_info("host", "the server before this one (pid %d) has ended", inheritance->pid);
    else
        ty_log_warn("host",
                    "the server before this one (pid %d) has died: taking over as soon as possible",
                    inheritance->pid);
    if (inheritance->is_ready)
        take_over(inheritance);
}

int ty_inheritance_voice(const struct inheritance *inheritance)
{
    return inheritance && inheritance->said_fd >= 0 ? inheritance->said_fd : STDERR_FILENO;
}

void ty_inheritance_open(struct master *master)
{
    struct inheritance *inheritance = master->inheritance;

    if (inheritance->said_fd >= 0)
        close(inheritance->said_fd);
    inheritance->said_fd = -1;
    inheritance->master = master;
    inheritance->channel =
        ty_channel_new(&master->loop, CHILD_CHANNEL_FD, on_message, on_gone, inheritance);
    ty_inheritance_say(inheritance, "the new program loads the scripts");
}

void ty_inheritance_close(struct inheritance *inheritance)
{
    if (inheritance && inheritance->channel)
        ty_channel_close(inheritance->channel);
    if (inheritance)
        inheritance->channel = NULL;
}

void ty_inheritance_free(struct inheritance *inheritance)
{
    free(inheritance);
}

static void send_text(const struct inheritance *inheritance, const char *type, const char *text)
{
    struct ty_buf json = {0};

    if (!inheritance || !inheritance->channel)
        return;
    ty_buf_addf(&json, "{\"type\":\"%s\",\"text\":\"", type);
    ty_buf_add_json(&json, text, strlen(text));
    ty_buf_adds(&json, "\"}");
    ty_channel_send(inheritance->channel, -1, json.data, json.len);
    ty_buf_close(&json);
}

void ty_inheritance_say(const struct inheritance *inheritance, const char *text)
{
    send_text(inheritance, "progress", text);
}

void ty_inheritance_taken(const struct inheritance *inheritance)
{
    send_text(inheritance, "taken", "");
}

void ty_inheritance_stopping(const struct inheritance *inheritance)
{
    send_text(inheritance, "stopping", "");
}

void ty_inheritance_fail(const struct inheritance *inheritance, const char *why)
{
    send_text(inheritance, "failed", why);
}

void ty_inheritance_ready(struct master *master)
{
    struct inheritance *inheritance = master->inheritance;
    bool shares_admin = master->admin && ty_admin_listeners(master->admin)->is_inherited;

    if (inheritance->is_ready)
        return;
    inheritance->is_ready = true;
    if (!inheritance->channel) {
        take_over(inheritance);
        return;
    }
    ty_channel_sendf(inheritance->channel, -1,
                     "{\"type\":\"ready\",\"pid\":%d,\"version\":\"%s\",\"web\":%s,\"admin\":%s}",
                     getpid(), ty_version, master->listeners.is_inherited ? "true" : "false",
                     shares_admin ? "true" : "false");
}
