// Signature Version 4 where libcurl does not make it: URLs that anybody may read for a while.
#ifndef FW_STORAGE_S3_SIGN_H
#define FW_STORAGE_S3_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_secret;

#define FW_SHA256_HEX_SIZE 65

// Lower-case hex of DATA's SHA-256. False when libcrypto refuses. Any thread.
bool fw_sha256_hex(const void *data, size_t length, char hex[FW_SHA256_HEX_SIZE]);

struct fw_s3_keys {
    const char *region;
    const struct fw_secret *access_key, *secret_key, *session_token; // the last may be NULL
};

// URL ("https://host/path", percent-encoded, no query) with a query that lets it be read by GET for
// EXPIRES_S seconds from UTC_US on ("Authenticating Requests: Using Query Parameters (AWS Signature
// Version 4)", Amazon S3 API Reference). malloc'd; NULL when memory is out or URL is none. Any
// thread.
char *fw_s3_presign(const struct fw_s3_keys *keys, const char *url, int64_t utc_us,
                    int64_t expires_s);

#endif
