#include "alert/amqp_client.h"
#include "alert/message.h"
#include "util/clock.h"
#include "util/text.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if __has_include(<rabbitmq-c/amqp.h>) // from 0.12 on
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#endif

// AMQP 0-9-1 §4.2.3: type, channel and size before a frame's payload, an end mark after it.
enum { FRAME_HEAD_BYTES = 7, FRAME_BYTES = FRAME_HEAD_BYTES + 1 };
// §4.2.3: every peer takes frames of this size, also before both have agreed on another. Our
// methods and headers fit into it.
enum { FRAME_MIN_BYTES = 4096, FRAME_MAX_BYTES = 131072 };
enum { CONTENT_HEAD_BYTES = 12, METHOD_ID_BYTES = 4 };
enum { CHANNEL = 1, PROTOCOL_HEADER = 'A', PERSISTENT = 2 };
enum { MAX_REPLY_TEXT = 200 };

// What is awaited from the broker.
enum step {
    STEP_START,
    STEP_TUNE,
    STEP_OPEN,
    STEP_CHANNEL,
    STEP_CONFIRM,
    STEP_EXCHANGE,
    STEP_QUEUE,
    STEP_BIND,
    STEP_READY,
};

struct pending {
    char id[37];
    enum fw_amqp_fate fate;
    bool is_returned; // a returned message is confirmed, too, right after
    uint64_t tag;
    size_t length;
    int64_t since_us;
};

struct fw_amqp {
    struct fw_amqp_options options;
    amqp_connection_state_t codec;
    enum step step;
    size_t frame_max;
    int64_t heartbeat_us; // 0: none
    int64_t heard_us, spoke_us;

    char *output;
    size_t begin, end, capacity;

    char blocked[128]; // "" while it is not
    bool returns;      // the header that comes next is of a returned message
    uint64_t tag;      // of the message published last
    struct pending pending[FW_AMQP_MAX_PENDING];
    size_t pending_count;
};

static int nonsense(struct fw_error *error, const char *what)
{
    return fw_fail(error, FW_ECONNECT,
                   "what answers does not talk AMQP 0-9-1 as it should (%s); check the address",
                   what);
}

static int no_memory(struct fw_error *error)
{
    return fw_fail(error, FW_ENOMEM, "no memory to talk to the broker");
}

// Room for SIZE more bytes of output; NULL when memory is out.
static char *reserve(struct fw_amqp *amqp, size_t size)
{
    size_t used = amqp->end - amqp->begin;

    if (amqp->capacity - amqp->end < size && amqp->begin > 0) {
        memmove(amqp->output, amqp->output + amqp->begin, used);
        amqp->begin = 0;
        amqp->end = used;
    }
    if (amqp->capacity - amqp->end < size) {
        char *larger = malloc(used + size); // not realloc(): a login leaves no copy behind
        if (larger == NULL)
            return NULL;
        if (used > 0)
            memcpy(larger, amqp->output, used);
        OPENSSL_cleanse(amqp->output, amqp->end);
        free(amqp->output);
        amqp->output = larger;
        amqp->capacity = used + size;
    }
    return amqp->output + amqp->end;
}

static void put_number(char *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (char)(value >> 8 * (bytes - 1 - i));
}

// Puts head and end around LENGTH bytes of payload that lie at their place in the reserved room.
static void end_frame(struct fw_amqp *amqp, int type, int channel, size_t length)
{
    char *frame = amqp->output + amqp->end;

    put_number(frame, (uint64_t)type, 1);
    put_number(frame + 1, (uint64_t)channel, 2);
    put_number(frame + 3, length, 4);
    frame[FRAME_HEAD_BYTES + length] = (char)AMQP_FRAME_END;
    amqp->end += length + FRAME_BYTES;
}

