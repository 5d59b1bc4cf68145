/* The start: what can be taken or refused at once, then the first generation. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/admin.h"
#include "host/control.h"
#include "host/inherit.h"

static void on_first(const struct reload_result *result, void *arg)
{
    struct master *master = arg;
    struct ty_error error;

    if (result->outcome != RELOAD_COMMITTED)
        ty_master_fail(master, "%s", result->text);
    else if (master->is_waiting)
        ty_inheritance_say(master->inheritance, "the scripts are good; the new workers load them");
    else if (ty_listeners_open(&master->listeners,
                               (int)ty_config_int(master->config, "http.backlog"), &error) != 0)
        ty_master_fail(master, "tycho: %s", error.message);
}

static int open_admin(struct master *master, const struct listen_legacy *legacy,
                      struct ty_error *error)
{
    const char *host = ty_config_str(master->config, "admin.host");
    struct admin *admin;

    if (!host || !host[0]) {
        if (legacy && legacy->count > 0)
            close(legacy->fds[0]); /* it was switched off */
        return 0;
    }
    admin = ty_admin_open(master, host, legacy, error);
    if (!admin)
        return -1;
    master->admin = admin;
    return master->is_waiting ? 0 : ty_admin_start(admin, error);
}

/* Every worker needs a connection, or it answers nothing. */
static int check_pools(const struct master *master, struct ty_error *error)
{
    const char *const *names;
    size_t count = ty_config_names(master->config, "databases", &names);

    for (size_t i = 0; i < count; i++) {
        const char *url = ty_config_named_str(master->config, "databases", names[i], "url");
        int64_t max = ty_config_named_int(master->config, "databases", names[i], "pool_max");

        if (url && strncmp(url, "sqlite:", 7) != 0 && max < (int64_t)master->worker_count)
            return ty_error_set(error, TY_ERR_INVALID, NULL,
                                "databases.%s.pool_max: %" PRId64 " connections are too few for %u "
                                "workers, which need one each (workers)",
                                names[i], max, master->worker_count);
    }
    return 0;
}

/* What can be taken or refused at once: the port, the files, the sockets. */
static int take_resources(struct master *master, struct ty_error *error)
{
    const struct ty_config *config = master->config;
    const struct inheritance *inheritance = master->inheritance;
    const struct listen_order order = {ty_config_str(config, "http.host"),
                                       (int)ty_config_int(config, "http.port"), "http.host",
                                       "http.port"};

    if (check_pools(master, error) != 0)
        return -1;
    if (ty_listeners_inherit(&master->listeners, &order, master->worker_count,
                             ty_inheritance_web(inheritance), error) != 0 ||
        open_admin(master, ty_inheritance_admin(inheritance), error) != 0)
        return -1;
    master->control = ty_control_open(master, ty_config_str(config, "host.socket"), error);
    if (!master->control)
        return -1;
    return ty_pid_file_write(&master->pid_file, ty_config_str(config, "host.pid_file"),
                             master->is_waiting, error);
}

int ty_master_begin(struct master *master, struct ty_error *error)
{
    struct ty_bundle *bundle = ty_bundle_read(ty_config_str(master->config, "scripts.path"), error);
    struct reload_ask ask = {.kind = RELOAD_FIRST, .done = on_first, .arg = master};

    if (!bundle) {
        size_t len = strlen(error->message);
        snprintf(error->message + len, sizeof(error->message) - len,
                 " (scripts.path says where app/ is)");
        return -1;
    }
    ask.first = ty_generation_new(++master->last_number, bundle, ty_config_ref(master->config));
    if (!ask.first)
        return ty_error_set(error, TY_ERR_UNAVAILABLE, NULL, "no memory file: %s", strerror(errno));
    if (take_resources(master, error) != 0) {
        ty_generation_unref(ask.first);
        return -1;
    }
    ty_reload_ask(master->reload, &ask);
    ty_generation_unref(ask.first);
    if (!master->is_stopping)
        ty_workers_start(master); /* they get ready while the trial runs */
    return 0;
}
