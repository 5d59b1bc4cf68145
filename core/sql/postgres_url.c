#include <stdlib.h>
#include <string.h>

#include "sql/postgres.h"
#include "tycho/memory.h"

/* What a URL may say. Hosts are ours to look up; the rest is libpq's, but for what would make it
 * wait (Kerberos), or read files that nobody spoke of (services). */
static const char *const allowed[] = {
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "channel_binding",
    "requirepeer",
    "target_session_attrs",
    "application_name",
    "options",
    "passfile",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    NULL,
};

/* What holds unless the URL says something else. A dead peer is noticed within 20 seconds. */
static const char *const defaults[][2] = {
    {"fallback_application_name", "tycho"},
    {"client_encoding", "UTF8"},
    {"gssencmode", "disable"},
    {"keepalives_idle", "10"},
    {"keepalives_interval", "3"},
    {"keepalives_count", "3"},
    {"tcp_user_timeout", "20000"},
};

enum { DEFAULT_COUNT = sizeof(defaults) / sizeof(defaults[0]) };

static void add_key(struct ty_pg_target *target, const char *key, const char *value)
{
    for (unsigned i = 0; i < target->key_count; i++) {
        if (strcmp(target->keys[i], key) == 0) {
            free(target->values[i]);
            target->values[i] = ty_strdup(value);
            return;
        }
    }
    size_t size = (target->key_count + 2) * sizeof(char *);
    target->keys = ty_realloc(target->keys, size);
    target->values = ty_realloc(target->values, size);
    target->keys[target->key_count] = ty_strdup(key);
    target->values[target->key_count++] = ty_strdup(value);
    target->keys[target->key_count] = target->values[target->key_count] = NULL;
}

/* One more piece of a list with commas, which may have empty ones; NULL: it has no more. */
static char *next_piece(const char **rest)
{
    if (!*rest)
        return NULL;
    size_t len = strcspn(*rest, ",");
    char *piece = ty_strndup(*rest, len);

    *rest = (*rest)[len] ? *rest + len + 1 : NULL;
    return piece;
}

static unsigned count_pieces(const char *list)
{
    unsigned count = 1;

    for (; *list; list++)
        count += *list == ',';
    return count;
}

static bool is_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);

    return !*text || (*end == '\0' && port > 0 && port < 65536);
}

/* "a,b" and "5432" or "5432,5433": one port serves all, as with libpq. */
static int split_hosts(struct ty_pg_target *target, const char *hosts, const char *addrs,
                       const char *ports, struct ty_error *error)
{
    unsigned port_count = count_pieces(ports), addr_count = count_pieces(addrs);
    unsigned count = count_pieces(hosts);

    if (*addrs && addr_count > count && !*hosts)
        count = addr_count;
    if (count > TY_PG_HOSTS_MAX)
        return ty_error_set(error, TY_ERR_INTERNAL, "url", "postgresql: more than %d hosts",
                            TY_PG_HOSTS_MAX);
    if ((port_count != 1 && port_count != count) || (*addrs && addr_count != count))
        return ty_error_set(error, TY_ERR_INTERNAL, "url",
                            "postgresql: as many ports as hosts are wanted in the URL, or one");
    for (unsigned i = 0; i < count; i++) {
        struct ty_pg_address *to = &target->hosts[target->host_count++];
        char *host = next_piece(&hosts), *addr = *addrs ? next_piece(&addrs) : NULL;
        char *port = next_piece(&ports);

        to->host = host ? host : ty_strdup("");
        to->hostaddr = addr ? addr : ty_strdup("");
        to->port = port ? port : ty_strdup(target->hosts[0].port);
        if (!is_port(to->port))
            return ty_error_set(error, TY_ERR_INTERNAL, "url",
                                "postgresql: the port of a host in the URL is no number");
    }
    return 0;
}

static const char *value_of(const PQconninfoOption *options, const char *key)
{
    for (; options->keyword; options++) {
        if (strcmp(options->keyword, key) == 0)
            return options->val ? options->val : "";
    }
    return "";
}

static int take(struct ty_pg_target *target, const PQconninfoOption *parsed, struct ty_error *error)
{
    static const char *const ours[] = {"host", "hostaddr", "port", NULL};

    for (const PQconninfoOption *at = parsed; at->keyword; at++) {
        if (!at->val)
            continue;
        if (!ty_sql_is_one_of(at->keyword, allowed))
            return ty_error_set(error, TY_ERR_INTERNAL, "url",
                                "postgresql: \"%s\" is not taken from the URL", at->keyword);
        if (!ty_sql_is_one_of(at->keyword, ours))
            add_key(target, at->keyword, at->val);
    }
    return split_hosts(target, value_of(parsed, "host"), value_of(parsed, "hostaddr"),
                       value_of(parsed, "port"), error);
}

int ty_pg_target_parse(struct ty_pg_target *target, const struct ty_sql_options *options,
                       struct ty_error *error)
{
    /* libpq's own words would show what it did not understand: parts of the password, perhaps. */
    PQconninfoOption *parsed = PQconninfoParse(options->url, NULL);
    int code;

    *target = (struct ty_pg_target){0};
    if (!parsed)
        return ty_error_set(error, TY_ERR_INTERNAL, "url",
                            "postgresql: the URL of database \"%s\" cannot be read: it has the "
                            "form postgres://user@host:5432/name, with %%40 for @ in a name",
                            options->name);
    for (size_t i = 0; i < DEFAULT_COUNT; i++)
        add_key(target, defaults[i][0], defaults[i][1]);
    code = take(target, parsed, error);
    if (code == 0 && options->password)
        add_key(target, "password", options->password);
    PQconninfoFree(parsed);
    if (code < 0)
        ty_pg_target_close(target);
    return code;
}

void ty_pg_target_close(struct ty_pg_target *target)
{
    for (unsigned i = 0; i < target->host_count; i++) {
        free(target->hosts[i].host);
        free(target->hosts[i].hostaddr);
        free(target->hosts[i].port);
    }
    for (unsigned i = 0; i < target->key_count; i++) {
        explicit_bzero(target->values[i], strlen(target->values[i]));
        free(target->keys[i]);
        free(target->values[i]);
    }
    free(target->keys);
    free(target->values);
    *target = (struct ty_pg_target){0};
}
