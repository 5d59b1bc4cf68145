#include "sql/mysql_text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tycho/memory.h"

enum kind {
    END,
    WORD,     /* also numbers: what letters, digits, "_" and "$" make up */
    QUOTED,   /* a string or a name */
    PARAM,    /* $1 */
    VARIABLE, /* @, of @name or @@name */
    ASSIGN,   /* := */
    CODE,     /* a comment that the server runs */
    OTHER,    /* one character */
};

struct scanner {
    const char *at, *end;
};

struct token {
    enum kind kind;
    const char *text;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

static char peek(const struct scanner *scanner, size_t ahead)
{
    return (size_t)(scanner->end - scanner->at) > ahead ? scanner->at[ahead] : '\0';
}

static void skip_line(struct scanner *scanner)
{
    const char *end = memchr(scanner->at, '\n', (size_t)(scanner->end - scanner->at));

    scanner->at = end ? end + 1 : scanner->end;
}

static void skip_comment(struct scanner *scanner)
{
    for (scanner->at += 2; scanner->at < scanner->end; scanner->at++) {
        if (scanner->at[0] == '*' && peek(scanner, 1) == '/') {
            scanner->at += 2;
            return;
        }
    }
}

static bool is_code(const struct scanner *scanner)
{
    return peek(scanner, 0) == '/' && peek(scanner, 1) == '*' &&
           (peek(scanner, 2) == '!' || (peek(scanner, 2) == 'M' && peek(scanner, 3) == '!'));
}

/* Blanks, and comments but those that are run. "--" begins one only before a blank. */
static void skip_blanks(struct scanner *scanner)
{
    while (scanner->at < scanner->end) {
        char c = *scanner->at, after = peek(scanner, 1), third = peek(scanner, 2);

        if (is_blank(c))
            scanner->at++;
        else if (c == '#' || (c == '-' && after == '-' && ((unsigned char)third <= ' ')))
            skip_line(scanner);
        else if (c == '/' && after == '*' && !is_code(scanner))
            skip_comment(scanner);
        else
            return;
    }
}

/* To behind the closing quote, which is doubled to stand for itself. */
static void skip_quoted(struct scanner *scanner)
{
    char quote = *scanner->at++;

    while (scanner->at < scanner->end) {
        if (*scanner->at++ != quote)
            continue;
        if (peek(scanner, 0) != quote)
            return;
        scanner->at++;
    }
}

static enum kind read_name(struct scanner *scanner)
{
    const char *start = scanner->at;
    bool digits = true;

    while (scanner->at < scanner->end && is_name(*scanner->at))
        scanner->at++;
    for (const char *c = start + 1; c < scanner->at; c++)
        digits &= is_digit(*c);
    return *start == '$' && digits && scanner->at - start > 1 ? PARAM : WORD;
}

static struct token next(struct scanner *scanner)
{
    skip_blanks(scanner);
    struct token token = {.kind = END, .text = scanner->at};

    if (scanner->at == scanner->end)
        return token;
    char c = *scanner->at;
    if (is_code(scanner)) {
        token.kind = CODE;
        skip_comment(scanner);
    } else if (c == '\'' || c == '"' || c == '`') {
        token.kind = QUOTED;
        skip_quoted(scanner);
    } else if (is_name(c)) {
        token.kind = read_name(scanner);
    } else if (c == ':' && peek(scanner, 1) == '=') {
        token.kind = ASSIGN;
        scanner->at += 2;
    } else {
        token.kind = c == '@' ? VARIABLE : OTHER;
        scanner->at++;
    }
    token.len = (size_t)(scanner->at - token.text);
    return token;
}

static bool is(struct token token, const char *word)
{
    return token.kind == WORD && strlen(word) == token.len &&
           strncasecmp(token.text, word, token.len) == 0;
}

/* Is it one of these words, which a blank parts? */
static bool is_one_of(struct token token, const char *words)
{
    while (*words) {
        size_t len = strcspn(words, " ");

        if (token.kind == WORD && len == token.len && strncasecmp(token.text, words, len) == 0)
            return true;
        words += len;
        words += *words == ' ';
    }
    return false;
}

static bool is_char(struct token token, char c)
{
    return token.kind == OTHER && *token.text == c;
}

static struct scanner scan(const char *sql, size_t len)
{
    return (struct scanner){sql, sql + len};
}

/* The first word, behind brackets. */
static struct token first(struct scanner *scanner)
{
    struct token token = next(scanner);

