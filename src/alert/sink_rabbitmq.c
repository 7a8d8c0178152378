// Alerts to RabbitMQ, or another broker of AMQP 0-9-1: persistent, mandatory, confirmed.
//
// Messages of different cameras are on their way at the same time, those of one camera one after
// the other: only so do they stay in order when the broker refuses one of them (a full queue) and
// takes the next.
//
// What is on its way when a delivery is given up (cancelled, or the broker is blocked) stays so:
// its confirm counts for the next delivery of the same message, which is then not published once
// more.
#include "alert/amqp_client.h"
#include "alert/peer.h"
#include "alert/routing.h"
#include "alert/sink.h"
#include "util/clock.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <stdlib.h>
#include <string.h>

enum { PORT = 5672, TLS_PORT = 5671 };
// Twice as long as the longest pause between two calls of ours (a sink that fails is tried again
// after 30 s at the latest), because no heartbeats are sent in between.
enum { HEARTBEAT_S = 30, TICK_MS = 1000 };
enum { GOODBYE_MS = 50 };
// More is queued when less than this waits to be sent.
enum { OUTPUT_BYTES = 64 * 1024, INPUT_BYTES = 16 * 1024 };

struct rabbitmq_sink {
    struct fw_peer_options peer_options;
    struct fw_amqp_options amqp_options;
    const char *routing_key, *worker_id;
    int64_t timeout_ms;
    char *client_name, *vhost, *binding; // owned, for amqp_options
    // The connection; both or neither.
    struct fw_peer *peer;
    struct fw_amqp *amqp;
};

// One call of `deliver`. A result of FW_EAGAIN is an open one.
struct round {
    const struct fw_message *messages;
    size_t count;
    int *results;
};

// '.' separates the words of a routing key, and an id is to be one of them.
static char *one_word(const char *id)
{
    char *word = fw_strdup(id);

    for (char *at = word; at != NULL && *at != '\0'; at++)
        if (*at == '.')
            *at = '_';
    return word;
}

static int routing_key_of(const struct rabbitmq_sink *sink, const struct fw_message *message,
                          struct fw_text *key)
{
    char *camera = one_word(message->camera_id), *worker = one_word(sink->worker_id);
    struct fw_message renamed = *message;
    int status = FW_ENOMEM;

    renamed.camera_id = camera;
    if (camera != NULL && worker != NULL)
        status = fw_routing_fill(key, sink->routing_key, worker, &renamed);
    free(camera);
    free(worker);
    return status;
}

// The pattern for every key that TEMPLATE can lead to: a word that has something to fill in becomes
// "*", because a pattern knows no parts of words.
static char *binding_of(const char *template)
{
    const struct fw_message any = {.type = "any.\1.\1", .camera_id = "\1"};
    struct fw_text filled = FW_TEXT_INIT, pattern = FW_TEXT_INIT;
    const char *word;

    if (fw_routing_fill(&filled, template, "\1", &any) != FW_OK)
        filled.failed = true;
    word = fw_text_get(&filled);
    for (size_t length = strcspn(word, ".");; length = strcspn(word, ".")) {
        if (memchr(word, '\1', length) != NULL)
            fw_text_append(&pattern, "*");
        else
            fw_text_append_n(&pattern, word, length);
        if (word[length] == '\0')
            break;
        fw_text_append(&pattern, ".");
        word += length + 1;
    }
    pattern.failed = pattern.failed || filled.failed;
    fw_text_free(&filled);
    return fw_text_steal(&pattern);
}

// --- The connection.

static void disconnect(struct rabbitmq_sink *sink)
{
    const void *output;
    size_t length, done;

    if (sink->amqp != NULL && sink->peer != NULL) {
        // What goes without waiting: an answer to the broker's farewell, or ours.
        output = fw_amqp_output(sink->amqp, &length);
        (void)fw_peer_send(sink->peer, output, length, &done, NULL);
    }
    fw_amqp_destroy(sink->amqp);
    fw_peer_close(sink->peer);
    sink->amqp = NULL;
    sink->peer = NULL;
}

