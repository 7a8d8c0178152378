// What the outbox writes, inside a transaction of its caller's.
#ifndef FW_ALERT_OUTBOX_STORE_H
#define FW_ALERT_OUTBOX_STORE_H

#include "alert/outbox_db.h"
#include "alert/outbox_queue.h"

enum { FW_OUTBOX_MAX_SINKS = 16 };

// Which queues there are, and the numbers that the database has for them.
struct fw_outbox_queues {
    bool is_shared; // one for all sinks
    size_t sink_count;
    int64_t sink_ids[FW_OUTBOX_MAX_SINKS];
};

// An event on its way into the database.
struct fw_outbox_pending {
    struct fw_event *event; // a reference
    int64_t seq, posted_utc_us;
    struct fw_outbox_mark *marks; // what happened to it in the meantime; owned
};

// What a transaction changes in the counts, valid once it is committed.
struct fw_outbox_tally {
    int64_t waiting[FW_OUTBOX_MAX_SINKS]; // by queue; may be negative
    uint64_t dropped[FW_OUTBOX_MAX_SINKS];
    int64_t dead;            // letters
    uint64_t expired;        // records
    int64_t expired_through; // 0: nothing that waited has gone
};

// Bounds on what is kept.
struct fw_outbox_expiry {
    int64_t posted_before_utc_us; // older events go
    int64_t seq_before;           // save these and later ones
    int64_t now_utc_us;
    int64_t max_events; // at once
};

size_t fw_outbox_queue_count(const struct fw_outbox_queues *queues);
int64_t fw_outbox_queue_id(const struct fw_outbox_queues *queues, size_t queue);

// All return a code. An event whose id is there already is left out.
int fw_outbox_store_insert(struct fw_outbox_db *db, const struct fw_outbox_queues *queues,
                           const struct fw_outbox_pending *pending, struct fw_outbox_tally *tally);
int fw_outbox_store_mark(struct fw_outbox_db *db, const struct fw_outbox_queues *queues,
                         const struct fw_outbox_mark *mark, struct fw_outbox_tally *tally);
// Removes the oldest events, or (*COUNT of them gone) nothing when there is nothing to remove:
// those that are too old, or, with ANY_AGE, delivered ones first, then waiting ones.
int fw_outbox_store_expire(struct fw_outbox_db *db, const struct fw_outbox_queues *queues,
                           const struct fw_outbox_expiry *expiry, bool any_age, int64_t *count,
                           struct fw_outbox_tally *tally);
// Makes the sinks of NAMES known, in QUEUES too, and moves what waits into the queues of today: see
// enum fw_delivery. *EXPIRED records of sinks that are no longer configured ended.
int fw_outbox_store_adopt(struct fw_outbox_db *db, struct fw_outbox_queues *queues,
                          const char *const *names, uint64_t *expired);
// The used part of the file in bytes, and the part of it that is free.
int fw_outbox_store_size(struct fw_outbox_db *db, int64_t *used_bytes, int64_t *free_pages);

#endif
