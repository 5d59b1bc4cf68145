#include <errmsg.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sql/mysql.h"
#include "tycho/clock.h"
#include "tycho/memory.h"

/* The library's calls run on this: its TLS needs more than the 60 KiB it would take. */
static const size_t stack_size = 256 * 1024;

/* Names may be looked up for longer than we wait: then nobody wants to know any more. */
struct ty_mysql_lookup {
    uv_getaddrinfo_t req;
    struct ty_mysql_conn *conn; /* NULL: it gave up */
};

static const char setup[] =
    "SET NAMES utf8mb4, time_zone = '+00:00', autocommit = 1, sql_mode = "
    "'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,NO_ZERO_DATE,"
    "NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'";
static const char settings[] = "SELECT @@max_allowed_packet, @@innodb_rollback_on_timeout";

static void try_next(struct ty_mysql_conn *conn);
static void set_up(struct ty_mysql_conn *conn, ty_mysql_then_fn *then);

/* ---- handles */

/* Whom the certificate must come from: the URL's word, or those the system trusts. */
static void trust(MYSQL *mysql, const struct ty_mysql_url *url)
{
    static const char *const system[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt"};
    const char *ca = url->ca;

    for (size_t i = 0; !ca && i < 2; i++)
        ca = access(system[i], R_OK) == 0 ? system[i] : NULL;
    mysql_options(mysql, MYSQL_OPT_SSL_CA, ca);
}

MYSQL *ty_mysql_handle_new(const struct ty_mysql_url *url)
{
    MYSQL *mysql = mysql_init(NULL);
    my_bool yes = 1, no = 0;
    unsigned none = 0;

    if (!mysql)
        abort(); /* no memory for one small struct */
    mysql_options(mysql, MYSQL_OPT_NONBLOCK, &stack_size);
    mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &none);
    mysql_options(mysql, MYSQL_OPT_RECONNECT, &no);
    mysql_options(mysql, MYSQL_REPORT_DATA_TRUNCATION, &no);
    /* Never the password as it is, to whoever asks for it. */
    mysql_options(mysql, MARIADB_OPT_RESTRICTED_AUTH,
                  "mysql_native_password,caching_sha2_password,client_ed25519,auth_gssapi_client");
    mysql_options(mysql, MYSQL_OPT_CONNECT_ATTR_RESET, NULL);
    mysql_options4(mysql, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "tycho");
    if (url->tls >= TY_MYSQL_TLS_REQUIRED)
        mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &yes);
    if (url->tls == TY_MYSQL_TLS_VERIFY) {
        trust(mysql, url);
        mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
    }
    return mysql;
}

void ty_mysql_aim(struct ty_mysql_target *target, const struct ty_pool *pool, const char *host)
{
    const struct ty_mysql *own = pool->own;
    const struct ty_mysql_url *url = &own->url;
    const char *password = pool->options.password ? pool->options.password : url->password;

    *target = (struct ty_mysql_target){
        .host = *host ? host : "localhost",
        .name = *host && url->tls == TY_MYSQL_TLS_VERIFY ? url->host : NULL,
        .user = url->user,
        .password = password ? password : "",
        .database = url->database,
        .socket = *host ? NULL : url->socket,
        .port = url->port,
        .flags = CLIENT_FOUND_ROWS,
    };
}

void ty_mysql_tune(const struct ty_mysql_link *link)
{
    int fd = mysql_get_socket(link->mysql), yes = 1, idle = 15, between = 5, count = 3;
    unsigned unanswered_ms = 30000;

    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof(unanswered_ms));
}

/* ---- sessions */

static void on_lost_idle(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (conn->connected) {
        conn->connected = false;
        ty_mysql_lost(conn, NULL);
    }
}

