// Snapshots in S3, or in whatever speaks like it: one PUT an object, signed by libcurl.
//
// libcurl 7.88 signs the path as it is given, so keys are encoded as AWS does it (RFC 3986's
// unreserved characters and '/' stay), and leaves the sum of the body to us.
//
// As many connections as there are puts at once, kept for the next ones. libcurl's multi interface
// carries each single transfer, because its poll takes the cancel object's descriptor.
#include "storage/s3_answer.h"
#include "storage/s3_sign.h"
#include "storage/store.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <curl/curl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_BODY_BYTES = 16 * 1024, // of an answer: errors are 1 kB or so
    MAX_POLL_MS = 1000,
    MAX_IDLE = 8,         // connections kept
    MIN_BYTES_PER_MS = 4, // a slower line than 4 kB/s gives up
    MAX_PRESIGN_S = 604800,
    MD5_BYTES = 16,
};

struct connection {
    CURL *easy;
    CURLM *multi;
    struct connection *next;
};

struct s3_store {
    struct fw_s3_options options;
    struct fw_s3_keys keys;
    struct fw_url *endpoint; // NULL: AWS's
    char *host;              // without the bucket's name
    char *place;             // host and port, for people
    char *base_url;          // before "/KEY"
    char *provider;          // "aws:amz:REGION:s3"
    bool has_mutex;
    pthread_mutex_t mutex; // guards the idle connections
    struct connection *idle;
    int idle_count;
};

// Opening

// Whether BUCKET can be the first label of a host's name, certificates with a '*' included.
static bool fits_host_name(const char *bucket)
{
    size_t length = strlen(bucket);

    return length >= 3 && length <= 63 &&
           strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-") == length && bucket[0] != '-' &&
           bucket[length - 1] != '-';
}

static bool is_address(const char *host)
{
    return strchr(host, ':') != NULL || host[strspn(host, "0123456789.")] == '\0';
}

