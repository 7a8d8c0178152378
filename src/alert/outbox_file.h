// The outbox's file seen from outside, also while a daemon works with it: what lies there, trying
// dead letters again, removing.
#ifndef FW_ALERT_OUTBOX_FILE_H
#define FW_ALERT_OUTBOX_FILE_H

#include "alert/outbox.h"

// One thread at a time.
struct fw_outbox_file;

// What became of an event at a sink. Borrowed for the visit.
struct fw_outbox_fate {
    const char *sink;   // NULL: one record that all sinks share
    const char *state;  // "waiting", "delivered", "dead", "expired"; "rejected": by this sink
    const char *reason; // of a rejection; else NULL
    int64_t at_utc_us;  // 0: not yet
};

// Borrowed for the visit.
struct fw_outbox_row {
    const char *id, *type, *camera_id;
    const char *state; // "waiting", "dead", "delivered", "expired"; "none": no sink was there
    const char *json;  // "": damaged
    size_t json_length;
    int64_t time_utc_us, posted_utc_us;
    const struct fw_outbox_fate *fates;
    size_t fate_count;
};

// FW_OK with *FILE the caller's; FW_ENOENT, FW_EFORMAT (no outbox), FW_ENOTSUP (a later version's),
// FW_EIO, FW_ENOMEM.
int fw_outbox_file_open(struct fw_outbox_file **file, const char *path, bool is_read_only,
                        struct fw_error *error);
void fw_outbox_file_close(struct fw_outbox_file *file); // NULL is allowed

// Calls VISIT for the events of QUERY (limit 0: all), newest first or the other way round, until it
// does not return FW_OK: that is returned. Else FW_OK, FW_EINVAL (no such state), FW_EIO,
// FW_EFORMAT (damaged), FW_ENOMEM.
int fw_outbox_file_each(struct fw_outbox_file *file, const struct fw_outbox_query *query,
                        bool oldest_first,
                        int (*visit)(void *opaque, const struct fw_outbox_row *row), void *opaque,
                        struct fw_error *error);
// Dead letters of QUERY (its `state` does not matter) wait again for all that may take them. A
// daemon notices within a second or two. *COUNT: records.
int fw_outbox_file_retry(struct fw_outbox_file *file, const struct fw_outbox_query *query,
                         uint64_t *count, struct fw_error *error);
// Removes events of QUERY for good, whatever else waits of them; those whose track is still open
// stay until it has ended. *COUNT: events.
int fw_outbox_file_purge(struct fw_outbox_file *file, const struct fw_outbox_query *query,
                         uint64_t *count, struct fw_error *error);

#endif