    while (is_char(token, '('))
        token = next(scanner);
    return token;
}

/* ---- placeholders */

static bool add_slot(struct ty_mysql_text *text, struct token token)
{
    unsigned number = 0;

    if (token.text[1] == '0')
        return false;
    for (size_t i = 1; i < token.len; i++) {
        number = number * 10 + (unsigned)(token.text[i] - '0');
        if (number > TY_MYSQL_PARAMS_MAX)
            return false;
    }
    if (text->slot_count == text->slot_cap) {
        text->slot_cap = text->slot_cap ? text->slot_cap * 2 : 8;
        text->slots = ty_realloc(text->slots, text->slot_cap * sizeof(text->slots[0]));
    }
    text->slots[text->slot_count++] = (unsigned short)number;
    if (number > text->param_max)
        text->param_max = number;
    return true;
}

/* Bodies of procedures and triggers have semicolons of their own. */
static bool has_body(const char *sql, size_t len)
{
    struct scanner scanner = scan(sql, len);

    return is_one_of(first(&scanner), "CREATE ALTER BEGIN IF WHILE LOOP REPEAT FOR CASE");
}

const char *ty_mysql_text_read(struct ty_mysql_text *text, const char *sql, size_t len)
{
    struct scanner scanner = scan(sql, len);
    const char *copied = sql;
    bool ended = false, empty = true;

    *text = (struct ty_mysql_text){0};
    if (memchr(sql, '\0', len))
        return "a NUL in the statement";
    for (struct token token = next(&scanner); token.kind != END; token = next(&scanner)) {
        if (ended && !has_body(sql, len))
            return "more than one statement; db.script() runs several";
        ended = is_char(token, ';');
        empty &= ended;
        if (is_char(token, '?'))
            return "placeholders are $1, $2, ...; found ?";
        if (token.kind != PARAM)
            continue;
        if (text->slot_count == TY_MYSQL_PARAMS_MAX)
            return "more placeholders than MySQL can take";
        if (!add_slot(text, token))
            return "placeholders are $1, $2, ... $65535";
        ty_buf_add(&text->sql, copied, (size_t)(token.text - copied));
        ty_buf_addc(&text->sql, '?');
        copied = token.text + token.len;
    }
    if (empty)
        return "the statement is empty";
    ty_buf_add(&text->sql, copied, (size_t)(sql + len - copied));
    ty_buf_cstr(&text->sql);
    return NULL;
}

void ty_mysql_text_close(struct ty_mysql_text *text)
{
    ty_buf_close(&text->sql);
    free(text->slots);
    *text = (struct ty_mysql_text){0};
}

bool ty_mysql_text_has_word(const char *sql, size_t len, const char *word)
{
    struct scanner scanner = scan(sql, len);
    struct token token;

    do {
        token = next(&scanner);
        if (is(token, word))
            return true;
    } while (token.kind != END);
    return false;
}

/* ---- what is refused */

static const char transactions[] = "transactions are begun and ended with db.transaction()";

/* SET [SESSION] TRANSACTION, SET autocommit = 0: among other settings too. */
static bool sets_transaction(struct scanner scanner)
{
    struct token token;

    do {
        token = next(&scanner);
        if (is_one_of(token, "TRANSACTION autocommit"))
            return true;
    } while (token.kind != END);
    return false;
}

/* CREATE [OR REPLACE] TEMPORARY TABLE, DROP TEMPORARY TABLE: what only the session sees. */
static bool is_temporary(struct scanner scanner)
{
    struct token token = next(&scanner);

    while (is_one_of(token, "OR REPLACE"))
        token = next(&scanner);
    return is(token, "TEMPORARY");
}

/* Does the server end a transaction to run it? Those that are left out are noticed afterwards. */
static bool commits(struct token word, struct scanner scanner)
{
    if (is_one_of(word, "CREATE DROP"))
        return !is_temporary(scanner);
    return is_one_of(word, "ALTER TRUNCATE RENAME GRANT REVOKE LOCK UNLOCK OPTIMIZE REPAIR FLUSH");
}

const char *ty_mysql_text_refuse(const char *sql, size_t len, bool in_tx)
{
    struct scanner scanner = scan(sql, len);
    struct token word = first(&scanner);
    struct scanner rest = scanner;
    struct token second = next(&rest);

    if (word.kind == CODE)
        return "a comment that the server would run; write it as a statement";
    if (is_one_of(word, "COMMIT ROLLBACK SAVEPOINT XA") ||
        (is(word, "BEGIN") && !is(second, "NOT")) ||
        (is(word, "START") && is(second, "TRANSACTION")) ||
        (is(word, "RELEASE") && is(second, "SAVEPOINT")) ||
        (is(word, "SET") && sets_transaction(scanner)))
        return transactions;
    if (is(word, "SET") && is(second, "ROLE")) /* which no reset takes back */
        return "roles belong to the user in the URL of the database";
    if (is(word, "USE"))
        return "other databases are databases of their own in the configuration";
    if (in_tx && commits(word, scanner))
        return "MySQL commits the transaction to run this statement; run it outside of one";
    return NULL;
}

/* ---- what sessions remember */

/* SELECT @a := 1, SELECT 1 INTO @a, SELECT get_lock('a', 1) */
static bool sets_variable(struct scanner scanner)
{
    struct token before = {0}, token = next(&scanner);

    for (; token.kind != END; before = token, token = next(&scanner)) {
        if (token.kind == ASSIGN || (token.kind == VARIABLE && is(before, "INTO")))
            return true;
        if (is(token, "get_lock"))
            return true;
    }
    return false;
}

static bool mentions_lock(const char *sql, size_t len)
{
    for (const char *at = memchr(sql, '_', len); at;
         at = memchr(at + 1, '_', (size_t)(sql + len - at - 1))) {
        if ((size_t)(sql + len - at) >= 5 && strncasecmp(at, "_lock", 5) == 0)
            return true;
    }
    return false;
}

bool ty_mysql_text_changes_session(const char *sql, size_t len)
{
    struct scanner scanner = scan(sql, len);
    struct token word = first(&scanner);

    if (word.kind == CODE)
        return true;
    if (is_one_of(word, "SELECT INSERT UPDATE DELETE REPLACE WITH VALUES TABLE"))
        return (memchr(sql, '@', len) || mentions_lock(sql, len)) && sets_variable(scanner);
    if (is_one_of(word, "CREATE DROP"))
        return is_temporary(scanner);
    return !is_one_of(word,
                      "ALTER TRUNCATE RENAME SHOW DESCRIBE DESC EXPLAIN ANALYZE OPTIMIZE CHECK"
                      " GRANT REVOKE KILL HELP CHECKSUM REPAIR");
}

/* ---- scripts */

/* Blocks in the body of a procedure, which end with END alone or END CASE. */
static int block(struct token token, struct token before)
{
    if (is_one_of(token, "BEGIN CASE"))
        return is(before, "END") ? 0 : 1;
    if (is_one_of(token, "IF LOOP WHILE REPEAT FOR"))
        return is(before, "END") ? 1 : 0; /* what END took was not a block that was counted */
    return is(token, "END") ? -1 : 0;
}

static unsigned line_of(const char *sql, const char *at)
{
    unsigned line = 1;

    for (; sql < at; sql++)
        line += *sql == '\n';
    return line;
}

unsigned ty_mysql_text_line(const char *sql, size_t len, unsigned index)
{
    struct scanner scanner = scan(sql, len);
    struct token before = {0}, token = next(&scanner);
    const char *start = NULL;
    bool body = false;
    int depth = 0;

    for (; token.kind != END; before = token, token = next(&scanner)) {
        if (!start) {
            start = token.text;
            body = is_one_of(token, "CREATE BEGIN");
            depth = 0;
            if (is_char(token, ';')) { /* nothing: the server does not count it */
                start = NULL;
                continue;
            }
        }
        depth += body ? block(token, before) : 0;
        if (!is_char(token, ';') || depth > 0)
            continue;
        if (index-- == 0)
            return line_of(sql, start);
        start = NULL;
    }
    return start && index == 0 ? line_of(sql, start) : 0;
}