static bool is_path_style(const struct s3_store *store)
{
    if (store->options.path_style >= 0)
        return store->options.path_style > 0;
    return store->endpoint != NULL || !fits_host_name(store->options.bucket);
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static int check_key(const struct fw_secret *key, const char *name, bool is_needed,
                     struct fw_error *error)
{
    if (is_needed && !fw_secret_is_set(key))
        return fw_fail(error, FW_EINVAL, "there is no %s; give one", name);
    if (has_control(fw_secret_reveal(key)))
        return fw_fail(error, FW_EINVAL,
                       "%s holds a line break or another control character; check the file or "
                       "variable that it comes from",
                       name);
    return FW_OK;
}

static int check_keys(const struct fw_s3_options *options, struct fw_error *error)
{
    int status = check_key(options->access_key, "s3.access_key", true, error);

    if (status == FW_OK)
        status = check_key(options->secret_key, "s3.secret_key", true, error);
    if (status == FW_OK)
        status = check_key(options->session_token, "s3.session_token", false, error);
    return status;
}

static int check_options(const struct fw_s3_options *options, struct fw_error *error)
{
    const char *bucket = options->bucket;

    if (bucket == NULL || bucket[0] == '\0' || strchr(bucket, '/') != NULL || has_control(bucket))
        return fw_fail(error, FW_EINVAL, "S3 needs the name of a bucket; set s3.bucket");
    if (options->region != NULL &&
        options->region[strspn(options->region,
                               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY"
                               "Z0123456789-_")] != '\0')
        return fw_fail(error, FW_EINVAL, "'%s' is no region; correct s3.region", options->region);
    if (options->timeout_ms < 1)
        return fw_fail(error, FW_EINVAL, "S3 needs a timeout above 0; set s3.timeout_s");
    if (options->presign_s < 0 || options->presign_s > MAX_PRESIGN_S)
        return fw_fail(error, FW_EINVAL,
                       "addresses can't be presigned for %lld s; use a week (604800 s) at most",
                       (long long)options->presign_s);
    if (options->ca_file != NULL && access(options->ca_file, R_OK) != 0)
        return fw_fail(error, FW_EINVAL, "can't read '%s'; correct s3.ca_file or its rights",
                       options->ca_file);
    return check_keys(options, error);
}

static int parse_endpoint(struct s3_store *store, const char *text, struct fw_error *error)
{
    int status = fw_url_parse(&store->endpoint, text, NULL, NULL, NULL, error);
    const struct fw_url *url = store->endpoint;

    if (status != FW_OK)
        return status;
    if ((strcmp(url->scheme, "http") != 0 && strcmp(url->scheme, "https") != 0) ||
        url->host[0] == '\0')
        return fw_fail(error, FW_EINVAL,
                       "'%s' is no address of an S3 server; begin it with http:// or https://",
                       url->display);
    if (url->query != NULL || url->username != NULL)
        return fw_fail(error, FW_EINVAL,
                       "the address '%s' of the S3 server has parts that it can't have; give "
                       "scheme, host and port",
                       url->display);
    return FW_OK;
}

// The server's own name, without the bucket's.
static char *make_host(const struct s3_store *store)
{
    const char *region = store->keys.region;
    bool is_china = fw_starts_with(region, "cn-");

    if (store->endpoint != NULL)
        return fw_strdup(store->endpoint->host);
    return fw_strdup_printf("s3.%s.amazonaws.com%s", region, is_china ? ".cn" : "");
}

static bool is_default_port(const struct fw_url *url)
{
    return url->port == 0 || url->port == (strcmp(url->scheme, "https") == 0 ? 443 : 80);
}

// "minio.local:9000"
static char *make_place(const struct s3_store *store)
{
    bool is_ipv6 = strchr(store->host, ':') != NULL;
    struct fw_text place = FW_TEXT_INIT;

    fw_text_appendf(&place, is_ipv6 ? "[%s]" : "%s", store->host);
    if (store->endpoint != NULL && !is_default_port(store->endpoint))
        fw_text_appendf(&place, ":%d", store->endpoint->port);
    return fw_text_steal(&place);
}

// "https://minio.local:9000/faces", "https://faces.s3.eu-west-1.amazonaws.com"
static char *make_base_url(const struct s3_store *store)
{
    const struct fw_url *endpoint = store->endpoint;
    bool is_path = is_path_style(store);
    struct fw_text url = FW_TEXT_INIT;

    fw_text_appendf(&url, "%s://", endpoint != NULL ? endpoint->scheme : "https");
    if (!is_path)
        fw_text_appendf(&url, "%s.", store->options.bucket);
    fw_text_append(&url, store->place);
    if (endpoint != NULL) {
        size_t length = strlen(endpoint->path);
        while (length > 0 && endpoint->path[length - 1] == '/')
            length--;
        fw_text_append_n(&url, endpoint->path, length);
    }
    if (is_path) {
        fw_text_append(&url, "/");
        fw_text_append_percent(&url, store->options.bucket, NULL);
    }
    return fw_text_steal(&url);
}

static int check_style(const struct s3_store *store, struct fw_error *error)
{
    if (is_path_style(store))
        return FW_OK;
    if (is_address(store->host))
        return fw_fail(error, FW_EINVAL,
                       "the address %s can't carry the bucket's name; set s3.path_style to true",
                       store->host);
    if (store->options
            .bucket[strspn(store->options.bucket, "abcdefghijklmnopqrstuvwxyz0123456789-.")] !=
        '\0')
        return fw_fail(error, FW_EINVAL,
                       "'%s' can't be part of a host's name; set s3.path_style to true",
                       store->options.bucket);
    return FW_OK;
}

static int build(struct s3_store *store, const struct fw_s3_options *options,
                 struct fw_error *error)
{
    int status = FW_OK;

    store->options = *options;
    store->keys =
        (struct fw_s3_keys){options->region != NULL ? options->region : "us-east-1",
                            options->access_key, options->secret_key, options->session_token};
    if (options->endpoint_url != NULL)
        status = parse_endpoint(store, options->endpoint_url, error);
    if (status != FW_OK)
        return status;
    store->host = make_host(store);
    store->place = store->host != NULL ? make_place(store) : NULL;
    store->base_url = store->place != NULL ? make_base_url(store) : NULL;
    store->provider = fw_strdup_printf("aws:amz:%s:s3", store->keys.region);
    if (store->base_url == NULL || store->provider == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the S3 store");
    if (pthread_mutex_init(&store->mutex, NULL) != 0)
        return fw_fail(error, FW_ENOMEM, "no memory for the S3 store");
    store->has_mutex = true;
    return check_style(store, error);
}

static int s3_open(void **state, const struct fw_store_options *options, struct fw_error *error)
{
    int status = check_options(&options->s3, error);
    struct s3_store *store;

    if (status != FW_OK)
        return status;
    store = calloc(1, sizeof(*store));
    if (store == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the S3 store");
    *state = store;
    return build(store, &options->s3, error);
}

// Connections

static void close_connection(struct connection *connection)
{
    if (connection == NULL)
        return;
    curl_easy_cleanup(connection->easy);
    if (connection->multi != NULL)
        curl_multi_cleanup(connection->multi);
    free(connection);
}

static void s3_close(void *state)
{
    struct s3_store *store = state;

    while (store->idle != NULL) {
        struct connection *connection = store->idle;
        store->idle = connection->next;
        close_connection(connection);
    }
    if (store->has_mutex)
        pthread_mutex_destroy(&store->mutex);
    fw_url_destroy(store->endpoint);
    free(store->host);
    free(store->place);
    free(store->base_url);
    free(store->provider);
    free(store);
}

// NULL when memory is out.
static struct connection *take_connection(struct s3_store *store)
{
    struct connection *connection;

    pthread_mutex_lock(&store->mutex);
    connection = store->idle;
    if (connection != NULL) {
        store->idle = connection->next;
        store->idle_count--;
    }
    pthread_mutex_unlock(&store->mutex);
    if (connection != NULL)
        return connection;
    connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return NULL;
    connection->easy = curl_easy_init();
    connection->multi = curl_multi_init();
    if (connection->easy != NULL && connection->multi != NULL)
        return connection;
    close_connection(connection);
    return NULL;
}

static void give_connection(struct s3_store *store, struct connection *connection)
{
    bool is_kept;

    pthread_mutex_lock(&store->mutex);
    is_kept = store->idle_count < MAX_IDLE;
    if (is_kept) {
        connection->next = store->idle;
        store->idle = connection;
        store->idle_count++;
    }
    pthread_mutex_unlock(&store->mutex);
    if (!is_kept)
        close_connection(connection);
}

// Putting

// One PUT. One thread.
struct transfer {
    const struct s3_store *store;
    CURL *easy;
    const uint8_t *data;
    size_t length, sent;
    char *url;
    struct curl_slist *headers;
    char body[MAX_BODY_BYTES]; // of the answer
    size_t body_length;
    curl_off_t moved; // bytes in both directions
    struct fw_deadline silence, whole;
    bool has_begun;
    CURLcode code; // what libcurl says of it
};

static size_t send_body(char *buffer, size_t size, size_t count, void *opaque)
{
    struct transfer *transfer = opaque;
    size_t length = transfer->length - transfer->sent;

    if (length > size * count)
        length = size * count;
    memcpy(buffer, transfer->data + transfer->sent, length);
    transfer->sent += length;
    return length;
}

// A kept connection that turns out to be dead: all is sent again.
static int rewind_body(void *opaque, curl_off_t offset, int origin)
{
    struct transfer *transfer = opaque;

    if (origin != SEEK_SET || offset < 0 || (size_t)offset > transfer->length)
        return CURL_SEEKFUNC_FAIL;
    transfer->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t keep_answer(char *data, size_t size, size_t count, void *opaque)
{
    struct transfer *transfer = opaque;
    size_t room = sizeof(transfer->body) - transfer->body_length;
    size_t kept = size * count < room ? size * count : room;

    memcpy(transfer->body + transfer->body_length, data, kept);
    transfer->body_length += kept;
    return size * count;
}

// Starts the wait for the next byte anew whenever one came or went.
static int on_progress(void *opaque, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct transfer *transfer = opaque;
    (void)down_total;
    (void)up_total;

    if (down + up != transfer->moved) {
        transfer->moved = down + up;
        fw_deadline_set(&transfer->silence, transfer->store->options.timeout_ms);
    }
    return 0;
}

static bool add_header(struct transfer *transfer, const char *name, const char *value)
{
    char *line = fw_strdup_printf("%s: %s", name, value);
    struct curl_slist *longer = line != NULL ? curl_slist_append(transfer->headers, line) : NULL;

    free(line);
    if (longer == NULL)
        return false;
    transfer->headers = longer;
    return true;
}

// Buckets with a retention period take no object without it. A libcrypto in FIPS mode has no MD5:
// then it is left out, because all others need none.
static bool add_md5(struct transfer *transfer)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    uint8_t text[4 * ((MD5_BYTES + 2) / 3) + 1];
    unsigned size = 0;

    if (EVP_Digest(transfer->data, transfer->length, digest, &size, EVP_md5(), NULL) != 1 ||
        size != MD5_BYTES)
        return true;
    EVP_EncodeBlock(text, digest, MD5_BYTES);
    return add_header(transfer, "Content-MD5", (const char *)text);
}

static bool add_headers(struct transfer *transfer, const char *content_type)
{
    const struct fw_secret *token = transfer->store->options.session_token;
    char sum[FW_SHA256_HEX_SIZE];
    struct curl_slist *longer;

    if (!fw_sha256_hex(transfer->data, transfer->length, sum) ||
        !add_header(transfer, "Content-Type", content_type) || !add_md5(transfer) ||
        !add_header(transfer, "x-amz-content-sha256", sum) ||
        !add_header(transfer, "x-amz-meta-sha256", sum))
        return false;
    if (fw_secret_is_set(token) &&
        !add_header(transfer, "x-amz-security-token", fw_secret_reveal(token)))
        return false;
    longer = curl_slist_append(transfer->headers, "Expect:"); // no "100 Continue" to wait for
    if (longer == NULL)
        return false;
    transfer->headers = longer;
    return true;
}

static bool prepare(struct transfer *transfer, const char *key, const char *content_type)
{
    struct fw_text url = FW_TEXT_INIT;

    fw_text_appendf(&url, "%s/", transfer->store->base_url);
    fw_text_append_percent(&url, key, "/");
    transfer->url = fw_text_steal(&url);
    return transfer->url != NULL && add_headers(transfer, content_type);
}

static CURLcode set_security(CURL *easy, const struct fw_s3_options *options)
{
    CURLcode code = curl_easy_setopt(easy, CURLOPT_USERNAME, fw_secret_reveal(options->access_key));

    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_PASSWORD, fw_secret_reveal(options->secret_key));
    if (code == CURLE_OK && options->ca_file != NULL)
        code = curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
    if (code == CURLE_OK && options->ca_file != NULL)
        code = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); // else the system's count, too
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options->tls_verify ? 1L : 0L);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options->tls_verify ? 2L : 0L);
    return code;
}