// METHOD's fields are not changed, but librabbitmq wants to be free to do so.
static int send_method(struct fw_amqp *amqp, int channel, amqp_method_number_t id, void *method)
{
    char *payload;
    int length;

    if (reserve(amqp, FRAME_MIN_BYTES) == NULL)
        return FW_ENOMEM;
    payload = amqp->output + amqp->end + FRAME_HEAD_BYTES;
    put_number(payload, id, METHOD_ID_BYTES);
    length =
        amqp_encode_method(id, method,
                           (amqp_bytes_t){.len = FRAME_MIN_BYTES - FRAME_BYTES - METHOD_ID_BYTES,
                                          .bytes = payload + METHOD_ID_BYTES});
    if (length < 0)
        return FW_EINVAL; // names or credentials that fit into no frame
    end_frame(amqp, AMQP_FRAME_METHOD, channel, METHOD_ID_BYTES + (size_t)length);
    return FW_OK;
}

static amqp_bytes_t bytes_of(const char *text)
{
    return amqp_cstring_bytes(text);
}

// REPLY_TEXT as something that can be shown.
static void append_reply(struct fw_text *out, amqp_bytes_t reply_text)
{
    char text[MAX_REPLY_TEXT + 1];
    size_t length = reply_text.len < MAX_REPLY_TEXT ? reply_text.len : MAX_REPLY_TEXT;

    if (length > 0)
        memcpy(text, reply_text.bytes, length);
    text[length] = '\0';
    fw_text_append_visible(out, text);
}

static const char *advice_on(const struct fw_amqp *amqp, int code)
{
    if (amqp->step < STEP_CHANNEL && code == AMQP_ACCESS_REFUSED)
        return "check user name and password, and the user's rights";
    switch (code) {
    case AMQP_ACCESS_REFUSED:
        return "give the user the right to write to the exchange (and to configure, for declare)";
    case AMQP_NOT_FOUND:
        return "make the exchange, or set declare";
    case AMQP_PRECONDITION_FAILED:
        return "it exists with other properties: use it as it is, without declare";
    case AMQP_NOT_ALLOWED:
        return "check the virtual host and the user's rights for it";
    default:
        return "the broker's log says why";
    }
}

static bool is_refusal(int code)
{
    return code == AMQP_ACCESS_REFUSED || code == AMQP_NOT_FOUND ||
           code == AMQP_PRECONDITION_FAILED || code == AMQP_NOT_ALLOWED ||
           code == AMQP_RESOURCE_LOCKED || code == AMQP_INVALID_PATH;
}

static int ended_by_broker(const struct fw_amqp *amqp, int code, amqp_bytes_t reply_text,
                           struct fw_error *error)
{
    const bool refused = is_refusal(code);
    struct fw_text text = FW_TEXT_INIT;

    append_reply(&text, reply_text);
    fw_fail(error, refused ? FW_EAUTH : FW_ECONNECT, "the broker %s: %s (%d); %s",
            refused ? "refused us" : "ended the connection", fw_text_get(&text), code,
            advice_on(amqp, code));
    fw_text_free(&text);
    return refused ? FW_EAUTH : FW_ECONNECT;
}

// RabbitMQ names the size of what was too large: "PRECONDITION_FAILED - message size 9 is larger
// than …". Without this such a message would be tried for ever.
static bool blame_too_large(struct fw_amqp *amqp, int code, amqp_bytes_t reply_text)
{
    static const char before[] = "message size ";
    struct fw_text text = FW_TEXT_INIT;
    const char *at;
    bool is_found = false;

    append_reply(&text, reply_text);
    at = strstr(fw_text_get(&text), before);
    if (at != NULL && (code == AMQP_PRECONDITION_FAILED || code == AMQP_CONTENT_TOO_LARGE)) {
        unsigned long long size = strtoull(at + sizeof(before) - 1, NULL, 10);
        for (size_t i = 0; i < amqp->pending_count && !is_found; i++) {
            struct pending *pending = &amqp->pending[i];
            is_found = pending->fate == FW_AMQP_IN_FLIGHT && pending->length == size;
            if (is_found)
                pending->fate = FW_AMQP_TOO_LARGE;
        }
    }
    fw_text_free(&text);
    return is_found;
}

