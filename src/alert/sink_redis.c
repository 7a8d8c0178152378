// Alerts into Redis streams, one XADD each, answered by the server before they count as delivered.
//
// hiredis forms commands and reads answers; the socket is ours, for hiredis' own knows neither
// deadlines of our kind nor TLS. Several messages travel as one transaction: were they merely sent
// one after the other, a server short of memory could refuse one and take the next one of the same
// camera.
#include "alert/peer.h"
#include "alert/redis_reply.h"
#include "alert/routing.h"
#include "alert/sink.h"
#include "util/clock.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_PORT = 6379, MAX_BATCH = FW_REDIS_MAX_ELEMENTS, MAX_DATABASE = 65535 };
// Messages above it, embedded pictures as a rule, travel in several transactions.
static const size_t MAX_TRANSACTION_BYTES = 1024 * 1024;
static const int64_t PING_AFTER_US = 10 * FW_US_PER_S;

struct redis_sink {
    struct fw_peer_options peer_options;
    const char *worker_id, *routing_key;
    int64_t timeout_ms, max_length;
    int database;
    struct fw_peer *peer; // NULL: not connected
    struct fw_redis_reader *reader;
    int64_t last_answer_us;
};

static const char *host_of(const struct redis_sink *sink)
{
    return sink->peer_options.url->host;
}

static void hang_up(struct redis_sink *sink)
{
    fw_peer_close(sink->peer);
    fw_redis_reader_destroy(sink->reader);
    sink->peer = NULL;
    sink->reader = NULL;
}

// Commands

static void append_bytes(struct fw_text *out, size_t count, const char **words,
                         const size_t *lengths)
{
    char *command = NULL;
    int length = redisFormatCommandArgv(&command, (int)count, words, lengths);

    if (length < 0) {
        out->failed = true;
        return;
    }
    fw_text_append_n(out, command, (size_t)length);
    redisFreeCommand(command);
}

// WORDS ends with NULL.
static void append_command(struct fw_text *out, const char **words)
{
    size_t lengths[4], count = 0;

    for (; words[count] != NULL; count++)
        lengths[count] = strlen(words[count]);
    append_bytes(out, count, words, lengths);
}

static void append_xadd(struct fw_text *out, const struct redis_sink *sink,
                        const struct fw_message *message)
{
    struct fw_text key = FW_TEXT_INIT;
    char time[FW_UTC_TEXT_SIZE], bound[24];
    const char *words[20] = {"XADD"};
    size_t lengths[20], count = 2;

    fw_utc_format(message->time_utc_us, time);
    if (fw_routing_fill(&key, sink->routing_key, sink->worker_id, message) != FW_OK)
        out->failed = true;
    words[1] = fw_text_get(&key);
    if (sink->max_length > 0) {
        (void)snprintf(bound, sizeof(bound), "%lld", (long long)sink->max_length);
        words[count++] = "MAXLEN";
        words[count++] = "~";
        words[count++] = bound;
    }
    words[count++] = "*";
    words[count++] = "id";
    words[count++] = message->id;
    words[count++] = "type";
    words[count++] = message->type;
    words[count++] = "camera_id";
    words[count++] = message->camera_id;
    words[count++] = "time";
    words[count++] = time;
    words[count++] = "data";
    words[count++] = message->body;
    for (size_t i = 0; i < count; i++)
        lengths[i] = strlen(words[i]);
    lengths[count - 1] = message->length;
    append_bytes(out, count, words, lengths);
    fw_text_free(&key);
}

// Answers

// The server's bytes are no answer to what we asked: what comes after them isn't either.
static int not_redis(struct redis_sink *sink, struct fw_error *error)
{
    hang_up(sink);
    return fw_fail(error, FW_EFORMAT, "%s does not talk as Redis does; check the port",
                   host_of(sink));
}

static int feed_some(struct redis_sink *sink, struct fw_deadline *deadline, struct fw_error *error)
{
    char bytes[4096];
    size_t count = 0;
    int status = fw_peer_receive_some(sink->peer, bytes, sizeof(bytes), &count, deadline, error);

    return status == FW_OK ? fw_redis_reader_feed(sink->reader, bytes, count) : status;
}

