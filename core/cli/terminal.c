#include "cli/terminal.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { COLUMNS_MAX = 16, GAP = 2 };

bool term_has_colour(FILE *file)
{
    const char *refused = getenv("NO_COLOR");

    return isatty(fileno(file)) && !(refused && *refused);
}

/* Paths and messages may come from scripts: they must not steer the terminal. */
static void put(FILE *file, const char *text)
{
    for (; *text; text++) {
        bool control = ((unsigned char)*text < ' ' && *text != '\n') || *text == 127;
        fputc(control ? '?' : *text, file);
    }
}

void term_print(FILE *file, enum term_style style, const char *text)
{
    static const char *const codes[] = {
        [TERM_PLAIN] = "",       [TERM_BOLD] = "\033[1m",   [TERM_DIM] = "\033[2m",
        [TERM_RED] = "\033[31m", [TERM_GREEN] = "\033[32m", [TERM_YELLOW] = "\033[33m",
    };
    bool colour = style != TERM_PLAIN && term_has_colour(file);

    if (colour)
        fputs(codes[style], file);
    put(file, text);
    if (colour)
        fputs("\033[0m", file);
}

void term_progress(const char *text)
{
    if (!isatty(STDERR_FILENO))
        return;
    fputs("\r\033[K", stderr);
    if (text)
        term_print(stderr, TERM_DIM, text);
    fflush(stderr);
}

void term_cell(struct term_table *table, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    ty_buf_vaddf(&table->text, fmt, args);
    va_end(args);
    ty_buf_addc(&table->text, '\0');
    table->cells++;
}

/* Characters, not bytes. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void term_table_print(struct term_table *table, FILE *file)
{
    size_t widths[COLUMNS_MAX] = {0};
    const char *cell = table->text.data;

    for (size_t i = 0; i < table->cells; i++, cell += strlen(cell) + 1) {
        size_t *width = &widths[i % table->columns], own = width_of(cell);
        *width = own > *width ? own : *width;
    }
    cell = table->text.data;
    for (size_t i = 0; i < table->cells; i++, cell += strlen(cell) + 1) {
        size_t column = i % table->columns;
        bool is_last = column + 1 == table->columns;

        term_print(file, i < table->columns ? TERM_BOLD : TERM_PLAIN, cell);
        if (is_last)
            fputc('\n', file);
        else
            fprintf(file, "%*s", (int)(widths[column] - width_of(cell) + GAP), "");
    }
    ty_buf_close(&table->text);
}

void term_duration(double seconds, struct ty_buf *out)
{
    if (seconds < 1)
        ty_buf_addf(out, "%.0fms", seconds * 1000);
    else if (seconds < 60)
        ty_buf_addf(out, "%.1fs", seconds);
    else if (seconds < 3600)
        ty_buf_addf(out, "%.0fm%.0fs", floor(seconds / 60), floor(fmod(seconds, 60)));
    else if (seconds < 86400)
        ty_buf_addf(out, "%.0fh%.0fm", floor(seconds / 3600), floor(fmod(seconds, 3600) / 60));
    else
        ty_buf_addf(out, "%.0fd%.0fh", floor(seconds / 86400), floor(fmod(seconds, 86400) / 3600));
}

void term_size(uint64_t bytes, struct ty_buf *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    double number = (double)bytes;
    size_t unit = 0;

    for (; number >= 1024 && unit < 3; unit++)
        number /= 1024;
    ty_buf_addf(out, unit ? "%.1f%s" : "%.0f%s", number, units[unit]);
}