static int take_channel_close(struct fw_amqp *amqp, const amqp_channel_close_t *close,
                              struct fw_error *error)
{
    fw_amqp_say_goodbye(amqp);
    if (blame_too_large(amqp, close->reply_code, close->reply_text))
        return fw_fail(error, FW_ECONNECT,
                       "the broker ended the connection because of an alert above its "
                       "max_message_size; the others are sent again");
    return ended_by_broker(amqp, close->reply_code, close->reply_text, error);
}

// --- Login and declarations: what follows upon each answer.

static bool has_mechanism(amqp_bytes_t offered, const char *wanted)
{
    const char *at = offered.bytes, *end = at + offered.len;
    size_t length = strlen(wanted);

    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *stop = space != NULL ? space : end;
        if ((size_t)(stop - at) == length && memcmp(at, wanted, length) == 0)
            return true;
        at = stop + 1;
    }
    return false;
}

static amqp_table_entry_t flag_entry(const char *key)
{
    return (amqp_table_entry_t){.key = bytes_of(key),
                                .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static amqp_table_entry_t text_entry(const char *key, const char *text)
{
    return (amqp_table_entry_t){
        .key = bytes_of(key),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(text)}};
}

// "\0user\0password" for PLAIN (RFC 4616), nothing for EXTERNAL.
static int append_login(const struct fw_amqp_options *options, struct fw_text *response)
{
    if (options->username == NULL)
        return FW_OK;
    response->capacity = strlen(options->username) + strlen(options->password) + 3;
    response->data = malloc(response->capacity); // whole at once: no copies that nobody wipes
    if (response->data == NULL)
        return FW_ENOMEM;
    fw_text_append_n(response, "", 1);
    fw_text_append(response, options->username);
    fw_text_append_n(response, "", 1);
    fw_text_append(response, options->password);
    return FW_OK;
}

static int send_start_ok(struct fw_amqp *amqp)
{
    const char *mechanism = amqp->options.username != NULL ? "PLAIN" : "EXTERNAL";
    amqp_table_entry_t flags[] = {flag_entry("publisher_confirms"), flag_entry("basic.nack"),
                                  flag_entry("connection.blocked"),
                                  flag_entry("authentication_failure_close")};
    amqp_table_entry_t entries[] = {
        text_entry("product", "faceworker"),
        text_entry("version", FW_VERSION),
        text_entry("connection_name", amqp->options.client_name),
        {.key = bytes_of("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE,
                   .value.table = {.num_entries = sizeof(flags) / sizeof(flags[0]),
                                   .entries = flags}}},
    };
    struct fw_text response = FW_TEXT_INIT;
    amqp_connection_start_ok_t method = {
        .client_properties = {.num_entries = sizeof(entries) / sizeof(entries[0]),
                              .entries = entries},
        .mechanism = bytes_of(mechanism),
        .locale = bytes_of("en_US"),
    };
    int status = append_login(&amqp->options, &response);

    method.response = (amqp_bytes_t){.len = response.length, .bytes = response.data};
    if (status == FW_OK)
        status = send_method(amqp, 0, AMQP_CONNECTION_START_OK_METHOD, &method);
    if (response.data != NULL)
        OPENSSL_cleanse(response.data, response.capacity);
    fw_text_free(&response);
    return status;
}

static int take_start(struct fw_amqp *amqp, void *method, struct fw_error *error)
{
    const amqp_connection_start_t *start = method;
    const char *mechanism = amqp->options.username != NULL ? "PLAIN" : "EXTERNAL";

    if (start->version_major != 0 || start->version_minor != 9)
        return nonsense(error, "another version");
    if (!has_mechanism(start->mechanisms, mechanism))
        return fw_fail(error, FW_EAUTH, "the broker takes no login by %s; %s", mechanism,
                       amqp->options.username != NULL
                           ? "let it take user names and passwords"
                           : "enable its plugin rabbitmq_auth_mechanism_ssl, or give a user name");
    amqp->step = STEP_TUNE;
    return send_start_ok(amqp);
}

static int take_tune(struct fw_amqp *amqp, void *method, struct fw_error *error)
{
    const amqp_connection_tune_t *tune = method;
    amqp_connection_tune_ok_t answer = {.channel_max = CHANNEL, .frame_max = FRAME_MAX_BYTES};
    amqp_connection_open_t open = {.virtual_host = bytes_of(amqp->options.vhost)};
    int status;

    if (tune->frame_max != 0 && tune->frame_max < FRAME_MIN_BYTES)
        return nonsense(error, "frames of less than 4096 bytes");
    if (tune->frame_max != 0 && tune->frame_max < FRAME_MAX_BYTES)
        answer.frame_max = tune->frame_max;
    answer.heartbeat = (uint16_t)amqp->options.heartbeat_s;
    if (tune->heartbeat != 0 && tune->heartbeat < answer.heartbeat)
        answer.heartbeat = tune->heartbeat;
    if (amqp_tune_connection(amqp->codec, CHANNEL, (int)answer.frame_max, 0) != AMQP_STATUS_OK)
        return FW_ENOMEM;
    amqp->frame_max = answer.frame_max;
    amqp->heartbeat_us = answer.heartbeat * FW_US_PER_S;
    amqp->step = STEP_OPEN;
    status = send_method(amqp, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &answer);
    return status == FW_OK ? send_method(amqp, 0, AMQP_CONNECTION_OPEN_METHOD, &open) : status;
}

static int take_open_ok(struct fw_amqp *amqp, void *method, struct fw_error *error)
{
    amqp_channel_open_t open = {0};
    (void)method;
    (void)error;

    amqp->step = STEP_CHANNEL;
    return send_method(amqp, CHANNEL, AMQP_CHANNEL_OPEN_METHOD, &open);
}

static int take_channel_ok(struct fw_amqp *amqp, void *method, struct fw_error *error)
{
    amqp_confirm_select_t select = {0};
    (void)method;
    (void)error;

    amqp->step = STEP_CONFIRM;
    return send_method(amqp, CHANNEL, AMQP_CONFIRM_SELECT_METHOD, &select);
}

static int declare_exchange(struct fw_amqp *amqp)
{
    amqp_exchange_declare_t declare = {
        .exchange = bytes_of(amqp->options.exchange), .type = bytes_of("topic"), .durable = 1};

    amqp->step = STEP_EXCHANGE;
    return send_method(amqp, CHANNEL, AMQP_EXCHANGE_DECLARE_METHOD, &declare);
}

static int declare_queue(struct fw_amqp *amqp)
{
    amqp_queue_declare_t declare = {.queue = bytes_of(amqp->options.queue), .durable = 1};

    amqp->step = STEP_QUEUE;
    return send_method(amqp, CHANNEL, AMQP_QUEUE_DECLARE_METHOD, &declare);
}

static int bind_queue(struct fw_amqp *amqp)
{
    amqp_queue_bind_t bind = {.queue = bytes_of(amqp->options.queue),
                              .exchange = bytes_of(amqp->options.exchange),
                              .routing_key = bytes_of(amqp->options.binding)};

    amqp->step = STEP_BIND;
    return send_method(amqp, CHANNEL, AMQP_QUEUE_BIND_METHOD, &bind);
}

// The declarations that are wanted, one after the other.
static int take_declared(struct fw_amqp *amqp, void *method, struct fw_error *error)
{
    const struct fw_amqp_options *options = &amqp->options;
    const bool has_exchange = options->declare && options->exchange[0] != '\0';
    const bool has_queue = options->declare && options->queue != NULL;
    (void)method;
    (void)error;

    if (amqp->step < STEP_EXCHANGE && has_exchange)
        return declare_exchange(amqp);
    if (amqp->step < STEP_QUEUE && has_queue)
        return declare_queue(amqp);
    if (amqp->step < STEP_BIND && has_queue && has_exchange)
        return bind_queue(amqp);
    amqp->step = STEP_READY;
    return FW_OK;
}

static const struct {
    amqp_method_number_t awaited;
    int (*take)(struct fw_amqp *amqp, void *method, struct fw_error *error);
} steps[STEP_READY] = {
    [STEP_START] = {AMQP_CONNECTION_START_METHOD, take_start},
    [STEP_TUNE] = {AMQP_CONNECTION_TUNE_METHOD, take_tune},
    [STEP_OPEN] = {AMQP_CONNECTION_OPEN_OK_METHOD, take_open_ok},
    [STEP_CHANNEL] = {AMQP_CHANNEL_OPEN_OK_METHOD, take_channel_ok},
    [STEP_CONFIRM] = {AMQP_CONFIRM_SELECT_OK_METHOD, take_declared},
    [STEP_EXCHANGE] = {AMQP_EXCHANGE_DECLARE_OK_METHOD, take_declared},
    [STEP_QUEUE] = {AMQP_QUEUE_DECLARE_OK_METHOD, take_declared},
    [STEP_BIND] = {AMQP_QUEUE_BIND_OK_METHOD, take_declared},
};

static int take_step(struct fw_amqp *amqp, amqp_method_t method, struct fw_error *error)
{
    int status;

    if (method.id != steps[amqp->step].awaited)
        return nonsense(error, "an answer out of turn");
    status = steps[amqp->step].take(amqp, method.decoded, error);
    if (status == FW_ENOMEM)
        return no_memory(error);
    if (status == FW_EINVAL)
        return fw_fail(error, FW_EAUTH, "user name and password are too long for any broker");
    return status;
}

// --- Confirms.

static int settle(struct fw_amqp *amqp, uint64_t tag, bool multiple, enum fw_amqp_fate fate,
                  struct fw_error *error)
{
    if (tag > amqp->tag)
        return nonsense(error, "a confirm of what was never sent");
    for (size_t i = 0; i < amqp->pending_count; i++) {
        struct pending *pending = &amqp->pending[i];
        const bool is_meant = pending->tag == tag || (multiple && (tag == 0 || pending->tag < tag));
        if (!is_meant || pending->fate != FW_AMQP_IN_FLIGHT)
            continue;
        pending->fate = fate;
        if (fate == FW_AMQP_CONFIRMED && pending->is_returned)
            pending->fate = FW_AMQP_RETURNED;
    }
    return FW_OK;
}

static int take_ready(struct fw_amqp *amqp, amqp_method_t method, struct fw_error *error)
{
    const amqp_basic_ack_t *ack = method.decoded;
    const amqp_basic_nack_t *nack = method.decoded;

    switch (method.id) {
    case AMQP_BASIC_ACK_METHOD:
        return settle(amqp, ack->delivery_tag, ack->multiple, FW_AMQP_CONFIRMED, error);
    case AMQP_BASIC_NACK_METHOD:
        return settle(amqp, nack->delivery_tag, nack->multiple, FW_AMQP_NACKED, error);
    case AMQP_BASIC_RETURN_METHOD:
        amqp->returns = true;
        return FW_OK;
    default:
        return nonsense(error, "a method that nobody asked for");
    }
}

static void take_header(struct fw_amqp *amqp, const amqp_frame_t *frame)
{
    const amqp_basic_properties_t *properties = frame->payload.properties.decoded;

    if (!amqp->returns || frame->payload.properties.class_id != AMQP_BASIC_CLASS)
        return;
    amqp->returns = false;
    if (!(properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG))
        return;
    for (size_t i = 0; i < amqp->pending_count; i++) {
        struct pending *pending = &amqp->pending[i];
        if (strlen(pending->id) == properties->message_id.len &&
            memcmp(pending->id, properties->message_id.bytes, properties->message_id.len) == 0)
            pending->is_returned = true;
    }
}

static void take_blocked(struct fw_amqp *amqp, const amqp_connection_blocked_t *blocked)
{
    struct fw_text reason = FW_TEXT_INIT;

    append_reply(&reason, blocked->reason);
    snprintf(amqp->blocked, sizeof(amqp->blocked), "%s",
             reason.length > 0 ? reason.data : "no reason given");
    fw_text_free(&reason);
}

// Nothing was confirmed during the block: the wait for confirms begins anew.
static void take_unblocked(struct fw_amqp *amqp)
{
    amqp->blocked[0] = '\0';
    for (size_t i = 0; i < amqp->pending_count; i++)
        amqp->pending[i].since_us = amqp->heard_us;
}

static int take_connection_close(struct fw_amqp *amqp, const amqp_connection_close_t *close,
                                 struct fw_error *error)
{
    amqp_connection_close_ok_t answer = {0};

    if (amqp->begin == amqp->end) // never in the middle of a message
        (void)send_method(amqp, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &answer);
    return ended_by_broker(amqp, close->reply_code, close->reply_text, error);
}

static int take_method(struct fw_amqp *amqp, const amqp_frame_t *frame, struct fw_error *error)
{
    const amqp_method_t method = frame->payload.method;
    const bool is_of_connection = method.id >> 16 == AMQP_CONNECTION_CLASS;

    if (frame->channel != (is_of_connection ? 0 : CHANNEL))
        return nonsense(error, "a method on the wrong channel");
    switch (method.id) {
    case AMQP_CONNECTION_CLOSE_METHOD:
        return take_connection_close(amqp, method.decoded, error);
    case AMQP_CHANNEL_CLOSE_METHOD:
        return take_channel_close(amqp, method.decoded, error);
    case AMQP_CONNECTION_BLOCKED_METHOD:
        take_blocked(amqp, method.decoded);
        return FW_OK;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        take_unblocked(amqp);
        return FW_OK;
    default:
        return amqp->step == STEP_READY ? take_ready(amqp, method, error)
                                        : take_step(amqp, method, error);
    }
}

static int take_frame(struct fw_amqp *amqp, const amqp_frame_t *frame, struct fw_error *error)
{
    if (frame->channel > CHANNEL)
        return nonsense(error, "a channel that nobody opened");
    switch (frame->frame_type) {
    case PROTOCOL_HEADER:
        return nonsense(error, "another version");
    case AMQP_FRAME_METHOD:
        return take_method(amqp, frame, error);
    case AMQP_FRAME_HEADER:
        take_header(amqp, frame);
        return FW_OK;
    default: // heartbeats, and the bodies of returned messages
        return FW_OK;
    }
}

int fw_amqp_input(struct fw_amqp *amqp, void *data, size_t length, int64_t now_us,
                  struct fw_error *error)
{
    amqp_bytes_t left = {.len = length, .bytes = data};

    amqp->heard_us = now_us;
    while (left.len > 0) {
        amqp_frame_t frame;
        int status = FW_OK, done = amqp_handle_input(amqp->codec, left, &frame);
        if (done == AMQP_STATUS_NO_MEMORY)
            return no_memory(error);
        if (done < 0)
            return nonsense(error, amqp_error_string2(done));
        left.bytes = (char *)left.bytes + done;
        left.len -= (size_t)done;
        if (frame.frame_type != 0)
            status = take_frame(amqp, &frame, error);
        amqp_maybe_release_buffers(amqp->codec);
        if (status != FW_OK)
            return status;
    }
    return FW_OK;
}

struct fw_amqp *fw_amqp_create(const struct fw_amqp_options *options, int64_t now_us)
{
    static const char hello[] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1}; // §4.2.2
    struct fw_amqp *amqp = calloc(1, sizeof(*amqp));
    char *output;

    if (amqp == NULL)
        return NULL;
    amqp->options = *options;
    amqp->heard_us = amqp->spoke_us = now_us;
    amqp->codec = amqp_new_connection();
    output = reserve(amqp, FRAME_MIN_BYTES);
    if (amqp->codec == NULL || output == NULL) {
        fw_amqp_destroy(amqp);
        return NULL;
    }
    memcpy(output, hello, sizeof(hello));
    amqp->end = sizeof(hello);
    return amqp;
}

