#include "util/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Room for LENGTH bytes more and the terminator.
static bool reserve(struct fw_text *text, size_t length)
{
    if (text->failed)
        return false;
    if (length >= SIZE_MAX / 2 - text->length) {
        text->failed = true;
        return false;
    }
    size_t needed = text->length + length + 1;
    if (needed <= text->capacity)
        return true;
    size_t capacity = text->capacity < 64 ? 64 : text->capacity * 2;
    if (capacity < needed)
        capacity = needed;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void fw_text_append_n(struct fw_text *text, const char *bytes, size_t length)
{
    if (!reserve(text, length))
        return;
    if (length > 0)
        memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void fw_text_append(struct fw_text *text, const char *string)
{
    if (string)
        fw_text_append_n(text, string, strlen(string));
}

void fw_text_appendf(struct fw_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fw_text_vappendf(text, format, arguments);
    va_end(arguments);
}

void fw_text_vappendf(struct fw_text *text, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

// The length of the well-formed UTF-8 sequence at BYTES (Unicode 15, table 3-7), 0 if there is
// none.
static size_t utf8_length(const unsigned char *bytes)
{
    unsigned char first = bytes[0];
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    unsigned char low = 0x80, high = 0xbf;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

// The letter after the backslash for what RFC 8259 has a short escape, else 0.
static char json_short_escape(unsigned char byte)
{
    switch (byte) {
    case '"':
        return '"';
    case '\\':
        return '\\';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

void fw_text_append_json(struct fw_text *text, const char *string)
{
    const unsigned char *at = (const unsigned char *)string;
    while (at && *at) {
        char escape = json_short_escape(*at);
        size_t length = utf8_length(at);
        if (escape) {
            fw_text_append_n(text, (const char[]){'\\', escape}, 2);
            at++;
        } else if (length == 0) {
            fw_text_append(text, "\xef\xbf\xbd");
            at++;
        } else if (*at < 0x20 || *at == 0x7f) {
            fw_text_appendf(text, "\\u%04x", *at);
            at++;
        } else {
            fw_text_append_n(text, (const char *)at, length);
            at += length;
        }
    }
}

void fw_text_append_visible(struct fw_text *text, const char *string)
{
    const unsigned char *at = (const unsigned char *)string;
    while (at && *at) {
        size_t length = utf8_length(at);
        bool is_c1 = length == 2 && at[0] == 0xc2 && at[1] < 0xa0;
        if (*at == '\n' || *at == '\r' || *at == '\t') {
            fw_text_append_n(text, (const char[]){'\\', json_short_escape(*at)}, 2);
            at++;
        } else if (length == 0 || *at < 0x20 || *at == 0x7f) {
            fw_text_appendf(text, "\\x%02x", *at);
            at++;
        } else if (is_c1) {
            fw_text_appendf(text, "\\x%02x", at[1]);
            at += 2;
        } else {
            fw_text_append_n(text, (const char *)at, length);
            at += length;
        }
    }
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void fw_text_append_percent(struct fw_text *text, const char *string, const char *keep)
{
    for (; string && *string; string++) {
        if (is_unreserved(*string) || (keep && strchr(keep, *string)))
            fw_text_append_n(text, string, 1);
        else
            fw_text_appendf(text, "%%%02X", (unsigned char)*string);
    }
}

void fw_text_clear(struct fw_text *text)
{
    text->length = 0;
    text->failed = false;
    if (text->data)
        text->data[0] = '\0';
}

void fw_text_free(struct fw_text *text)
{
    if (!text)
        return;
    free(text->data);
    *text = (struct fw_text)FW_TEXT_INIT;
}

const char *fw_text_get(const struct fw_text *text)
{
    return text->data ? text->data : "";
}

char *fw_text_steal(struct fw_text *text)
{
    char *string = NULL;
    if (!text->failed && reserve(text, 0)) {
        string = text->data;
        string[text->length] = '\0';
        text->data = NULL;
    }
    fw_text_free(text);
    return string;
}

char *fw_strdup(const char *string)
{
    if (!string)
        return NULL;
    size_t size = strlen(string) + 1;
    char *copy = malloc(size);
    if (copy)
        memcpy(copy, string, size);
    return copy;
}

char *fw_strdup_printf(const char *format, ...)
{
    struct fw_text text = FW_TEXT_INIT;
    va_list arguments;
    va_start(arguments, format);
    fw_text_vappendf(&text, format, arguments);
    va_end(arguments);
    return fw_text_steal(&text);
}

bool fw_starts_with(const char *string, const char *prefix)
{
    return strncmp(string, prefix, strlen(prefix)) == 0;
}

bool fw_ends_with(const char *string, const char *suffix)
{
    size_t length = strlen(string), suffix_length = strlen(suffix);
    return length >= suffix_length && strcmp(string + length - suffix_length, suffix) == 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

char *fw_percent_decode(char *string)
{
    char *to = string;
    for (const char *from = string; *from; to++) {
        int high = *from == '%' ? hex_digit(from[1]) : -1;
        int low = high >= 0 ? hex_digit(from[2]) : -1;
        // %00 stays as it is: a terminator in the middle would cut the string silently.
        if (low >= 0 && (high | low) != 0) {
            *to = (char)(unsigned char)(high * 16 + low);
            from += 3;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
    return string;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

size_t fw_edit_distance(const char *a, const char *b, size_t limit)
{
    const size_t a_length = strlen(a), b_length = strlen(b);
    const size_t gap = a_length > b_length ? a_length - b_length : b_length - a_length;
    if (gap > limit || b_length > FW_EDIT_MAX_LENGTH)
        return limit + 1;
    // Three rows of the table of optimal string alignment.
    size_t rows[3][FW_EDIT_MAX_LENGTH + 1] = {0};
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + change);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        size_t *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    size_t distance = above[b_length];
    return distance > limit ? limit + 1 : distance;
}
