// Events on disk until they are delivered, and their history after that: one SQLite database
// (WAL, synchronous=FULL).
//
// A writer thread gathers what is posted and commits it in groups; nothing is handed to a sink
// before its commit. Each record (one an event with FW_DELIVERY_FALLBACK, one an event and sink
// with FW_DELIVERY_ALL) ends as delivered, rejected (a dead letter) or expired.
//
// When the database can't be written (full disk) events wait in a bounded ring in memory, counted,
// and the outbox is degraded until it can. A database that is damaged is moved aside
// (outbox.db.damaged-TIME), which is logged and counted, and a new one is begun.
#ifndef FW_ALERT_OUTBOX_H
#define FW_ALERT_OUTBOX_H

#include "alert/event.h"
#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_log;
struct fw_outbox;

enum fw_delivery {
    // One record an event. It is the first sink's alone for fallback_after_ms from its posting;
    // after that the next one's too (and so on), whichever gets to it first. What one sink rejects
    // goes to the next at once.
    FW_DELIVERY_FALLBACK,
    // A record for each sink.
    FW_DELIVERY_ALL,
};

struct fw_outbox_options {
    const char *path;       // of the database; its folder exists
    int64_t max_age_us;     // older events go, delivered or not; 0: no bound
    int64_t max_bytes;      // the oldest go above it: delivered ones first; 0: no bound
    int64_t reserve_bytes;  // preallocated beside the database, released when the disk is full
    size_t max_ring_events; // in memory while degraded; above it the oldest is dropped and counted
    enum fw_delivery delivery;
    const char *const *sink_names; // what is kept of sinks that are no longer configured goes
    size_t sink_count;
    const struct fw_log *log;
};

struct fw_outbox_stats {
    bool is_degraded;   // the disk can't be written
    bool has_reserve;   // it lies there, unused
    char reason[256];   // why
    uint64_t committed; // events since the start
    uint64_t waiting;   // records not delivered yet
    // Records that ended undelivered since the start: by age or bytes, or because their sink is no
    // longer configured. Events dropped from the ring. Dead letters that lie there.
    uint64_t expired, dropped, dead;
    uint64_t commits;              // transactions, to see the grouping
    uint64_t damaged;              // databases that were moved aside
    int64_t bytes;                 // of the database
    int64_t oldest_waiting_utc_us; // 0: nothing waits
};

// Opens or makes the database, migrates its schema, checks its integrity, and ends what a crash
// left open: each `appeared` without its `left` gets one with the reason "worker_restarted", before
// anything else is sent. FW_OK; FW_EIO (cannot be made: not our folder, another process has it),
// FW_ENOMEM, FW_EAGAIN (thread).
int fw_outbox_open(struct fw_outbox **outbox, const struct fw_outbox_options *options,
                   struct fw_error *error);
// Commits what was posted, TIMEOUT_MS at most, and closes. FW_OK or FW_ETIMEDOUT (the disk hangs;
// all is left behind). NULL is allowed.
int fw_outbox_close(struct fw_outbox *outbox, int64_t timeout_ms);

// Hands EVENT (a reference is taken) to the writer; never blocks on the disk. FW_OK, FW_ENOMEM,
// FW_ECANCELED (being closed). Any thread.
int fw_outbox_post(struct fw_outbox *outbox, struct fw_event *event);
// Waits until everything posted before is committed (or in the ring while degraded). Any thread.
int fw_outbox_flush(struct fw_outbox *outbox, int64_t timeout_ms);
void fw_outbox_get_stats(struct fw_outbox *outbox, struct fw_outbox_stats *stats);

// Which events are meant: filters are NULL or 0 when they don't matter.
struct fw_outbox_query {
    // `state`: "waiting", "delivered", "dead" or "expired", one of its records at least. Types may
    // lack their "faceworker.".
    const char *camera_id, *type, *without_type, *state;
    const char *sink;                   // a record that it has, had, or shares
    int64_t since_utc_us, until_utc_us; // by the event's time
    const char *before_id;              // paging: only events older than this one
    const char *const *ids;
    size_t id_count;
    int limit; // 1 to 1000
};

// The history, newest first: {"events": [...], "next": ID or null}. Each is the CloudEvent with one
// member more, "delivery": {"state", "records": [{"sink" (null: all share it), "state", "at"}],
// "rejections": [{"sink", "at", "reason"}]}. malloc'd; NULL with ERROR set on failure. Any thread.
char *fw_outbox_history(struct fw_outbox *outbox, const struct fw_outbox_query *query,
                        struct fw_error *error);

#endif
