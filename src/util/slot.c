#include "util/queue.h"

#include "util/condition.h"
#include "util/error.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

// What fw_bytes_create() really makes; `shown` comes first, so that one pointer serves for both.
struct bytes {
    struct fw_bytes shown;
    uint8_t *data;
    atomic_int references;
};

struct fw_bytes *fw_bytes_create(uint8_t *data, size_t length)
{
    struct bytes *bytes = calloc(1, sizeof *bytes);
    if (!bytes) {
        free(data);
        return NULL;
    }
    bytes->shown = (struct fw_bytes){.data = data, .length = length};
    bytes->data = data;
    atomic_init(&bytes->references, 1);
    return &bytes->shown;
}

struct fw_bytes *fw_bytes_ref(struct fw_bytes *shown)
{
    if (shown)
        atomic_fetch_add(&((struct bytes *)shown)->references, 1);
    return shown;
}

void fw_bytes_unref(struct fw_bytes *shown)
{
    struct bytes *bytes = (struct bytes *)shown;
    if (!bytes || atomic_fetch_sub(&bytes->references, 1) > 1)
        return;
    free(bytes->data);
    free(bytes);
}

struct fw_slot {
    struct fw_condition condition; // its mutex guards the three below
    struct fw_bytes *value;
    uint64_t sequence;
    bool closed;

    atomic_int references, watchers;
};

struct fw_slot *fw_slot_create(void)
{
    struct fw_slot *slot = calloc(1, sizeof *slot);
    if (!slot)
        return NULL;
    if (fw_condition_init(&slot->condition) != FW_OK) {
        free(slot);
        return NULL;
    }
    atomic_init(&slot->references, 1);
    return slot;
}

struct fw_slot *fw_slot_ref(struct fw_slot *slot)
{
    if (slot)
        atomic_fetch_add(&slot->references, 1);
    return slot;
}

void fw_slot_unref(struct fw_slot *slot)
{
    if (!slot || atomic_fetch_sub(&slot->references, 1) > 1)
        return;
    fw_bytes_unref(slot->value);
    fw_condition_destroy(&slot->condition);
    free(slot);
}

void fw_slot_publish(struct fw_slot *slot, struct fw_bytes *bytes)
{
    struct fw_bytes *old = NULL;
    pthread_mutex_lock(&slot->condition.mutex);
    if (bytes && !slot->closed) {
        old = slot->value;
        slot->value = fw_bytes_ref(bytes);
        slot->sequence++;
        pthread_cond_broadcast(&slot->condition.changed);
    }
    pthread_mutex_unlock(&slot->condition.mutex);
    fw_bytes_unref(old);
}

struct fw_bytes *fw_slot_wait(struct fw_slot *slot, uint64_t *sequence, int64_t timeout_ms)
{
    const int64_t until_us = fw_condition_until_us(timeout_ms);
    struct fw_bytes *bytes = NULL;
    pthread_mutex_lock(&slot->condition.mutex);
    bool late = timeout_ms == 0;
    while (!slot->closed && slot->sequence <= *sequence && !late)
        late = fw_condition_wait(&slot->condition, until_us) == ETIMEDOUT;
    if (!slot->closed && slot->sequence > *sequence) {
        bytes = fw_bytes_ref(slot->value);
        *sequence = slot->sequence;
    }
    pthread_mutex_unlock(&slot->condition.mutex);
    return bytes;
}

void fw_slot_watch(struct fw_slot *slot, int change)
{
    atomic_fetch_add(&slot->watchers, change);
}

bool fw_slot_is_watched(struct fw_slot *slot)
{
    return atomic_load(&slot->watchers) > 0;
}

void fw_slot_close(struct fw_slot *slot)
{
    pthread_mutex_lock(&slot->condition.mutex);
    slot->closed = true;
    pthread_cond_broadcast(&slot->condition.changed);
    pthread_mutex_unlock(&slot->condition.mutex);
}

bool fw_slot_is_closed(struct fw_slot *slot)
{
    pthread_mutex_lock(&slot->condition.mutex);
    bool closed = slot->closed;
    pthread_mutex_unlock(&slot->condition.mutex);
    return closed;
}
