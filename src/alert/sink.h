// Where events go. A sink is a const descriptor; the dispatcher calls it on one thread of its own.
#ifndef FW_ALERT_SINK_H
#define FW_ALERT_SINK_H

#include "alert/event.h"
#include "util/error.h"

struct fw_cancel;
struct fw_log;
struct fw_secret;
struct fw_url;

// Strings are borrowed and outlive the sink.
struct fw_sink_options {
    const char *type;              // "file", "http"
    const char *name;              // unique, for logs and metrics
    const char *path;              // "file"
    const struct fw_url *url;      // "http"
    const struct fw_secret *token; // "http": bearer; may be NULL
    int64_t timeout_ms;
    const struct fw_log *log;
};

// One row of the table in sink.c.
struct fw_sink_backend {
    const char *type;
    int (*open)(void **state, const struct fw_sink_options *options, struct fw_error *error);
    // Delivers one event and returns once the peer has taken it: FW_OK counts as delivered.
    // FW_EAUTH: the peer refuses us (401, 403, 404, 407): hold. FW_EREJECTED: it refuses this event
    // (400, 413, 415, 422): give it up. Anything else: try again later.
    int (*deliver)(void *state, const struct fw_event *event, struct fw_cancel *cancel,
                   struct fw_error *error);
    void (*close)(void *state);
};

struct fw_sink;

int fw_sink_open(struct fw_sink **sink, const struct fw_sink_options *options,
                 struct fw_error *error);
int fw_sink_deliver(struct fw_sink *sink, const struct fw_event *event, struct fw_cancel *cancel,
                    struct fw_error *error);
const char *fw_sink_name(const struct fw_sink *sink);
void fw_sink_close(struct fw_sink *sink);

#endif
