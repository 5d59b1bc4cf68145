#include "http/server.h"

#include <signal.h>
#include <stdlib.h>

#include "http/conn.h"
#include "http/syntax.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

enum { SERVER_NAME_MAX = 64, GENERATION_NAME_MAX = 64 };

void ty_http_default_limits(struct ty_http_limits *limits)
{
    *limits = (struct ty_http_limits){
        .target_max = 8 * 1024,
        .header_max = 32 * 1024,
        .field_max = 8 * 1024,
        .header_count_max = 100,
        .body_max = 1024 * 1024,
        .chunk_line_max = 1024,
        .chunk_extension_max = 8 * 1024,
        .pending_max = 64 * 1024,
        .send_max = 256 * 1024,
        .send_total_max = 128 * 1024 * 1024,
        .connection_max = 10000,
        .request_max = 4096,
        .queue_max = 1024,
        .queue_timeout_ms = 1000,
        .shed_lag_ms = 50,
        .header_timeout_ms = 10 * 1000,
        .body_timeout_ms = 15 * 1000,
        .keepalive_timeout_ms = 60 * 1000,
        .send_timeout_ms = 30 * 1000,
        .linger_ms = 2 * 1000,
        .linger_max = 256 * 1024,
    };
}

/* --------------------------------------------------------------------------- what is cached */

void ty_server_refresh_stamp(struct ty_http_server *server)
{
    int64_t wall_ms = ty_wall_us() / 1000;
    char date[TY_HTTP_DATE_LEN + 1];
    const char *name = server->options.server_name;

    ty_http_date(wall_ms / 1000, date);
    int len = name ? snprintf(server->stamp, sizeof(server->stamp), "Date: %s\r\nServer: %s\r\n",
                              date, name)
                   : snprintf(server->stamp, sizeof(server->stamp), "Date: %s\r\n", date);

    server->stamp_len = (size_t)len;
    server->stamp_until = uv_now(server->loop) + (uint64_t)(1000 - wall_ms % 1000);
}

static bool is_printable(const char *value, size_t max)
{
    struct ty_slice slice = {value, value ? strlen(value) : 0};

    return slice.len <= max && ty_http_is_value(slice);
}

int ty_http_server_configure(struct ty_http_server *server, const struct ty_http_options *options,
                             struct ty_error *error)
{
    const char *generation = options->generation_header;

    if (!is_printable(options->server_name, SERVER_NAME_MAX))
        return ty_error_set(error, TY_ERR_INVALID, NULL, "the Server field cannot be that");
    if (generation && (strlen(generation) > GENERATION_NAME_MAX ||
                       !ty_http_is_token((struct ty_slice){generation, strlen(generation)})))
        return ty_error_set(error, TY_ERR_INVALID, NULL, "\"%s\" is no field name", generation);
    if (ty_networks_set(&server->trusted, options->trusted_proxies, options->trusted_proxy_count,
                        error))
        return -1;

    char *name = options->server_name ? ty_strdup(options->server_name) : NULL;
    char *field = generation ? ty_strdup(generation) : NULL;

    free(server->server_name);
    free(server->generation_header);
    server->server_name = name;
    server->generation_header = field;
    server->options = *options;
    server->options.server_name = name;
    server->options.generation_header = field;
    server->options.trusted_proxies = NULL;
    server->options.trusted_proxy_count = 0;
    ty_admission_configure(server);
    ty_server_refresh_stamp(server);
    ty_server_accept_more(server); /* there may be room now */
    return 0;
}

/* ------------------------------------------------------------------- connections to look at */

static void finish_drain(struct ty_http_server *server)
{
    void (*done)(void *arg) = server->on_drained;

    if (!done || server->kept_count || server->conn_count)
        return;
    server->on_drained = NULL;
    done(server->drained_arg); /* may close the server */
}

static void on_idle(uv_idle_t *idle)
{
    struct ty_http_server *server = idle->data;
    struct ty_http_conn *conn = server->ready;

    /* What becomes ready meanwhile waits for the next turn, so that others get theirs. */
    server->ready = NULL;
    uv_idle_stop(idle);
    while (conn) {
        struct ty_http_conn *next = conn->next_ready;

        conn->is_ready = false;
        conn->next_ready = NULL;
        if (conn->phase != TY_CONN_GONE)
            ty_conn_resume(conn);
        else
            ty_conn_release(conn);
        conn = next;
    }
    ty_admission_continue(server);
    finish_drain(server);
}

void ty_server_wake(struct ty_http_server *server)
{
    if (!uv_is_closing((uv_handle_t *)&server->idle))
        uv_idle_start(&server->idle, on_idle);
}

