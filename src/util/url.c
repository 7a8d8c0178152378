#include "util/url.h"

#include "util/secret.h"
#include "util/text.h"
#include "util/wipe.h"
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The parts of a URL, as places in the text.
struct part {
    const char *at;
    size_t length;
};

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static char *copy_part(struct part part)
{
    return strndup(part.at, part.length);
}

// The length of the scheme before "://", 0 if there is none.
static size_t scheme_length(const char *text)
{
    size_t length = 0;
    if (!is_alpha(text[0]))
        return 0;
    while (is_alpha(text[length]) || is_digit(text[length]) ||
           (text[length] && strchr("+-.", text[length])))
        length++;
    return strncmp(text + length, "://", 3) == 0 ? length : 0;
}

// Reads "[:PORT]" up to END. False if it is none. An empty port is the default one.
static bool parse_port(const char *at, const char *end, int *port)
{
    *port = 0;
    if (at == end)
        return true;
    if (*at != ':' || end - at > 6)
        return false;
    for (at++; at < end; at++) {
        if (!is_digit(*at))
            return false;
        *port = *port * 10 + (*at - '0');
    }
    return *port <= 65535 && !(end[-1] == '0' && *port == 0);
}

// An IPv6 address, perhaps with a zone ("fe80::1%eth0").
static bool is_ipv6(struct part part)
{
    char text[INET6_ADDRSTRLEN];
    size_t length = 0;
    while (length < part.length && part.at[length] != '%')
        length++;
    if (length >= sizeof text || length + 1 == part.length)
        return false;
    for (size_t i = length + 1; i < part.length; i++) {
        char c = part.at[i];
        if (!is_alpha(c) && !is_digit(c) && !strchr("-._~", c))
            return false;
    }
    memcpy(text, part.at, length);
    text[length] = '\0';
    unsigned char address[16];
    return inet_pton(AF_INET6, text, address) == 1;
}

// Takes "host", "host:port", ":port" or "[address]:port" apart. False if it is none of them.
static bool parse_host(struct part authority, struct part *host, int *port)
{
    const char *at = authority.at, *end = at + authority.length;
    if (at < end && *at == '[') {
        const char *close = memchr(at, ']', authority.length);
        if (!close)
            return false;
        *host = (struct part){at + 1, (size_t)(close - at - 1)};
        return is_ipv6(*host) && parse_port(close + 1, end, port);
    }
    while (at < end &&
           (is_alpha(*at) || is_digit(*at) || (unsigned char)*at >= 0x80 || strchr("-._~", *at)))
        at++;
    *host = (struct part){authority.at, (size_t)(at - authority.at)};
    return parse_port(at, end, port) && (host->length > 0 || *port > 0);
}

static const char *last_at_sign(struct part part)
{
    for (size_t i = part.length; i > 0; i--) {
        if (part.at[i - 1] == '@')
            return part.at + i - 1;
    }
    return NULL;
}

static struct part authority_of(const char *rest)
{
    return (struct part){rest, strcspn(rest, "/?")};
}

// How much the text AT looks like a host: a dot, IPv6 or "localhost" say more than a port, a bare
// word least; -1 for no host at all.
static int host_likeness(const char *at)
{
    struct part host;
    int port;
    if (!parse_host(authority_of(at), &host, &port))
        return -1;
    bool has_dot = host.length > 2 && memchr(host.at + 1, '.', host.length - 2);
    bool is_local = host.length == 9 && memcmp(host.at, "localhost", 9) == 0;
    if (has_dot || is_local || memchr(host.at, ':', host.length))
        return 2;
    return port > 0 ? 1 : 0;
}

static const char *after_last_at_sign(const char *text, size_t length)
{
    const char *sign = last_at_sign((struct part){text, length});
    return sign ? sign + 1 : text;
}

