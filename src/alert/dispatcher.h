// Takes committed events from the outbox and hands them to the sinks, each with its own pace.
//
// Events are posted to the outbox (fw_outbox_post). A thread a sink takes them from there in the
// order of their posting, waits for their pictures, makes messages of them, delivers these in
// batches, and has the outbox note what became of each.
#ifndef FW_ALERT_DISPATCHER_H
#define FW_ALERT_DISPATCHER_H

#include "alert/outbox.h"
#include "alert/sink.h"

// A sink that fails is tried again after fw_backoff_default, one that refuses us (FW_EAUTH) after
// fw_backoff_refused, never sooner than it asked for (a minute at most). An event that it rejects
// (FW_EREJECTED) is a dead letter, with FW_DELIVERY_FALLBACK only once every sink has rejected it.
// Events of one camera go to a sink in the order of their posting.
//
// An event with pictures that are on their way is held for snapshot_wait_ms at most, and with it
// the later events of its camera; other cameras' go on.
//
// A sink that has confirmed an event is never given it again, and no other one is by
// FW_DELIVERY_FALLBACK. A sink that took an event without our learning of it (no answer in time, a
// crash before it was noted) gets it once more, under the same id: consumers drop what they know.

// How a sink is doing, for /readyz and the metrics.
enum fw_sink_state { FW_SINK_OK, FW_SINK_RETRYING, FW_SINK_REFUSED };

struct fw_sink_status {
    const char *name; // the sink's own; lives as long as the dispatcher
    enum fw_sink_state state;
    // Since the start. `retried` counts failed attempts (of a batch each) that are made again,
    // `dead` dead letters, `dropped` records that ended undelivered: too old, above max_bytes, or
    // pushed out of the ring of a full disk. Under FW_DELIVERY_FALLBACK the first sink carries the
    // `dead` and `dropped` of the one record.
    uint64_t delivered, retried, rejected, dead, dropped;
    // Records not delivered yet; under FW_DELIVERY_FALLBACK, for sinks after the first, of the
    // oldest ones those that are due to it.
    uint64_t waiting;
    int64_t oldest_waiting_us; // age of the oldest of these; 0: none
    char last_error[256];      // "" when all is well; never a secret
};

#define FW_DISPATCHER_MAX_SINKS 16

struct fw_dispatcher_options {
    // Borrowed, outlives the dispatcher. Opened with the names of the very sinks, in their order;
    // how they share the work (enum fw_delivery) is said there.
    struct fw_outbox *outbox;
    // With FW_DELIVERY_FALLBACK a record is the first sink's alone for this long from its posting,
    // or from our start when it was posted before.
    int64_t fallback_after_ms;
    int64_t snapshot_wait_ms;                 // from the posting
    const struct fw_picture_source *pictures; // borrowed; NULL: events go as they are
    const struct fw_log *log;
};

struct fw_dispatcher;

// Takes the SINKS (COUNT of them, 0 to FW_DISPATCHER_MAX_SINKS) over, also on failure. NULL when
// memory or threads are out, or the outbox was opened for another number of sinks.
struct fw_dispatcher *fw_dispatcher_create(const struct fw_dispatcher_options *options,
                                           struct fw_sink **sinks, size_t count);
// A picture's state has changed: events that wait for it are looked at again. Returns at once. Any
// thread, also one that holds the picture source's own lock.
void fw_dispatcher_pictures_changed(struct fw_dispatcher *dispatcher);
// Waits up to TIMEOUT_MS until nothing waits, neither for its commit nor for a sink. True if so.
bool fw_dispatcher_drain(struct fw_dispatcher *dispatcher, int64_t timeout_ms);
// Fills up to MAX entries, returns how many sinks there are. Any thread.
size_t fw_dispatcher_status(struct fw_dispatcher *dispatcher, struct fw_sink_status *status,
                            size_t max);
// Stops within TIMEOUT_MS and frees; what waits, waits in the outbox for the next start. FW_OK or
// FW_ETIMEDOUT (a sink does not return: its thread, the dispatcher and all sinks are left behind;
// they use neither outbox nor log any more). No other thread may be inside any more. NULL is
// allowed.
int fw_dispatcher_destroy(struct fw_dispatcher *dispatcher, int64_t timeout_ms);

#endif
