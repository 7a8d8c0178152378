// Takes events from the cameras' side and hands them to the sinks, each with its own pace.
//
// This is the memory form: events wait in bounded queues while a sink is away, and what a stop or a
// crash finds there is lost and counted. The durable outbox takes this file's place behind the same
// functions.
#ifndef FW_ALERT_DISPATCHER_H
#define FW_ALERT_DISPATCHER_H

#include "alert/sink.h"

// A sink that fails is tried again after fw_backoff_default, one that refuses us (FW_EAUTH) after
// fw_backoff_refused, never sooner than it asked for (a minute at most). An event that it rejects
// (FW_EREJECTED) is given up for that sink, counted and logged. Events of one camera go to a sink
// in the order of their posting.
//
// A sink that has confirmed an event is never given it again, and no other one is by
// FW_DELIVERY_FALLBACK. A sink that took an event without our learning of it (no answer in time)
// gets it once more, under the same id: consumers drop what they know.

// How a sink is doing, for /readyz and the metrics.
enum fw_sink_state { FW_SINK_OK, FW_SINK_RETRYING, FW_SINK_REFUSED };

struct fw_sink_status {
    const char *name; // the sink's own; lives as long as the dispatcher
    enum fw_sink_state state;
    // `retried` counts attempts that failed and are made again. Under FW_DELIVERY_FALLBACK the
    // drops of the one record count for the first sink, and `waiting` is what is due to this sink.
    uint64_t delivered, retried, rejected, dropped, waiting;
    char last_error[256]; // "" when all is well; never a secret
};

enum fw_delivery {
    // One record an event. It is the first sink's alone for fallback_after_ms from its posting;
    // after that the next one's too (and so on), whichever gets to it first. An attempt that
    // outlasts its time is cancelled when the next sink is ready. What one sink rejects goes to the
    // next at once.
    FW_DELIVERY_FALLBACK,
    // A record for each sink.
    FW_DELIVERY_ALL,
};

#define FW_DISPATCHER_MAX_SINKS 16

struct fw_dispatcher_options {
    enum fw_delivery delivery;
    int64_t fallback_after_ms;
    size_t max_events; // waiting, per record; above it the oldest is dropped, logged and counted
    const struct fw_log *log;
};

struct fw_dispatcher;

// Takes the SINKS (COUNT of them, 0 to FW_DISPATCHER_MAX_SINKS) over, also on failure. NULL when
// memory or threads are out.
struct fw_dispatcher *fw_dispatcher_create(const struct fw_dispatcher_options *options,
                                           struct fw_sink **sinks, size_t count);
// Hands EVENT (a reference is taken) over; never blocks. FW_OK, FW_ECANCELED (being destroyed),
// FW_ENOMEM (not handed to every sink; counted as dropped). Any thread.
int fw_dispatcher_post(struct fw_dispatcher *dispatcher, struct fw_event *event);
// Waits up to TIMEOUT_MS until nothing waits. True if so.
bool fw_dispatcher_drain(struct fw_dispatcher *dispatcher, int64_t timeout_ms);
// Fills up to MAX entries, returns how many sinks there are. Any thread.
size_t fw_dispatcher_status(struct fw_dispatcher *dispatcher, struct fw_sink_status *status,
                            size_t max);
// Stops within TIMEOUT_MS and frees; events still waiting are counted in the log. FW_OK or
// FW_ETIMEDOUT (a sink does not return: its thread, the dispatcher and all sinks are left behind).
// No other thread may be inside any more. NULL is allowed.
int fw_dispatcher_destroy(struct fw_dispatcher *dispatcher, int64_t timeout_ms);

#endif
