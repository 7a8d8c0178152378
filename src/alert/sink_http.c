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
#include <stdlib.h>
#include <string.h>

// An answer's body says nothing that we act on; beyond this the connection is not worth keeping.
enum { MAX_BODY_BYTES = 64 * 1024, MAX_POLL_MS = 1000 };
static const int64_t MAX_CONNECT_MS = 5000;

struct http_sink {
    CURL *easy;
    CURLM *multi;
    struct curl_slist *headers;
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

static int add_header(struct http_sink *sink, const char *line)
{
    struct curl_slist *longer = curl_slist_append(sink->headers, line);

    if (longer == NULL)
        return FW_ENOMEM;
    sink->headers = longer;
    return FW_OK;
}

// A line break in a token would begin a header of its own.
static bool is_header_value(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    return true;
}

static int add_token(struct http_sink *sink, const struct fw_secret *token, struct fw_error *error)
{
    struct fw_text line = FW_TEXT_INIT;
    int status;

    if (!fw_secret_is_set(token))
        return FW_OK;
    if (!is_header_value(fw_secret_reveal(token)))
        return fw_fail(error, FW_EINVAL,
                       "the token holds a line break or another control character; check the file "
                       "or variable that it comes from");
    fw_text_append(&line, "Authorization: Bearer ");
    fw_text_append(&line, fw_secret_reveal(token));
    status = line.failed ? FW_ENOMEM : add_header(sink, fw_text_get(&line));
    fw_text_free(&line);
    return status == FW_OK ? FW_OK : fw_fail(error, status, "no memory for the token");
}

// Everything that stays the same from event to event.
static CURLcode prepare(struct http_sink *sink, const char *url)
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
    SET(CURLOPT_HTTPHEADER, sink->headers);
    SET(CURLOPT_USERAGENT, "faceworker/" FW_VERSION);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_TIMEOUT_MS, (long)sink->timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); // a cancelled look-up is left to end by itself
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_WRITEFUNCTION, skip_body);
    SET(CURLOPT_WRITEDATA, sink);
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
    if (sink->easy == NULL || sink->multi == NULL ||
        add_header(sink, "Content-Type: application/cloudevents+json; charset=utf-8") != FW_OK ||
        add_header(sink, "Expect:") != FW_OK) // no "100 Continue" to wait for
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    status = add_token(sink, options->token, error);
    if (status != FW_OK)
        return status;
    url = fw_url_reveal(options->url, NULL, NULL);
    if (url == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    code = prepare(sink, fw_secret_reveal(url));
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

static struct outcome post(struct http_sink *sink, const struct fw_event *event,
                           struct fw_cancel *cancel)
{
    struct outcome outcome = {.code = CURLE_OK};
    curl_off_t retry_after_s = 0;

    sink->body_bytes = 0;
    sink->retry_after_ms = 0;
    outcome.code = curl_easy_setopt(sink->easy, CURLOPT_POSTFIELDS, event->json);
    if (outcome.code == CURLE_OK)
        outcome.code = curl_easy_setopt(sink->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                                        (curl_off_t)event->json_length);
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
                       "the certificate of %s is not trusted; install its authority's", host);
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
    case 407:
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
static int http_deliver(void *state, const struct fw_event *event, struct fw_cancel *cancel,
                        struct fw_error *error)
{
    struct http_sink *sink = state;
    struct outcome outcome = {.was_cancelled = cancel != NULL && fw_cancel_is_set(cancel)};

    if (!outcome.was_cancelled)
        outcome = post(sink, event, cancel);
    if (outcome.status >= 200)
        return answer(sink, outcome.status, error);
    if (outcome.was_cancelled)
        return fw_fail(error, FW_ECANCELED, "the request to %s was given up", sink->url->host);
    return no_answer(sink, &outcome, error);
}

static int64_t http_retry_after_ms(const void *state)
{
    const struct http_sink *sink = state;

    return sink->retry_after_ms;
}

const struct fw_sink_backend fw_sink_http = {
    .type = "http",
    .open = http_open,
    .deliver = http_deliver,
    .retry_after_ms = http_retry_after_ms,
    .close = http_close,
};
