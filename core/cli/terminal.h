/* Output for people: tables, colours where a terminal shows them, progress that goes away. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tycho/buffer.h"

/* A terminal, and NO_COLOR is not set. */
bool term_has_colour(FILE *file);

enum term_style { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_RED, TERM_GREEN, TERM_YELLOW };

/* Writes `text` in a style where that shows; control characters in it are replaced. */
void term_print(FILE *file, enum term_style style, const char *text);

/* Replaces the line being shown on standard error; nothing unless that is a terminal. NULL
 * removes it. */
void term_progress(const char *text);

/* Rows of cells, all columns as wide as their widest cell; the first row is the head. */
struct term_table {
    struct ty_buf text; /* cells, each ended by a NUL */
    size_t columns;
    size_t cells;
};

void term_cell(struct term_table *table, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void term_table_print(struct term_table *table, FILE *file); /* and frees */

/* "250ms", "3.2s", "5m12s", "3h4m", "12d3h"; "512B", "3.4MiB". */
void term_duration(double seconds, struct ty_buf *out);
void term_size(uint64_t bytes, struct ty_buf *out);