void fw_amqp_destroy(struct fw_amqp *amqp)
{
    if (amqp == NULL)
        return;
    if (amqp->codec != NULL)
        amqp_destroy_connection(amqp->codec);
    if (amqp->output != NULL)
        OPENSSL_cleanse(amqp->output, amqp->end);
    free(amqp->output);
    free(amqp);
}

const void *fw_amqp_output(const struct fw_amqp *amqp, size_t *length)
{
    *length = amqp->end - amqp->begin;
    return amqp->output + amqp->begin;
}

void fw_amqp_sent(struct fw_amqp *amqp, size_t length, int64_t now_us)
{
    amqp->spoke_us = now_us;
    amqp->begin += length;
    // A large message on a slow line: the wait for its confirm begins when it has gone.
    for (size_t i = 0; i < amqp->pending_count; i++)
        if (amqp->pending[i].tag == amqp->tag)
            amqp->pending[i].since_us = now_us;
    if (amqp->begin < amqp->end)
        return;
    OPENSSL_cleanse(amqp->output, amqp->end); // the login was in it
    amqp->begin = amqp->end = 0;
}

int fw_amqp_tick(struct fw_amqp *amqp, int64_t now_us, struct fw_error *error)
{
    if (amqp->heartbeat_us == 0)
        return FW_OK;
    if (now_us - amqp->heard_us > 2 * amqp->heartbeat_us)
        return fw_fail(error, FW_ETIMEDOUT,
                       "the broker was silent for %lld s; check that it is up and the network",
                       (long long)((now_us - amqp->heard_us) / FW_US_PER_S));
    if (amqp->begin < amqp->end || now_us - amqp->spoke_us < amqp->heartbeat_us / 2)
        return FW_OK;
    if (reserve(amqp, FRAME_BYTES) == NULL)
        return no_memory(error);
    end_frame(amqp, AMQP_FRAME_HEARTBEAT, 0, 0);
    return FW_OK;
}

