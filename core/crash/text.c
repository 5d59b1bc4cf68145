#include "crash/text.h"

#include <string.h>

static void add(struct crash_text *text, const char *data, size_t len)
{
    size_t room = text->max - text->len;

    if (len > room) {
        text->is_full = true;
        len = room;
    }
    memcpy(text->data + text->len, data, len);
    text->len += len;
    text->data[text->len] = '\0';
}

void crash_text_adds(struct crash_text *text, const char *string)
{
    add(text, string, strlen(string));
}

static void add_number(struct crash_text *text, uint64_t number, unsigned base)
{
    char digits[24];
    size_t at = sizeof(digits);

    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    add(text, digits + at, sizeof(digits) - at);
}

void crash_text_addu(struct crash_text *text, uint64_t number)
{
    add_number(text, number, 10);
}

void crash_text_addx(struct crash_text *text, uintptr_t number)
{
    add(text, "0x", 2);
    add_number(text, number, 16);
}

/* Bytes of the character that starts here; 0 if it is not UTF-8, or cut. */
static size_t character_len(const char *at, size_t len)
{
    unsigned char c = (unsigned char)at[0];
    size_t need = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : 0;

    if (need == 0 || need > len) /* four bytes: nobody names a route so */
        return 0;
    for (size_t i = 1; i < need; i++)
        if (((unsigned char)at[i] & 0xC0) != 0x80)
            return 0;
    if (c == 0xE0 && (unsigned char)at[1] < 0xA0)
        return 0;
    return c == 0xED && (unsigned char)at[1] > 0x9F ? 0 : need;
}

static void add_escape(struct crash_text *text, unsigned char c)
{
    char escape[] = {'\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};

    add(text, escape, sizeof(escape));
}

void crash_text_add_json(struct crash_text *text, const char *string, size_t len)
{
    for (size_t at = 0; at < len && string[at];) {
        unsigned char c = (unsigned char)string[at];
        size_t n = character_len(string + at, strnlen(string + at, len - at));

        if (n == 0)
            add(text, "?", 1);
        else if (c < 0x20 || c == 0x7F || c == '"' || c == '\\')
            add_escape(text, c);
        else
            add(text, string + at, n);
        at += n ? n : 1;
    }
}

void crash_text_cut(struct crash_text *text, size_t len)
{
    text->len = len;
    text->data[len] = '\0';
    text->is_full = false;
}
