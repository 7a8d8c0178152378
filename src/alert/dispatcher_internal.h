// The dispatcher's inside, for its own files.
//
// Each queue of the outbox has a list here: the oldest records that wait, read in portions. The
// mutex guards all but what is said to be a lane's own; it is never held while a sink, the disk or
// the picture source is at work.
#ifndef FW_ALERT_DISPATCHER_INTERNAL_H
#define FW_ALERT_DISPATCHER_INTERNAL_H

#include "alert/dispatcher.h"
#include "alert/outbox_queue.h"
#include "util/backoff.h"
#include "util/condition.h"

struct fw_thread;
struct fw_lane;

// The records of one camera keep their order. Lives as long as the dispatcher.
struct fw_dispatch_camera {
    struct fw_dispatch_camera *next;
    uint64_t blocked_walk; // the walk over the list in which nothing more of it may be taken
    char id[];
};

struct fw_dispatch_entry {
    int64_t seq;
    int64_t waits_since_us; // its posting, monotonic
    int64_t posted_us;      // the same, but not before the dispatcher's start
    int64_t held_until_us;  // for its pictures; 0: no more
    struct fw_event *event; // NULL: damaged, or over
    struct fw_dispatch_camera *camera;
    unsigned rejected_by; // one bit a lane
    struct fw_lane *taken_by;
    uint64_t ticket;        // of its latest mark; 0: committed, or none
    uint64_t pictures_seen; // when its pictures were looked at
    struct fw_dispatch_entry *previous, *next;
};

struct fw_dispatch_list {
    size_t queue;
    struct fw_dispatch_entry *first, *last; // by seq
    size_t count;
    // What has ended, but whose mark is not committed: a read of the outbox may still bring it.
    struct fw_dispatch_entry *over;
    int64_t cursor; // read so far
    bool is_loading;
    uint64_t exhausted_at; // there was no more at this count of changes
    int64_t next_load_us;  // after a failure
};

// A sink, its thread and its pace.
struct fw_lane {
    struct fw_dispatcher *dispatcher;
    size_t index;
    struct fw_sink *sink;
    struct fw_dispatch_list *list;
    struct fw_thread *thread;
    size_t max_batch;
    bool waits_for_pictures;

    // The lane's own, of max_batch each.
    struct fw_message *messages;
    struct fw_outbox_mark **marks;
    int *results;
    struct fw_outbox_record *records; // FW_LANE_LOAD of them
    int64_t next_idle_us;

    // `cancel` is replaced, once it was triggered, only by the lane's own thread and only between
    // attempts.
    struct fw_cancel *cancel;
    struct fw_dispatch_entry **batch; // the attempt under way
    size_t batch_count;
    bool is_overtaken;    // a later lane asked for it
    int64_t evicted_from; // records from here on were pushed out of the list; INT64_MAX: none
    struct fw_backoff retrying, refused;
    int64_t next_try_us;
    struct fw_sink_status status;
};

// Records that a lane reads at once; it reads when it has fewer than these.
enum { FW_LANE_LOAD = 256 };

struct fw_dispatcher {
    struct fw_dispatcher_options options;
    enum fw_delivery delivery;
    int64_t started_us, first_seq; // records before it are an earlier process's
    struct fw_condition sync;
    bool has_sync;
    struct fw_lane *lanes;
    size_t lane_count;
    struct fw_dispatch_list *lists;
    size_t list_count;
    struct fw_dispatch_camera *cameras;
    uint64_t walk;                // walks over a list so far
    uint64_t changes, caught_up;  // of the outbox
    uint64_t version;             // of the outbox's records
    uint64_t pictures_generation; // changes of pictures so far
    bool is_stopping;
    bool is_abandoned; // outbox and log may be gone
};

// dispatcher_list.c: the mutex is held

// NULL when memory is out.
struct fw_dispatch_camera *fw_dispatch_camera_of(struct fw_dispatcher *dispatcher, const char *id);
void fw_dispatch_list_free(struct fw_dispatch_list *list);
// Takes ENTRY in unless it is known already; then it is freed.
void fw_dispatch_list_add(struct fw_dispatch_list *list, struct fw_dispatch_entry *entry);
struct fw_dispatch_entry *fw_dispatch_list_find(const struct fw_dispatch_list *list, int64_t seq);
// ENTRY is done with; its mark has this TICKET.
void fw_dispatch_list_end(struct fw_dispatch_list *list, struct fw_dispatch_entry *entry,
                          uint64_t ticket);
// Forgets ENTRY, which the outbox still has.
void fw_dispatch_list_drop(struct fw_dispatch_list *list, struct fw_dispatch_entry *entry);
// Forgets what has ended once no read can bring it any more: marks up to MARKED are committed.
void fw_dispatch_list_sweep(struct fw_dispatch_list *list, uint64_t marked);
// Follows what changed in the outbox: commits, expiry, changes from outside.
void fw_dispatcher_catch_up(struct fw_dispatcher *dispatcher);
bool fw_lane_has_rejected(const struct fw_lane *lane, const struct fw_dispatch_entry *entry);
// When ENTRY becomes LANE's too: the lanes before it have their time first, save those that have
// rejected it.
int64_t fw_lane_due_us(const struct fw_lane *lane, const struct fw_dispatch_entry *entry);
// Takes the oldest records that LANE may try now, max_batch of them at most. None: *WAKE_US is when
// that may change by time.
size_t fw_lane_take(struct fw_lane *lane, int64_t now_us, int64_t *wake_us);

// dispatcher_load.c: the mutex is held, save while the disk is at work

// Reads more of what waits. False, and nothing was unlocked, when there is no need.
bool fw_lane_load(struct fw_lane *lane);
// Looks after the pictures of an event that waits for them, where any have changed. False, and
// nothing was unlocked, when there is none.
bool fw_lane_look_after_pictures(struct fw_lane *lane);

// dispatcher_lane.c

// The lane's thread.
void fw_lane_run(void *opaque);

#endif