static int receive(struct rabbitmq_sink *sink, struct fw_error *error)
{
    char buffer[INPUT_BYTES];
    size_t length;
    int status;

    while ((status = fw_peer_receive(sink->peer, buffer, sizeof(buffer), &length, error)) ==
           FW_OK) {
        status = fw_amqp_input(sink->amqp, buffer, length, fw_monotonic_us(), error);
        if (status != FW_OK)
            return status;
    }
    return status == FW_EAGAIN ? FW_OK : status;
}

static int send_output(struct rabbitmq_sink *sink, struct fw_error *error)
{
    size_t length, done;
    const void *output;
    int status;

    while ((output = fw_amqp_output(sink->amqp, &length), length > 0)) {
        status = fw_peer_send(sink->peer, output, length, &done, error);
        if (status != FW_OK)
            return status == FW_EAGAIN ? FW_OK : status;
        fw_amqp_sent(sink->amqp, done, fw_monotonic_us());
    }
    return FW_OK;
}

// Moves what can be moved without waiting.
static int exchange_bytes(struct rabbitmq_sink *sink, struct fw_error *error)
{
    int status = receive(sink, error);

    if (status == FW_OK)
        status = fw_amqp_tick(sink->amqp, fw_monotonic_us(), error);
    return status == FW_OK ? send_output(sink, error) : status;
}

static int wait_for_peer(struct rabbitmq_sink *sink, struct fw_deadline *deadline,
                         struct fw_error *error)
{
    size_t length;

    (void)fw_amqp_output(sink->amqp, &length);
    return fw_peer_wait(sink->peer, FW_PEER_RECEIVE | (length > 0 ? FW_PEER_SEND : 0), deadline,
                        error);
}

