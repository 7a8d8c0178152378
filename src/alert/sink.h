// Where events go. A sink is a const descriptor; the dispatcher calls it on one thread of its own.
#ifndef FW_ALERT_SINK_H
#define FW_ALERT_SINK_H

#include "alert/event.h"
#include "util/error.h"

struct fw_cancel;
struct fw_log;
struct fw_secret;
struct fw_url;

// Strings are borrowed and outlive the sink. The "http" sink needs curl_global_init() to have been
// called by the program, once, before the first sink is opened.
struct fw_sink_options {
    const char *type;              // "file", "http"
    const char *name;              // unique, for logs and metrics
    const char *path;              // "file"
    const struct fw_url *url;      // "http"
    const struct fw_secret *token; // "http": bearer; may be NULL
    int64_t timeout_ms;
    const struct fw_log *log;
};

// One row of the table in sink.c. CANCEL may be NULL.
struct fw_sink_backend {
    const char *type;
    int (*open)(void **state, const struct fw_sink_options *options, struct fw_error *error);
    // Delivers one event and returns once the peer has taken it: FW_OK counts as delivered.
    // FW_EAUTH: the peer refuses us (401, 403, 404, 407): hold. FW_EREJECTED: it refuses this event
    // (400, 413, 415, 422): give it up. Anything else: try again later. Returns soon after CANCEL
    // was triggered, with FW_ECANCELED unless the peer has taken the event already.
    int (*deliver)(void *state, const struct fw_event *event, struct fw_cancel *cancel,
                   struct fw_error *error);
    // How long the peer asked to be left alone in its latest answer, 0 if it did not. Optional.
    int64_t (*retry_after_ms)(const void *state);
    void (*close)(void *state); // a half-built STATE, too
};

extern const struct fw_sink_backend fw_sink_file, fw_sink_http;

// One thread at a time.
struct fw_sink;

// FW_OK with *SINK the caller's; else *SINK is NULL and ERROR says why: FW_EINVAL (unknown type, a
// missing option), FW_EIO (a file that can't be written), FW_ENOMEM. No peer is asked yet.
int fw_sink_open(struct fw_sink **sink, const struct fw_sink_options *options,
                 struct fw_error *error);
// The same for a backend that the table does not have; borrowed.
int fw_sink_open_backend(struct fw_sink **sink, const struct fw_sink_backend *backend,
                         const struct fw_sink_options *options, struct fw_error *error);
int fw_sink_deliver(struct fw_sink *sink, const struct fw_event *event, struct fw_cancel *cancel,
                    struct fw_error *error);
int64_t fw_sink_retry_after_ms(const struct fw_sink *sink);
const char *fw_sink_name(const struct fw_sink *sink); // lives as long as the sink
void fw_sink_close(struct fw_sink *sink);             // NULL is allowed

#endif
