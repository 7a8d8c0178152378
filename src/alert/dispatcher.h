// Takes events from the cameras' side and hands them to the sinks, each with its own pace.
//
// This is the memory form: events wait in bounded queues while a sink is away, and what a stop or a
// crash finds there is lost and counted. The durable outbox takes this file's place behind the same
// functions.
#ifndef FW_ALERT_DISPATCHER_H
#define FW_ALERT_DISPATCHER_H

#include "alert/sink.h"

// How a sink is doing, for /readyz and the metrics.
enum fw_sink_state { FW_SINK_OK, FW_SINK_RETRYING, FW_SINK_REFUSED };

struct fw_sink_status {
    const char *name;
    enum fw_sink_state state;
    uint64_t delivered, retried, rejected, dropped, waiting;
    char last_error[256]; // "" when all is well; never a secret
};

enum fw_delivery {
    FW_DELIVERY_FALLBACK, // the first sink, the next one only when that has not confirmed in time
    FW_DELIVERY_ALL,      // every sink
};

struct fw_dispatcher_options {
    enum fw_delivery delivery;
    int64_t fallback_after_ms;
    size_t max_events; // waiting, per delivery record; the oldest is dropped and counted above it
    const struct fw_log *log;
};

struct fw_dispatcher;

// Takes the SINKS (COUNT of them, at least 0) over, also on failure. NULL when memory or threads
// are out.
struct fw_dispatcher *fw_dispatcher_create(const struct fw_dispatcher_options *options,
                                           struct fw_sink **sinks, size_t count);
// Hands EVENT (a reference is taken) over; never blocks. Any thread.
int fw_dispatcher_post(struct fw_dispatcher *dispatcher, struct fw_event *event);
// Waits up to TIMEOUT_MS until nothing waits. True if so.
bool fw_dispatcher_drain(struct fw_dispatcher *dispatcher, int64_t timeout_ms);
// Fills up to MAX entries, returns how many sinks there are. Any thread.
size_t fw_dispatcher_status(struct fw_dispatcher *dispatcher, struct fw_sink_status *status,
                            size_t max);
// Stops within TIMEOUT_MS and frees; events still waiting are counted in the log. FW_OK or
// FW_ETIMEDOUT (a sink does not return: its thread is left behind). NULL is allowed.
int fw_dispatcher_destroy(struct fw_dispatcher *dispatcher, int64_t timeout_ms);

#endif
