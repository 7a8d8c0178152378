#include "alert/dispatcher_internal.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/thread.h"
#include <stdlib.h>
#include <string.h>

// Making and unmaking

static void free_lane(struct fw_lane *lane)
{
    fw_sink_close(lane->sink);
    fw_cancel_destroy(lane->cancel);
    free(lane->messages);
    free(lane->marks);
    free(lane->results);
    free(lane->records);
    free(lane->batch);
}

// All threads have ended.
static void free_dispatcher(struct fw_dispatcher *dispatcher)
{
    for (size_t i = 0; i < dispatcher->list_count; i++)
        fw_dispatch_list_free(&dispatcher->lists[i]);
    for (size_t i = 0; i < dispatcher->lane_count; i++)
        free_lane(&dispatcher->lanes[i]);
    while (dispatcher->cameras != NULL) {
        struct fw_dispatch_camera *next = dispatcher->cameras->next;
        free(dispatcher->cameras);
        dispatcher->cameras = next;
    }
    free(dispatcher->lanes);
    free(dispatcher->lists);
    if (dispatcher->has_sync)
        fw_condition_destroy(&dispatcher->sync);
    free(dispatcher);
}

static int build_lane(struct fw_dispatcher *dispatcher, size_t index)
{
    struct fw_lane *lane = &dispatcher->lanes[index];

    lane->dispatcher = dispatcher;
    lane->index = index;
    lane->list = &dispatcher->lists[dispatcher->list_count > 1 ? index : 0];
    lane->max_batch = fw_sink_max_batch(lane->sink);
    lane->waits_for_pictures =
        dispatcher->options.pictures != NULL && !fw_sink_message_options(lane->sink).embed_snapshot;
    lane->evicted_from = INT64_MAX;
    lane->next_idle_us = fw_sink_has_idle(lane->sink) ? 0 : INT64_MAX;
    lane->status.name = fw_sink_name(lane->sink);
    fw_backoff_init(&lane->retrying, &fw_backoff_default);
    fw_backoff_init(&lane->refused, &fw_backoff_refused);
    lane->messages = calloc(lane->max_batch, sizeof(*lane->messages));
    lane->marks = calloc(lane->max_batch, sizeof(struct fw_outbox_mark *));
    lane->results = calloc(lane->max_batch, sizeof(*lane->results));
    lane->records = calloc(FW_LANE_LOAD, sizeof(*lane->records));
    lane->batch = calloc(lane->max_batch, sizeof(struct fw_dispatch_entry *));
    if (lane->messages == NULL || lane->marks == NULL || lane->results == NULL ||
        lane->records == NULL || lane->batch == NULL)
        return FW_ENOMEM;
    return FW_OK;
}

static int build(struct fw_dispatcher *dispatcher)
{
    bool is_shared = dispatcher->delivery == FW_DELIVERY_FALLBACK;
    int status = FW_OK;

    if (fw_condition_init(&dispatcher->sync) != FW_OK)
        return FW_ENOMEM;
    dispatcher->has_sync = true;
    dispatcher->started_us = fw_monotonic_us();
    dispatcher->first_seq = fw_outbox_first_seq(dispatcher->options.outbox);
    dispatcher->changes = 1;
    dispatcher->lists = calloc(dispatcher->lane_count + 1, sizeof(*dispatcher->lists));
    if (dispatcher->lists == NULL)
        return FW_ENOMEM;
    if (dispatcher->lane_count > 0)
        dispatcher->list_count = is_shared ? 1 : dispatcher->lane_count;
    for (size_t i = 0; i < dispatcher->list_count; i++)
        dispatcher->lists[i].queue = i;
    for (size_t i = 0; status == FW_OK && i < dispatcher->lane_count; i++)
        status = build_lane(dispatcher, i);
    return status;
}

static void on_outbox_changed(void *opaque)
{
    struct fw_dispatcher *dispatcher = opaque;

    pthread_mutex_lock(&dispatcher->sync.mutex);
    dispatcher->changes++;
    pthread_cond_broadcast(&dispatcher->sync.changed);
    pthread_mutex_unlock(&dispatcher->sync.mutex);
}

// Takes the sinks over; NULL: they are closed.
static struct fw_dispatcher *own(const struct fw_dispatcher_options *options,
                                 struct fw_sink **sinks, size_t count)
{
    struct fw_dispatcher *dispatcher = NULL;

    if (count <= FW_DISPATCHER_MAX_SINKS && count == fw_outbox_sink_count(options->outbox))
        dispatcher = calloc(1, sizeof(*dispatcher));
    if (dispatcher != NULL)
        dispatcher->lanes = calloc(count + 1, sizeof(*dispatcher->lanes));
    if (dispatcher == NULL || dispatcher->lanes == NULL) {
        for (size_t i = 0; i < count; i++)
            fw_sink_close(sinks[i]);
        free(dispatcher);
        return NULL;
    }
    dispatcher->options = *options;
    dispatcher->delivery = fw_outbox_delivery(options->outbox);
    dispatcher->lane_count = count;
    for (size_t i = 0; i < count; i++)
        dispatcher->lanes[i].sink = sinks[i];
    return dispatcher;
}

struct fw_dispatcher *fw_dispatcher_create(const struct fw_dispatcher_options *options,
                                           struct fw_sink **sinks, size_t count)
{
    struct fw_dispatcher *dispatcher = own(options, sinks, count);

