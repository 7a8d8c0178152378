#include "storage/s3_sign.h"

#include "util/clock.h"
#include "util/secret.h"
#include "util/text.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SHA256_BYTES = 32 };
#define DATE_SIZE   9  // "20130524"
#define MOMENT_SIZE 17 // "20130524T000000Z"
#define TERMINATION "aws4_request"
#define ALGORITHM   "AWS4-HMAC-SHA256"

static void to_hex(const uint8_t bytes[SHA256_BYTES], char hex[FW_SHA256_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SHA256_BYTES; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * SHA256_BYTES] = '\0';
}

bool fw_sha256_hex(const void *data, size_t length, char hex[FW_SHA256_HEX_SIZE])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (EVP_Digest(data, length, digest, &size, EVP_sha256(), NULL) != 1 || size != SHA256_BYTES)
        return false;
    to_hex(digest, hex);
    return true;
}

static bool hmac(const void *key, size_t key_length, const char *text, uint8_t out[SHA256_BYTES])
{
    unsigned size = 0;

    return HMAC(EVP_sha256(), key, (int)key_length, (const uint8_t *)text, strlen(text), out,
                &size) != NULL &&
           size == SHA256_BYTES;
}

// The key of one day, region and service, of the secret key.
static bool signing_key(const struct fw_s3_keys *keys, const char *date, uint8_t key[SHA256_BYTES])
{
    static const char prefix[] = "AWS4";
    const char *secret = fw_secret_reveal(keys->secret_key);
    size_t size = sizeof(prefix) + strlen(secret);
    char *first = malloc(size);
    bool is_good;

    if (first == NULL)
        return false;
    snprintf(first, size, "%s%s", prefix, secret);
    is_good = hmac(first, size - 1, date, key) && hmac(key, SHA256_BYTES, keys->region, key) &&
              hmac(key, SHA256_BYTES, "s3", key) && hmac(key, SHA256_BYTES, TERMINATION, key);
    OPENSSL_cleanse(first, size);
    free(first);
    return is_good;
}

// What a signature is made of, but for the secret key.
struct request {
    const char *host; // with its port
    size_t host_length;
    const char *path;
    char date[DATE_SIZE], moment[MOMENT_SIZE];
    struct fw_text scope, query;
};

static bool split_url(struct request *request, const char *url)
{
    const char *host = strstr(url, "://");

    if (host == NULL)
        return false;
    request->host = host + 3;
    request->host_length = strcspn(request->host, "/");
    request->path = request->host + request->host_length;
    return request->host_length > 0 && request->path[0] == '/';
}

static bool set_moment(struct request *request, int64_t utc_us)
{
    time_t seconds = (time_t)(utc_us / FW_US_PER_S);
    struct tm utc;

    return gmtime_r(&seconds, &utc) != NULL &&
           strftime(request->date, sizeof(request->date), "%Y%m%d", &utc) > 0 &&
           strftime(request->moment, sizeof(request->moment), "%Y%m%dT%H%M%SZ", &utc) > 0;
}

// The parameters by name, as the signature wants them.
static void make_query(struct request *request, const struct fw_s3_keys *keys, int64_t expires_s)
{
    struct fw_text *query = &request->query;

    fw_text_appendf(&request->scope, "%s/%s/s3/" TERMINATION, request->date, keys->region);
    fw_text_append(query, "X-Amz-Algorithm=" ALGORITHM "&X-Amz-Credential=");
    fw_text_append_percent(query, fw_secret_reveal(keys->access_key), NULL);
    fw_text_append(query, "%2F");
    fw_text_append_percent(query, fw_text_get(&request->scope), NULL);
    fw_text_appendf(query, "&X-Amz-Date=%s&X-Amz-Expires=%lld", request->moment,
                    (long long)expires_s);
    if (fw_secret_is_set(keys->session_token)) {
        fw_text_append(query, "&X-Amz-Security-Token=");
        fw_text_append_percent(query, fw_secret_reveal(keys->session_token), NULL);
    }
    fw_text_append(query, "&X-Amz-SignedHeaders=host");
}

static bool sign(const struct request *request, const struct fw_s3_keys *keys,
                 char signature[FW_SHA256_HEX_SIZE])
{
    struct fw_text text = FW_TEXT_INIT;
    char hash[FW_SHA256_HEX_SIZE];
    uint8_t key[SHA256_BYTES];
    bool is_good;

    fw_text_appendf(&text, "GET\n%s\n%s\nhost:%.*s\n\nhost\nUNSIGNED-PAYLOAD", request->path,
                    fw_text_get(&request->query), (int)request->host_length, request->host);
    is_good = !text.failed && fw_sha256_hex(fw_text_get(&text), text.length, hash);
    fw_text_clear(&text);
    if (is_good)
        fw_text_appendf(&text, ALGORITHM "\n%s\n%s\n%s", request->moment,
                        fw_text_get(&request->scope), hash);
    is_good = is_good && !text.failed && signing_key(keys, request->date, key) &&
              hmac(key, sizeof(key), fw_text_get(&text), key);
    if (is_good)
        to_hex(key, signature);
    fw_text_free(&text);
    return is_good;
}

char *fw_s3_presign(const struct fw_s3_keys *keys, const char *url, int64_t utc_us,
                    int64_t expires_s)
{
    struct request request = {.scope = FW_TEXT_INIT, .query = FW_TEXT_INIT};
    struct fw_text out = FW_TEXT_INIT;
    char signature[FW_SHA256_HEX_SIZE];

    if (!split_url(&request, url) || !set_moment(&request, utc_us))
        return NULL;
    make_query(&request, keys, expires_s);
    out.failed = request.scope.failed || request.query.failed || !sign(&request, keys, signature);
    if (!out.failed)
        fw_text_appendf(&out, "%s?%s&X-Amz-Signature=%s", url, fw_text_get(&request.query),
                        signature);
    fw_text_free(&request.scope);
    fw_text_free(&request.query);
    return fw_text_steal(&out);
}