static CURLcode set_options(struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    CURLcode code;

    curl_easy_reset(easy); // the connection stays
    code = set_security(easy, &transfer->store->options);
#define SET(option, value)                                                                         \
    if (code == CURLE_OK)                                                                          \
    code = curl_easy_setopt(easy, option, value)
    SET(CURLOPT_URL, transfer->url);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_AWS_SIGV4, transfer->store->provider);
    SET(CURLOPT_HTTPHEADER, transfer->headers);
    SET(CURLOPT_USERAGENT, "faceworker/" FW_VERSION);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)transfer->store->options.timeout_ms);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); // a cancelled look-up is left to end by itself
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)transfer->length);
    SET(CURLOPT_READFUNCTION, send_body);
    SET(CURLOPT_READDATA, transfer);
    SET(CURLOPT_SEEKFUNCTION, rewind_body);
    SET(CURLOPT_SEEKDATA, transfer);
    SET(CURLOPT_WRITEFUNCTION, keep_answer);
    SET(CURLOPT_WRITEDATA, transfer);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, transfer);
    SET(CURLOPT_NOPROGRESS, 0L);
#undef SET
    return code;
}

// Runs the transfer that was added to MULTI until it has ended or must.
static CURLcode run(struct transfer *transfer, CURLM *multi)
{
    const struct fw_cancel *cancel = transfer->whole.cancel;
    struct curl_waitfd stop = {.fd = cancel != NULL ? fw_cancel_fd(cancel) : -1,
                               .events = CURL_WAIT_POLLIN};
    int running = 1, left = 0;
    const CURLMsg *message;

    while (running > 0) {
        if (fw_deadline_passed(&transfer->whole))
            return transfer->whole.interrupted == FW_ECANCELED ? CURLE_ABORTED_BY_CALLBACK
                                                               : CURLE_OPERATION_TIMEDOUT;
        if (fw_deadline_passed(&transfer->silence))
            return CURLE_OPERATION_TIMEDOUT;
        transfer->has_begun = true;
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return CURLE_OUT_OF_MEMORY;
        if (running > 0 &&
            curl_multi_poll(multi, &stop, cancel != NULL ? 1 : 0, MAX_POLL_MS, NULL) != CURLM_OK)
            return CURLE_OUT_OF_MEMORY;
    }
    message = curl_multi_info_read(multi, &left);
    return message != NULL && message->msg == CURLMSG_DONE ? message->data.result
                                                           : CURLE_OUT_OF_MEMORY;
}