// Where the host begins in REST, the text after "://": after the userinfo, if there is one.
static const char *find_host(const char *rest)
{
    struct part authority = authority_of(rest);
    const char *regular = after_last_at_sign(authority.at, authority.length);
    const char *late = after_last_at_sign(rest, strcspn(rest, "?"));
    const char *end = authority.at + authority.length;
    int regular_likeness = host_likeness(regular), late_likeness = host_likeness(late);
    // "joe:/secret@host": an empty port is allowed, but here the colon begins a password.
    if (end > rest && end[-1] == ':' && strchr(end, '@'))
        regular_likeness = -1;
    // Without credentials before the first '/', a URL that is regular is what was meant.
    bool may_be_late = regular > rest || regular_likeness < 0;
    if (may_be_late && late > rest && late_likeness > regular_likeness)
        return late;
    if (regular_likeness >= 0)
        return regular;
    // No host up to the first '?': it belongs to a password, then.
    return after_last_at_sign(rest, strlen(rest));
}

// A copy of HOST. RFC 6874 writes the '%' before a zone as "%25", the socket functions do not.
static char *copy_host(struct part host)
{
    char *copy = copy_part(host);
    char *zone = copy ? strstr(copy, "%25") : NULL;
    if (zone && zone[3])
        memmove(zone + 1, zone + 3, strlen(zone + 3) + 1);
    return copy;
}

static char *decoded(struct part part)
{
    char *copy = copy_part(part);
    return copy ? fw_percent_decode(copy) : NULL;
}

// A secret from PART, percent-decoded, whose spelling in the text is registered too.
static struct fw_secret *decoded_secret(struct part part, struct fw_secrets *secrets)
{
    struct fw_secret *secret = NULL;
    char *raw = copy_part(part);
    if (raw && fw_secrets_add(secrets, raw) == FW_OK)
        secret = fw_secret_create(secrets, fw_percent_decode(raw));
    fw_wipe_string(raw);
    return secret;
}

static int set_credentials(struct fw_url *url, struct part userinfo, const char *username,
                           const char *password, struct fw_secrets *secrets)
{
    const char *colon = memchr(userinfo.at, ':', userinfo.length);
    struct part name = userinfo;
    if (colon)
        name.length = (size_t)(colon - userinfo.at);
    if (username || name.length > 0) {
        url->username = username ? fw_strdup(username) : decoded(name);
        if (!url->username)
            return FW_ENOMEM;
    }
    // The password in the URL is registered even when another one replaces it.
    if (colon) {
        struct part rest = {colon + 1, userinfo.length - name.length - 1};
        url->password = decoded_secret(rest, secrets);
        if (!url->password)
            return FW_ENOMEM;
    }
    if (password) {
        fw_secret_destroy(url->password);
        url->password = fw_secret_create(secrets, password);
        if (!url->password)
            return FW_ENOMEM;
    }
    return fw_secrets_add_login(secrets, url->username, fw_secret_reveal(url->password));
}

// Whether the NAME of a query's field says that its value is a secret.
static bool is_secret_name(struct part name)
{
    static const char *const words[] = {"pass", "pwd",     "token", "secret", "key",      "auth",
                                        "sig",  "session", "cred",  "access", "streamid", "login"};
    char text[64];
    size_t length = name.length < sizeof text ? name.length : sizeof text - 1;
    for (size_t i = 0; i < length; i++)
        text[i] = lower(name.at[i]);
    text[length] = '\0';
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strstr(text, words[i]))
            return true;
    }
    return strcmp(text, "pw") == 0 || strcmp(text, "p") == 0;
}

// Registers the values of QUERY that are secrets by their name or their length: every value would
// take words like "tcp" and "main" out of all log lines.
static int register_query(const char *query, struct fw_secrets *secrets)
{
    const size_t long_value = 16;
    while (*query) {
        struct part field = {query, strcspn(query, "&;")};
        const char *equals = memchr(field.at, '=', field.length);
        struct part name = field, value = field;
        if (equals) {
            name.length = (size_t)(equals - field.at);
            value.at = equals + 1;
            value.length = field.length - name.length - 1;
        }
        if (is_secret_name(name) || value.length >= long_value) {
            struct fw_secret *secret = decoded_secret(value, secrets);
            if (!secret)
                return FW_ENOMEM;
            fw_secret_destroy(secret);
        }
        query = field.at + field.length;
        query += *query ? 1 : 0;
    }
    return FW_OK;
}

