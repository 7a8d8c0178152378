#include "util/queue.h"

#include "util/clock.h"
#include "util/condition.h"
#include "util/error.h"
#include <errno.h>
#include <stdlib.h>

struct entry {
    void *item;
    size_t size_bytes;
    int64_t put_us;
};

// A ring of max_items entries. The condition's mutex guards everything but the options.
struct fw_queue {
    struct fw_queue_options options;
    struct fw_condition condition;
    struct entry *entries;
    size_t first;
    bool closed;
    struct fw_queue_stats stats; // items and bytes are the truth about the ring
};

struct fw_queue *fw_queue_create(const struct fw_queue_options *options)
{
    if (options->max_items == 0 || !options->free_item)
        return NULL;
    struct fw_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    queue->options = *options;
    queue->entries = calloc(options->max_items, sizeof *queue->entries);
    if (!queue->entries || fw_condition_init(&queue->condition) != FW_OK) {
        free(queue->entries);
        free(queue);
        return NULL;
    }
    return queue;
}

static struct entry *entry_at(struct fw_queue *queue, size_t index)
{
    return &queue->entries[(queue->first + index) % queue->options.max_items];
}

// Takes the oldest entry out. The lock is held, the queue is not empty.
static struct entry pop(struct fw_queue *queue)
{
    struct entry entry = *entry_at(queue, 0);
    queue->first = (queue->first + 1) % queue->options.max_items;
    queue->stats.items--;
    queue->stats.bytes -= entry.size_bytes;
    return entry;
}

void fw_queue_destroy(struct fw_queue *queue)
{
    if (!queue)
        return;
    while (queue->stats.items > 0)
        queue->options.free_item(pop(queue).item);
    fw_condition_destroy(&queue->condition);
    free(queue->entries);
    free(queue);
}

// Drops the oldest entry and counts it in COUNTER. The lock is held, but not while the item is
// freed, which may take its time.
static void drop_oldest(struct fw_queue *queue, uint64_t *counter)
{
    void *item = pop(queue).item;
    ++*counter;
    pthread_mutex_unlock(&queue->condition.mutex);
    queue->options.free_item(item);
    pthread_mutex_lock(&queue->condition.mutex);
}

static bool has_room(const struct fw_queue *queue, size_t size_bytes)
{
    const struct fw_queue_options *options = &queue->options;
    if (queue->stats.items >= options->max_items)
        return false;
    if (options->max_bytes == 0)
        return true;
    if (options->overflow == FW_QUEUE_DROP_OLDEST && queue->stats.items == 0)
        return true;
    return queue->stats.bytes <= options->max_bytes &&
           size_bytes <= options->max_bytes - queue->stats.bytes;
}

int fw_queue_put(struct fw_queue *queue, void *item, size_t size_bytes)
{
    int status = FW_OK;
    pthread_mutex_lock(&queue->condition.mutex);
    while (!queue->closed && queue->options.overflow == FW_QUEUE_DROP_OLDEST &&
           !has_room(queue, size_bytes))
        drop_oldest(queue, &queue->stats.dropped_full);
    if (queue->closed) {
        status = FW_ECANCELED;
    } else if (!has_room(queue, size_bytes)) {
        status = FW_EFULL;
    } else {
        *entry_at(queue, queue->stats.items) =
            (struct entry){.item = item, .size_bytes = size_bytes, .put_us = fw_monotonic_us()};
        queue->stats.items++;
        queue->stats.bytes += size_bytes;
        queue->stats.put++;
        pthread_cond_signal(&queue->condition.changed);
    }
    pthread_mutex_unlock(&queue->condition.mutex);
    return status;
}

static void drop_aged(struct fw_queue *queue)
{
    const int64_t max_age_us = queue->options.max_age_us;
    if (max_age_us <= 0)
        return;
    while (queue->stats.items > 0 && fw_monotonic_us() - entry_at(queue, 0)->put_us > max_age_us)
        drop_oldest(queue, &queue->stats.dropped_age);
}

int fw_queue_take(struct fw_queue *queue, void **item, int64_t timeout_ms)
{
    const int64_t until_us = fw_condition_until_us(timeout_ms);
    int status = FW_OK;
    *item = NULL;
    pthread_mutex_lock(&queue->condition.mutex);
    for (bool late = timeout_ms == 0;;) {
        drop_aged(queue);
        if (queue->stats.items > 0) {
            *item = pop(queue).item;
            queue->stats.taken++;
            break;
        }
        if (queue->closed || late) {
            status = queue->closed ? FW_ECANCELED : FW_EAGAIN;
            break;
        }
        late = fw_condition_wait(&queue->condition, until_us) == ETIMEDOUT;
    }
    pthread_mutex_unlock(&queue->condition.mutex);
    return status;
}

void fw_queue_close(struct fw_queue *queue)
{
    pthread_mutex_lock(&queue->condition.mutex);
    queue->closed = true;
    pthread_cond_broadcast(&queue->condition.changed);
    pthread_mutex_unlock(&queue->condition.mutex);
}

size_t fw_queue_drop_if(struct fw_queue *queue, bool (*drop)(void *item, void *opaque),
                        void *opaque)
{
    pthread_mutex_lock(&queue->condition.mutex);
    const size_t count = queue->stats.items;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct entry entry = *entry_at(queue, i);
        if (drop(entry.item, opaque)) {
            queue->stats.bytes -= entry.size_bytes;
            queue->options.free_item(entry.item);
        } else {
            *entry_at(queue, kept++) = entry;
        }
    }
    queue->stats.items = kept;
    queue->stats.dropped_full += count - kept;
    pthread_mutex_unlock(&queue->condition.mutex);
    return count - kept;
}

struct fw_queue_stats fw_queue_get_stats(struct fw_queue *queue)
{
    pthread_mutex_lock(&queue->condition.mutex);
    struct fw_queue_stats stats = queue->stats;
    pthread_mutex_unlock(&queue->condition.mutex);
    return stats;
}
