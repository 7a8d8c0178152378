#include "util/secret.h"

#include "util/error.h"
#include "util/text.h"
#include "util/wipe.h"
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MASK      "***"
#define LEAST     3 // bytes; anything shorter would redact everything
#define NO_MEMORY "[not shown: no memory to remove secrets from this text]"

// One string to look for. A spelling with `encoded` set is also found where any of its bytes are
// percent-encoded, so that no encoder's choice of bytes and of hex case needs a spelling of its
// own.
struct spelling {
    char *text;
    bool encoded;
    struct spelling *next; // the next one that begins with the same byte
};

// The lock guards the lists; a spelling never changes once it is in one.
struct state {
    pthread_rwlock_t lock;
    struct spelling *by_first_byte[UCHAR_MAX + 1];
};

// The state lies apart, since looking things up in a const registry takes its lock.
struct fw_secrets {
    struct state *state;
};

struct fw_secret {
    size_t length;
    char value[];
};

void fw_wipe(void *memory, size_t size)
{
    // The compiler must assume that the pointer points to something else than memset by now.
    static void *(*const volatile set)(void *, int, size_t) = memset;
    if (memory)
        set(memory, 0, size);
}

void fw_wipe_string(char *string)
{
    if (string)
        fw_wipe(string, strlen(string));
    free(string);
}

struct fw_secrets *fw_secrets_create(void)
{
    struct fw_secrets *secrets = calloc(1, sizeof *secrets);
    struct state *state = calloc(1, sizeof *state);
    if (!secrets || !state || pthread_rwlock_init(&state->lock, NULL) != 0) {
        free(state);
        free(secrets);
        return NULL;
    }
    secrets->state = state;
    return secrets;
}

void fw_secrets_destroy(struct fw_secrets *secrets)
{
    if (!secrets)
        return;
    struct state *state = secrets->state;
    for (size_t i = 0; i <= UCHAR_MAX; i++) {
        while (state->by_first_byte[i]) {
            struct spelling *spelling = state->by_first_byte[i];
            state->by_first_byte[i] = spelling->next;
            fw_wipe_string(spelling->text);
            free(spelling);
        }
    }
    pthread_rwlock_destroy(&state->lock);
    free(state);
    free(secrets);
}

// Takes TEXT over, also on failure. The write lock is held. TEXT may be NULL: out of memory.
static int add_spelling(struct state *state, char *text, bool encoded)
{
    if (!text)
        return FW_ENOMEM;
    struct spelling **list = &state->by_first_byte[(unsigned char)text[0]];
    bool is_known = strlen(text) < LEAST;
    for (struct spelling *other = *list; other && !is_known; other = other->next)
        is_known = other->encoded == encoded && strcmp(other->text, text) == 0;
    struct spelling *spelling = is_known ? NULL : calloc(1, sizeof *spelling);
    if (!spelling) {
        fw_wipe_string(text);
        return is_known ? FW_OK : FW_ENOMEM;
    }
    *spelling = (struct spelling){.text = text, .encoded = encoded, .next = *list};
    *list = spelling;
    return FW_OK;
}

