/* What the text of a statement for MySQL says, without asking the server.
 *
 * Statements come with placeholders of the form $1, which MySQL does not know: it wants a "?" for
 * each, in the order of their values. Strings, quoted names and comments are left alone, by the
 * rules of our sessions: "a" is a name, and a backslash in a string is a backslash.
 *
 * Nothing here protects the server: it has the last word. What is refused here is what would
 * surprise the next one who uses the connection.
 */
#pragma once

#include <stdbool.h>

#include "tycho/buffer.h"

enum { TY_MYSQL_PARAMS_MAX = 65535 };

struct ty_mysql_text {
    struct ty_buf sql;     /* with "?" instead of "$3", and a NUL behind the last byte */
    unsigned short *slots; /* slots[i] is the number of the i-th "?" */
    unsigned slot_count, slot_cap;
    unsigned param_max; /* the highest number among them */
};

/* NULL, or why the text is not one statement with the placeholders $1, $2, ... Close it in
 * both cases. */
const char *ty_mysql_text_read(struct ty_mysql_text *text, const char *sql, size_t len);
void ty_mysql_text_close(struct ty_mysql_text *text);

/* NULL, or why a script may not run this statement: transactions belong to db.transaction(), and in
 * one of them (`in_tx`) whatever would commit it silently. */
const char *ty_mysql_text_refuse(const char *sql, size_t len, bool in_tx);

/* Outside of strings, names in quotes and comments; in upper or lower case. */
bool ty_mysql_text_has_word(const char *sql, size_t len, const char *word);

/* Might it leave something behind in its session: variables, temporary tables, locks? */
bool ty_mysql_text_changes_session(const char *sql, size_t len);

/* On which line does the statement number `index` of a script begin? Counted from 0 and from 1. */
unsigned ty_mysql_text_line(const char *sql, size_t len, unsigned index);