void fw_amqp_say_goodbye(struct fw_amqp *amqp)
{
    amqp_connection_close_t close = {.reply_code = AMQP_REPLY_SUCCESS,
                                     .reply_text = bytes_of("goodbye")};

    if (amqp->begin == amqp->end) // never in the middle of a message
        (void)send_method(amqp, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
}

bool fw_amqp_is_ready(const struct fw_amqp *amqp)
{
    return amqp->step == STEP_READY;
}

const char *fw_amqp_blocked(const struct fw_amqp *amqp)
{
    return amqp->blocked[0] != '\0' ? amqp->blocked : NULL;
}

static amqp_basic_properties_t properties_of(const struct fw_message *message)
{
    return (amqp_basic_properties_t){
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                  AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG |
                  AMQP_BASIC_APP_ID_FLAG,
        .content_type = bytes_of(message->content_type),
        .delivery_mode = PERSISTENT,
        .message_id = bytes_of(message->id),
        .timestamp = (uint64_t)(message->time_utc_us / FW_US_PER_S),
        .type = bytes_of(message->type),
        .app_id = bytes_of("faceworker"),
    };
}

static int send_content_header(struct fw_amqp *amqp, const struct fw_message *message)
{
    char *payload = amqp->output + amqp->end + FRAME_HEAD_BYTES;
    amqp_basic_properties_t properties = properties_of(message);
    int length;

    put_number(payload, AMQP_BASIC_CLASS, 2);
    put_number(payload + 2, 0, 2); // "weight", unused
    put_number(payload + 4, message->length, 8);
    length = amqp_encode_properties(
        AMQP_BASIC_CLASS, &properties,
        (amqp_bytes_t){.len = FRAME_MIN_BYTES - FRAME_BYTES - CONTENT_HEAD_BYTES,
                       .bytes = payload + CONTENT_HEAD_BYTES});
    if (length < 0)
        return FW_EINVAL;
    end_frame(amqp, AMQP_FRAME_HEADER, CHANNEL, CONTENT_HEAD_BYTES + (size_t)length);
    return FW_OK;
}

static void send_body(struct fw_amqp *amqp, const struct fw_message *message)
{
    const size_t most = amqp->frame_max - FRAME_BYTES;

    for (size_t at = 0; at < message->length;) {
        size_t left = message->length - at, part = left < most ? left : most;
        memcpy(amqp->output + amqp->end + FRAME_HEAD_BYTES, message->body + at, part);
        end_frame(amqp, AMQP_FRAME_BODY, CHANNEL, part);
        at += part;
    }
}

static size_t size_of_publishing(const struct fw_amqp *amqp, const struct fw_message *message)
{
    size_t bodies = message->length / (amqp->frame_max - FRAME_BYTES) + 1;

    return 2 * FRAME_MIN_BYTES + message->length + bodies * FRAME_BYTES;
}

int fw_amqp_publish(struct fw_amqp *amqp, const struct fw_message *message, const char *routing_key,
                    int64_t now_us, struct fw_error *error)
{
    amqp_basic_publish_t publish = {.exchange = bytes_of(amqp->options.exchange),
                                    .routing_key = bytes_of(routing_key),
                                    .mandatory = 1};
    struct pending *pending = &amqp->pending[amqp->pending_count];
    size_t kept;

    if (amqp->pending_count == FW_AMQP_MAX_PENDING)
        return FW_EAGAIN;
    if (publish.routing_key.len > FW_AMQP_MAX_NAME)
        return fw_fail(error, FW_EREJECTED,
                       "the routing key has %zu bytes, AMQP allows 255; shorten routing_key",
                       publish.routing_key.len);
    // All at once, so that no half of it is left when there is no room.
    if (reserve(amqp, size_of_publishing(amqp, message)) == NULL)
        return no_memory(error);
    kept = amqp->end;
    if (send_method(amqp, CHANNEL, AMQP_BASIC_PUBLISH_METHOD, &publish) != FW_OK ||
        send_content_header(amqp, message) != FW_OK) {
        amqp->end = kept;
        return fw_fail(error, FW_EREJECTED, "the alert's properties fit into no AMQP frame");
    }
    send_body(amqp, message);
    *pending = (struct pending){.fate = FW_AMQP_IN_FLIGHT,
                                .tag = ++amqp->tag,
                                .length = message->length,
                                .since_us = now_us};
    memcpy(pending->id, message->id, sizeof(pending->id));
    amqp->pending_count++;
    return FW_OK;
}

enum fw_amqp_fate fw_amqp_take_fate(struct fw_amqp *amqp, const char *id)
{
    for (size_t i = 0; i < amqp->pending_count; i++) {
        const enum fw_amqp_fate fate = amqp->pending[i].fate;
        if (strcmp(amqp->pending[i].id, id) != 0)
            continue;
        if (fate != FW_AMQP_IN_FLIGHT)
            amqp->pending[i] = amqp->pending[--amqp->pending_count];
        return fate;
    }
    return FW_AMQP_UNKNOWN;
}

void fw_amqp_forget_settled(struct fw_amqp *amqp)
{
    for (size_t i = amqp->pending_count; i-- > 0;)
        if (amqp->pending[i].fate != FW_AMQP_IN_FLIGHT)
            amqp->pending[i] = amqp->pending[--amqp->pending_count];
}

int64_t fw_amqp_oldest_us(const struct fw_amqp *amqp)
{
    int64_t oldest_us = INT64_MAX;

    for (size_t i = 0; i < amqp->pending_count; i++)
        if (amqp->pending[i].fate == FW_AMQP_IN_FLIGHT && amqp->pending[i].since_us < oldest_us)
            oldest_us = amqp->pending[i].since_us;
    return oldest_us;
}
