#define _GNU_SOURCE
#include "host/admin.h"

#include <stdlib.h>
#include <string.h>

#include "host/figures.h"
#include "host/settings.h"
#include "tycho/memory.h"

enum { BACKLOG = 128 };

struct admin {
    struct master *master;
    struct listeners listeners;
    struct ty_http_server *server;
    struct ty_site site;
    struct ty_route metrics;
    bool has_yielded;
};

/* Accept: application/openmetrics-text is what makes the difference; everything else gets the
 * oldest form. */
static bool wants_openmetrics(const struct ty_request *req)
{
    struct ty_slice accept = ty_request_header(req, "accept");

    return accept.data && memmem(accept.data, accept.len, "application/openmetrics-text",
                                 strlen("application/openmetrics-text")) != NULL;
}

static void answer_metrics(struct ty_request *req)
{
    const struct ty_slice types[] = {
        TY_SLICE("text/plain; version=0.0.4; charset=utf-8"),
        TY_SLICE("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    };
    struct admin *admin = req->site->data;
    bool openmetrics = wants_openmetrics(req);
    const struct ty_header type = {TY_SLICE("Content-Type"), types[openmetrics]};
    struct ty_buf body = {0};

    ty_figures_add(admin->master, openmetrics, &body);
    ty_metrics_render(&body, openmetrics);
    ty_request_respond(req, 200, &type, 1, (struct ty_slice){body.data, body.len});
    ty_buf_close(&body);
}

static void handle(struct ty_request *req)
{
    struct ty_buf methods = {0};

    if (req->match.route) {
        answer_metrics(req);
    } else if (req->match.allow) {
        ty_method_list(req->match.allow, &methods);
        const struct ty_header allow = {TY_SLICE("Allow"), {methods.data, methods.len}};
        ty_request_respond(req, req->method == TY_OPTIONS ? 204 : 405, &allow, 1,
                           (struct ty_slice){0});
    } else {
        ty_request_respond(req, 404, NULL, 0, TY_SLICE("here are /livez, /readyz and /metrics\n"));
    }
    ty_buf_close(&methods);
}

static int health(bool ready, struct ty_buf *body, void *arg)
{
    struct admin *admin = arg;
    struct ty_buf dependencies = {0};
    bool ok;

    if (!ready) {
        ty_buf_adds(body, "{\"status\":\"alive\"}");
        return 200;
    }
    ok = ty_master_is_healthy(admin->master, &dependencies);
    ty_buf_addf(body, "{\"status\":\"%s\",\"dependencies\":[%s]}", ok ? "ready" : "unready",
                ty_buf_cstr(&dependencies));
    ty_buf_close(&dependencies);
    return ok ? 200 : 503;
}

static void open_site(struct admin *admin)
{
    admin->metrics = (struct ty_route){.pattern = "/metrics", .where = "tycho", .methods = TY_GET};
    admin->site.router = ty_router_new();
    admin->site.handle = handle;
    admin->site.data = admin;
    admin->site.refs = 1;
    ty_router_add(admin->site.router, &admin->metrics, NULL);
}

struct admin *ty_admin_open(struct master *master, const char *host,
                            const struct listen_legacy *legacy, struct ty_error *error)
{
    struct admin *admin = ty_zalloc(sizeof(*admin));
    const struct listen_order order = {host, (int)ty_config_int(master->config, "admin.port"),
                                       "admin.host", "admin.port"};
    struct ty_http_options options;

    admin->master = master;
    ty_settings_http(master->config, &options);
    options.access_log = false;
    options.generation_header = NULL;
    options.limits.shed_lag_ms = 0; /* whatever keeps the master busy: this is how to see it */
    options.health = health;
    options.health_arg = admin;
    admin->server = ty_http_server_new(&master->loop, &options, error);
    open_site(admin);
    if (!admin->server || ty_listeners_inherit(&admin->listeners, &order, 1, legacy, error) != 0) {
        ty_admin_close(admin);
        master->admin = admin; /* its memory goes with the rest */
        return NULL;
    }
    ty_http_server_set_site(admin->server, &admin->site);
    return admin;
}

int ty_admin_start(struct admin *admin, struct ty_error *error)
{
    if (ty_listeners_open(&admin->listeners, BACKLOG, error) != 0)
        return -1;
    admin->has_yielded = false;
    ty_listeners_welcome(&admin->listeners);
    ty_http_server_accept(admin->server, admin->listeners.fds[0]);
    return 0;
}

void ty_admin_yield(struct admin *admin, bool is_shared)
{
    admin->has_yielded = true;
    if (is_shared)
        ty_http_server_unaccept(admin->server, admin->listeners.fds[0]);
}

const struct listeners *ty_admin_listeners(const struct admin *admin)
{
    return &admin->listeners;
}

const char *ty_admin_address(const struct admin *admin)
{
    return admin->listeners.address;
}

static void on_closed(void *arg)
{
    struct admin *admin = arg;

    ty_listeners_close(&admin->listeners);
}

static void close_server(void *arg)
{
    struct admin *admin = arg;
    struct ty_http_server *server = admin->server;

    admin->server = NULL;
    ty_http_server_close(server, on_closed, admin);
}

void ty_admin_close(struct admin *admin)
{
    if (!admin->server)
        ty_listeners_close(&admin->listeners);
    else if (admin->has_yielded)
        ty_http_server_drain(admin->server, close_server, admin);
    else
        close_server(admin);
}

void ty_admin_free(struct admin *admin)
{
    ty_router_free(admin->site.router);
    free(admin);
}