/* Nobody talks to us while nothing runs, but to say goodbye. */
static void on_stirred(struct ty_mysql_link *link)
{
    char byte;

    if (recv(mysql_get_socket(link->mysql), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
        (errno == EAGAIN || errno == EINTR))
        return;
    on_lost_idle(link);
}

static void on_ready(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    ty_mysql_link_limit(link, 0);
    conn->connected = true;
    ty_pool_connected(&conn->base);
}

static void on_settings(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    MYSQL_ROW row = link->rows ? mysql_fetch_row(link->rows) : NULL;

    if (!row || !row[0] || !row[1]) {
        ty_mysql_lost(conn, "setting up the session");
        return;
    }
    conn->packet_max = strtoull(row[0], NULL, 10);
    conn->rolls_back_later = row[1][0] == '1';
    mysql_free_result(link->rows); /* all of it is in memory */
    link->rows = NULL;
    on_ready(link);
}

static void on_asked(struct ty_mysql_link *link)
{
    link->rows = NULL;
    if (link->result)
        ty_mysql_lost(ty_mysql_conn_of(link), "setting up the session");
    else
        ty_mysql_link_call(link, TY_MYSQL_STORE, on_settings);
}

static void on_first_set_up(struct ty_mysql_link *link)
{
    if (link->result) {
        ty_mysql_lost(ty_mysql_conn_of(link), "setting up the session");
        return;
    }
    link->text = settings;
    link->text_len = sizeof(settings) - 1;
    ty_mysql_link_call(link, TY_MYSQL_QUERY, on_asked);
}

static void set_up(struct ty_mysql_conn *conn, ty_mysql_then_fn *then)
{
    conn->link.text = setup;
    conn->link.text_len = sizeof(setup) - 1;
    ty_mysql_link_call(&conn->link, TY_MYSQL_QUERY, then);
}

/* ---- connecting */

static void fail_connecting(struct ty_mysql_conn *conn, const char *detail, const char *why)
{
    const struct ty_mysql_url *url = &conn->own->url;
    struct ty_error error;

    ty_error_set(&error, TY_ERR_UNAVAILABLE, detail, "mysql: connecting to %s:%u: %s", url->host,
                 url->port, why);
    conn->op = NULL;
    ty_pool_lost(&conn->base, &error, false);
}

static uint64_t left_ms(const struct ty_mysql_conn *conn)
{
    uint64_t now = ty_now_ns();

    return now < conn->deadline_ns ? (conn->deadline_ns - now) / 1000000 + 1 : 1;
}

/* Would it be of use to try another address of the same server? */
static bool is_unreachable(unsigned number)
{
    return number == CR_CONNECTION_ERROR || number == CR_CONN_HOST_ERROR ||
           number == CR_IPSOCK_ERROR || ty_mysql_is_lost(number);
}

static void on_connected(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);
    char during[NI_MAXHOST + 64];

    if (link->result == 0) {
        ty_mysql_tune(link);
        ty_mysql_link_limit(link, left_ms(conn));
        set_up(conn, on_first_set_up);
        return;
    }
    if (is_unreachable(ty_mysql_number(link)) && conn->address && conn->address->ai_next &&
        ty_now_ns() < conn->deadline_ns) {
        conn->address = conn->address->ai_next;
        try_next(conn);
        return;
    }
    if (conn->host[0])
        snprintf(during, sizeof(during), "connecting to %s:%u", conn->own->url.host,
                 conn->own->url.port);
    else
        snprintf(during, sizeof(during), "connecting to %s", conn->own->url.socket);
    ty_mysql_lost(conn, during);
}

/* Each address gets its share of the time that is left: a silent one must not take it all. */
static void try_next(struct ty_mysql_conn *conn)
{
    uint64_t count = 0;

    for (const struct addrinfo *at = conn->address; at; at = at->ai_next)
        count++;
    if (conn->address)
        getnameinfo(conn->address->ai_addr, conn->address->ai_addrlen, conn->host,
                    sizeof(conn->host), NULL, 0, NI_NUMERICHOST);
    ty_mysql_link_drop(&conn->link, false);
    conn->link.mysql = ty_mysql_handle_new(&conn->own->url);
    ty_mysql_aim(&conn->target, conn->base.pool, conn->host);
    conn->link.target = &conn->target;
    ty_mysql_link_limit(&conn->link, left_ms(conn) / (count ? count : 1) + 1);
    ty_mysql_link_call(&conn->link, TY_MYSQL_CONNECT, on_connected);
}

