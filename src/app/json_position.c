#include "app/json_position.h"
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// jansson's own limit: what it accepts, this walks through.
#define MAX_DEPTH 2048

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_space(const char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

// From the opening quote to behind the closing one; NULL if there is none.
static const char *skip_string(const char *at)
{
    if (*at != '"')
        return NULL;
    for (at++; *at != '"'; at++) {
        if (*at == '\\')
            at++;
        if (*at == '\0')
            return NULL;
    }
    return at + 1;
}

// Numbers and the words true, false, null.
static const char *skip_word(const char *at)
{
    const char *start = at;
    while (*at != '\0' && strchr(",]}:\"[{", *at) == NULL && !is_space(*at))
        at++;
    return at > start ? at : NULL;
}

// From the first byte of a value to behind it. Brackets are counted, not matched: the text was
// parsed before, or else the answer is only "not found".
static const char *skip_value(const char *at)
{
    int depth = 0;
    do {
        at = skip_space(at);
        if (*at == '{' || *at == '[') {
            if (++depth > MAX_DEPTH)
                return NULL;
            at++;
        } else if (*at == '}' || *at == ']') {
            if (--depth < 0)
                return NULL;
            at++;
        } else if (*at == '"') {
            at = skip_string(at);
        } else if (depth > 0 && (*at == ',' || *at == ':')) {
            at++;
        } else {
            at = skip_word(at);
        }
    } while (at != NULL && depth > 0);
    return at;
}

static long hex4(const char *at)
{
    long value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10;
        else
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static size_t put_utf8(long code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | (code >> 6));
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | (code >> 12));
        out[1] = (char)(0x80 | ((code >> 6) & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (code >> 18));
    out[1] = (char)(0x80 | ((code >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((code >> 6) & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

// Decodes the escape behind the backslash at *AT and moves past it. 0 if it is none.
static size_t unescape(const char **at, char out[4])
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *found = **at == '\0' ? NULL : strchr(names, **at);
    if (found != NULL) {
        (*at)++;
        out[0] = values[found - names];
        return 1;
    }
    if (**at != 'u')
        return 0;
    long code = hex4(*at + 1);
    if (code < 0)
        return 0;
    *at += 5;
    if (code >= 0xD800 && code < 0xDC00 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        long low = hex4(*at + 2);
        if (low >= 0xDC00 && low < 0xE000) {
            *at += 6;
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    return put_utf8(code, out);
}

// The next byte of a pointer's step, "~0" and "~1" decoded; 0 at its end.
static char next_of_step(const char **step)
{
    char c = **step;
    if (c == '\0' || c == '/')
        return '\0';
    (*step)++;
    if (c == '~' && **step == '0') {
        (*step)++;
        return '~';
    }
    if (c == '~' && **step == '1') {
        (*step)++;
        return '/';
    }
    return c;
}

// Whether the string literal at QUOTE is the name that STEP spells.
static bool key_is(const char *quote, const char *step)
{
    const char *at = quote + 1;
    while (*at != '"' && *at != '\0') {
        char bytes[4];
        size_t count = 1;
        bytes[0] = *at++;
        if (bytes[0] == '\\') {
            count = unescape(&at, bytes);
            if (count == 0)
                return false;
        }
        for (size_t i = 0; i < count; i++) {
            char wanted = next_of_step(&step);
            if (wanted == '\0' || wanted != bytes[i])
                return false;
        }
    }
    return next_of_step(&step) == '\0';
}

// Steps into the object that begins at AT. *KEY is where the member's name begins.
static const char *enter_object(const char *at, const char *step, const char **key)
{
    at = skip_space(at + 1);
    while (*at == '"') {
        *key = at;
        at = skip_string(at);
        if (at == NULL)
            return NULL;
        at = skip_space(at);
        if (*at != ':')
            return NULL;
        at = skip_space(at + 1);
        if (key_is(*key, step))
            return at;
        at = skip_value(at);
        if (at == NULL)
            return NULL;
        at = skip_space(at);
        if (*at != ',')
            return NULL;
        at = skip_space(at + 1);
    }
    return NULL;
}

static const char *enter_array(const char *at, const char *step)
{
    char *end;
    if (*step < '0' || *step > '9')
        return NULL;
    unsigned long index = strtoul(step, &end, 10);
    if (*end != '\0' && *end != '/')
        return NULL;
    at = skip_space(at + 1);
    for (; index > 0; index--) {
        at = skip_value(at);
        if (at == NULL)
            return NULL;
        at = skip_space(at);
        if (*at != ',')
            return NULL;
        at = skip_space(at + 1);
    }
    return *at == ']' || *at == '\0' ? NULL : at;
}

bool fw_json_find(const char *text, const char *pointer, enum fw_json_part part,
                  struct fw_json_place *place)
{
    const char *at = skip_space(text), *key = at;
    while (*pointer == '/') {
        pointer++;
        if (*at == '{') {
            at = enter_object(at, pointer, &key);
        } else if (*at == '[') {
            at = enter_array(at, pointer);
            key = at;
        } else {
            at = NULL;
        }
        if (at == NULL)
            return false;
        pointer += strcspn(pointer, "/");
    }
    if (*pointer != '\0')
        return false;
    *place = fw_json_place_of(text, (part == FW_JSON_KEY ? key : at) - text);
    return true;
}

struct fw_json_place fw_json_place_of(const char *text, long offset)
{
    struct fw_json_place place = {1, 1};
    for (long i = 0; i < offset && text[i] != '\0'; i++) {
        if (text[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80 && place.column < INT_MAX) {
            place.column++;
        }
    }
    return place;
}
