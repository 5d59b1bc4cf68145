#include "log/redact.h"

#include <ctype.h>
#include <strings.h>

#include "tycho/log.h"

enum { NAME_MAX_LEN = 64, LEVELS_MAX = 8 };

static const char REDACTED[] = "[redacted]";

/* Anywhere in a name, which is compared in lower case and with '_' for '-', '.' and ' '. */
static const char *const secret_parts[] = {
    "password",   "passwd",    "passphrase", "secret",     "token",     "authorization",
    "cookie",     "api_key",   "apikey",     "access_key", "accesskey", "private_key",
    "privatekey", "signature", "credential", "session_id", "sessionid", "sessid",
};

/* Only as the whole name: a session or its id lets in whoever knows it, a count of sessions does
 * not. */
static const char *const secret_names[] = {
    "pwd", "pass", "auth", "jwt", "otp", "cvv", "dsn", "session", "sid", "connect_sid",
};

/* Before a colon without quotes only these are taken for names, and what begins with X-:
 * "unexpected token: ..." is not a secret. */
static const char *const headers[] = {"authorization", "cookie", "api_key", "signature",
                                      "session_id"};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static bool fold(char out[NAME_MAX_LEN + 1], const char *name, size_t len)
{
    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];

        out[i] = c == '-' || c == '.' || c == ' ' ? '_' : (char)tolower((unsigned char)c);
    }
    out[len] = '\0';
    return true;
}

static bool has_part(const char *name, const char *const *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(name, parts[i]))
            return true;
    return false;
}

static bool is_secret_name(const char *folded)
{
    for (size_t i = 0; i < COUNT(secret_names); i++)
        if (strcmp(folded, secret_names[i]) == 0)
            return true;
    return false;
}

bool ty_log_is_secret(const char *name, size_t len)
{
    char folded[NAME_MAX_LEN + 1];

    if (len > NAME_MAX_LEN) /* what matters of an odd name is its end: x.y.z.password */
        return ty_log_is_secret(name + len - NAME_MAX_LEN, NAME_MAX_LEN);
    if (!fold(folded, name, len))
        return false;
    if (is_secret_name(folded) || has_part(folded, secret_parts, COUNT(secret_parts)))
        return true;
    for (char *part = folded; *part; part++) { /* user[pwd], sid[0] */
        size_t end = strcspn(part, "[]");
        bool last = part[end] == '\0';

        part[end] = '\0';
        if (is_secret_name(part))
            return true;
        if (last)
            break;
        part += end;
    }
    return false;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static bool is_behind(const char *text, size_t at, const char *what)
{
    size_t len = strlen(what);

    return at >= len && strncasecmp(text + at - len, what, len) == 0;
}

/* How long the bracket before `at` is, plain or percent-encoded; 0: there is none. */
static size_t bracket_before(const char *text, size_t at, const char *plain, const char *encoded)
{
    if (is_behind(text, at, plain))
        return strlen(plain);
    return is_behind(text, at, encoded) ? strlen(encoded) : 0;
}

static struct ty_slice word_before(const char *text, size_t at)
{
    size_t end = at;

    while (at > 0 && end - at < NAME_MAX_LEN && is_name_char(text[at - 1]))
        at--;
    if (at > 0 && text[at - 1] == '%' && end - at >= 2 && isxdigit((unsigned char)text[at]) &&
        isxdigit((unsigned char)text[at + 1]))
        at += 2; /* of an encoded character */
    return (struct ty_slice){text + at, end - at};
}

/* The name that ends before `at`, in or out of quotes. Of a[b] that is b if it is one of a secret,
 * and else a. */
static struct ty_slice name_before(const char *text, size_t at, bool *quoted)
{
    struct ty_slice word = {0};

    while (at > 0 && text[at - 1] == ' ')
        at--;
    *quoted = at > 0 && (text[at - 1] == '"' || text[at - 1] == '\'');
    if (*quoted)
        at--;
    if (*quoted && at > 0 && text[at - 1] == '\\') /* JSON inside a JSON string */
        at--;
    for (int level = 0; level < LEVELS_MAX; level++) {
        size_t closed = bracket_before(text, at, "]", "%5D");

        word = word_before(text, at - closed);
        at = (size_t)(word.data - text);
        size_t opened = bracket_before(text, at, "[", "%5B");
        if (!closed || !opened || ty_log_is_secret(word.data, word.len))
            break;
        at -= opened;
    }
    return word;
}

static bool is_secret_before(const char *text, size_t at)
{
    char folded[NAME_MAX_LEN + 1];
    bool quoted;
    struct ty_slice name = name_before(text, at, &quoted);

    if (!ty_log_is_secret(name.data, name.len))
        return false;
    if (text[at] == '=' || quoted)
        return true;
    return fold(folded, name.data, name.len) &&
           (strncmp(folded, "x_", 2) == 0 || has_part(folded, headers, COUNT(headers)));
}

/* The end of the text in quotes that starts at `at`. In JSON that is itself in a JSON string the
 * quotes have a backslash. */
static size_t quoted_end(const char *text, size_t len, size_t at, bool nested)
{
    char quote = text[at - 1];

    for (; at < len && text[at] != quote; at++)
        if (text[at] == '\\' && !nested && at + 1 < len)
            at++;
    return at < len ? at : len;
}

/* Is the '=' at `at` one of an address's query, "?a=b&c=d"? */
static bool is_in_query(const char *text, size_t at)
{
    size_t from = at > NAME_MAX_LEN ? at - NAME_MAX_LEN : 0;

    while (at > from && !strchr(" \t\r\n?&\"'", text[at - 1]))
        at--;
    return at > from && (text[at - 1] == '?' || text[at - 1] == '&');
}

/* Behind this a value ends. A header's value has spaces in it; in a query little has a meaning. */
static const char *ends_of(const char *text, size_t separator)
{
    if (text[separator] == ':')
        return "\r\n'\"}]";
    return is_in_query(text, separator) ? " \t\r\n&#\"" : " \t\r\n&;,'\")}]";
}

static size_t value_end(const char *text, size_t len, size_t at, const char *ends)
{
    while (at < len && text[at] && !strchr(ends, text[at]))
        at++;
    return at;
}

/* Behind the bracket that closes the one at `at`. Brackets in texts are not looked at. */
static size_t bracketed_end(const char *text, size_t len, size_t at)
{
    size_t depth = 0;

    for (char quote = '\0'; at < len; at++) {
        char c = text[at];

        if (c == '\\' && quote && at + 1 < len)
            at++;
        else if (quote)
            quote = c == quote ? '\0' : quote;
        else if (c == '"' && text[at - 1] != '\\') /* JSON inside a JSON string has others */
            quote = c;
        else if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && --depth == 0)
            return at + 1;
    }
    return len;
}