// On failure the connection is gone, here and in send_text().
static int receive_reply(struct redis_sink *sink, struct fw_redis_reply *reply,
                         struct fw_deadline *deadline, struct fw_error *error)
{
    int status;

    while ((status = fw_redis_reader_next(sink->reader, reply)) == FW_EAGAIN)
        if ((status = feed_some(sink, deadline, error)) != FW_OK)
            break;
    if (status == FW_EFORMAT)
        return not_redis(sink, error);
    if (status != FW_OK) {
        hang_up(sink);
        return status == FW_ENOMEM
                   ? fw_fail(error, status, "no memory for the answer of %s", host_of(sink))
                   : status;
    }
    sink->last_answer_us = fw_monotonic_us();
    return FW_OK;
}

// What the server's error TEXT comes to. Rights are looked at anew on a new connection.
static int refused(struct redis_sink *sink, const char *text, struct fw_error *error)
{
    const char *advice = fw_redis_advice(text);

    if (advice == NULL)
        return fw_fail(error, FW_EIO, "%s can't take alerts now (%.150s); it is asked again later",
                       host_of(sink), text);
    hang_up(sink);
    return fw_fail(error, FW_EAUTH, "%s refuses us with %.*s: %s", host_of(sink),
                   (int)strcspn(text, " "), text, advice);
}

// The answer to a command on which everything else depends.
static int expect_ok(struct redis_sink *sink, struct fw_deadline *deadline, struct fw_error *error)
{
    struct fw_redis_reply reply = {0};
    int status = receive_reply(sink, &reply, deadline, error);

    if (status != FW_OK)
        return status;
    return reply.is_error ? refused(sink, reply.text, error) : FW_OK;
}

static int send_text(struct redis_sink *sink, const struct fw_text *text,
                     struct fw_deadline *deadline, struct fw_error *error)
{
    int status;

    if (text->failed)
        status = fw_fail(error, FW_ENOMEM, "no memory for commands to %s", host_of(sink));
    else
        status = fw_peer_send_all(sink->peer, fw_text_get(text), text->length, deadline, error);
    if (status != FW_OK)
        hang_up(sink);
    return status;
}

// Connecting

// Returns how many answers will come.
static size_t append_login(struct fw_text *out, const struct redis_sink *sink)
{
    const struct fw_url *url = sink->peer_options.url;
    const char *password = fw_secret_reveal(url->password);
    char database[12];
    size_t count = 0;

    if (url->username != NULL && url->username[0] != '\0') {
        append_command(out, (const char *[]){"AUTH", url->username, password, NULL});
        count++;
    } else if (fw_secret_is_set(url->password)) {
        append_command(out, (const char *[]){"AUTH", password, NULL});
        count++;
    }
    if (sink->database > 0) {
        (void)snprintf(database, sizeof(database), "%d", sink->database);
        append_command(out, (const char *[]){"SELECT", database, NULL});
        count++;
    }
    // Without the right to these, messages that should travel together would each go on their own.
    append_command(out, (const char *[]){"MULTI", NULL});
    append_command(out, (const char *[]){"EXEC", NULL});
    return count + 2;
}

static int log_in(struct redis_sink *sink, struct fw_deadline *deadline, struct fw_error *error)
{
    struct fw_text commands = FW_TEXT_INIT;
    size_t count = append_login(&commands, sink);
    int status = send_text(sink, &commands, deadline, error);

    fw_text_free(&commands);
    for (size_t i = 0; status == FW_OK && i < count; i++)
        status = expect_ok(sink, deadline, error);
    return status;
}

static int ensure_connected(struct redis_sink *sink, struct fw_cancel *cancel,
                            struct fw_error *error)
{
    struct fw_deadline deadline = {.cancel = cancel};
    int status;

    if (sink->peer != NULL)
        return FW_OK;
    sink->reader = fw_redis_reader_create();
    if (sink->reader == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to connect to %s", host_of(sink));
    fw_deadline_set(&deadline, sink->timeout_ms);
    status = fw_peer_connect(&sink->peer, &sink->peer_options, &deadline, error);
    if (status == FW_OK)
        status = log_in(sink, &deadline, error);
    if (status != FW_OK)
        hang_up(sink);
    return status;
}

// Delivering

// The messages that are sent before the next answer is waited for.
struct transaction {
    const struct fw_message *messages;
    size_t count;
    int *results;
};

static void set_results(const struct transaction *transaction, int status)
{
    for (size_t i = 0; i < transaction->count; i++)
        transaction->results[i] = status;
}

static int send_transaction(struct redis_sink *sink, const struct transaction *transaction,
                            struct fw_deadline *deadline, struct fw_error *error)
{
    struct fw_text commands = FW_TEXT_INIT;
    int status;