// "a=***&b=***"; a field without '=' may itself be a token.
static void append_masked_query(struct fw_text *text, const char *query)
{
    while (*query) {
        size_t field = strcspn(query, "&;"), name = strcspn(query, "=&;");
        if (query[name] == '=')
            fw_text_append_n(text, query, name + 1);
        fw_text_append(text, "***");
        query += field;
        if (*query)
            fw_text_append_n(text, query++, 1);
    }
}

static void append_host(struct fw_text *text, const char *host, int port)
{
    bool brackets = strchr(host, ':') != NULL;
    fw_text_append(text, brackets ? "[" : "");
    fw_text_append(text, host);
    fw_text_append(text, brackets ? "]" : "");
    if (port > 0)
        fw_text_appendf(text, ":%d", port);
}

static bool is_file(const struct fw_url *url)
{
    return strcmp(url->scheme, "file") == 0;
}

static int set_display(struct fw_url *url, const struct fw_secrets *secrets)
{
    struct fw_text plain = FW_TEXT_INIT, masked = FW_TEXT_INIT;
    if (!is_file(url)) {
        fw_text_appendf(&plain, "%s://", url->scheme);
        append_host(&plain, url->host, url->port);
    }
    fw_text_append(&plain, url->path);
    if (url->query) {
        fw_text_append(&plain, "?");
        append_masked_query(&plain, fw_secret_reveal(url->query));
    }
    // Where a password with '/' was taken for a host and a path, its rest stands before an '@'.
    int status = FW_ENOMEM;
    if (!plain.failed)
        status = fw_secrets_redact(secrets, fw_text_get(&plain), &masked);
    if (plain.data)
        fw_wipe(plain.data, plain.length);
    fw_text_free(&plain);
    url->display = fw_text_steal(&masked);
    return status;
}

// TEXT is no URL with "://": a file, a device, or a slip.
static int parse_path(struct fw_url *url, const char *text, struct fw_error *error)
{
    static const char *const networks[] = {
        "rtsp:", "rtsps:", "rtmp:", "rtmps:", "http:", "https:", "srt:", "udp:", "amqp:", "amqps:"};
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        if (fw_starts_with(text, networks[i]))
            return fw_fail(error, FW_EINVAL, "the URL lacks \"//\"; write %s//host/path",
                           networks[i]);
    }
    const char *colon = strchr(text, ':');
    if (text[0] != '/' && text[0] != '.' && colon && strchr(colon, '@'))
        return fw_fail(
            error, FW_EINVAL,
            "there are credentials but no scheme; begin with \"rtsp://\" or the like, or "
            "with \"./\" if it is a file");
    url->scheme = fw_strdup("file");
    url->host = fw_strdup("");
    url->path = fw_strdup(text);
    return url->scheme && url->host && url->path ? FW_OK : FW_ENOMEM;
}

static int parse_file(struct fw_url *url, const char *rest)
{
    if (fw_starts_with(rest, "localhost/"))
        rest += strlen("localhost");
    url->host = fw_strdup("");
    url->path = fw_strdup(rest);
    return url->host && url->path ? FW_OK : FW_ENOMEM;
}

static int set_path_and_query(struct fw_url *url, const char *at, struct fw_secrets *secrets)
{
    struct part path = {at, strcspn(at, "?")};
    url->path = copy_part(path);
    if (!url->path)
        return FW_ENOMEM;
    at += path.length;
    if (*at != '?')
        return FW_OK;
    url->query = fw_secret_create(secrets, at + 1);
    if (!url->query)
        return FW_ENOMEM;
    return register_query(at + 1, secrets);
}

static int parse_network(struct fw_url *url, const char *rest, const char *username,
                         const char *password, struct fw_secrets *secrets, struct fw_error *error)
{
    const char *at = find_host(rest);
    struct part authority = authority_of(at), host;
    if (!parse_host(authority, &host, &url->port))
        return fw_fail(error, FW_EINVAL,
                       "the URL has no valid host and port; write %s://host:port/path, special "
                       "characters of a password as %%XX or the password apart from the URL",
                       url->scheme);
    url->host = copy_host(host);
    if (!url->host)
        return FW_ENOMEM;
    struct part userinfo = {rest, at > rest ? (size_t)(at - rest) - 1 : 0};
    int status = set_credentials(url, userinfo, username, password, secrets);
    if (status != FW_OK)
        return status;
    return set_path_and_query(url, authority.at + authority.length, secrets);
}

