// URLs of cameras, outputs and brokers: parsed leniently, printed without credentials.
#ifndef FW_UTIL_URL_H
#define FW_UTIL_URL_H

#include "util/error.h"

struct fw_secret;
struct fw_secrets;

// A URL taken apart (RFC 3986), or a plain path or device. Immutable after fw_url_parse(), so any
// thread may read it. Owns its strings.
//
// Users write passwords with '@', ':', '/' and '%' unescaped. The userinfo therefore ends at the
// last '@' before the path; but at the last '@' before the query where what precedes the first '/'
// is no valid host[:port], or is one only by chance (credentials, then a bare word, while the text
// after the last '@' has a dot or the like). A '%' that begins no %XX stands for itself.
struct fw_url {
    char *scheme; // lower case; "file" for a plain path
    char *host;   // without brackets; "" for a path
    int port;     // 0: the scheme's default
    char *path;   // with the leading '/', "" if none, without the query; or the plain path as given
    struct fw_secret *query;    // without '?', NULL if none (tokens travel in queries)
    char *username;             // decoded; NULL if none
    struct fw_secret *password; // decoded; NULL if none
    char *display; // for people and logs: no userinfo, query values as "***"; never a secret
};

// Parses TEXT and registers what is secret in it. USERNAME and PASSWORD, where not NULL, replace
// those of the URL. FW_OK with *URL set (fw_url_destroy() it), or FW_EINVAL or FW_ENOMEM with
// ERROR set, *URL NULL and nothing of TEXT repeated in the message.
int fw_url_parse(struct fw_url **url, const char *text, const char *username, const char *password,
                 struct fw_secrets *secrets, struct fw_error *error);
void fw_url_destroy(struct fw_url *url);

// The URL for the library that opens it, credentials included and percent-encoded, as a secret that
// the caller destroys. ADDRESS, when not NULL, stands in for the host (an IPv6 address gets its
// brackets). NULL when memory is out.
struct fw_secret *fw_url_reveal(const struct fw_url *url, const char *address,
                                struct fw_secrets *secrets);

#endif
