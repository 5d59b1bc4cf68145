#include "config/value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "tycho/memory.h"

enum { TEXT_MAX = 4096, MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

/* clang-format off */
#define LIVE TY_CONFIG_LIVE
#define RESTART TY_CONFIG_RESTART
#define SECRET TY_CONFIG_SECRET
const struct ty_key ty_keys[] = {
#define X(path, type, fallback, limits, flags, text) \
    {path, fallback, limits, text, TY_CONFIG_##type, flags},
    TY_CONFIG_KEYS(X)
#undef X
};
#undef LIVE
#undef RESTART
#undef SECRET
/* clang-format on */
const size_t ty_key_count = sizeof(ty_keys) / sizeof(*ty_keys);

struct unit {
    const char *name;
    int64_t factor;
};

/* The largest first, for formatting. */
static const struct unit durations[] = {{"d", DAY},  {"h", HOUR}, {"m", MINUTE},
                                        {"s", 1000}, {"ms", 1},   {NULL, 0}};
static const struct unit sizes[] = {
    {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {NULL, 0}};
static const struct unit plain[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(const struct ty_key *key)
{
    if (key->type == TY_CONFIG_DURATION)
        return durations;
    return key->type == TY_CONFIG_SIZE ? sizes : plain;
}

bool ty_path_matches(const char *pattern, const char *path)
{
    for (;;) {
        size_t a = strcspn(pattern, "."), b = strcspn(path, ".");
        bool star = a == 1 && *pattern == '*';

        if (b == 0 || (!star && (a != b || strncmp(pattern, path, a) != 0)))
            return false;
        if (!pattern[a] || !path[b])
            return pattern[a] == path[b];
        pattern += a + 1;
        path += b + 1;
    }
}

const struct ty_key *ty_key_of(const char *path)
{
    for (size_t i = 0; i < ty_key_count; i++)
        if (ty_path_matches(ty_keys[i].path, path))
            return &ty_keys[i];
    return NULL;
}

/* A whole number followed by one of the units. */
static bool parse_number(const char *text, size_t len, const struct unit *units, int64_t *out)
{
    char digits[24];
    size_t count = strspn(text, "-0123456789");

    if (count > len)
        count = len;
    if (count == 0 || count >= sizeof(digits) || strspn(text + 1, "0123456789") + 1 < count)
        return false;
    memcpy(digits, text, count);
    digits[count] = '\0';

    char *end;
    errno = 0;
    long long number = strtoll(digits, &end, 10);
    if (errno || *end)
        return false;
    for (; units->name; units++)
        if (strlen(units->name) == len - count &&
            memcmp(units->name, text + count, len - count) == 0)
            return !__builtin_mul_overflow(number, units->factor, out);
    return false;
}

static bool parse_ranged(const struct ty_key *key, const char *text, int64_t *out)
{
    const struct unit *units = units_of(key);
    const char *dots = strstr(key->limits, "..");
    int64_t low, high;

    if (!parse_number(text, strlen(text), units, out))
        return false;
    return dots && parse_number(key->limits, (size_t)(dots - key->limits), units, &low) &&
           parse_number(dots + 2, strlen(dots + 2), units, &high) && *out >= low && *out <= high;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);

    for (;; choices++) {
        size_t word = strcspn(choices, "|");
        if (word == len && memcmp(choices, text, len) == 0)
            return true;
        choices += word;
        if (!*choices)
            return false;
    }
}

static bool is_network(const char *text)
{
    char address[INET6_ADDRSTRLEN + 1];
    unsigned char bytes[16];
    size_t len = strcspn(text, "/");
    int64_t bits;

    if (len >= sizeof(address))
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    int family = strchr(address, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, address, bytes) != 1)
        return false;
    return !text[len] || (parse_number(text + len + 1, strlen(text + len + 1), plain, &bits) &&
                          bits >= 0 && bits <= (family == AF_INET ? 32 : 128));
}

/* What a driver makes of the rest it says itself. */
static bool is_database(const char *text)
{
    static const char *const schemes[] = {"sqlite:", "postgres://", "postgresql://", "mysql://",
                                          "mariadb://"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i]);

        if (strncmp(text, schemes[i], len) == 0)
            return text[len] != '\0';
    }
    return false;
}

static bool is_text(const struct ty_key *key, const char *text)
{
    size_t len = strlen(text);

    if (len > TEXT_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 127)
            return false;
    if (key->type == TY_CONFIG_DATABASE)
        return is_database(text);
    if (strcmp(key->limits, "token") == 0)
        for (size_t i = 0; i < len; i++)
            if (!isalnum((unsigned char)text[i]) && !strchr("-_", text[i]))
                return false;
    return true;
}

/* Without choices it is a name of somebody's own. */
static bool is_item(const struct ty_key *key, const char *text)
{
    if (key->type == TY_CONFIG_NETWORKS)
        return is_network(text);
    return *key->limits ? is_choice(key->limits, text) : *text != '\0';
}

static bool parse_list(const struct ty_key *key, const struct ty_node *node, struct ty_value *value)
{
    if (node->type != TY_NODE_LIST)
        return false;
    value->items = ty_zalloc((node->count + 1) * sizeof(*value->items));
    for (size_t i = 0; i < node->count; i++) {
        const struct ty_node *item = node->children[i];
        if (item->type != TY_NODE_SCALAR || !is_item(key, item->text))
            return false;
        value->items[value->count++] = ty_strdup(item->text);
    }
    return true;
}

