// The dispatcher's side of the outbox: what waits for a sink, and what became of it.
//
// A queue is a row of records: with FW_DELIVERY_FALLBACK there is one, 0, for all sinks, with
// FW_DELIVERY_ALL one a sink. Sinks count as in fw_outbox_options.sink_names.
#ifndef FW_ALERT_OUTBOX_QUEUE_H
#define FW_ALERT_OUTBOX_QUEUE_H

#include "alert/outbox.h"

struct fw_outbox_record {
    int64_t seq; // its place in the order of posting; never used again
    int64_t posted_utc_us;
    struct fw_event *event; // a reference; NULL: what was stored is damaged
    unsigned rejected_by;   // one bit a sink
};

#define FW_OUTBOX_NO_SINK ((size_t)-1)

struct fw_outbox_ask {
    size_t queue;
    size_t skip_sink;  // leaves out what this sink has rejected; FW_OUTBOX_NO_SINK: nothing
    int64_t after_seq; // only records after this one
    size_t max;
};

enum fw_outbox_outcome {
    FW_OUTCOME_DELIVERED,
    FW_OUTCOME_REJECTED, // by this sink; others may still take it
    FW_OUTCOME_DEAD,     // rejected, and nobody is left
};

// What became of a record. malloc'd by the caller, freed by the outbox.
struct fw_outbox_mark {
    struct fw_outbox_mark *next; // the outbox's
    int64_t seq;
    size_t queue, sink;
    enum fw_outbox_outcome outcome;
    int64_t at_utc_us;
    uint64_t ticket; // the outbox's
    char reason[256];
};

struct fw_outbox_queue_stats {
    uint64_t waiting;
    uint64_t dropped; // ended undelivered since the start
};

enum fw_delivery fw_outbox_delivery(const struct fw_outbox *outbox);
size_t fw_outbox_sink_count(const struct fw_outbox *outbox);
// The first seq that this process gave out; records before it were posted by an earlier one.
int64_t fw_outbox_first_seq(const struct fw_outbox *outbox);

// Fills RECORDS with the oldest waiting ones: committed, or in the ring while the outbox is
// degraded. *IS_ALL: there are no more now. What was marked, but has no commit yet, may be among
// them. FW_OK, FW_EIO (the database can't be read now), FW_ENOMEM: then there are none. Reads the
// disk; any thread.
int fw_outbox_fetch(struct fw_outbox *outbox, const struct fw_outbox_ask *ask,
                    struct fw_outbox_record *records, size_t *count, bool *is_all,
                    struct fw_error *error);
// Notes MARK (taken over) with one of the next commits. Returns a ticket, or 0 when fetches know it
// from now on. Never blocks on the disk. Any thread.
uint64_t fw_outbox_mark(struct fw_outbox *outbox, struct fw_outbox_mark *mark);
// Marks with this ticket and older ones are committed.
uint64_t fw_outbox_marked(struct fw_outbox *outbox);
// Rises when the records were changed from outside (`faceworker outbox retry`) or the database came
// to be readable: what was fetched and is not in flight must be fetched anew.
uint64_t fw_outbox_version(struct fw_outbox *outbox);
// Records up to this one are no more: they have ended, or are expired.
int64_t fw_outbox_expired_through(struct fw_outbox *outbox);
void fw_outbox_queue_get_stats(struct fw_outbox *outbox, size_t queue,
                               struct fw_outbox_queue_stats *stats);

// CHANGED is called on the outbox's thread after each change of what the functions above answer; it
// may call them, save fw_outbox_fetch(). NULL: none from now on; a call under way has ended when
// this returns.
void fw_outbox_listen(struct fw_outbox *outbox, void (*changed)(void *opaque), void *opaque);

#endif
