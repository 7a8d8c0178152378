// Alerts by POST, one request an event, over one kept connection.
//
// libcurl's multi interface carries the single transfer, because its poll takes our cancel object's
// descriptor: a stop ends a request at once, not at the next progress tick.
#include "alert/sink.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <curl/curl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// An answer's body says nothing that we act on; beyond this the connection is not worth keeping.
enum { MAX_BODY_BYTES = 64 * 1024, MAX_POLL_MS = 1000 };
static const int64_t MAX_CONNECT_MS = 5000;

struct http_sink {
    CURL *easy;
    CURLM *multi;
    struct curl_slist *headers;      // of the request under way
    struct fw_secret *authorization; // its header line; NULL: none
    const struct fw_secret *hmac_secret;
    const struct fw_url *url;
    int64_t timeout_ms;
    int64_t retry_after_ms;
    size_t body_bytes; // of the answer under way
};

// What one request came to.
struct outcome {
    CURLcode code;
    long status; // 0: no answer
    bool was_cancelled;
};

static size_t skip_body(char *data, size_t size, size_t count, void *opaque)
{
    struct http_sink *sink = opaque;
    (void)data;

    sink->body_bytes += size * count;
    return sink->body_bytes > MAX_BODY_BYTES ? 0 : size * count;
}

// A line break in a token would begin a header of its own.
static bool is_header_value(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    return true;
}

static int take_token(struct http_sink *sink, const struct fw_secret *token, struct fw_error *error)
{
    struct fw_text line = FW_TEXT_INIT;

    if (!fw_secret_is_set(token))
        return FW_OK;
    if (!is_header_value(fw_secret_reveal(token)))
        return fw_fail(error, FW_EINVAL,
                       "the token holds a line break or another control character; check the file "
                       "or variable that it comes from");
    fw_text_append(&line, "Authorization: Bearer ");
    fw_text_append(&line, fw_secret_reveal(token));
    sink->authorization = line.failed ? NULL : fw_secret_create(NULL, fw_text_get(&line));
    fw_text_free(&line);
    return sink->authorization != NULL ? FW_OK
                                       : fw_fail(error, FW_ENOMEM, "no memory for the token");
}

static bool add_header(struct http_sink *sink, const char *name, const char *value)
{
    struct fw_text line = FW_TEXT_INIT;
    struct curl_slist *longer = NULL;

    fw_text_appendf(&line, "%s:%s%s", name, value[0] != '\0' ? " " : "", value);
    if (!line.failed)
        longer = curl_slist_append(sink->headers, fw_text_get(&line));
    fw_text_free(&line);
    if (longer != NULL)
        sink->headers = longer;
    return longer != NULL;
}

enum { DIGEST_BYTES = 32 };

// HMAC-SHA256 of "TIME.BODY".
static bool digest(const struct fw_secret *secret, const char *time_text,
                   const struct fw_message *message, unsigned char result[DIGEST_BYTES])
{
    const char *key = fw_secret_reveal(secret);
    char hash[] = "SHA256";
    const OSSL_PARAM parameters[] = {OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, hash, 6),
                                     OSSL_PARAM_END};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    size_t length = 0;
    bool is_done =
        context != NULL &&
        EVP_MAC_init(context, (const unsigned char *)key, strlen(key), parameters) == 1 &&
        EVP_MAC_update(context, (const unsigned char *)time_text, strlen(time_text)) == 1 &&
        EVP_MAC_update(context, (const unsigned char *)".", 1) == 1 &&
        EVP_MAC_update(context, (const unsigned char *)message->body, message->length) == 1 &&
        EVP_MAC_final(context, result, &length, DIGEST_BYTES) == 1;

    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
    return is_done && length == DIGEST_BYTES;
}

