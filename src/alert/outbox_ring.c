#include "alert/outbox_ring.h"
#include <stdlib.h>

int fw_outbox_ring_init(struct fw_outbox_ring *ring, size_t capacity)
{
    *ring = (struct fw_outbox_ring){.capacity = capacity};
    ring->items = calloc(capacity, sizeof(*ring->items));
    return ring->items != NULL ? FW_OK : FW_ENOMEM;
}

void fw_outbox_marks_free(struct fw_outbox_mark *marks)
{
    while (marks != NULL) {
        struct fw_outbox_mark *next = marks->next;
        free(marks);
        marks = next;
    }
}

void fw_outbox_pending_free(struct fw_outbox_pending *pending)
{
    fw_event_unref(pending->event);
    fw_outbox_marks_free(pending->marks);
}

void fw_outbox_ring_free(struct fw_outbox_ring *ring)
{
    for (size_t i = 0; i < ring->count; i++)
        fw_outbox_pending_free(fw_outbox_ring_at(ring, i));
    free(ring->items);
    *ring = (struct fw_outbox_ring){0};
}

struct fw_outbox_pending *fw_outbox_ring_at(const struct fw_outbox_ring *ring, size_t index)
{
    return &ring->items[(ring->first + index) % ring->capacity];
}

void fw_outbox_ring_push(struct fw_outbox_ring *ring, struct fw_outbox_pending pending)
{
    *fw_outbox_ring_at(ring, ring->count++) = pending;
}

struct fw_outbox_pending fw_outbox_ring_take(struct fw_outbox_ring *ring, size_t index)
{
    struct fw_outbox_pending taken = *fw_outbox_ring_at(ring, index);

    // Only those before it move: it is one of the oldest.
    for (; index > 0; index--)
        *fw_outbox_ring_at(ring, index) = *fw_outbox_ring_at(ring, index - 1);
    ring->first = (ring->first + 1) % ring->capacity;
    ring->count--;
    return taken;
}

size_t fw_outbox_ring_find(const struct fw_outbox_ring *ring, int64_t seq)
{
    size_t low = 0, high = ring->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fw_outbox_ring_at(ring, middle)->seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool fw_outbox_pending_has_ended(const struct fw_outbox_pending *pending, size_t queue,
                                 unsigned *rejected_by)
{
    bool has_ended = false;

    *rejected_by = 0;
    for (const struct fw_outbox_mark *mark = pending->marks; mark != NULL; mark = mark->next) {
        if (mark->queue != queue)
            continue;
        if (mark->outcome == FW_OUTCOME_REJECTED)
            *rejected_by |= 1u << mark->sink;
        else
            has_ended = true;
    }
    return has_ended;
}