    if (dispatcher == NULL)
        return NULL;
    if (build(dispatcher) != FW_OK) {
        free_dispatcher(dispatcher);
        return NULL;
    }
    fw_outbox_listen(options->outbox, on_outbox_changed, dispatcher);
    for (size_t i = 0; i < count; i++) {
        struct fw_lane *lane = &dispatcher->lanes[i];
        if (fw_thread_start(&lane->thread, lane->status.name, options->log, fw_lane_run, lane) !=
            FW_OK) {
            (void)fw_dispatcher_destroy(dispatcher, -1);
            return NULL;
        }
    }
    return dispatcher;
}

static void stop(struct fw_dispatcher *dispatcher)
{
    pthread_mutex_lock(&dispatcher->sync.mutex);
    dispatcher->is_stopping = true;
    for (size_t i = 0; i < dispatcher->lane_count; i++)
        if (dispatcher->lanes[i].cancel != NULL)
            fw_cancel_trigger(dispatcher->lanes[i].cancel);
    pthread_cond_broadcast(&dispatcher->sync.changed);
    pthread_mutex_unlock(&dispatcher->sync.mutex);
}

static int64_t left_ms(int64_t until_us)
{
    int64_t left_us = until_us - fw_monotonic_us();

    if (until_us == INT64_MAX)
        return -1;
    return left_us > 0 ? left_us / FW_US_PER_MS : 0;
}

int fw_dispatcher_destroy(struct fw_dispatcher *dispatcher, int64_t timeout_ms)
{
    int64_t until_us = fw_condition_until_us(timeout_ms);
    int status = FW_OK;

    if (dispatcher == NULL)
        return FW_OK;
    stop(dispatcher);
    fw_outbox_listen(dispatcher->options.outbox, NULL, NULL);
    for (size_t i = 0; i < dispatcher->lane_count; i++) {
        if (fw_thread_join(dispatcher->lanes[i].thread, left_ms(until_us)) == FW_OK)
            continue;
        fw_log_error(dispatcher->options.log, "%s does not stop; its thread is left behind",
                     dispatcher->lanes[i].status.name);
        status = FW_ETIMEDOUT;
    }
    if (status == FW_OK) {
        // The next dispatcher shall not find what this one has delivered.
        (void)fw_outbox_flush(dispatcher->options.outbox, left_ms(until_us));
        free_dispatcher(dispatcher);
        return FW_OK;
    }
    pthread_mutex_lock(&dispatcher->sync.mutex);
    dispatcher->is_abandoned = true;
    pthread_mutex_unlock(&dispatcher->sync.mutex);
    return status;
}

// The outside

void fw_dispatcher_pictures_changed(struct fw_dispatcher *dispatcher)
{
    pthread_mutex_lock(&dispatcher->sync.mutex);
    dispatcher->pictures_generation++;
    pthread_cond_broadcast(&dispatcher->sync.changed);
    pthread_mutex_unlock(&dispatcher->sync.mutex);
}

static bool is_empty(struct fw_dispatcher *dispatcher)
{
    struct fw_outbox_queue_stats stats = {0};

    for (size_t i = 0; i < dispatcher->list_count && stats.waiting == 0; i++)
        fw_outbox_queue_get_stats(dispatcher->options.outbox, i, &stats);
    return stats.waiting == 0;
}

bool fw_dispatcher_drain(struct fw_dispatcher *dispatcher, int64_t timeout_ms)
{
    int64_t until_us = fw_condition_until_us(timeout_ms);
    bool is_drained;

    if (fw_outbox_flush(dispatcher->options.outbox, timeout_ms) != FW_OK)
        return false;
    pthread_mutex_lock(&dispatcher->sync.mutex);
    while (!(is_drained = is_empty(dispatcher)) &&
           fw_condition_wait(&dispatcher->sync, until_us) == 0)
        ;
    pthread_mutex_unlock(&dispatcher->sync.mutex);
    return is_drained;
}

// The mutex is held.
static void describe(struct fw_lane *lane, struct fw_sink_status *status)
{
    bool is_first = lane->dispatcher->delivery == FW_DELIVERY_ALL || lane->index == 0;
    struct fw_outbox_queue_stats stats;
    int64_t now_us = fw_monotonic_us(), oldest_us = 0;
    uint64_t due = 0;

    fw_outbox_queue_get_stats(lane->dispatcher->options.outbox, lane->list->queue, &stats);
    for (const struct fw_dispatch_entry *entry = lane->list->first; entry != NULL;
         entry = entry->next) {
        if (fw_lane_has_rejected(lane, entry) || fw_lane_due_us(lane, entry) > now_us)
            continue;
        due++;
        if (entry->waits_since_us < oldest_us || oldest_us == 0)
            oldest_us = entry->waits_since_us;
    }
    *status = lane->status;
    status->waiting = is_first ? stats.waiting : due;
    status->dropped = is_first ? stats.dropped : 0;
    status->oldest_waiting_us = oldest_us != 0 ? now_us - oldest_us : 0;
}

size_t fw_dispatcher_status(struct fw_dispatcher *dispatcher, struct fw_sink_status *status,
                            size_t max)
{
    pthread_mutex_lock(&dispatcher->sync.mutex);
    for (size_t i = 0; i < dispatcher->lane_count && i < max; i++)
        describe(&dispatcher->lanes[i], &status[i]);
    pthread_mutex_unlock(&dispatcher->sync.mutex);
    return dispatcher->lane_count;
}
