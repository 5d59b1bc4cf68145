#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sql/mysql.h"
#include "tycho/memory.h"

enum { STACK_SIZE = 256 * 1024 }; /* of the library's calls: TLS needs more than its 60 KiB */

struct ty_mysql_dial {
    struct ty_work work; /* first */
    struct ty_mysql *own;
    char *host; /* NULL: the URL's */
    MYSQL *mysql;
    const char *failure; /* in words of ours, or those of the handle */
    ty_mysql_dialed_fn *dialed;
    void *arg; /* NULL: nobody wants it any more */
};

/* Whom the certificate must come from: the URL's word, or those the system trusts. */
static void trust(MYSQL *mysql, const struct ty_mysql_url *url)
{
    static const char *const system[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt"};
    const char *ca = url->ca;
    my_bool yes = 1;

    for (size_t i = 0; !ca && i < 2; i++)
        ca = access(system[i], R_OK) == 0 ? system[i] : NULL;
    mysql_options(mysql, MYSQL_OPT_SSL_CA, ca);
    mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
}

/* Preferred means between machines: on the same one it would only cost, and not little. */
static bool wants_tls(const struct ty_mysql_url *url)
{
    bool is_here = strncmp(url->host, "127.", 4) == 0 || strcmp(url->host, "localhost") == 0 ||
                   strcmp(url->host, "::1") == 0;

    return url->tls >= TY_MYSQL_TLS_REQUIRED || (url->tls == TY_MYSQL_TLS_PREFERRED && !is_here);
}

static MYSQL *handle_new(const struct ty_mysql *own)
{
    MYSQL *mysql = mysql_init(NULL);
    size_t stack = STACK_SIZE;
    my_bool yes = 1, no = 0;
    unsigned none = 0;

    if (!mysql)
        return NULL;
    mysql_options(mysql, MYSQL_OPT_NONBLOCK, &stack);
    mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &own->connect_s);
    mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &none);
    mysql_options(mysql, MYSQL_OPT_RECONNECT, &no);
    mysql_options(mysql, MYSQL_REPORT_DATA_TRUNCATION, &no);
    /* Never the password as it is, to whoever asks for it. */
    mysql_options(mysql, MARIADB_OPT_RESTRICTED_AUTH,
                  "mysql_native_password,caching_sha2_password,client_ed25519");
    mysql_options4(mysql, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "tycho");
    if (wants_tls(&own->url)) /* which enforces nothing: see is_too_open() */
        mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &yes);
    if (own->url.tls == TY_MYSQL_TLS_VERIFY)
        trust(mysql, &own->url);
    return mysql;
}

/* From now on nobody waits for the socket; and it is noticed soon when the other side is gone
 * without a word. */
static void tune(MYSQL *mysql, bool is_local)
{
    int fd = mysql_get_socket(mysql), yes = 1, idle = 15, between = 5, count = 3;
    unsigned unanswered_ms = 30000;

    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (is_local)
        return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof(unanswered_ms));
}

/* The library goes on without TLS when the server cannot, unless it has a certificate to look at.
 */
static bool is_too_open(const struct ty_mysql_url *url, MYSQL *mysql)
{
    return url->tls >= TY_MYSQL_TLS_REQUIRED && !url->socket && !mysql_get_ssl_cipher(mysql);
}

/* On a thread: looks at nothing that changes. */
static void run(struct ty_work *work)
{
    struct ty_mysql_dial *dial = (struct ty_mysql_dial *)work;
    const struct ty_mysql_url *url = &dial->own->url;
    const char *host = dial->host ? dial->host : url->host;

    dial->mysql = handle_new(dial->own);
    if (!dial->mysql) {
        dial->failure = "there is no memory";
        return;
    }
    if (url->socket)
        host = "localhost"; /* which means the socket */
    else if (strcmp(host, "localhost") == 0)
        mysql_options(dial->mysql, MYSQL_OPT_PROTOCOL, &(unsigned){MYSQL_PROTOCOL_TCP});
    if (!mysql_real_connect(dial->mysql, host, url->user, dial->own->password, url->database,
                            url->port, url->socket, CLIENT_FOUND_ROWS))
        dial->failure = mysql_error(dial->mysql);
    else if (is_too_open(url, dial->mysql))
        dial->failure = "the server has no TLS, and the URL says tls=required";
    else
        tune(dial->mysql, url->socket);
}

static void on_done(struct ty_work *work, int status)
{
    struct ty_mysql_dial *dial = (struct ty_mysql_dial *)work;

    (void)status; /* only those are cancelled that nobody wants */
    if (dial->arg)
        dial->dialed(dial->arg, dial->mysql, dial->failure);
    else if (dial->mysql)
        mysql_close(dial->mysql);
    ty_mysql_unref(dial->own);
    free(dial->host);
    free(dial);
}

struct ty_mysql_dial *ty_mysql_dial(struct ty_mysql *own, const char *host,
                                    ty_mysql_dialed_fn *dialed, void *arg)
{
    struct ty_mysql_dial *dial = ty_zalloc(sizeof(*dial));

    dial->own = own;
    dial->host = host ? ty_strdup(host) : NULL;
    dial->dialed = dialed;
    dial->arg = arg;
    own->refs++;
    ty_lane_submit(own->lane, &dial->work, run, on_done); /* its line has no end */
    return dial;
}

void ty_mysql_dial_forget(struct ty_mysql_dial *dial)
{
    dial->arg = NULL;
    ty_work_cancel(&dial->work);
}

void ty_mysql_peer(MYSQL *mysql, char *out, size_t out_len)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    *out = '\0';
    if (getpeername(mysql_get_socket(mysql), (struct sockaddr *)&address, &len) == 0 &&
        address.ss_family != AF_UNIX)
        getnameinfo((struct sockaddr *)&address, len, out, (socklen_t)out_len, NULL, 0,
                    NI_NUMERICHOST);
}