static bool parse_scalar(const struct ty_key *key, const struct ty_node *node,
                         struct ty_value *value)
{
    if (node->type != TY_NODE_SCALAR)
        return false;
    switch (key->type) {
    case TY_CONFIG_BOOLEAN:
        value->number = strcmp(node->text, "true") == 0;
        return node->plain && (value->number || strcmp(node->text, "false") == 0);
    case TY_CONFIG_INTEGER:
        return node->plain && parse_ranged(key, node->text, &value->number);
    case TY_CONFIG_DURATION:
    case TY_CONFIG_SIZE:
        return parse_ranged(key, node->text, &value->number);
    case TY_CONFIG_CHOICE:
        value->text = ty_strdup(node->text);
        return is_choice(key->limits, node->text);
    default:
        if (ty_node_is_null(node) || !*node->text)
            return key->type == TY_CONFIG_TEXT;
        value->text = ty_strdup(node->text);
        return is_text(key, node->text);
    }
}

bool ty_value_parse(const struct ty_key *key, const struct ty_node *node, struct ty_value *value)
{
    bool list = key->type == TY_CONFIG_LIST || key->type == TY_CONFIG_NETWORKS;

    *value = (struct ty_value){0};
    if (list ? parse_list(key, node, value) : parse_scalar(key, node, value))
        return true;
    ty_value_close(value);
    return false;
}

void ty_value_default(const struct ty_key *key, struct ty_value *value)
{
    bool list = key->type == TY_CONFIG_LIST || key->type == TY_CONFIG_NETWORKS;
    struct ty_node node = {.type = list ? TY_NODE_LIST : TY_NODE_SCALAR, .plain = true};

    *value = (struct ty_value){0};
    if (!key->fallback)
        return;
    node.text = ty_strdup(key->fallback);
    if (!ty_value_parse(key, &node, value))
        abort(); /* the table contradicts itself; a test looks at every row */
    free(node.text);
}

void ty_value_close(struct ty_value *value)
{
    for (size_t i = 0; i < value->count; i++)
        free((void *)(uintptr_t)value->items[i]);
    free(value->items);
    free(value->text);
    *value = (struct ty_value){0};
}

bool ty_value_equal(const struct ty_value *a, const struct ty_value *b)
{
    if (a->number != b->number || a->count != b->count || !a->text != !b->text ||
        (a->text && strcmp(a->text, b->text) != 0))
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

void ty_value_format(const struct ty_key *key, const struct ty_value *value, struct ty_buf *out)
{
    const struct unit *unit = units_of(key);

    switch (key->type) {
    case TY_CONFIG_BOOLEAN:
        ty_buf_adds(out, value->number ? "true" : "false");
        break;
    case TY_CONFIG_INTEGER:
    case TY_CONFIG_DURATION:
    case TY_CONFIG_SIZE:
        while (unit->factor > 1 && (value->number % unit->factor || !value->number) &&
               strcmp(unit->name, "s") != 0)
            unit++;
        if (value->number % unit->factor)
            unit++;
        ty_buf_addf(out, "%lld%s", (long long)(value->number / unit->factor), unit->name);
        break;
    case TY_CONFIG_LIST:
    case TY_CONFIG_NETWORKS:
        ty_buf_addc(out, '[');
        for (size_t i = 0; i < value->count; i++)
            ty_buf_addf(out, "%s%s", i ? ", " : "", value->items[i]);
        ty_buf_addc(out, ']');
        break;
    default:
        ty_buf_adds(out, value->text ? value->text : "");
    }
}

/* "a|b|c" as "a, b or c". */
static void add_choices(const char *choices, struct ty_buf *out)
{
    for (size_t len; *choices; choices += len + (choices[len] == '|')) {
        len = strcspn(choices, "|");
        ty_buf_add(out, choices, len);
        if (choices[len])
            ty_buf_adds(out, strchr(choices + len + 1, '|') ? ", " : " or ");
    }
}

static void add_range(const char *limits, struct ty_buf *out)
{
    const char *dots = strstr(limits, "..");

    if (dots)
        ty_buf_addf(out, " from %.*s to %s", (int)(dots - limits), limits, dots + 2);
}

void ty_key_describe(const struct ty_key *key, struct ty_buf *out)
{
    static const char *const words[] = {
        [TY_CONFIG_TEXT] = "text",
        [TY_CONFIG_BOOLEAN] = "true or false",
        [TY_CONFIG_INTEGER] = "an integer",
        [TY_CONFIG_DURATION] = "a duration (ms, s, m, h, d)",
        [TY_CONFIG_SIZE] = "a size (B, KiB, MiB, GiB)",
        [TY_CONFIG_CHOICE] = "",
        [TY_CONFIG_LIST] = "a list of ", /* choices, or names */
        [TY_CONFIG_NETWORKS] = "a list of addresses or networks such as 10.0.0.0/8",
        [TY_CONFIG_DATABASE] = "sqlite:FILE, postgres://... or mysql://...",
    };

    ty_buf_adds(out, words[key->type]);
    if (strcmp(key->limits, "token") == 0)
        ty_buf_adds(out, " of letters, digits, - and _");
    else if (strchr(key->limits, '|'))
        add_choices(key->limits, out);
    else if (key->type == TY_CONFIG_LIST)
        ty_buf_adds(out, "names");
    else
        add_range(key->limits, out);
}

void ty_path_variable(const char *path, struct ty_buf *out)
{
    ty_buf_adds(out, "TYCHO_");
    for (; *path; path++) {
        if (*path == '.')
            ty_buf_adds(out, "__");
        else
            ty_buf_addc(out, (char)toupper((unsigned char)*path));
    }
}
