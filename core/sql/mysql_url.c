#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/mysql.h"
#include "tycho/memory.h"

enum { PORT = 3306 };

static int fail(struct ty_error *error, const char *why)
{
    /* Never with the text: there may be a password in it. */
    return ty_error_set(error, TY_ERR_INTERNAL, "url", "mysql: the URL of the database %s", why);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A part of the URL without its percent signs; NULL if they are wrong, or hide a NUL. */
static char *decode(const char *text, size_t len)
{
    char *out = ty_alloc(len + 1), *to = out;

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            *to++ = text[i];
            continue;
        }
        int high = i + 2 < len ? digit(text[i + 1]) : -1;
        int low = i + 2 < len ? digit(text[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            free(out);
            return NULL;
        }
        *to++ = (char)(high * 16 + low);
        i += 2;
    }
    *to = '\0';
    return out;
}

static bool put(char **slot, const char *text, size_t len)
{
    free(*slot);
    *slot = len ? decode(text, len) : NULL;
    return !len || *slot;
}

static void keep(char **slot, const char *value)
{
    free(*slot);
    *slot = ty_strdup(value);
}

static bool read_port(struct ty_mysql_url *url, const char *text, size_t len)
{
    unsigned port = 0;

    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || port > 6553)
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    url->port = len ? port : PORT;
    return url->port > 0 && url->port <= 65535;
}

/* user:password@host:port, each of it optional; [::1] */
static int read_authority(struct ty_mysql_url *url, const char *text, size_t len,
                          struct ty_error *error)
{
    const char *at = NULL;

    for (size_t i = 0; i < len; i++)
        at = text[i] == '@' ? text + i : at;
    if (at) {
        size_t user_len = (size_t)(at - text);
        const char *colon = memchr(text, ':', user_len);
        const char *end = colon ? colon : at;

        if (!put(&url->user, text, (size_t)(end - text)) ||
            (colon && !put(&url->password, colon + 1, (size_t)(at - colon - 1))))
            return fail(error, "has a % that two hexadecimal digits do not follow");
        len -= user_len + 1;
        text = at + 1;
    }
    const char *close = len && *text == '[' ? memchr(text, ']', len) : NULL;
    const char *host = close ? text + 1 : text;
    const char *colon = close ? close + 1 : memchr(text, ':', len);
    const char *end = text + len;
    const char *host_end = close ? close : colon ? colon : end;

    if (!put(&url->host, host, (size_t)(host_end - host)))
        return fail(error, "has a % that two hexadecimal digits do not follow");
    if (!colon || colon == end)
        return 0;
    if (*colon != ':' || !read_port(url, colon + 1, (size_t)(end - colon - 1)))
        return fail(error, "has a port that is none");
    return 0;
}

static int read_tls(struct ty_mysql_url *url, const char *value, struct ty_error *error)
{
    static const char *const names[] = {
        [TY_MYSQL_TLS_OFF] = "off",
        [TY_MYSQL_TLS_PREFERRED] = "preferred",
        [TY_MYSQL_TLS_REQUIRED] = "required",
        [TY_MYSQL_TLS_VERIFY] = "verify",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(value, names[i]) == 0) {
            url->tls = (enum ty_mysql_tls)i;
            return 0;
        }
    }
    return fail(error, "has tls= with something else than off, preferred, required, verify");
}

/* tls=verify&ca=/file&socket=/file */
static int read_query(struct ty_mysql_url *url, const char *text, struct ty_error *error)
{
    while (*text) {
        size_t len = strcspn(text, "&"), name_len = strcspn(text, "=&");
        size_t value_len = name_len < len ? len - name_len - 1 : 0;
        struct ty_slice name = {text, name_len};
        char *value = decode(text + len - value_len, value_len);
        int status = 0;

        if (!value)
            status = fail(error, "has a % that two hexadecimal digits do not follow");
        else if (ty_slice_is(name, "tls"))
            status = read_tls(url, value, error);
        else if (ty_slice_is(name, "socket") && *value)
            keep(&url->socket, value);
        else if (ty_slice_is(name, "ca") && *value)
            keep(&url->ca, value);
        else
            status = fail(error, "knows tls=, ca= and socket= behind the question mark");
        free(value);
        if (status < 0)
            return -1;
        text += len + (text[len] == '&');
    }
    return 0;
}

int ty_mysql_url_read(struct ty_mysql_url *url, const char *text, struct ty_error *error)
{
    *url = (struct ty_mysql_url){.port = PORT, .tls = TY_MYSQL_TLS_PREFERRED};
    const char *start = strstr(text, "://");

    if (!start)
        return fail(error, "is of the form mysql://user@host:port/database");
    start += 3;
    size_t len = strcspn(start, "/?"), database_len = 0;
    int status = read_authority(url, start, len, error);
    start += len;
    if (status == 0 && *start == '/') {
        database_len = strcspn(++start, "?");
        if (!put(&url->database, start, database_len))
            status = fail(error, "has a % that two hexadecimal digits do not follow");
        start += database_len;
    }
    if (status == 0 && *start == '?')
        status = read_query(url, start + 1, error);
    if (status == 0 && !url->database)
        status = fail(error, "names no database: mysql://user@host:port/database");
    if (status < 0) {
        ty_mysql_url_close(url);
        return -1;
    }
    if (!url->host)
        url->host = ty_strdup("localhost");
    if (!url->user)
        url->user = ty_strdup("root");
    return 0;
}

void ty_mysql_url_close(struct ty_mysql_url *url)
{
    if (url->password)
        explicit_bzero(url->password, strlen(url->password));
    free(url->user);
    free(url->password);
    free(url->host);
    free(url->database);
    free(url->socket);
    free(url->ca);
    *url = (struct ty_mysql_url){0};
}
