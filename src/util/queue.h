// Between threads: a bounded queue, a mailbox of one, and the newest bytes for many readers.
#ifndef FW_UTIL_QUEUE_H
#define FW_UTIL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What a full queue does with one item more.
enum fw_queue_overflow {
    FW_QUEUE_DROP_OLDEST, // make room; for what ages (pictures, packets)
    FW_QUEUE_REFUSE,      // FW_EFULL; the item stays the caller's (messages)
};

struct fw_queue_options {
    size_t max_items; // at least 1
    // Sum of the sizes given to put; 0: unbounded. FW_QUEUE_DROP_OLDEST takes one larger item when
    // it is alone, so that a large keyframe does not starve its reader.
    size_t max_bytes;
    int64_t max_age_us; // older items are dropped when taking; 0: no limit
    enum fw_queue_overflow overflow;
    void (*free_item)(void *item); // for dropped items and those left at destroy; required
};

struct fw_queue_stats {
    uint64_t put, taken, dropped_full, dropped_age;
    size_t items, bytes;
};

// FIFO, any number of threads on both sides. free_item() must not call the queue.
struct fw_queue;

// NULL when memory is out or the options make no sense (no room for an item, no free_item).
struct fw_queue *fw_queue_create(const struct fw_queue_options *options);
// Frees what is left. No thread may be inside any more. NULL is allowed.
void fw_queue_destroy(struct fw_queue *queue);
// FW_OK: ITEM belongs to the queue. FW_EFULL (FW_QUEUE_REFUSE) or FW_ECANCELED (closed): ITEM is
// still the caller's.
int fw_queue_put(struct fw_queue *queue, void *item, size_t size_bytes);
// Waits up to TIMEOUT_MS (negative: for ever, 0: not at all) for the oldest item, which becomes the
// caller's. FW_OK, FW_EAGAIN (none in time), FW_ECANCELED (closed and empty).
int fw_queue_take(struct fw_queue *queue, void **item, int64_t timeout_ms);
// Puts are refused from now on; takers get what is left, then FW_ECANCELED.
void fw_queue_close(struct fw_queue *queue);
// Drops every item, oldest first, for which DROP says so; DROP must not call the queue. Counted as
// dropped_full. Returns how many.
size_t fw_queue_drop_if(struct fw_queue *queue, bool (*drop)(void *item, void *opaque),
                        void *opaque);
struct fw_queue_stats fw_queue_get_stats(struct fw_queue *queue);

// Bytes that several threads read (a JPEG for every watcher). Refcounted, immutable.
struct fw_bytes {
    const uint8_t *data;
    size_t length;
};
// Takes DATA (malloc'd) over, also on failure. NULL when memory is out.
struct fw_bytes *fw_bytes_create(uint8_t *data, size_t length);
struct fw_bytes *fw_bytes_ref(struct fw_bytes *bytes);
void fw_bytes_unref(struct fw_bytes *bytes);

// The newest value of something, for any number of readers; the writer asks whether anybody
// watches before it makes one.
struct fw_slot;

struct fw_slot *fw_slot_create(void);
struct fw_slot *fw_slot_ref(struct fw_slot *slot);
void fw_slot_unref(struct fw_slot *slot);
// Replaces the value (a reference is taken) and wakes the watchers.
void fw_slot_publish(struct fw_slot *slot, struct fw_bytes *bytes);
// A new reference to the value whose sequence number is above *SEQUENCE, which is updated; waits up
// to TIMEOUT_MS. NULL when none came, or the slot was closed.
struct fw_bytes *fw_slot_wait(struct fw_slot *slot, uint64_t *sequence, int64_t timeout_ms);
void fw_slot_watch(struct fw_slot *slot, int change); // +1 when a watcher comes, -1 when it goes
bool fw_slot_is_watched(struct fw_slot *slot);
void fw_slot_close(struct fw_slot *slot); // wakes all watchers for good
bool fw_slot_is_closed(struct fw_slot *slot);

#endif