// A malloc'd RFC 4648 encoding of VALUE; NULL when memory is out.
static char *base64(const char *value, bool url_safe, bool padded)
{
    static const char standard[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *alphabet = url_safe ? safe : standard;
    const unsigned char *from = (const unsigned char *)value;
    size_t length = strlen(value);
    char *encoded = malloc(length / 3 * 4 + 5);
    if (!encoded)
        return NULL;
    char *to = encoded;
    for (; length > 0; from += 3) {
        size_t taken = length < 3 ? length : 3;
        uint32_t bits = (uint32_t)from[0] << 16;
        bits |= taken > 1 ? (uint32_t)from[1] << 8 : 0;
        bits |= taken > 2 ? from[2] : 0;
        for (size_t i = 0; i <= taken; i++)
            *to++ = alphabet[bits >> (18 - 6 * i) & 63];
        for (size_t i = taken; i < 3 && padded; i++)
            *to++ = '=';
        length -= taken;
    }
    *to = '\0';
    return encoded;
}

// A malloc'd VALUE as inside of a JSON string, with '/' escaped too where asked for.
static char *json_escaped(const char *value, bool escape_slash)
{
    // Large enough from the start: a growing text would leave copies behind that nobody wipes.
    size_t capacity = strlen(value) * 6 + 1;
    struct fw_text text = {.data = malloc(capacity), .capacity = capacity};
    if (!text.data)
        return NULL;
    for (const char *at = value; *at;) {
        if (*at == '/' && escape_slash) {
            fw_text_append(&text, "\\/");
            at++;
            continue;
        }
        // A run at a time, since a character of UTF-8 must not be taken apart.
        char run[8] = {0};
        size_t length = 1;
        while (length < 4 && ((unsigned char)at[length] & 0xc0) == 0x80)
            length++;
        memcpy(run, at, length);
        fw_text_append_json(&text, run);
        fw_wipe(run, sizeof run);
        at += length;
    }
    return fw_text_steal(&text);
}

static int add_base64(struct state *state, const char *value)
{
    int status = FW_OK;
    for (int i = 0; i < 4 && status == FW_OK; i++)
        status = add_spelling(state, base64(value, i & 1, i & 2), false);
    return status;
}

int fw_secrets_add(struct fw_secrets *secrets, const char *value)
{
    if (!secrets || !value || strlen(value) < LEAST)
        return FW_OK;
    struct state *state = secrets->state;
    pthread_rwlock_wrlock(&state->lock);
    int status = add_spelling(state, fw_strdup(value), true);
    if (status == FW_OK)
        status = add_spelling(state, json_escaped(value, false), true);
    if (status == FW_OK)
        status = add_spelling(state, json_escaped(value, true), true);
    if (status == FW_OK)
        status = add_base64(state, value);
    pthread_rwlock_unlock(&state->lock);
    return status;
}

int fw_secrets_add_login(struct fw_secrets *secrets, const char *username, const char *password)
{
    if (!secrets || !password || !*password)
        return FW_OK;
    if (!username)
        username = "";
    size_t size = strlen(username) + strlen(password) + 2;
    char *login = malloc(size);
    if (!login)
        return FW_ENOMEM;
    strcpy(login, username);
    strcat(login, ":");
    strcat(login, password);
    pthread_rwlock_wrlock(&secrets->state->lock);
    int status = add_base64(secrets->state, login);
    pthread_rwlock_unlock(&secrets->state->lock);
    fw_wipe_string(login);
    return status == FW_OK ? fw_secrets_add(secrets, password) : status;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Whether the text AT begins with %XX for BYTE.
static bool is_encoded_byte(const char *at, char byte)
{
    if (at[0] != '%' || hex_value(at[1]) < 0 || hex_value(at[2]) < 0)
        return false;
    return (unsigned char)byte == hex_value(at[1]) * 16 + hex_value(at[2]);
}

// How many bytes of TEXT spell SECRET with any bytes percent-encoded, 0 if it does not begin with
// it. DECODE_FIRST settles what "%25" is where the secret has a '%': an encoded one, or just a '%'.
static size_t match_encoded(const char *secret, const char *text, bool decode_first)
{
    const char *at = text;
    for (; *secret; secret++) {
        bool is_same = *at == *secret || (*at == '+' && *secret == ' ');
        if (is_encoded_byte(at, *secret) && (decode_first || !is_same))
            at += 3;
        else if (is_same)
            at++;
        else
            return 0;
    }
    return (size_t)(at - text);
}

static size_t match_spelling(const struct spelling *spelling, const char *text)
{
    size_t length = strlen(spelling->text);
    size_t longest = strncmp(spelling->text, text, length) == 0 ? length : 0;
    for (int i = 0; i < 2 && spelling->encoded; i++) {
        length = match_encoded(spelling->text, text, i == 0);
        if (length > longest)
            longest = length;
    }
    return longest;
}

static size_t longest_in_list(const struct spelling *list, const char *text)
{
    size_t longest = 0;
    for (; list; list = list->next) {
        size_t length = match_spelling(list, text);
        if (length > longest)
            longest = length;
    }
    return longest;
}

// The longest spelling that TEXT begins with, 0 for none.
static size_t longest_match(const struct state *state, const char *text)
{
    const struct spelling *const *lists = (const struct spelling *const *)state->by_first_byte;
    size_t longest = longest_in_list(lists[(unsigned char)text[0]], text);
    size_t length = 0;
    if (text[0] == '%' && hex_value(text[1]) >= 0 && hex_value(text[2]) >= 0)
        length = longest_in_list(lists[hex_value(text[1]) * 16 + hex_value(text[2])], text);
    else if (text[0] == '+')
        length = longest_in_list(lists[' '], text);
    return length > longest ? length : longest;
}

// Overlapping secrets are masked as one, so that no tail of the second stays.
static void mask_spellings(struct state *state, const char *text, struct fw_text *out)
{
    pthread_rwlock_rdlock(&state->lock);
    while (*text) {
        size_t plain = 0, masked = 0;
        while (text[plain] && (masked = longest_match(state, text + plain)) == 0)
            plain++;
        fw_text_append_n(out, text, plain);
        text += plain;
        for (size_t i = 1; i < masked; i++) {
            size_t length = longest_match(state, text + i);
            if (i + length > masked)
                masked = i + length;
        }
        if (masked > 0)
            fw_text_append(out, MASK);
        text += masked;
    }
    pthread_rwlock_unlock(&state->lock);
}

// Whether the LENGTH bytes AT can be "host", "host:port" or "[address]:port". A colon with nothing
// behind it begins a password rather than a port.
static bool is_host_and_port(const char *at, size_t length)
{
    size_t i = 0;
    if (length > 0 && at[0] == '[') {
        while (i < length && at[i] != ']')
            i++;
        i += i < length ? 1 : 0;
    } else {
        while (i < length && at[i] != ':')
            i++;
    }
    if (i == length)
        return true;
    if (at[i] != ':' || i + 1 == length)
        return false;
    for (i++; i < length; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
    }
    return true;
}

static bool is_space(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

// The length of the userinfo at AUTHORITY without its '@', SIZE_MAX if there is none. It reaches to
// the last '@' of the word, for people write '@' and '/' into passwords unescaped. A '?' or a quote
// ends the search, unless nothing before it was a host: then it is part of a password.
static size_t userinfo_length(const char *authority)
{
    size_t found = SIZE_MAX;
    bool is_host = false; // settled at the first '/' or at what ends the search
    bool has_slash = false;
    for (size_t i = 0; !is_space(authority[i]); i++) {
        char c = authority[i];
        if (c == '@')
            found = i;
        if (c == '/' && !has_slash && found == SIZE_MAX) {
            has_slash = true;
            is_host = is_host_and_port(authority, i);
        }
        if (!strchr("?\"'`<>", c))
            continue;
        if (found != SIZE_MAX || is_host || (!has_slash && is_host_and_port(authority, i)))
            break;
    }
    return found;
}

static void mask_userinfo(const char *text, struct fw_text *out)
{
    while (*text) {
        // A URL inside of JSON may have its slashes escaped.
        const char *plain = strstr(text, "://"), *escaped = strstr(text, ":\\/\\/");
        bool is_escaped = escaped && (!plain || escaped < plain);
        const char *mark = is_escaped ? escaped : plain;
        if (!mark)
            break;
        const char *authority = mark + (is_escaped ? 5 : 3);
        fw_text_append_n(out, text, (size_t)(authority - text));
        size_t length = userinfo_length(authority);
        text = authority;
        if (length != SIZE_MAX) {
            fw_text_append(out, MASK);
            text += length;
        }
    }
    fw_text_append(out, text);
}

int fw_secrets_redact(const struct fw_secrets *secrets, const char *text, struct fw_text *out)
{
    if (!text)
        return FW_OK;
    if (!secrets) {
        mask_userinfo(text, out);
        return out->failed ? FW_ENOMEM : FW_OK;
    }
    struct fw_text masked = FW_TEXT_INIT;
    mask_spellings(secrets->state, text, &masked);
    bool failed = masked.failed;
    if (failed)
        fw_text_append(out, NO_MEMORY);
    else
        mask_userinfo(fw_text_get(&masked), out);
    fw_text_free(&masked);
    return failed || out->failed ? FW_ENOMEM : FW_OK;
}

struct fw_secret *fw_secret_create(struct fw_secrets *secrets, const char *value)
{
    if (!value)
        value = "";
    size_t length = strlen(value);
    struct fw_secret *secret = malloc(sizeof *secret + length + 1);
    if (!secret)
        return NULL;
    secret->length = length;
    memcpy(secret->value, value, length + 1);
    // What cannot be registered could not be redacted: better no secret than a printed one.
    if (fw_secrets_add(secrets, value) != FW_OK) {
        fw_secret_destroy(secret);
        return NULL;
    }
    return secret;
}

void fw_secret_destroy(struct fw_secret *secret)
{
    if (!secret)
        return;
    fw_wipe(secret->value, secret->length);
    free(secret);
}

const char *fw_secret_reveal(const struct fw_secret *secret)
{
    return secret ? secret->value : "";
}

bool fw_secret_is_set(const struct fw_secret *secret)
{
    return secret && secret->length > 0;
}
