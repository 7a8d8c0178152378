// Where events go. A sink is a const descriptor; the dispatcher calls it on one thread of its own.
#ifndef FW_ALERT_SINK_H
#define FW_ALERT_SINK_H

#include "alert/message.h"
#include "util/error.h"

struct fw_cancel;
struct fw_log;
struct fw_resolver;
struct fw_secret;
struct fw_url;

// Strings are borrowed and outlive the sink; NULL where nothing was given. The "http" sink needs
// curl_global_init() and the "mqtt" sink fw_sink_library_init() to have been called by the program,
// once, before the first sink is opened.
struct fw_sink_options {
    const char *type;         // "file", "http", "rabbitmq", "redis", "mqtt"
    const char *name;         // unique, for logs and metrics
    const char *worker_id;    // names us to brokers
    const char *path;         // "file"
    const struct fw_url *url; // all but "file"; carries user name and password
    int64_t timeout_ms;       // of each step: connecting, and the wait for an answer

    // How messages for this sink are made.
    enum fw_message_format format;
    bool embed_snapshot;

    const struct fw_secret *token;       // "http": bearer
    const struct fw_secret *hmac_secret; // "http": signs each request

    const char *exchange; // "rabbitmq"; "": the default one
    // "rabbitmq": routing key, "redis": stream, "mqtt": topic. {camera_id}, {type} and {worker_id}
    // are filled in; {type} is the last two words of it, "face.appeared".
    const char *routing_key;
    bool declare;        // "rabbitmq": makes the exchange, and the queue when it has a name
    const char *queue;   // "rabbitmq": the queue to make and bind
    int64_t max_length;  // "redis": MAXLEN ~; 0: no bound
    bool retain_state;   // "mqtt": camera states are retained
    bool home_assistant; // "mqtt": announces the cameras to Home Assistant
    const char *discovery_prefix; // "mqtt": Home Assistant's topic prefix

    // TLS (amqps://, rediss://, mqtts://, https://): NULL takes the system's authorities.
    const char *ca_file, *certificate_file, *key_file;
    bool tls_verify;

    struct fw_resolver *resolver; // outlives the sink
    const struct fw_log *log;
};

// One row of the table in sink.c. CANCEL may be NULL.
struct fw_sink_backend {
    const char *type;
    size_t max_batch; // messages that `deliver` takes at once, at least 1
    int (*open)(void **state, const struct fw_sink_options *options, struct fw_error *error);
    // Delivers COUNT messages in their order, and returns once the peer has answered for all of
    // them, or it is clear that it will not. RESULTS[i] becomes FW_OK (the peer has it for good),
    // FW_EREJECTED (the peer refuses this very message: HTTP 400, 413, 415, 422), or what went
    // wrong before it was delivered. Returns FW_OK when every result is FW_OK or FW_EREJECTED (then
    // ERROR says why the last rejected one was); FW_EAUTH when the peer refuses us (401, 403, 404,
    // 405, 407, 410, wrong credentials, missing exchange): hold; FW_ECANCELED; anything else: try
    // again later. Returns soon after CANCEL was triggered. Never delivers a later message of a
    // camera after an earlier one of it failed. On entry every result is FW_EAGAIN.
    int (*deliver)(void *state, const struct fw_message *messages, size_t count, int *results,
                   struct fw_cancel *cancel, struct fw_error *error);
    // How long the peer asked to be left alone in its latest answer, 0 if it did not. Optional.
    int64_t (*retry_after_ms)(const void *state);
    // Nothing was delivered for a while: keeps heartbeats going, notices a lost connection. Called
    // about once a second. Returns as `deliver`. Optional.
    int (*idle)(void *state, struct fw_cancel *cancel, struct fw_error *error);
    void (*close)(void *state); // a half-built STATE, too
};

extern const struct fw_sink_backend fw_sink_file, fw_sink_http, fw_sink_rabbitmq, fw_sink_redis,
    fw_sink_mqtt;

// Gets libmosquitto ready, whose state is the process's. Before other threads are started. There is
// no counterpart: libmosquitto's would unload OpenSSL's settings under others' feet. FW_OK or
// FW_ENOMEM.
int fw_sink_library_init(void);

// One thread at a time.
struct fw_sink;

// FW_OK with *SINK the caller's; else *SINK is NULL and ERROR says why: FW_EINVAL (unknown type, a
// missing option), FW_EIO (a file that can't be written), FW_ENOMEM. No peer is asked yet.
int fw_sink_open(struct fw_sink **sink, const struct fw_sink_options *options,
                 struct fw_error *error);
// The same for a backend that the table does not have; borrowed.
int fw_sink_open_backend(struct fw_sink **sink, const struct fw_sink_backend *backend,
                         const struct fw_sink_options *options, struct fw_error *error);
// As the backend's `deliver`; COUNT is fw_sink_max_batch() at most (else FW_EINVAL).
int fw_sink_deliver(struct fw_sink *sink, const struct fw_message *messages, size_t count,
                    int *results, struct fw_cancel *cancel, struct fw_error *error);
int fw_sink_idle(struct fw_sink *sink, struct fw_cancel *cancel, struct fw_error *error);
bool fw_sink_has_idle(const struct fw_sink *sink); // else fw_sink_idle() does nothing
int64_t fw_sink_retry_after_ms(const struct fw_sink *sink);
size_t fw_sink_max_batch(const struct fw_sink *sink);
const char *fw_sink_name(const struct fw_sink *sink); // lives as long as the sink
// How messages for this sink are to be made; `pictures` is NULL.
struct fw_message_options fw_sink_message_options(const struct fw_sink *sink);
void fw_sink_close(struct fw_sink *sink); // NULL is allowed

#endif