// The time is part of what is signed, so that a recorded request can't be used again for long.
static bool add_signature(struct http_sink *sink, const struct fw_message *message)
{
    unsigned char result[DIGEST_BYTES];
    char time_text[24], value[sizeof(time_text) + 8 + 2 * sizeof(result)];
    int length;

    if (!fw_secret_is_set(sink->hmac_secret))
        return true;
    snprintf(time_text, sizeof(time_text), "%lld", (long long)(fw_utc_us() / FW_US_PER_S));
    if (!digest(sink->hmac_secret, time_text, message, result))
        return false;
    length = snprintf(value, sizeof(value), "t=%s,v1=", time_text);
    for (size_t i = 0; i < sizeof(result); i++)
        length += snprintf(value + length, sizeof(value) - (size_t)length, "%02x", result[i]);
    return add_header(sink, "X-Faceworker-Signature", value);
}

// libcurl takes the whole list anew for each request.
static bool set_headers(struct http_sink *sink, const struct fw_message *message)
{
    struct curl_slist *longer;

    curl_slist_free_all(sink->headers);
    sink->headers = NULL;
    if (!add_header(sink, "Content-Type", message->content_type) ||
        !add_header(sink, "Expect", "") || // no "100 Continue" to wait for
        !add_header(sink, "X-Faceworker-Event-Id", message->id) ||
        !add_header(sink, "Idempotency-Key", message->id) || !add_signature(sink, message))
        return false;
    if (sink->authorization == NULL)
        return true;
    longer = curl_slist_append(sink->headers, fw_secret_reveal(sink->authorization));
    if (longer != NULL)
        sink->headers = longer;
    return longer != NULL;
}

// Everything that stays the same from event to event.
static CURLcode prepare(struct http_sink *sink, const struct fw_sink_options *options,
                        const char *url)
{
    const long connect_ms =
        (long)(sink->timeout_ms < MAX_CONNECT_MS ? sink->timeout_ms : MAX_CONNECT_MS);
    CURL *easy = sink->easy;
    CURLcode code = CURLE_OK;

#define SET(option, value)                                                                         \
    if (code == CURLE_OK)                                                                          \
    code = curl_easy_setopt(easy, option, value)
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_USERAGENT, "faceworker/" FW_VERSION);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_TIMEOUT_MS, (long)sink->timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); // a cancelled look-up is left to end by itself
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_WRITEFUNCTION, skip_body);
    SET(CURLOPT_WRITEDATA, sink);
    SET(CURLOPT_SSL_VERIFYPEER, options->tls_verify ? 1L : 0L);
    SET(CURLOPT_SSL_VERIFYHOST, options->tls_verify ? 2L : 0L);
    if (options->ca_file != NULL) {
        SET(CURLOPT_CAINFO, options->ca_file);
        SET(CURLOPT_CAPATH, NULL); // in place of the system's, not beside them
    }
    SET(CURLOPT_SSLCERT, options->certificate_file);
    SET(CURLOPT_SSLKEY, options->key_file);
#undef SET
    return code;
}

static void http_close(void *state)
{
    struct http_sink *sink = state;

    curl_easy_cleanup(sink->easy);
    if (sink->multi != NULL)
        curl_multi_cleanup(sink->multi);
    curl_slist_free_all(sink->headers);
    fw_secret_destroy(sink->authorization);
    free(sink);
}

static int build(struct http_sink *sink, const struct fw_sink_options *options,
                 struct fw_error *error)
{
    struct fw_secret *url = NULL;
    CURLcode code;
    int status;