void ty_server_make_ready(struct ty_http_server *server, struct ty_http_conn *conn)
{
    if (conn->is_ready || server->is_closing)
        return;
    conn->is_ready = true;
    conn->next_ready = server->ready;
    server->ready = conn;
    ty_server_wake(server);
}

/* ------------------------------------------------------------------------------ life cycle */

struct ty_http_server *ty_http_server_new(uv_loop_t *loop, const struct ty_http_options *options,
                                          struct ty_error *error)
{
    struct ty_http_server *server = ty_zalloc(sizeof(*server));

    server->loop = loop;
    if (ty_http_server_configure(server, options, error)) {
        free(server);
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN); /* writing to a client that is gone is an error, not the end */
    server->read_buffer = ty_alloc(TY_READ_SIZE);
    ty_random_seed(&server->random);
    ty_measure_init(&server->measure);
    ty_wheel_init(&server->wheel, loop, ty_conn_due);
    uv_timer_init(loop, &server->accept_timer);
    uv_idle_init(loop, &server->idle);
    ty_admission_open(server);
    server->accept_timer.data = server;
    server->idle.data = server;
    server->handle_count = 6;
    return server;
}

void ty_http_server_set_site(struct ty_http_server *server, struct ty_site *site)
{
    struct ty_site *old = server->site;

    if (site)
        ty_site_ref(site);
    server->site = site;
    if (old)
        ty_site_unref(old);
}

static void free_server(struct ty_http_server *server)
{
    void (*done)(void *arg) = server->on_closed;
    void *arg = server->closed_arg;

    ty_http_server_set_site(server, NULL);
    ty_exchange_pool_close(&server->pool);
    ty_networks_close(&server->trusted);
    ty_buf_close(&server->batch);
    ty_buf_close(&server->scratch);
    ty_buf_close(&server->log_fields);
    free(server->server_name);
    free(server->generation_header);
    free(server->read_buffer);
    free(server);
    if (done)
        done(arg);
}

static void check_closed(struct ty_http_server *server)
{
    if (server->is_closing && !server->handle_count && !server->kept_count)
        free_server(server);
}

void ty_server_handle_closed(struct ty_http_server *server)
{
    server->handle_count--;
    check_closed(server);
}

void ty_server_conn_closed(struct ty_http_server *server)
{
    if (server->is_closing)
        return;
    if (server->is_draining)
        ty_server_wake(server);
    else
        ty_server_accept_more(server);
}

void ty_server_conn_freed(struct ty_http_server *server)
{
    if (server->is_draining && !server->is_closing)
        ty_server_wake(server);
    check_closed(server);
}

void ty_http_server_drain(struct ty_http_server *server, void (*done)(void *arg), void *arg)
{
    server->on_drained = done;
    server->drained_arg = arg;
    if (!server->is_draining) {
        ty_server_accept_stop(server);
        server->is_draining = true;
        for (struct ty_http_conn *conn = server->conns, *next; conn; conn = next) {
            next = conn->next;
            ty_conn_drain(conn);
        }
    }
    ty_server_wake(server);
}

static void on_handle_closed(uv_handle_t *handle)
{
    ty_server_handle_closed(handle->data);
}

static void on_wheel_closed(uv_handle_t *handle)
{
    struct ty_wheel *wheel = handle->data;

    ty_server_handle_closed(
        (struct ty_http_server *)((char *)wheel - offsetof(struct ty_http_server, wheel)));
}

/* Nothing goes on any more; those that only waited for their turn to be freed are freed. */
static void drop_ready(struct ty_http_server *server)
{
    while (server->ready) {
        struct ty_http_conn *conn = server->ready;

        server->ready = conn->next_ready;
        conn->is_ready = false;
        ty_conn_release(conn);
    }
}

void ty_http_server_close(struct ty_http_server *server, void (*done)(void *arg), void *arg)
{
    server->on_closed = done;
    server->closed_arg = arg;
    if (server->is_closing)
        return;
    server->is_closing = true;
    server->on_drained = NULL;
    ty_server_accept_stop(server);
    ty_admission_refuse_all(server);
    drop_ready(server);
    for (struct ty_http_conn *conn = server->conns, *next; conn; conn = next) {
        next = conn->next; /* none is freed before its handle is closed */
        ty_conn_lose(conn);
    }
    uv_close((uv_handle_t *)&server->idle, on_handle_closed);
    uv_close((uv_handle_t *)&server->accept_timer, on_handle_closed);
    ty_admission_close(server, on_handle_closed);
    ty_wheel_close(&server->wheel, on_wheel_closed);
}

struct ty_http_counts ty_http_server_counts(const struct ty_http_server *server)
{
    return (struct ty_http_counts){server->conn_count, server->request_count};
}