static void perform(struct transfer *transfer, struct connection *connection,
                    struct fw_cancel *cancel)
{
    int64_t timeout_ms = transfer->store->options.timeout_ms;

    transfer->easy = connection->easy;
    transfer->whole.cancel = cancel;
    fw_deadline_set(&transfer->whole,
                    2 * timeout_ms + (int64_t)(transfer->length / MIN_BYTES_PER_MS));
    fw_deadline_set(&transfer->silence, timeout_ms);
    transfer->code = set_options(transfer);
    if (transfer->code != CURLE_OK)
        return;
    if (curl_multi_add_handle(connection->multi, connection->easy) != CURLM_OK) {
        transfer->code = CURLE_OUT_OF_MEMORY;
        return;
    }
    transfer->code = run(transfer, connection->multi);
    (void)curl_multi_remove_handle(connection->multi, connection->easy);
}

// Understanding the answer

// NULL when the server did not send it.
static const char *header_of(CURL *easy, const char *name)
{
    struct curl_header *header = NULL;

    return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value
                                                                                   : NULL;
}

// A server that repeats our keys must not put them into the log.
static void hide_keys(struct fw_s3_answer *answer, const struct fw_s3_keys *keys)
{
    const struct fw_secret *const secrets[] = {keys->access_key, keys->secret_key,
                                               keys->session_token};

    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
        if (fw_secret_is_set(secrets[i]) &&
            strstr(answer->message, fw_secret_reveal(secrets[i])) != NULL)
            answer->message[0] = '\0';
}