    sink->easy = curl_easy_init();
    sink->multi = curl_multi_init();
    if (sink->easy == NULL || sink->multi == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    status = take_token(sink, options->token, error);
    if (status != FW_OK)
        return status;
    url = fw_url_reveal(options->url, NULL, NULL);
    if (url == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    code = prepare(sink, options, fw_secret_reveal(url));
    fw_secret_destroy(url);
    if (code != CURLE_OK)
        return fw_fail(error, FW_ENOTSUP, "can't post to '%s' with this libcurl: %s",
                       options->url->display, curl_easy_strerror(code));
    return FW_OK;
}

static int http_open(void **state, const struct fw_sink_options *options, struct fw_error *error)
{
    struct http_sink *sink;

    if (options->url == NULL)
        return fw_fail(error, FW_EINVAL, "the sink '%s' has no URL; give it one", options->name);
    if (strcmp(options->url->scheme, "http") != 0 && strcmp(options->url->scheme, "https") != 0)
        return fw_fail(error, FW_EINVAL, "'%s' is no address to post to; use http:// or https://",
                       options->url->display);
    if (options->timeout_ms < 1)
        return fw_fail(error, FW_EINVAL, "the sink '%s' needs a timeout above 0", options->name);
    sink = calloc(1, sizeof(*sink));
    if (sink == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    *state = sink;
    sink->url = options->url;
    sink->timeout_ms = options->timeout_ms;
    sink->hmac_secret = options->hmac_secret;
    return build(sink, options, error);
}

// Runs the transfer that was added to the multi handle until it has ended or CANCEL says stop.
static void transfer(struct http_sink *sink, struct fw_cancel *cancel, struct outcome *outcome)
{
    struct curl_waitfd stop = {.fd = cancel != NULL ? fw_cancel_fd(cancel) : -1,
                               .events = CURL_WAIT_POLLIN};
    int running = 1, left = 0;
    CURLMcode code = CURLM_OK;
    CURLMsg *message;

    while (code == CURLM_OK && running > 0) {
        outcome->was_cancelled = cancel != NULL && fw_cancel_is_set(cancel);
        if (outcome->was_cancelled)
            return;
        code = curl_multi_perform(sink->multi, &running);
        if (code == CURLM_OK && running > 0)
            code = curl_multi_poll(sink->multi, &stop, cancel != NULL ? 1 : 0, MAX_POLL_MS, NULL);
    }
    message = curl_multi_info_read(sink->multi, &left);
    if (code != CURLM_OK || message == NULL || message->msg != CURLMSG_DONE)
        outcome->code = CURLE_OUT_OF_MEMORY;
    else
        outcome->code = message->data.result;
}

// Everything that differs from message to message.
static CURLcode load(struct http_sink *sink, const struct fw_message *message)
{
    CURLcode code;

    if (!set_headers(sink, message))
        return CURLE_OUT_OF_MEMORY;
    code = curl_easy_setopt(sink->easy, CURLOPT_HTTPHEADER, sink->headers);
    if (code == CURLE_OK)
        code = curl_easy_setopt(sink->easy, CURLOPT_POSTFIELDS, message->body);
    if (code == CURLE_OK)
        code =
            curl_easy_setopt(sink->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)message->length);
    return code;
}

static struct outcome post(struct http_sink *sink, const struct fw_message *message,
                           struct fw_cancel *cancel)
{
    struct outcome outcome = {.code = CURLE_OK};
    curl_off_t retry_after_s = 0;

    sink->body_bytes = 0;
    sink->retry_after_ms = 0;
    outcome.code = load(sink, message);
    if (outcome.code != CURLE_OK)
        return outcome;
    if (curl_multi_add_handle(sink->multi, sink->easy) != CURLM_OK) {
        outcome.code = CURLE_OUT_OF_MEMORY;
        return outcome;
    }
    transfer(sink, cancel, &outcome);
    (void)curl_easy_getinfo(sink->easy, CURLINFO_RESPONSE_CODE, &outcome.status);
    if (curl_easy_getinfo(sink->easy, CURLINFO_RETRY_AFTER, &retry_after_s) == CURLE_OK)
        sink->retry_after_ms = (int64_t)retry_after_s * 1000;
    (void)curl_multi_remove_handle(sink->multi, sink->easy);
    return outcome;
}

static int no_answer(const struct http_sink *sink, const struct outcome *outcome,
                     struct fw_error *error)
{
    const char *host = sink->url->host;

    switch ((int)outcome->code) {
    case CURLE_OPERATION_TIMEDOUT:
        return fw_fail(error, FW_ETIMEDOUT,
                       "%s did not answer within %lld ms; check that the backend is up", host,
                       (long long)sink->timeout_ms);
    case CURLE_COULDNT_RESOLVE_HOST:
        return fw_fail(error, FW_ECONNECT, "there is no host '%s'; check the name and the DNS",
                       host);
    case CURLE_COULDNT_CONNECT:
        return fw_fail(error, FW_ECONNECT,
                       "%s takes no connection; check that the backend is up and the port", host);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return fw_fail(error, FW_ECONNECT,
                       "the certificate of %s is not trusted (%s); set ca_file to its authority's",
                       host, curl_easy_strerror(outcome->code));
    case CURLE_SSL_CERTPROBLEM:
        return fw_fail(error, FW_EIO,
                       "can't use the client certificate for %s; check certificate_file and "
                       "key_file",
                       host);
    case CURLE_SSL_CONNECT_ERROR:
        return fw_fail(error, FW_ECONNECT,
                       "TLS with %s failed; check that it speaks TLS there, else write http://",
                       host);
    case CURLE_OUT_OF_MEMORY:
        return fw_fail(error, FW_ENOMEM, "no memory to post to %s", host);
    default:
        return fw_fail(error, FW_ECONNECT, "%s hung up without an answer (%s); its log says why",
                       host, curl_easy_strerror(outcome->code));
    }
}

static int refusal_of_us(const char *host, long status, struct fw_error *error)
{
    const char *advice = "check the address in the configuration";

    if (status == 401 || status == 403)
        advice = "check the token";
    else if (status == 407)
        advice = "check the proxy's user name and password";
    else if (status < 400)
        advice = "it sends us elsewhere: configure the final address";
    return fw_fail(error, FW_EAUTH, "%s answered with status %ld; %s", host, status, advice);
}

static int answer(const struct http_sink *sink, long status, struct fw_error *error)
{
    const char *host = sink->url->host;

    if (status >= 200 && status < 300)
        return FW_OK;
    switch (status) {
    case 401:
    case 403:
    case 404:
    case 405:
    case 407:
    case 410:
        return refusal_of_us(host, status, error);
    case 400:
    case 413:
    case 415:
    case 422:
        return fw_fail(error, FW_EREJECTED,
                       "%s rejected this alert with status %ld; the backend's log says why", host,
                       status);
    default:
        if (status < 400)
            return refusal_of_us(host, status, error);
        return fw_fail(error, FW_EIO, "%s answered with status %ld; it is asked again later", host,
                       status);
    }
}

// A final status counts even when the body after it is cut off: the peer has decided.
static int http_deliver(void *state, const struct fw_message *messages, size_t count, int *results,
                        struct fw_cancel *cancel, struct fw_error *error)
{
    struct http_sink *sink = state;
    struct outcome outcome = {.was_cancelled = cancel != NULL && fw_cancel_is_set(cancel)};
    (void)count; // 1, by max_batch

    if (!outcome.was_cancelled)
        outcome = post(sink, messages, cancel);
    if (outcome.status >= 200)
        results[0] = answer(sink, outcome.status, error);
    else if (outcome.was_cancelled)
        results[0] =
            fw_fail(error, FW_ECANCELED, "the request to %s was given up", sink->url->host);
    else
        results[0] = no_answer(sink, &outcome, error);
    return results[0] == FW_EREJECTED ? FW_OK : results[0];
}

static int64_t http_retry_after_ms(const void *state)
{
    const struct http_sink *sink = state;

    return sink->retry_after_ms;
}

const struct fw_sink_backend fw_sink_http = {
    .type = "http",
    .max_batch = 1,
    .open = http_open,
    .deliver = http_deliver,
    .retry_after_ms = http_retry_after_ms,
    .close = http_close,
};