static int parse_into(struct fw_url *url, const char *text, const char *username,
                      const char *password, struct fw_secrets *secrets, struct fw_error *error)
{
    size_t length = scheme_length(text);
    int status;
    if (length == 0) {
        status = parse_path(url, text, error);
    } else {
        url->scheme = copy_part((struct part){text, length});
        if (!url->scheme)
            return FW_ENOMEM;
        for (size_t i = 0; i < length; i++)
            url->scheme[i] = lower(url->scheme[i]);
        const char *rest = text + length + 3;
        if (is_file(url))
            status = parse_file(url, rest);
        else
            status = parse_network(url, rest, username, password, secrets, error);
    }
    if (status != FW_OK || !url->scheme || !url->host)
        return status;
    if (is_file(url))
        status = set_credentials(url, (struct part){"", 0}, username, password, secrets);
    return status == FW_OK ? set_display(url, secrets) : status;
}

static bool has_control(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    }
    return false;
}

int fw_url_parse(struct fw_url **out, const char *text, const char *username, const char *password,
                 struct fw_secrets *secrets, struct fw_error *error)
{
    *out = NULL;
    if (!text || !*text)
        return fw_fail(error, FW_EINVAL, "the URL is empty; write a URL, a file or a device");
    if (has_control(text))
        return fw_fail(error, FW_EINVAL,
                       "the URL holds a line break or another control character; remove it");
    struct fw_url *url = calloc(1, sizeof *url);
    int status = FW_ENOMEM;
    if (url)
        status = parse_into(url, text, username, password, secrets, error);
    if (status != FW_OK) {
        fw_url_destroy(url);
        if (status == FW_ENOMEM)
            fw_fail(error, status, "no memory for a URL; free some");
        return status;
    }
    *out = url;
    return FW_OK;
}

void fw_url_destroy(struct fw_url *url)
{
    if (!url)
        return;
    free(url->scheme);
    free(url->host);
    free(url->path);
    free(url->username);
    free(url->display);
    fw_secret_destroy(url->query);
    fw_secret_destroy(url->password);
    free(url);
}

static void append_url(struct fw_text *text, const struct fw_url *url, const char *host)
{
    if (!is_file(url)) {
        fw_text_appendf(text, "%s://", url->scheme);
        fw_text_append_percent(text, url->username, NULL);
        if (url->password) {
            fw_text_append(text, ":");
            fw_text_append_percent(text, fw_secret_reveal(url->password), NULL);
        }
        if (url->username || url->password)
            fw_text_append(text, "@");
        append_host(text, host, url->port);
    }
    fw_text_append(text, url->path);
    if (url->query) {
        fw_text_append(text, "?");
        fw_text_append(text, fw_secret_reveal(url->query));
    }
}

struct fw_secret *fw_url_reveal(const struct fw_url *url, const char *address,
                                struct fw_secrets *secrets)
{
    const char *password = fw_secret_reveal(url->password);
    if (fw_secrets_add_login(secrets, url->username, password) != FW_OK)
        return NULL;
    const char *host = address ? address : url->host;
    // Large enough from the start: a growing text would leave copies behind that nobody wipes.
    size_t encoded = (strlen(password) + (url->username ? strlen(url->username) : 0)) * 3;
    size_t capacity = strlen(url->scheme) + encoded + strlen(host) + strlen(url->path) +
                      strlen(fw_secret_reveal(url->query)) + 32;
    struct fw_text text = {.data = malloc(capacity), .capacity = capacity};
    if (!text.data)
        return NULL;
    append_url(&text, url, host);
    // Not registered as a whole: the log shall still tell which camera it speaks of.
    struct fw_secret *secret = text.failed ? NULL : fw_secret_create(NULL, fw_text_get(&text));
    fw_wipe(text.data, text.capacity);
    fw_text_free(&text);
    return secret;
}