static int refusal(const struct transfer *transfer, long status, struct fw_error *error)
{
    const struct s3_store *store = transfer->store;
    struct fw_s3_place place = {store->options.bucket, store->place, store->keys.region};
    struct fw_s3_answer answer = {.status = status};
    const char *region = header_of(transfer->easy, "x-amz-bucket-region");
    const char *date = header_of(transfer->easy, "Date");
    time_t server_s = date != NULL ? curl_getdate(date, NULL) : (time_t)-1;

    fw_s3_answer_parse(&answer, transfer->body, transfer->body_length);
    hide_keys(&answer, &store->keys);
    if (answer.region[0] == '\0' && region != NULL && strlen(region) < sizeof(answer.region))
        memcpy(answer.region, region, strlen(region) + 1);
    if (server_s != (time_t)-1)
        answer.clock_off_s = (int64_t)server_s - fw_utc_us() / FW_US_PER_S;
    return fw_s3_answer_explain(&answer, &place, error);
}

// A log-in page of a network or a web server at the wrong port says 200 to anything; S3 says which
// version of the object it has.
static int check_success(const struct transfer *transfer, struct fw_error *error)
{
    if (header_of(transfer->easy, "ETag") != NULL)
        return FW_OK;
    return fw_fail(error, FW_EAUTH,
                   "%s answers as no S3 server does; check s3.endpoint_url and what stands in "
                   "between",
                   transfer->store->place);
}