static int log_in(struct rabbitmq_sink *sink, struct fw_deadline *deadline, struct fw_error *error)
{
    int status = FW_OK;

    sink->amqp = fw_amqp_create(&sink->amqp_options, fw_monotonic_us());
    if (sink->amqp == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to talk to the broker");
    for (;;) {
        status = exchange_bytes(sink, error);
        if (status != FW_OK || fw_amqp_is_ready(sink->amqp))
            return status;
        status = wait_for_peer(sink, deadline, error);
        if (status != FW_OK)
            return status;
    }
}

static int be_connected(struct rabbitmq_sink *sink, struct fw_cancel *cancel,
                        struct fw_error *error)
{
    struct fw_deadline deadline = {.cancel = cancel};
    int status;

    if (cancel != NULL && fw_cancel_is_set(cancel))
        return fw_fail(error, FW_ECANCELED, "the delivery to the broker was given up");
    if (sink->amqp != NULL)
        return FW_OK;
    fw_deadline_set(&deadline, sink->timeout_ms);
    status = fw_peer_connect(&sink->peer, &sink->peer_options, &deadline, error);
    if (status == FW_OK)
        status = log_in(sink, &deadline, error);
    if (status != FW_OK)
        disconnect(sink);
    return status;
}

static int is_blocked(const struct rabbitmq_sink *sink, struct fw_error *error)
{
    const char *reason = fw_amqp_blocked(sink->amqp);

    return reason == NULL
               ? FW_OK
               : fw_fail(error, FW_EFULL,
                         "blocked by the broker: %s; alerts wait until it has enough again",
                         reason);
}

static int is_overdue(const struct rabbitmq_sink *sink, struct fw_error *error)
{
    const int64_t oldest_us = fw_amqp_oldest_us(sink->amqp);

    if (oldest_us == INT64_MAX || fw_monotonic_us() - oldest_us < sink->timeout_ms * FW_US_PER_MS)
        return FW_OK;
    return fw_fail(error, FW_ETIMEDOUT,
                   "the broker did not confirm within %lld ms; check that it is well and the "
                   "network",
                   (long long)sink->timeout_ms);
}

// --- Delivering.

static int explain_return(const struct rabbitmq_sink *sink, const struct fw_message *message,
                          struct fw_error *error)
{
    const char *exchange = sink->amqp_options.exchange;
    struct fw_text key = FW_TEXT_INIT;

    (void)routing_key_of(sink, message, &key);
    if (exchange[0] == '\0')
        fw_fail(error, FW_EAUTH, "there is no queue '%.255s'; make it, or name an exchange",
                fw_text_get(&key));
    else
        fw_fail(error, FW_EAUTH,
                "no queue is bound to the exchange '%.100s' for the routing key '%.255s'; bind "
                "one, or set declare and queue",
                exchange, fw_text_get(&key));
    fw_text_free(&key);
    return FW_EAUTH;
}

static int result_of(const struct rabbitmq_sink *sink, const struct fw_message *message,
                     struct fw_error *error)
{
    switch (fw_amqp_take_fate(sink->amqp, message->id)) {
    case FW_AMQP_CONFIRMED:
        return FW_OK;
    case FW_AMQP_NACKED:
        return fw_fail(error, FW_EIO,
                       "the broker could not take the alert (nack); check the queue's limits and "
                       "the broker's log");
    case FW_AMQP_RETURNED:
        return explain_return(sink, message, error);
    case FW_AMQP_TOO_LARGE:
        return fw_fail(error, FW_EREJECTED,
                       "the alert of %zu bytes is above the broker's max_message_size; raise it, "
                       "or send no embedded pictures",
                       message->length);
    case FW_AMQP_UNKNOWN:
    case FW_AMQP_IN_FLIGHT:
    default:
        return FW_EAGAIN;
    }
}

static void look_at_results(struct rabbitmq_sink *sink, struct round *round, struct fw_error *error)
{
    for (size_t i = 0; i < round->count; i++)
        if (round->results[i] == FW_EAGAIN)
            round->results[i] = result_of(sink, &round->messages[i], error);
}

// What an earlier delivery left behind: a confirm counts, a failure is tried again.
static void take_leftovers(struct rabbitmq_sink *sink, struct round *round)
{
    for (size_t i = 0; i < round->count; i++)
        if (fw_amqp_take_fate(sink->amqp, round->messages[i].id) == FW_AMQP_CONFIRMED)
            round->results[i] = FW_OK;
    fw_amqp_forget_settled(sink->amqp);
}

static bool is_final(int result)
{
    return result == FW_OK || result == FW_EREJECTED;
}

// Whether an earlier message of the same camera is on its way, or failed.
static bool must_wait(const struct round *round, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (!is_final(round->results[i]) &&
            strcmp(round->messages[i].camera_id, round->messages[index].camera_id) == 0)
            return true;
    return false;
}

static int publish(struct rabbitmq_sink *sink, const struct fw_message *message,
                   struct fw_error *error)
{
    struct fw_text key = FW_TEXT_INIT;
    int status = routing_key_of(sink, message, &key);

    if (status == FW_OK)
        status = fw_amqp_publish(sink->amqp, message, fw_text_get(&key), fw_monotonic_us(), error);
    else
        fw_fail(error, status, "no memory for a routing key");
    fw_text_free(&key);
    return status;
}

// Queues what may go now. *IS_OPEN becomes whether any message still waits for its answer or turn.
static int publish_more(struct rabbitmq_sink *sink, struct round *round, bool *is_open,
                        struct fw_error *error)
{
    size_t queued;

    *is_open = false;
    for (size_t i = 0; i < round->count; i++) {
        int status;
        if (round->results[i] != FW_EAGAIN || must_wait(round, i))
            continue;
        *is_open = true;
        (void)fw_amqp_output(sink->amqp, &queued);
        if (queued >= OUTPUT_BYTES ||
            fw_amqp_take_fate(sink->amqp, round->messages[i].id) == FW_AMQP_IN_FLIGHT)
            continue;
        status = publish(sink, &round->messages[i], error);
        if (status == FW_EREJECTED)
            round->results[i] = status;
        else if (status != FW_OK && status != FW_EAGAIN)
            return status;
    }
    return FW_OK;
}

// Waits for news, a second at most: heartbeats go on.
static int wait_for_news(struct rabbitmq_sink *sink, struct fw_cancel *cancel,
                         struct fw_error *error)
{
    struct fw_deadline deadline = {.cancel = cancel};
    int64_t wait_ms = sink->timeout_ms < TICK_MS ? sink->timeout_ms : TICK_MS;
    int status;

    fw_deadline_set(&deadline, wait_ms);
    status = wait_for_peer(sink, &deadline, error);
    return status == FW_ETIMEDOUT ? is_overdue(sink, error) : status;
}

static int run(struct rabbitmq_sink *sink, struct round *round, struct fw_cancel *cancel,
               struct fw_error *error)
{
    bool is_open = true;
    int status = FW_OK;

    for (;;) {
        status = exchange_bytes(sink, error);
        look_at_results(sink, round, error);
        if (status == FW_OK)
            status = is_blocked(sink, error);
        if (status == FW_OK)
            status = publish_more(sink, round, &is_open, error);
        if (status != FW_OK || !is_open)
            return status;
        status = send_output(sink, error);
        if (status == FW_OK)
            status = wait_for_news(sink, cancel, error);
        if (status != FW_OK)
            return status;
    }
}

// FW_OK when nothing is left to do; else the worst of what is.
static int sum_up(const struct round *round)
{
    int sum = FW_OK;

    for (size_t i = 0; i < round->count; i++) {
        const int result = round->results[i];
        if (is_final(result) || sum == FW_EAUTH)
            continue;
        sum = result == FW_EAGAIN && sum != FW_OK ? sum : result;
    }
    return sum;
}

static int rabbitmq_deliver(void *state, const struct fw_message *messages, size_t count,
                            int *results, struct fw_cancel *cancel, struct fw_error *error)
{
    struct rabbitmq_sink *sink = state;
    struct round round = {.messages = messages, .count = count, .results = results};
    int status;

    if (sink->amqp != NULL) {
        // One that was lost since the last call is no failure of this one.
        const bool is_lost = exchange_bytes(sink, NULL) != FW_OK;
        take_leftovers(sink, &round);
        if (is_lost)
            disconnect(sink);
    }
    status = be_connected(sink, cancel, error);
    if (status == FW_OK) {
        status = run(sink, &round, cancel, error);
        if (status != FW_OK && status != FW_ECANCELED && status != FW_EFULL)
            disconnect(sink);
    }
    for (size_t i = 0; i < count && status != FW_OK; i++)
        if (results[i] == FW_EAGAIN)
            results[i] = status;
    return sum_up(&round);
}

// Also the place where a broker that refuses us is noticed before there is an alert.
static int rabbitmq_idle(void *state, struct fw_cancel *cancel, struct fw_error *error)
{
    struct rabbitmq_sink *sink = state;
    int status = be_connected(sink, cancel, error);

    if (status != FW_OK)
        return status;
    status = exchange_bytes(sink, error);
    if (status == FW_OK)
        status = is_blocked(sink, error);
    if (status == FW_OK)
        status = is_overdue(sink, error);
    if (status != FW_OK && status != FW_EFULL)
        disconnect(sink);
    return status;
}

// Until the broker has hung up, for else it logs a warning about us.
static void say_goodbye(struct rabbitmq_sink *sink)
{
    struct fw_deadline deadline = {0};

    fw_deadline_set(&deadline, GOODBYE_MS);
    fw_amqp_say_goodbye(sink->amqp);
    while (exchange_bytes(sink, NULL) == FW_OK && wait_for_peer(sink, &deadline, NULL) == FW_OK)
        ;
}

static void rabbitmq_close(void *state)
{
    struct rabbitmq_sink *sink = state;

    if (sink->amqp != NULL)
        say_goodbye(sink);
    disconnect(sink);
    free(sink->client_name);
    free(sink->vhost);
    free(sink->binding);
    free(sink);
}

// --- Opening.

static int check_name(const char *what, const char *name, struct fw_error *error)
{
    if (name == NULL || strlen(name) <= FW_AMQP_MAX_NAME)
        return FW_OK;
    return fw_fail(error, FW_EINVAL, "the %s has more than 255 bytes; shorten it", what);
}

static int check(const struct fw_sink_options *options, struct fw_error *error)
{
    const bool is_default = options->exchange == NULL || options->exchange[0] == '\0';
    int status = FW_OK;

    if (options->url == NULL)
        return fw_fail(error, FW_EINVAL, "the sink '%s' has no URL; give it one", options->name);
    if (strcmp(options->url->scheme, "amqp") != 0 && strcmp(options->url->scheme, "amqps") != 0)
        return fw_fail(error, FW_EINVAL, "'%s' is no RabbitMQ; use amqp:// or amqps://",
                       options->url->display);
    if (options->timeout_ms < 1)
        return fw_fail(error, FW_EINVAL, "the sink '%s' needs a timeout above 0", options->name);
    status = fw_routing_check(options->routing_key, error);
    if (status == FW_OK)
        status = check_name("exchange", options->exchange, error);
    if (status == FW_OK)
        status = check_name("queue", options->queue, error);
    if (status == FW_OK)
        status = check_name("routing_key", options->routing_key, error);
    if (status == FW_OK && is_default && options->declare && options->queue != NULL &&
        strcmp(options->queue, options->routing_key) != 0)
        return fw_fail(error, FW_EINVAL,
                       "without an exchange the routing key is the name of the queue; name an "
                       "exchange, or set routing_key to '%s'",
                       options->queue);
    return status;
}

static char *vhost_of(const struct fw_url *url)
{
    const char *path = url->path[0] == '/' ? url->path + 1 : url->path;
    char *vhost = fw_strdup(path[0] != '\0' ? path : "/");

    return vhost != NULL ? fw_percent_decode(vhost) : NULL;
}

static void set_login(struct fw_amqp_options *amqp, const struct fw_sink_options *options,
                      bool is_tls)
{
    const struct fw_url *url = options->url;

    if (url->username == NULL && is_tls && options->certificate_file != NULL)
        return; // by the certificate
    amqp->username = url->username != NULL ? url->username : "guest";
    amqp->password = url->username != NULL || fw_secret_is_set(url->password)
                         ? fw_secret_reveal(url->password)
                         : "guest";
}

static void set_options(struct rabbitmq_sink *sink, const struct fw_sink_options *options)
{
    const bool is_tls = strcmp(options->url->scheme, "amqps") == 0;

    sink->routing_key = options->routing_key;
    sink->worker_id = options->worker_id;
    sink->timeout_ms = options->timeout_ms;
    sink->peer_options = (struct fw_peer_options){
        .url = options->url,
        .default_port = is_tls ? TLS_PORT : PORT,
        .is_tls = is_tls,
        .ca_file = options->ca_file,
        .certificate_file = options->certificate_file,
        .key_file = options->key_file,
        .tls_verify = options->tls_verify,
        .resolver = options->resolver,
    };
    sink->amqp_options = (struct fw_amqp_options){
        .client_name = sink->client_name,
        .vhost = sink->vhost,
        .exchange = options->exchange != NULL ? options->exchange : "",
        .declare = options->declare,
        .queue = options->queue,
        .binding = sink->binding,
        .heartbeat_s = HEARTBEAT_S,
    };
    set_login(&sink->amqp_options, options, is_tls);
}

static int rabbitmq_open(void **state, const struct fw_sink_options *options,
                         struct fw_error *error)
{
    struct rabbitmq_sink *sink;
    int status = check(options, error);

    if (status != FW_OK)
        return status;
    sink = calloc(1, sizeof(*sink));
    if (sink == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    *state = sink;
    sink->client_name = fw_strdup_printf("faceworker %.200s", options->worker_id);
    sink->vhost = vhost_of(options->url);
    sink->binding = binding_of(options->routing_key);
    if (sink->client_name == NULL || sink->vhost == NULL || sink->binding == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the sink '%s'", options->name);
    set_options(sink, options);
    return check_name("virtual host", sink->vhost, error);
}

const struct fw_sink_backend fw_sink_rabbitmq = {
    .type = "rabbitmq",
    .max_batch = FW_AMQP_MAX_PENDING,
    .open = rabbitmq_open,
    .deliver = rabbitmq_deliver,
    .idle = rabbitmq_idle,
    .close = rabbitmq_close,
};