/* Leaves out the value behind the separator at `at`; returns where the text goes on. */
static size_t skip_value(struct ty_buf *out, const char *text, size_t len, size_t at)
{
    const char *ends = ends_of(text, at);
    size_t start = at + 1;

    while (start < len && text[start] == ' ')
        start++;
    if (text[at] == ':' && start < len && (text[start] == '[' || text[start] == '{')) {
        ty_buf_add(out, text + at, start - at);
        ty_buf_adds(out, REDACTED);
        return bracketed_end(text, len, start);
    }
    bool nested = start < len && text[start] == '\\';
    start += nested;

    bool quoted =
        start < len && (text[start] == '"' || text[start] == '\'') && strchr(ends, text[start]);
    size_t from = start + quoted;
    size_t end = quoted ? quoted_end(text, len, from, nested) : value_end(text, len, from, ends);

    ty_buf_add(out, text + at, from - at);
    if (end > from)
        ty_buf_adds(out, REDACTED);
    return end;
}

/* Behind "://": leaves out user:password@. */
static size_t skip_userinfo(struct ty_buf *out, const char *text, size_t len, size_t at)
{
    size_t last = 0;

    for (size_t i = at; i < len && (unsigned char)text[i] > ' ' && !strchr("/?#\"<>", text[i]); i++)
        if (text[i] == '@')
            last = i;
    if (last == 0)
        return at;
    ty_buf_adds(out, REDACTED);
    return last;
}

/* Is a scheme name with a credential behind it at `at`? Returns where the credential starts. */
static size_t credential_at(const char *text, size_t len, size_t at)
{
    static const char *const schemes[] = {"bearer ", "basic ", "digest "};

    if (at > 0 && is_name_char(text[at - 1]))
        return 0;
    for (size_t i = 0; i < COUNT(schemes); i++) {
        size_t n = strlen(schemes[i]);

        if (len - at > n && strncasecmp(text + at, schemes[i], n) == 0)
            return at + n;
    }
    return 0;
}

/* Handles what starts at `at`: returns where the text goes on, `at` if it is nothing special. */
static size_t redact_at(struct ty_buf *out, const char *text, size_t len, size_t at)
{
    char c = text[at];

    if (c == ':' && len - at > 3 && text[at + 1] == '/' && text[at + 2] == '/') {
        ty_buf_adds(out, "://");
        return skip_userinfo(out, text, len, at + 3);
    }
    if ((c == '=' || c == ':') && len - at > 1 && text[at + 1] != '=' && is_secret_before(text, at))
        return skip_value(out, text, len, at);
    if ((c | 0x20) == 'b' || (c | 0x20) == 'd') {
        size_t from = credential_at(text, len, at);
        size_t end = from ? value_end(text, len, from, " \t\r\n&;,'\")}]") : 0;

        if (end >= from + 8) { /* "basic auth" is prose */
            ty_buf_add(out, text + at, from - at);
            ty_buf_adds(out, REDACTED);
            return end;
        }
    }
    return at;
}

void ty_redact(struct ty_buf *out, const char *text, size_t len)
{
    size_t at = 0, done = 0;
    struct ty_buf piece = {0};

    while (at < len) {
        size_t next = redact_at(&piece, text, len, at);

        if (next > at) {
            ty_buf_add(out, text + done, at - done);
            ty_buf_add(out, piece.data, piece.len);
            piece.len = 0;
            at = done = next;
        } else {
            at++;
        }
    }
    ty_buf_add(out, text + done, len - done);
    ty_buf_close(&piece);
}