    if (transaction->count > 1)
        append_command(&commands, (const char *[]){"MULTI", NULL});
    for (size_t i = 0; i < transaction->count; i++)
        append_xadd(&commands, sink, &transaction->messages[i]);
    if (transaction->count > 1)
        append_command(&commands, (const char *[]){"EXEC", NULL});
    status = send_text(sink, &commands, deadline, error);
    fw_text_free(&commands);
    return status;
}

// The answers before the one that counts: MULTI's and "QUEUED". The first refusal says why EXEC
// will fail.
static int receive_queued(struct redis_sink *sink, size_t count, struct fw_redis_reply *refusal,
                          struct fw_deadline *deadline, struct fw_error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct fw_redis_reply reply = {0};
        int status = receive_reply(sink, &reply, deadline, error);
        if (status != FW_OK)
            return status;
        if (reply.is_error && !refusal->is_error)
            *refusal = reply;
    }
    return FW_OK;
}

// "EXECABORT Transaction discarded because of: OOM command not allowed…" carries its cause.
static const char *cause_of(const char *text)
{
    const char *cause = strstr(text, "because of: ");

    return fw_starts_with(text, "EXECABORT") && cause != NULL ? cause + strlen("because of: ")
                                                              : text;
}

static int elements_status(struct redis_sink *sink, const struct transaction *transaction,
                           const struct fw_redis_reply *reply, struct fw_error *error)
{
    int status = FW_OK;

    if (!reply->is_array || reply->count != transaction->count)
        return not_redis(sink, error);
    for (size_t i = 0; i < transaction->count; i++) {
        transaction->results[i] = reply->statuses[i];
        if (reply->statuses[i] != FW_OK)
            status = refused(sink, reply->text, error);
    }
    return status;
}

static int receive_results(struct redis_sink *sink, const struct transaction *transaction,
                           struct fw_deadline *deadline, struct fw_error *error)
{
    struct fw_redis_reply refusal = {0}, reply = {0};
    int status = FW_OK;

    if (transaction->count > 1)
        status = receive_queued(sink, 1 + transaction->count, &refusal, deadline, error);
    if (status == FW_OK)
        status = receive_reply(sink, &reply, deadline, error);
    if (status != FW_OK)
        return status;
    if (reply.is_error)
        return refused(sink, refusal.is_error ? refusal.text : cause_of(reply.text), error);
    if (transaction->count > 1)
        return elements_status(sink, transaction, &reply, error);
    set_results(transaction, FW_OK);
    return FW_OK;
}

static int run_transaction(struct redis_sink *sink, const struct transaction *transaction,
                           struct fw_cancel *cancel, struct fw_error *error)
{
    struct fw_deadline deadline = {.cancel = cancel};
    int status;

    fw_deadline_set(&deadline, sink->timeout_ms);
    set_results(transaction, FW_EAGAIN);
    status = send_transaction(sink, transaction, &deadline, error);
    if (status == FW_OK)
        status = receive_results(sink, transaction, &deadline, error);
    for (size_t i = 0; status != FW_OK && i < transaction->count; i++)
        if (transaction->results[i] == FW_EAGAIN)
            transaction->results[i] = status;
    return status;
}

// How many of COUNT messages go together.
static size_t part_of(const struct fw_message *messages, size_t count)
{
    size_t bytes = messages[0].length, part = 1;

    while (part < count && bytes + messages[part].length <= MAX_TRANSACTION_BYTES)
        bytes += messages[part++].length;
    return part;
}

static int redis_deliver(void *state, const struct fw_message *messages, size_t count, int *results,
                         struct fw_cancel *cancel, struct fw_error *error)
{
    struct redis_sink *sink = state;
    int status = ensure_connected(sink, cancel, error);

    for (size_t done = 0; status == FW_OK && done < count;) {
        struct transaction transaction = {messages + done, part_of(messages + done, count - done),
                                          results + done};
        status = run_transaction(sink, &transaction, cancel, error);
        done += transaction.count;
    }
    return status;
}

