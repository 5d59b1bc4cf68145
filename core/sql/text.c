#include <ctype.h>
#include <string.h>

#include "sql/driver.h"

const char *ty_sql_skip_blanks(const char *sql)
{
    for (;;) {
        const char *end;

        if (isspace((unsigned char)*sql) || *sql == ';') {
            sql++;
        } else if (sql[0] == '-' && sql[1] == '-') {
            sql += strcspn(sql, "\n");
        } else if (sql[0] == '/' && sql[1] == '*') {
            end = strstr(sql + 2, "*/");
            sql = end ? end + 2 : sql + strlen(sql);
        } else {
            return sql;
        }
    }
}

void ty_sql_first_word(const char *sql, char out[16])
{
    size_t len = 0;

    sql = ty_sql_skip_blanks(sql);
    if (*sql && !isalpha((unsigned char)*sql))
        out[len++] = '?'; /* something, but no word */
    while (len < 15 && isalpha((unsigned char)sql[len])) {
        out[len] = (char)toupper((unsigned char)sql[len]);
        len++;
    }
    out[len] = '\0';
}

bool ty_sql_is_one_of(const char *word, const char *const words[])
{
    for (; *words; words++) {
        if (strcmp(word, *words) == 0)
            return true;
    }
    return false;
}

bool ty_sql_reads(const char *sql)
{
    static const char *const readers[] = {"SELECT", "VALUES", "WITH", "EXPLAIN", NULL};
    char word[16];

    ty_sql_first_word(sql, word);
    return ty_sql_is_one_of(word, readers);
}

static bool is_writing(const char *word, size_t len)
{
    static const char *const writing[] = {"insert", "update",  "delete", "merge",     "into",
                                          "call",   "nextval", "setval", "pg_notify", NULL};

    for (const char *const *at = writing; *at; at++) {
        if (strlen(*at) == len && strncasecmp(word, *at, len) == 0)
            return true;
    }
    return false;
}

/* Is there something that one database takes for a text or a comment, and another does not? Words
 * might be overlooked: \' in texts, comments that MySQL runs, "--" that begins none there, and
 * lines that end with a carriage return, in PostgreSQL. */
static bool is_ambiguous(const char *sql)
{
    for (const char *at = sql; (at = strpbrk(at, "\\/-\r")); at++) {
        if ((*at == '\\' && at[1] == '\'') || (*at == '\r' && at[1] != '\n') ||
            (*at == '/' && at[1] == '*' && (at[2] == '!' || (at[2] == 'M' && at[3] == '!'))) ||
            (*at == '-' && at[1] == '-' && at[2] && !isspace((unsigned char)at[2])))
            return true;
    }
    return false;
}

bool ty_sql_only_reads(const char *sql)
{
    if (!ty_sql_reads(sql) || is_ambiguous(sql))
        return false;
    while (*(sql = ty_sql_skip_blanks(sql))) {
        size_t len = 0;

        while (isalnum((unsigned char)sql[len]) || sql[len] == '_')
            len++;
        if (is_writing(sql, len))
            return false;
        if (len == 0 && strchr("'\"`", *sql)) { /* a text or a name */
            const char *end = strchr(sql + 1, *sql);

            len = end ? (size_t)(end - sql) + 1 : strlen(sql);
        }
        sql += len ? len : 1;
    }
    return true;
}
