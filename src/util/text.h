// A growing string, and the few string functions that the standard library lacks.
#ifndef FW_UTIL_TEXT_H
#define FW_UTIL_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

// A growing, always terminated string. Start from FW_TEXT_INIT; fw_text_free() it at the end.
// Running out of memory sets `failed` and makes later appends do nothing, so that a caller may
// build a whole text and check once. One thread at a time.
struct fw_text {
    char *data; // NULL while nothing was appended; use fw_text_get()
    size_t length;
    size_t capacity;
    bool failed;
};

#define FW_TEXT_INIT                                                                               \
    {                                                                                              \
        0                                                                                          \
    }

void fw_text_append(struct fw_text *text, const char *string);
void fw_text_append_n(struct fw_text *text, const char *bytes, size_t length);
void fw_text_appendf(struct fw_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void fw_text_vappendf(struct fw_text *text, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
// Appends STRING as the inside of a JSON string (RFC 8259 §7), without the quotes. Bytes that are
// not UTF-8 become U+FFFD.
void fw_text_append_json(struct fw_text *text, const char *string);
// Appends STRING so that it stays on one line and moves no cursor: control characters (C0, DEL, C1)
// and bytes that are not UTF-8 become \n, \r, \t or \xNN.
void fw_text_append_visible(struct fw_text *text, const char *string);
// Appends STRING with every byte but RFC 3986's unreserved ones percent-encoded; KEEP names further
// bytes to leave alone ("/" for paths).
void fw_text_append_percent(struct fw_text *text, const char *string, const char *keep);
void fw_text_clear(struct fw_text *text);
void fw_text_free(struct fw_text *text);
// The string so far, "" when empty. Valid until the next change.
const char *fw_text_get(const struct fw_text *text);
// Gives the string away: the caller free()s it. NULL when an append failed. TEXT is empty after.
char *fw_text_steal(struct fw_text *text);

// A malloc'd copy of STRING (NULL for NULL, and when memory is out).
char *fw_strdup(const char *string);
// A malloc'd printf; NULL when memory is out.
char *fw_strdup_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool fw_starts_with(const char *string, const char *prefix);
bool fw_ends_with(const char *string, const char *suffix);
// Decodes %XX in place; what is no %XX, and %00, stays as it is. Returns STRING.
char *fw_percent_decode(char *string);
#define FW_EDIT_MAX_LENGTH 127
// Edits (insert, delete, replace, swap of neighbours) between two strings, at most LIMIT + 1, which
// any two are where B is longer than FW_EDIT_MAX_LENGTH.
size_t fw_edit_distance(const char *a, const char *b, size_t limit);

#endif