static void on_looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
    struct ty_mysql_lookup *lookup = (struct ty_mysql_lookup *)req;
    struct ty_mysql_conn *conn = lookup->conn;

    free(lookup);
    if (!conn) {
        uv_freeaddrinfo(addresses);
        return;
    }
    conn->lookup = NULL;
    conn->addresses = conn->address = addresses;
    if (status < 0)
        fail_connecting(conn, uv_err_name(status), uv_strerror(status));
    else
        try_next(conn);
}

static void give_up_looking(struct ty_mysql_conn *conn)
{
    if (!conn->lookup)
        return;
    conn->lookup->conn = NULL;
    uv_cancel((uv_req_t *)&conn->lookup->req);
    conn->lookup = NULL;
}

static void on_late(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (!conn->lookup)
        return;
    give_up_looking(conn);
    ty_mysql_link_limit(link, 0);
    fail_connecting(conn, "ETIMEDOUT", "its address was not found in time");
}

static void start_looking(struct ty_mysql_conn *conn)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct ty_mysql_lookup *lookup = ty_zalloc(sizeof(*lookup));

    lookup->conn = conn;
    conn->lookup = lookup;
    if (uv_getaddrinfo(conn->link.loop, &lookup->req, on_looked_up, conn->own->url.host, NULL,
                       &hints) == 0)
        return;
    free(lookup);
    conn->lookup = NULL;
    ty_mysql_link_limit(&conn->link, 1); /* nothing will come: told as "not found" */
}

void ty_mysql_connect(struct ty_pool_conn *base)
{
    struct ty_mysql_conn *conn = (struct ty_mysql_conn *)base;
    const struct ty_sql_options *options = &base->pool->options;

    ty_mysql_link_init(&conn->link, base->pool->loop);
    conn->link.stirred = on_stirred;
    conn->link.late = on_late;
    conn->own = base->pool->own;
    conn->deadline_ns = ty_now_ns() + options->connect_ms * 1000000;
    ty_mysql_cache_init(&conn->cache, options->statements);
    if (conn->own->url.socket) {
        try_next(conn);
        return;
    }
    ty_mysql_link_limit(&conn->link, options->connect_ms);
    start_looking(conn);
}

/* ---- resetting and checking */

static void on_checked(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (link->result) {
        on_lost_idle(link);
        return;
    }
    ty_mysql_link_limit(link, 0);
    ty_pool_was_reset(&conn->base);
}

static void on_reset(struct ty_mysql_link *link)
{
    if (link->result)
        on_lost_idle(link);
    else
        set_up(ty_mysql_conn_of(link), on_checked);
}

void ty_mysql_reset(struct ty_pool_conn *base)
{
    struct ty_mysql_conn *conn = (struct ty_mysql_conn *)base;
    const struct ty_sql_options *options = &base->pool->options;

    ty_mysql_forget_statements(conn);
    ty_mysql_cache_init(&conn->cache, options->statements);
    conn->in_tx = false;
    ty_mysql_link_limit(&conn->link, options->connect_ms);
    ty_mysql_link_call(&conn->link, TY_MYSQL_RESET, on_reset);
}

void ty_mysql_check(struct ty_pool_conn *base)
{
    struct ty_mysql_conn *conn = (struct ty_mysql_conn *)base;

    ty_mysql_link_limit(&conn->link, base->pool->options.connect_ms);
    ty_mysql_link_call(&conn->link, TY_MYSQL_PING, on_checked);
}

/* ---- closing */

static void on_closed(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    ty_pool_closed(&conn->base);
}

void ty_mysql_close(struct ty_pool_conn *base)
{
    struct ty_mysql_conn *conn = (struct ty_mysql_conn *)base;

    conn->op = NULL;
    ty_mysql_cancel_forget(conn);
    give_up_looking(conn);
    uv_freeaddrinfo(conn->addresses);
    conn->addresses = conn->address = NULL;
    /* The handle first: statements that have none are only memory. */
    ty_mysql_link_drop(&conn->link, conn->connected && conn->link.call == TY_MYSQL_NOTHING);
    ty_mysql_forget_statements(conn);
    ty_buf_close(&conn->scratch);
    free(conn->kinds);
    conn->kinds = NULL;
    conn->kind_cap = 0;
    ty_mysql_link_close(&conn->link, on_closed);
}
