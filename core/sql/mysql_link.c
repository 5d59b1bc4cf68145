#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "sql/mysql.h"
#include "tycho/memory.h"

enum {
    STEPS_MAX = 512,    /* calls that needed no wait, before others have their turn */
    UNWIND_ROUNDS = 64, /* that a call gets to notice that it has to end */
};

/* ---- the library's calls: each has a beginning and a continuation */

/* The library takes what OpenSSL noted of another connection, on this thread, for an error of its
 * own. */
static void forget_others(void)
{
    ERR_clear_error();
}

static int start(struct ty_mysql_link *link)
{
    MYSQL *mysql = link->mysql;
    my_bool bad = 0;
    int *result = &link->result, waits = 0;

    *result = 0;
    forget_others();
    switch (link->call) {
    case TY_MYSQL_NOTHING:
        return 0;
    case TY_MYSQL_QUERY:
        return mysql_real_query_start(result, mysql, link->text, link->text_len);
    case TY_MYSQL_STORE:
        return mysql_store_result_start(&link->rows, mysql);
    case TY_MYSQL_FREE_ROWS:
        return mysql_free_result_start(link->rows);
    case TY_MYSQL_NEXT_RESULT:
        return mysql_next_result_start(result, mysql);
    case TY_MYSQL_MULTI:
        return mysql_set_server_option_start(result, mysql,
                                             link->multi ? MYSQL_OPTION_MULTI_STATEMENTS_ON
                                                         : MYSQL_OPTION_MULTI_STATEMENTS_OFF);
    case TY_MYSQL_PING:
        return mysql_ping_start(result, mysql);
    case TY_MYSQL_RESET:
        return mysql_reset_connection_start(result, mysql);
    case TY_MYSQL_PREPARE:
        return mysql_stmt_prepare_start(result, link->stmt, link->text, link->text_len);
    case TY_MYSQL_EXECUTE:
        return mysql_stmt_execute_start(result, link->stmt);
    case TY_MYSQL_FETCH:
        return mysql_stmt_fetch_start(result, link->stmt);
    case TY_MYSQL_NEXT_OF_STMT:
        return mysql_stmt_next_result_start(result, link->stmt);
    case TY_MYSQL_FREE_RESULT:
        waits = mysql_stmt_free_result_start(&bad, link->stmt);
        break;
    }
    *result = bad != 0;
    return waits;
}

static int go_on(struct ty_mysql_link *link, int events)
{
    MYSQL *mysql = link->mysql;
    my_bool bad = 0;
    int *result = &link->result, waits = 0;

    forget_others();
    switch (link->call) {
    case TY_MYSQL_NOTHING:
        return 0;
    case TY_MYSQL_QUERY:
        return mysql_real_query_cont(result, mysql, events);
    case TY_MYSQL_STORE:
        return mysql_store_result_cont(&link->rows, mysql, events);
    case TY_MYSQL_FREE_ROWS:
        return mysql_free_result_cont(link->rows, events);
    case TY_MYSQL_NEXT_RESULT:
        return mysql_next_result_cont(result, mysql, events);
    case TY_MYSQL_MULTI:
        return mysql_set_server_option_cont(result, mysql, events);
    case TY_MYSQL_PING:
        return mysql_ping_cont(result, mysql, events);
    case TY_MYSQL_RESET:
        return mysql_reset_connection_cont(result, mysql, events);
    case TY_MYSQL_PREPARE:
        return mysql_stmt_prepare_cont(result, link->stmt, events);
    case TY_MYSQL_EXECUTE:
        return mysql_stmt_execute_cont(result, link->stmt, events);
    case TY_MYSQL_FETCH:
        return mysql_stmt_fetch_cont(result, link->stmt, events);
    case TY_MYSQL_NEXT_OF_STMT:
        return mysql_stmt_next_result_cont(result, link->stmt, events);
    case TY_MYSQL_FREE_RESULT:
        waits = mysql_stmt_free_result_cont(&bad, link->stmt, events);
        break;
    }
    *result = bad != 0;
    return waits;
}

/* ---- waiting */

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void stop_polling(struct ty_mysql_link *link)
{
    if (!link->poll)
        return;
    link->poll->data = NULL;
    uv_close((uv_handle_t *)link->poll, on_poll_closed);
    link->poll = NULL;
    link->polled_fd = -1;
    link->polled_events = 0;
}

static void step(struct ty_mysql_link *link, int events);
static void on_soon(uv_idle_t *soon);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct ty_mysql_link *link = poll->data;
    int ready = 0;

    if (!link)
        return;
    if (status < 0)
        events = UV_READABLE | UV_WRITABLE; /* the library will find out */
    if ((events & UV_READABLE) && (link->waits & MYSQL_WAIT_READ))
        ready |= MYSQL_WAIT_READ;
    if ((events & UV_WRITABLE) && (link->waits & MYSQL_WAIT_WRITE))
        ready |= MYSQL_WAIT_WRITE;
    link->steps = 0;
    if (ready)
        step(link, ready);
    else if (link->call == TY_MYSQL_NOTHING && !uv_is_active((uv_handle_t *)&link->soon))
        link->stirred(link);
}

