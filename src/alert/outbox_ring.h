// Posted events that have no commit yet, in their order. Whoever calls holds the outbox's lock.
#ifndef FW_ALERT_OUTBOX_RING_H
#define FW_ALERT_OUTBOX_RING_H

#include "alert/outbox_store.h"

struct fw_outbox_ring {
    struct fw_outbox_pending *items;
    size_t capacity, first, count;
};

// FW_OK or FW_ENOMEM.
int fw_outbox_ring_init(struct fw_outbox_ring *ring, size_t capacity);
// Gives back the events' references and frees their marks.
void fw_outbox_ring_free(struct fw_outbox_ring *ring);
// There is room.
void fw_outbox_ring_push(struct fw_outbox_ring *ring, struct fw_outbox_pending pending);
// The item at INDEX, 0 being the oldest.
struct fw_outbox_pending *fw_outbox_ring_at(const struct fw_outbox_ring *ring, size_t index);
// Takes the item at INDEX out; what it owns is the caller's.
struct fw_outbox_pending fw_outbox_ring_take(struct fw_outbox_ring *ring, size_t index);
// The index of the record SEQ, or of the first one after it.
size_t fw_outbox_ring_find(const struct fw_outbox_ring *ring, int64_t seq);

void fw_outbox_pending_free(struct fw_outbox_pending *pending);
void fw_outbox_marks_free(struct fw_outbox_mark *marks);
// True when a mark of PENDING ended its record in QUEUE. *REJECTED_BY: the sinks that rejected it.
bool fw_outbox_pending_has_ended(const struct fw_outbox_pending *pending, size_t queue,
                                 unsigned *rejected_by);

#endif
