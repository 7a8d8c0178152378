// Secrets are a type of their own, so that none is printed by accident.
//
// Two lines of defence. A `struct fw_secret` can't be passed to printf: its text comes out of
// fw_secret_reveal() alone, which a reader can grep for. And whatever text leaves the process
// (log lines, libav's too, error messages, the page, metrics) goes through fw_secrets_redact(),
// which knows every secret that was ever loaded, in every spelling that a URL may give it.
#ifndef FW_UTIL_SECRET_H
#define FW_UTIL_SECRET_H

#include <stdbool.h>

struct fw_text;
struct fw_secrets;
struct fw_secret;

// An empty registry, or NULL when memory is out. The registry is thread-safe; it only grows.
struct fw_secrets *fw_secrets_create(void);
// Forgets and wipes everything. No other thread may use it any more. NULL is allowed.
void fw_secrets_destroy(struct fw_secrets *secrets);

// Registers VALUE raw, percent-encoded (upper and lower case hex, whole or reserved bytes only), in
// base64 and JSON-escaped. NULL, "" and values below 3 bytes are ignored (they would redact
// everything). FW_OK or FW_ENOMEM. Any thread.
int fw_secrets_add(struct fw_secrets *secrets, const char *value);

// Registers "USERNAME:PASSWORD" in base64 too, as HTTP Basic authentication spells it.
int fw_secrets_add_login(struct fw_secrets *secrets, const char *username, const char *password);

// Appends TEXT to OUT with every registered spelling replaced by "***", and with the userinfo of
// every URL in it replaced too ("rtsp://***@host/"), known or not. SECRETS may be NULL: then only
// userinfo is replaced. FW_OK, or FW_ENOMEM: then a sentence that says so stands in for TEXT, or
// OUT has failed. Any thread.
int fw_secrets_redact(const struct fw_secrets *secrets, const char *text, struct fw_text *out);

// Takes a copy of VALUE and registers it in SECRETS (which may be NULL). NULL when memory is out.
struct fw_secret *fw_secret_create(struct fw_secrets *secrets, const char *value);
// Wipes and frees. NULL is allowed.
void fw_secret_destroy(struct fw_secret *secret);
// The text itself, owned by SECRET; "" for NULL. For the one call that needs it, never for storing.
const char *fw_secret_reveal(const struct fw_secret *secret);
bool fw_secret_is_set(const struct fw_secret *secret);

#endif