static int no_connection(const struct transfer *transfer, struct fw_error *error)
{
    const char *host = transfer->store->place;

    switch ((int)transfer->code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return fw_fail(error, FW_ECONNECT,
                       "no address is known of the S3 server %s; check the name and the DNS", host);
    case CURLE_COULDNT_CONNECT:
        return fw_fail(error, FW_ECONNECT,
                       "the S3 server %s takes no connection; check that it is up and the port",
                       host);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return fw_fail(error, FW_ECONNECT,
                       "the certificate of the S3 server %s is not trusted; name its authority's "
                       "in s3.ca_file",
                       host);
    case CURLE_SSL_CONNECT_ERROR:
        return fw_fail(error, FW_ECONNECT,
                       "TLS with the S3 server %s failed; check that it speaks TLS there, else "
                       "write http:// in s3.endpoint_url",
                       host);
    default:
        return fw_fail(error, FW_ECONNECT,
                       "the S3 server %s hung up without an answer (%s); its log says why", host,
                       curl_easy_strerror(transfer->code));
    }
}

static int no_answer(const struct transfer *transfer, struct fw_error *error)
{
    const char *host = transfer->store->place;

    switch ((int)transfer->code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return fw_fail(error, FW_ECANCELED, "the upload to %s was given up", host);
    case CURLE_OPERATION_TIMEDOUT:
        return fw_fail(error, FW_ETIMEDOUT,
                       "the S3 server %s does not answer in time; check the network, or raise "
                       "s3.timeout_s",
                       host);
    case CURLE_OUT_OF_MEMORY:
        return fw_fail(error, FW_ENOMEM, "no memory for an upload to %s", host);
    case CURLE_UNKNOWN_OPTION:
    case CURLE_NOT_BUILT_IN:
        return fw_fail(error, FW_EAUTH, "this libcurl can't sign for S3; install 7.88 or later");
    default:
        return no_connection(transfer, error);
    }
}

// A final status counts even when the rest of the answer, or of our picture, is cut off: the server
// has decided.
static int outcome(const struct transfer *transfer, struct fw_error *error)
{
    long status = 0;

    if (transfer->has_begun) // else it is the last transfer's
        (void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return no_answer(transfer, error);
    return status < 300 ? check_success(transfer, error) : refusal(transfer, status, error);
}

static int s3_put(void *state, const char *key, const uint8_t *data, size_t length,
                  const char *content_type, struct fw_cancel *cancel, struct fw_error *error)
{
    struct s3_store *store = state;
    struct transfer *transfer = calloc(1, sizeof(*transfer));
    struct connection *connection = transfer != NULL ? take_connection(store) : NULL;
    int status;

    if (connection == NULL) {
        free(transfer);
        return fw_fail(error, FW_ENOMEM, "no memory for an upload to %s", store->place);
    }
    transfer->store = store;
    transfer->data = data;
    transfer->length = length;
    if (prepare(transfer, key, content_type)) {
        perform(transfer, connection, cancel);
        status = outcome(transfer, error);
    } else {
        status = fw_fail(error, FW_ENOMEM, "no memory for an upload to %s", store->place);
    }
    curl_easy_reset(connection->easy); // it knows the transfer, which goes now
    give_connection(store, connection);
    curl_slist_free_all(transfer->headers);
    free(transfer->url);
    free(transfer);
    return status;
}

// URLs

static char *s3_url(const void *state, const char *key)
{
    const struct s3_store *store = state;
    struct fw_text url = FW_TEXT_INIT;

    fw_text_append(&url, store->base_url);
    fw_text_append(&url, "/");
    fw_text_append_percent(&url, key, "/");
    return fw_text_steal(&url);
}

static char *s3_sign(const void *state, const char *url)
{
    const struct s3_store *store = state;

    return store->options.presign_s > 0
               ? fw_s3_presign(&store->keys, url, fw_utc_us(), store->options.presign_s)
               : fw_strdup(url);
}

const struct fw_store_backend fw_store_s3 = {
    .name = "s3",
    .open = s3_open,
    .put = s3_put,
    .url = s3_url,
    .sign = s3_sign,
    .close = s3_close,
};