/* Readable is always of interest: a server that ends an idle connection makes it so. */
static void poll_socket(struct ty_mysql_link *link)
{
    int fd = mysql_get_socket(link->mysql);
    int events = UV_READABLE | (link->waits & MYSQL_WAIT_WRITE ? UV_WRITABLE : 0);

    if (link->poll && link->polled_fd != fd)
        stop_polling(link);
    if (fd < 0 || (link->poll && link->polled_events == events))
        return;
    if (!link->poll) {
        link->poll = ty_zalloc(sizeof(*link->poll));
        if (uv_poll_init(link->loop, link->poll, fd) < 0) {
            free(link->poll);
            link->poll = NULL;
            return;
        }
        link->poll->data = link;
        link->polled_fd = fd;
    }
    link->polled_events = events;
    uv_poll_start(link->poll, events, on_poll);
}

/* ---- steps */

/* One call may start the next one in its `then`; what never has to wait gives way to others now and
 * then. */
static void step(struct ty_mysql_link *link, int events)
{
    link->running = true;
    while (link->call != TY_MYSQL_NOTHING) {
        link->waits = link->started ? go_on(link, events) : start(link);
        link->started = true;
        poll_socket(link);
        if (link->waits)
            break;

        ty_mysql_then_fn *then = link->then;
        link->call = TY_MYSQL_NOTHING;
        then(link);
        if (link->call != TY_MYSQL_NOTHING && ++link->steps >= STEPS_MAX) {
            uv_idle_start(&link->soon, on_soon);
            break;
        }
    }
    link->running = false;
}

static void on_soon(uv_idle_t *soon)
{
    struct ty_mysql_link *link = soon->data;
    ty_mysql_then_fn *then = link->then;

    uv_idle_stop(soon);
    link->steps = 0;
    if (link->call != TY_MYSQL_NOTHING) {
        step(link, 0);
        return;
    }
    link->running = true;
    then(link);
    link->running = false;
    step(link, 0);
}

void ty_mysql_link_call(struct ty_mysql_link *link, enum ty_mysql_call call, ty_mysql_then_fn *then)
{
    link->call = call;
    link->then = then;
    link->started = false;
    link->waits = 0;
    if (link->running)
        return;

    /* From outside: begun at once, so that it is on its way, but told later. */
    link->waits = start(link);
    link->started = true;
    poll_socket(link);
    if (link->waits)
        return;
    link->call = TY_MYSQL_NOTHING;
    uv_idle_start(&link->soon, on_soon);
}

void ty_mysql_link_later(struct ty_mysql_link *link, ty_mysql_then_fn *then)
{
    link->then = then;
    uv_idle_start(&link->soon, on_soon);
}

bool ty_mysql_link_is_gone(const struct ty_mysql_link *link)
{
    char byte;

    return recv(mysql_get_socket(link->mysql), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
           (errno != EAGAIN && errno != EINTR);
}

/* ---- the end of patience */

/* Makes the running call fail: its socket says no more, and its wait is over. */
static bool unwind(struct ty_mysql_link *link)
{
    int fd = mysql_get_socket(link->mysql);

    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
    for (int i = 0; link->waits && i < UNWIND_ROUNDS; i++)
        link->waits = go_on(link, MYSQL_WAIT_TIMEOUT | (i ? link->waits : 0));
    return link->waits == 0;
}

static void on_limit(uv_timer_t *timer)
{
    struct ty_mysql_link *link = timer->data;
    ty_mysql_then_fn *then = link->then;

    if (link->call == TY_MYSQL_NOTHING && link->late)
        link->late(link);
    if (link->call == TY_MYSQL_NOTHING || !link->waits)
        return;
    unwind(link);
    link->waits = 0;
    link->call = TY_MYSQL_NOTHING;
    if (link->result == 0)
        link->result = 1;
    poll_socket(link);
    link->running = true;
    then(link);
    link->running = false;
    step(link, 0);
}

void ty_mysql_link_limit(struct ty_mysql_link *link, uint64_t ms)
{
    if (ms)
        uv_timer_start(&link->limit, on_limit, ms, ms);
    else
        uv_timer_stop(&link->limit);
}

/* ---- beginning and end */

void ty_mysql_link_init(struct ty_mysql_link *link, uv_loop_t *loop)
{
    link->loop = loop;
    link->polled_fd = -1;
    uv_timer_init(loop, &link->limit);
    uv_idle_init(loop, &link->soon);
    link->limit.data = link;
    link->soon.data = link;
}

void ty_mysql_link_drop(struct ty_mysql_link *link, bool politely)
{
    uv_timer_stop(&link->limit);
    uv_idle_stop(&link->soon);
    if (!link->mysql)
        return;
    if (link->call != TY_MYSQL_NOTHING && link->waits)
        unwind(link); /* or what the call has allocated is lost */
    link->call = TY_MYSQL_NOTHING;
    int fd = mysql_get_socket(link->mysql);

    stop_polling(link);
    if (!politely && fd >= 0)
        shutdown(fd, SHUT_RDWR);
    mysql_close(link->mysql);
    link->mysql = NULL;
    link->waits = 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct ty_mysql_link *link = handle->data;

    if (--link->handles_left == 0)
        link->on_closed(link);
}

void ty_mysql_link_close(struct ty_mysql_link *link, void (*on_closed)(struct ty_mysql_link *link))
{
    link->on_closed = on_closed;
    link->handles_left = 2;
    uv_close((uv_handle_t *)&link->limit, on_handle_closed);
    uv_close((uv_handle_t *)&link->soon, on_handle_closed);
}
