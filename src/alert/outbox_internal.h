// The outbox's inside, for its own files.
#ifndef FW_ALERT_OUTBOX_INTERNAL_H
#define FW_ALERT_OUTBOX_INTERNAL_H

#include "alert/outbox_ring.h"
#include "util/condition.h"
#include <pthread.h>
#include <stdatomic.h>

struct fw_log;
struct fw_thread;

// Events of one commit at most.
enum { FW_OUTBOX_GROUP_EVENTS = 1024 };

// Marks in the order of their making.
struct fw_outbox_marks {
    struct fw_outbox_mark *first, *last;
    size_t count;
};

struct fw_outbox {
    // Fixed after the opening.
    struct fw_outbox_options options; // path and sink_names are our own copies
    char *path, *lock_path, *reserve_path;
    char *sink_names[FW_OUTBOX_MAX_SINKS];
    int lock_fd;
    int64_t first_seq, opened_us;
    uint64_t checked_file; // how many were damaged before the one that `checker` looks at
    struct fw_thread *writer,
        *checker; // the latter only where the check at the start took too long

    // `state` guards from here on.
    struct fw_condition state;
    bool has_state;
    struct fw_outbox_ring ring;
    size_t in_commit;        // the oldest of the ring that the writer is committing
    int64_t commit_began_us; // 0: none is under way
    struct fw_outbox_marks marks;
    uint64_t last_ticket, marked;
    int64_t first_mark_us; // when the oldest mark of `marks` came
    int64_t next_seq;
    uint64_t generation; // of commits
    uint64_t version;
    int64_t expired_through;
    struct fw_outbox_stats stats;
    struct fw_outbox_queue_stats queues[FW_OUTBOX_MAX_SINKS]; // `waiting` of the database alone
    uint64_t marked_waiting[FW_OUTBOX_MAX_SINKS];             // of which have ended: see `marks`
    int flushers, fetchers;                                   // threads that are inside
    int64_t oldest_stored_utc_us;
    bool is_stored; // the database is open; else there is only the ring
    bool is_closing, is_damaged, must_notify, is_notifying;
    void (*changed)(void *opaque);
    void *listener;

    // The writer's thread alone, and the opener's before it runs.
    struct fw_outbox_db db;
    struct fw_outbox_pending *group; // FW_OUTBOX_GROUP_EVENTS
    bool is_ready, is_checked, has_reserve;
    bool was_open;     // once, by this process
    bool was_replaced; // the next opening is of a new file in place of a damaged one
    int64_t next_try_us, next_upkeep_us, next_reserve_us;
    int64_t data_version;
    uint64_t inode, device, told_dropped, told_expired;

    // `reader_mutex` guards; taken before `state`.
    pthread_mutex_t reader_mutex;
    bool has_reader_mutex;
    struct fw_outbox_db reader;
    // The sinks' numbers change with the file only; the writer's thread reads them without a lock.
    struct fw_outbox_queues ids;

    atomic_bool is_stopping; // for the checker
};

// outbox_files.c

// FW_OK with the lock held until fw_outbox_unlock(); FW_EIO: another process has it, or there is no
// such folder.
int fw_outbox_lock(struct fw_outbox *outbox, struct fw_error *error);
void fw_outbox_unlock(struct fw_outbox *outbox);
// Makes the file that gives its room to the outbox when the disk is full. True if it is there.
bool fw_outbox_make_reserve(struct fw_outbox *outbox);
void fw_outbox_release_reserve(struct fw_outbox *outbox);
// Moves the database away for WHY, a word of its new name. FW_OK or FW_EIO.
int fw_outbox_move_aside(struct fw_outbox *outbox, const char *why, struct fw_error *error);

// outbox_open.c

// Opens the database, making or replacing it where that is needed, unless it is open. A code.
int fw_outbox_ready(struct fw_outbox *outbox);
// Closes it, for the next fw_outbox_ready().
void fw_outbox_unready(struct fw_outbox *outbox);
// Moves the damaged file aside, for the next fw_outbox_ready() to begin a new one. A code.
int fw_outbox_replace(struct fw_outbox *outbox);
// Moves what waits into the queues of today's sinks; the first time it ends the tracks of before,
// too. A code.
int fw_outbox_adopt(struct fw_outbox *outbox);
// Reads the counts anew; with IS_NEW the dispatcher is to fetch anew, too. A code.
int fw_outbox_recount(struct fw_outbox *outbox, bool is_new);
// CODE, or SQLITE_FULL: SQLite may say only that it can't open or write a file where the disk has
// no room for it.
int fw_outbox_reason(const struct fw_outbox *outbox, int code);
// The sentence for CODE, the latest failure of the connection.
void fw_outbox_explain(const struct fw_outbox *outbox, int code, char *text, size_t size);

// outbox_writer.c

void fw_outbox_run_writer(void *opaque);
// Bounds, reserve, changes from outside. The writer's thread.
void fw_outbox_upkeep(struct fw_outbox *outbox);
// Removes what is above the bounds. A code.
int fw_outbox_expire(struct fw_outbox *outbox);
// Books TALLY after its commit.
void fw_outbox_book(struct fw_outbox *outbox, const struct fw_outbox_tally *tally);
// Reads how large the file is, and the age of what waits.
int fw_outbox_measure(struct fw_outbox *outbox);

#endif
