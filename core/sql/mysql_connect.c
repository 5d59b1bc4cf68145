#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "sql/mysql.h"

static const char setup[] =
    "SET NAMES utf8mb4, time_zone = '+00:00', autocommit = 1, sql_mode = "
    "'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,NO_ZERO_DATE,"
    "NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'";
static const char settings[] = "SELECT @@max_allowed_packet, @@innodb_rollback_on_timeout";

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
    if (ty_mysql_link_is_gone(link))
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
    struct ty_error error;

    ty_error_set(&error, TY_ERR_UNAVAILABLE, detail, "mysql: connecting to %s:%u: %s",
                 conn->own->url.host, conn->own->url.port, why);
    ty_pool_lost(&conn->base, &error, false);
}

static void on_dialed(void *arg, MYSQL *mysql, const char *failure)
{
    struct ty_mysql_conn *conn = arg;
    const struct ty_mysql_url *url = &conn->own->url;
    char during[NI_MAXHOST + 64];

    conn->dial = NULL;
    conn->link.mysql = mysql;
    if (!failure) {
        ty_mysql_peer(mysql, conn->peer, sizeof(conn->peer));
        set_up(conn, on_first_set_up);
    } else if (!mysql || !mysql_errno(mysql)) {
        fail_connecting(conn, "08001", failure);
    } else {
        if (url->socket)
            snprintf(during, sizeof(during), "connecting to %s", url->socket);
        else
            snprintf(during, sizeof(during), "connecting to %s:%u", url->host, url->port);
        ty_mysql_lost(conn, during);
    }
}

static void on_late(struct ty_mysql_link *link)
{
    struct ty_mysql_conn *conn = ty_mysql_conn_of(link);

    if (!conn->dial)
        return;
    ty_mysql_dial_forget(conn->dial);
    conn->dial = NULL;
    ty_mysql_link_limit(link, 0);
    fail_connecting(conn, "ETIMEDOUT", "no answer in time");
}

void ty_mysql_connect(struct ty_pool_conn *base)
{
    struct ty_mysql_conn *conn = (struct ty_mysql_conn *)base;
    const struct ty_sql_options *options = &base->pool->options;

    ty_mysql_link_init(&conn->link, base->pool->loop);
    conn->link.stirred = on_stirred;
    conn->link.late = on_late;
    conn->own = base->pool->own;
    ty_mysql_cache_init(&conn->cache, options->statements);
    ty_mysql_link_limit(&conn->link, options->connect_ms);
    conn->dial = ty_mysql_dial(conn->own, NULL, on_dialed, conn);
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
    if (conn->connected && conn->link.call != TY_MYSQL_NOTHING)
        ty_mysql_bury(conn);
    if (conn->dial)
        ty_mysql_dial_forget(conn->dial);
    conn->dial = NULL;
    /* The handle first: statements that have none are only memory. */
    ty_mysql_link_drop(&conn->link, conn->connected && conn->link.call == TY_MYSQL_NOTHING);
    ty_mysql_forget_statements(conn);
    ty_buf_close(&conn->scratch);
    free(conn->kinds);
    conn->kinds = NULL;
    conn->kind_cap = 0;
    ty_mysql_link_close(&conn->link, on_closed);
}