static int ping(struct redis_sink *sink, struct fw_cancel *cancel, struct fw_error *error)
{
    struct fw_deadline deadline = {.cancel = cancel};
    struct fw_text command = FW_TEXT_INIT;
    struct fw_redis_reply reply = {0};
    int status;

    fw_deadline_set(&deadline, sink->timeout_ms);
    append_command(&command, (const char *[]){"PING", NULL});
    status = send_text(sink, &command, &deadline, error);
    fw_text_free(&command);
    // Any answer is a sign of life, also that we may not ask.
    return status == FW_OK ? receive_reply(sink, &reply, &deadline, error) : status;
}

// Whether the server has closed the connection, as it does with one that was silent for long.
static bool has_hung_up(struct redis_sink *sink)
{
    char byte;
    size_t count = 0;

    return fw_peer_receive(sink->peer, &byte, 1, &count, NULL) != FW_EAGAIN;
}

static int redis_idle(void *state, struct fw_cancel *cancel, struct fw_error *error)
{
    struct redis_sink *sink = state;

    if (sink->peer != NULL && has_hung_up(sink))
        hang_up(sink);
    if (sink->peer == NULL)
        return ensure_connected(sink, cancel, error);
    if (fw_monotonic_us() - sink->last_answer_us < PING_AFTER_US)
        return FW_OK;
    return ping(sink, cancel, error);
}

// Opening

// "/3" is database 3.
static int set_database(struct redis_sink *sink, struct fw_error *error)
{
    const char *path = sink->peer_options.url->path;
    char *end = NULL;
    long number = 0;

    if (path[0] == '/' && path[1] != '\0') {
        number = path[1] >= '0' && path[1] <= '9' ? strtol(path + 1, &end, 10) : -1;
        if (number < 0 || number > MAX_DATABASE || *end != '\0')
            return fw_fail(error, FW_EINVAL,
                           "'%s' names no database; its path is the number of one, such as /0",
                           sink->peer_options.url->display);
    }
    sink->database = (int)number;
    return FW_OK;
}

static int check(const struct fw_sink_options *options, struct fw_error *error)
{
    const struct fw_url *url = options->url;

    if (url == NULL)
        return fw_fail(error, FW_EINVAL, "the sink '%s' has no URL; give it one", options->name);
    if (strcmp(url->scheme, "redis") != 0 && strcmp(url->scheme, "rediss") != 0)
        return fw_fail(error, FW_EINVAL, "'%s' is no Redis server; use redis:// or rediss://",
                       url->display);
    if (url->username != NULL && url->username[0] != '\0' && !fw_secret_is_set(url->password))
        return fw_fail(error, FW_EINVAL, "the sink '%s' has a user name but no password; set it",
                       options->name);
    if (options->timeout_ms < 1)
        return fw_fail(error, FW_EINVAL, "the sink '%s' needs a timeout above 0", options->name);
    return fw_routing_check(options->routing_key, error);
}

static int redis_open(void **state, const struct fw_sink_options *options, struct fw_error *error)
{
    struct redis_sink *sink;
    int status = check(options, error);

    if (status != FW_OK)
        return status;
    sink = calloc(1, sizeof(*sink));
    if (sink == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    *state = sink;
    sink->peer_options =
        (struct fw_peer_options){.url = options->url,
                                 .default_port = DEFAULT_PORT,
                                 .is_tls = strcmp(options->url->scheme, "rediss") == 0,
                                 .ca_file = options->ca_file,
                                 .certificate_file = options->certificate_file,
                                 .key_file = options->key_file,
                                 .tls_verify = options->tls_verify,
                                 .resolver = options->resolver};
    sink->worker_id = options->worker_id;
    sink->routing_key = options->routing_key;
    sink->timeout_ms = options->timeout_ms;
    sink->max_length = options->max_length;
    return set_database(sink, error);
}

static void redis_close(void *state)
{
    struct redis_sink *sink = state;

    hang_up(sink);
    free(sink);
}

const struct fw_sink_backend fw_sink_redis = {
    .type = "redis",
    .max_batch = MAX_BATCH,
    .open = redis_open,
    .deliver = redis_deliver,
    .idle = redis_idle,
    .close = redis_close,
};
