#include "alert/dispatcher.h"
#include "util/backoff.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/thread.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// A jittered delay may be nothing at all; the next sink shall get its turn in between.
static const int64_t MIN_DELAY_MS = 100;
static const int64_t MAX_RETRY_AFTER_MS = 60000;

// An event in a record.
struct entry {
    struct fw_event *event;
    int64_t posted_us;
    unsigned rejected_by;  // one bit a lane
    struct lane *taken_by; // whose attempt is under way; NULL: it waits
    struct entry *previous, *next;
};

// Events in the order of their posting: one record for all lanes, or one for each.
struct record {
    struct entry *first, *last;
    size_t count, in_flight;
};

// A sink, its thread and its pace.
struct lane {
    struct fw_dispatcher *dispatcher;
    size_t index;
    struct fw_sink *sink;
    struct record *record;
    struct fw_thread *thread;
    // The fields from here on are guarded by the dispatcher's mutex. `cancel` is replaced, once it
    // was triggered, only by the lane's own thread and only between attempts.
    struct fw_cancel *cancel;
    struct entry *entry; // the attempt under way
    bool is_overtaken;   // a later lane asked for it
    struct fw_backoff retrying, refused;
    int64_t next_try_us;
    struct fw_sink_status status;
};

struct fw_dispatcher {
    struct fw_dispatcher_options options;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool has_mutex, has_cond;
    struct lane *lanes;
    size_t lane_count;
    // Guarded by the mutex.
    struct record *records;
    size_t record_count;
    bool is_stopping;
};

// Time

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// Waits for a change, until UNTIL_US at the latest (INT64_MAX: for ever).
static void wait_until(struct fw_dispatcher *dispatcher, int64_t until_us)
{
    struct timespec until = {.tv_sec = (time_t)(until_us / FW_US_PER_S),
                             .tv_nsec = (long)(until_us % FW_US_PER_S * 1000)};

    if (until_us == INT64_MAX)
        pthread_cond_wait(&dispatcher->changed, &dispatcher->mutex);
    else
        pthread_cond_timedwait(&dispatcher->changed, &dispatcher->mutex, &until);
}

static int init_sync(struct fw_dispatcher *dispatcher)
{
    pthread_condattr_t attributes;

    if (pthread_mutex_init(&dispatcher->mutex, NULL) != 0)
        return FW_ENOMEM;
    dispatcher->has_mutex = true;
    if (pthread_condattr_init(&attributes) != 0)
        return FW_ENOMEM;
    if (pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
        pthread_cond_init(&dispatcher->changed, &attributes) == 0)
        dispatcher->has_cond = true;
    pthread_condattr_destroy(&attributes);
    return dispatcher->has_cond ? FW_OK : FW_ENOMEM;
}

// Records; the mutex is held

static void append(struct record *record, struct entry *entry)
{
    entry->previous = record->last;
    if (record->last != NULL)
        record->last->next = entry;
    else
        record->first = entry;
    record->last = entry;
    record->count++;
}

// Takes ENTRY out and frees it; its event, with the reference, is the caller's.
static struct fw_event *take_out(struct record *record, struct entry *entry)
{
    struct fw_event *event = entry->event;

    if (entry->previous != NULL)
        entry->previous->next = entry->next;
    else
        record->first = entry->next;
    if (entry->next != NULL)
        entry->next->previous = entry->previous;
    else
        record->last = entry->previous;
    record->count--;
    free(entry);
    return event;
}

// Makes room for one entry more; returns the event that had to go for it, or NULL.
static struct fw_event *make_room(const struct fw_dispatcher *dispatcher, struct record *record)
{
    struct entry *entry = record->first;

    if (record->count - record->in_flight < dispatcher->options.max_events)
        return NULL;
    while (entry != NULL && entry->taken_by != NULL)
        entry = entry->next;
    return entry != NULL ? take_out(record, entry) : NULL;
}

static bool is_rejected_by(const struct entry *entry, const struct lane *lane)
{
    return (entry->rejected_by >> lane->index & 1) != 0;
}

// When ENTRY becomes LANE's too: the lanes before it have their time first, save those that have
// rejected it.
static int64_t due_us(const struct lane *lane, const struct entry *entry)
{
    int64_t due = entry->posted_us;

    if (lane->dispatcher->options.delivery == FW_DELIVERY_ALL)
        return due;
    for (size_t i = 0; i < lane->index; i++)
        if (!is_rejected_by(entry, &lane->dispatcher->lanes[i]))
            due += lane->dispatcher->options.fallback_after_ms * FW_US_PER_MS;
    return due;
}

// True while an earlier event of ENTRY's camera is on its way by another lane.
static bool is_camera_busy(const struct lane *lane, const struct entry *entry)
{
    const struct fw_dispatcher *dispatcher = lane->dispatcher;

    for (size_t i = 0; i < dispatcher->lane_count; i++) {
        const struct lane *other = &dispatcher->lanes[i];
        if (other != lane && other->record == lane->record && other->entry != NULL &&
            strcmp(other->entry->event->camera_id, entry->event->camera_id) == 0)
            return true;
    }
    return false;
}

// Asks the lane before LANE whose time for ENTRY is over to give it up.
static void overtake(const struct lane *lane, const struct entry *entry)
{
    struct lane *holder = entry->taken_by;

    if (holder->index >= lane->index || holder->is_overtaken)
        return;
    holder->is_overtaken = true;
    fw_cancel_trigger(holder->cancel);
}

// The oldest entry that LANE may try now, or NULL; then *WAKE_US is when that may change by time.
static struct entry *pick(const struct lane *lane, int64_t now_us, int64_t *wake_us)
{
    *wake_us = INT64_MAX;
    for (struct entry *entry = lane->record->first; entry != NULL; entry = entry->next) {
        int64_t due;
        if (is_rejected_by(entry, lane))
            continue;
        due = due_us(lane, entry);
        if (due > now_us)
            *wake_us = earlier(*wake_us, due);
        else if (entry->taken_by != NULL)
            overtake(lane, entry);
        else if (!is_camera_busy(lane, entry))
            return entry;
    }
    return NULL;
}

// A lane's thread

// A cancel object for the next attempt; false when there is none to be had.
static bool renew_cancel(struct lane *lane)
{
    if (lane->cancel != NULL && fw_cancel_is_set(lane->cancel)) {
        fw_cancel_destroy(lane->cancel);
        lane->cancel = NULL;
    }
    if (lane->cancel == NULL)
        lane->cancel = fw_cancel_create();
    return lane->cancel != NULL;
}

static void confirm(struct lane *lane)
{
    fw_backoff_reset(&lane->retrying);
    fw_backoff_reset(&lane->refused);
    lane->next_try_us = 0;
    lane->status.state = FW_SINK_OK;
    lane->status.last_error[0] = '\0';
}

static void hold(struct lane *lane, int status, const struct fw_error *error, int64_t asked_ms)
{
    struct fw_backoff *backoff = status == FW_EAUTH ? &lane->refused : &lane->retrying;
    int64_t now_us = fw_monotonic_us();
    int64_t delay_ms = fw_backoff_next_ms(backoff, now_us, fw_random_u32());

    asked_ms = earlier(asked_ms, MAX_RETRY_AFTER_MS);
    if (delay_ms < asked_ms)
        delay_ms = asked_ms;
    if (delay_ms < MIN_DELAY_MS)
        delay_ms = MIN_DELAY_MS;
    fw_backoff_reset(status == FW_EAUTH ? &lane->retrying : &lane->refused);
    lane->next_try_us = now_us + delay_ms * FW_US_PER_MS;
    lane->status.state = status == FW_EAUTH ? FW_SINK_REFUSED : FW_SINK_RETRYING;
    lane->status.retried++;
    snprintf(lane->status.last_error, sizeof(lane->status.last_error), "%.*s",
             (int)sizeof(lane->status.last_error) - 1, error->message);
}

// True when no lane is left that may take ENTRY.
static bool is_given_up(const struct lane *lane, const struct entry *entry)
{
    const struct fw_dispatcher *dispatcher = lane->dispatcher;

    if (dispatcher->options.delivery == FW_DELIVERY_ALL)
        return true;
    for (size_t i = 0; i < dispatcher->lane_count; i++)
        if (!is_rejected_by(entry, &dispatcher->lanes[i]))
            return false;
    return true;
}

// Books what became of the attempt; returns the event when it is done with. The mutex is held.
static struct fw_event *settle(struct lane *lane, int status, const struct fw_error *error,
                               int64_t asked_ms)
{
    struct entry *entry = lane->entry;

    lane->entry = NULL;
    lane->is_overtaken = false;
    lane->record->in_flight--;
    entry->taken_by = NULL;
    pthread_cond_broadcast(&lane->dispatcher->changed);
    if (status == FW_OK) {
        confirm(lane);
        lane->status.delivered++;
        return take_out(lane->record, entry);
    }
    if (status == FW_EREJECTED) {
        confirm(lane); // the peer is there and knows us
        lane->status.rejected++;
        entry->rejected_by |= 1u << lane->index;
        return is_given_up(lane, entry) ? take_out(lane->record, entry) : NULL;
    }
    if (!lane->dispatcher->is_stopping)
        hold(lane, status, error, asked_ms);
    return NULL;
}

static void report(const struct lane *lane, const char *event_id, int status,
                   const struct fw_error *error, enum fw_sink_state before)
{
    const struct fw_log *log = lane->dispatcher->options.log;
    const char *name = fw_sink_name(lane->sink);

    if (status == FW_EREJECTED)
        fw_log_error(log, "%s rejects alert %s: %s", name, event_id, error->message);
    else if (status == FW_EAUTH && before != FW_SINK_REFUSED)
        fw_log_error(log, "%s refuses us, alerts wait: %s", name, error->message);
    else if (status != FW_OK && status != FW_EAUTH && before != FW_SINK_RETRYING)
        fw_log_warning(log, "%s: alerts wait: %s", name, error->message);
    else if (status == FW_OK && before != FW_SINK_OK)
        fw_log_info(log, "%s takes alerts again", name);
}

// One attempt, without the mutex while the sink works. When it was overtaken the sink's own words
// ("cancelled") would say nothing.
static void attempt(struct lane *lane, struct entry *entry)
{
    struct fw_dispatcher *dispatcher = lane->dispatcher;
    enum fw_sink_state before = lane->status.state;
    struct fw_error error = {0};
    struct fw_event *event = fw_event_ref(entry->event), *done;
    int64_t asked_ms;
    int status;
    bool is_stopping;

    lane->entry = entry;
    entry->taken_by = lane;
    lane->record->in_flight++;
    pthread_mutex_unlock(&dispatcher->mutex);
    status = fw_sink_deliver(lane->sink, event, lane->cancel, &error);
    asked_ms = fw_sink_retry_after_ms(lane->sink);
    pthread_mutex_lock(&dispatcher->mutex);

    if (status == FW_ECANCELED && lane->is_overtaken)
        fw_fail(&error, FW_ETIMEDOUT, "no confirmation within %lld ms; the next sink takes over",
                (long long)dispatcher->options.fallback_after_ms);
    done = settle(lane, status, &error, asked_ms);
    is_stopping = dispatcher->is_stopping;
    pthread_mutex_unlock(&dispatcher->mutex);
    if (!is_stopping) // the log may be gone when a stop did not wait for us
        report(lane, event->id, status, &error, before);
    fw_event_unref(done);
    fw_event_unref(event);
    pthread_mutex_lock(&dispatcher->mutex);
}

static void run_lane(void *opaque)
{
    struct lane *lane = opaque;
    struct fw_dispatcher *dispatcher = lane->dispatcher;

    pthread_mutex_lock(&dispatcher->mutex);
    while (!dispatcher->is_stopping) {
        int64_t now_us = fw_monotonic_us(), wake_us = lane->next_try_us;
        struct entry *entry = NULL;
        if (wake_us <= now_us)
            entry = pick(lane, now_us, &wake_us);
        if (entry == NULL) {
            wait_until(dispatcher, wake_us);
        } else if (renew_cancel(lane)) {
            attempt(lane, entry);
        } else {
            lane->next_try_us = now_us + FW_US_PER_S;
        }
    }
    pthread_mutex_unlock(&dispatcher->mutex);
}

// Making and unmaking

static void free_records(struct fw_dispatcher *dispatcher)
{
    for (size_t i = 0; i < dispatcher->record_count; i++) {
        struct entry *entry = dispatcher->records[i].first;
        while (entry != NULL) {
            struct entry *next = entry->next;
            fw_event_unref(entry->event);
            free(entry);
            entry = next;
        }
    }
    free(dispatcher->records);
}

// All threads have ended.
static void free_dispatcher(struct fw_dispatcher *dispatcher)
{
    free_records(dispatcher);
    for (size_t i = 0; i < dispatcher->lane_count; i++) {
        fw_sink_close(dispatcher->lanes[i].sink);
        fw_cancel_destroy(dispatcher->lanes[i].cancel);
    }
    free(dispatcher->lanes);
    if (dispatcher->has_cond)
        pthread_cond_destroy(&dispatcher->changed);
    if (dispatcher->has_mutex)
        pthread_mutex_destroy(&dispatcher->mutex);
    free(dispatcher);
}

static int build(struct fw_dispatcher *dispatcher, const struct fw_dispatcher_options *options,
                 struct fw_sink **sinks, size_t count)
{
    bool has_one_record = options->delivery == FW_DELIVERY_FALLBACK;

    dispatcher->options = *options;
    if (dispatcher->options.max_events < 1)
        dispatcher->options.max_events = 1;
    dispatcher->records = calloc(count > 0 ? count : 1, sizeof(*dispatcher->records));
    if (dispatcher->records == NULL || init_sync(dispatcher) != FW_OK)
        return FW_ENOMEM;
    dispatcher->record_count = has_one_record && count > 1 ? 1 : count;
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = &dispatcher->lanes[i];
        lane->dispatcher = dispatcher;
        lane->index = i;
        lane->sink = sinks[i];
        lane->record = &dispatcher->records[has_one_record ? 0 : i];
        lane->status.name = fw_sink_name(sinks[i]);
        fw_backoff_init(&lane->retrying, &fw_backoff_default);
        fw_backoff_init(&lane->refused, &fw_backoff_refused);
    }
    dispatcher->lane_count = count;
    return FW_OK;
}

struct fw_dispatcher *fw_dispatcher_create(const struct fw_dispatcher_options *options,
                                           struct fw_sink **sinks, size_t count)
{
    struct fw_dispatcher *dispatcher = NULL;

    if (count <= FW_DISPATCHER_MAX_SINKS)
        dispatcher = calloc(1, sizeof(*dispatcher));
    if (dispatcher != NULL)
        dispatcher->lanes = calloc(count > 0 ? count : 1, sizeof(*dispatcher->lanes));
    if (dispatcher == NULL || dispatcher->lanes == NULL ||
        build(dispatcher, options, sinks, count) != FW_OK) {
        for (size_t i = 0; i < count; i++)
            fw_sink_close(sinks[i]);
        if (dispatcher != NULL)
            free_dispatcher(dispatcher);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = &dispatcher->lanes[i];
        if (fw_thread_start(&lane->thread, lane->status.name, options->log, run_lane, lane) !=
            FW_OK) {
            (void)fw_dispatcher_destroy(dispatcher, -1);
            return NULL;
        }
    }
    return dispatcher;
}

static void stop(struct fw_dispatcher *dispatcher)
{
    pthread_mutex_lock(&dispatcher->mutex);
    dispatcher->is_stopping = true;
    for (size_t i = 0; i < dispatcher->lane_count; i++)
        if (dispatcher->lanes[i].cancel != NULL)
            fw_cancel_trigger(dispatcher->lanes[i].cancel);
    pthread_cond_broadcast(&dispatcher->changed);
    pthread_mutex_unlock(&dispatcher->mutex);
}

static size_t count_waiting(struct fw_dispatcher *dispatcher)
{
    size_t waiting = 0;

    pthread_mutex_lock(&dispatcher->mutex);
    for (size_t i = 0; i < dispatcher->record_count; i++)
        waiting += dispatcher->records[i].count;
    pthread_mutex_unlock(&dispatcher->mutex);
    return waiting;
}

int fw_dispatcher_destroy(struct fw_dispatcher *dispatcher, int64_t timeout_ms)
{
    int64_t until_us = INT64_MAX;
    size_t lost = 0;
    int status = FW_OK;

    if (dispatcher == NULL)
        return FW_OK;
    if (timeout_ms >= 0)
        until_us = fw_monotonic_us() + timeout_ms * FW_US_PER_MS;
    stop(dispatcher);
    for (size_t i = 0; i < dispatcher->lane_count; i++) {
        int64_t left_ms = -1;
        if (timeout_ms >= 0)
            left_ms = (until_us - fw_monotonic_us()) / FW_US_PER_MS;
        if (timeout_ms >= 0 && left_ms < 0)
            left_ms = 0;
        if (fw_thread_join(dispatcher->lanes[i].thread, left_ms) != FW_OK) {
            fw_log_error(dispatcher->options.log, "%s does not stop; its thread is left behind",
                         dispatcher->lanes[i].status.name);
            status = FW_ETIMEDOUT;
        }
    }
    lost = count_waiting(dispatcher);
    if (lost > 0)
        fw_log_warning(dispatcher->options.log, "%zu alerts were not delivered before the stop",
                       lost);
    if (status == FW_OK)
        free_dispatcher(dispatcher);
    return status;
}

// The outside

static void count_drop(struct lane *lane)
{
    pthread_mutex_lock(&lane->dispatcher->mutex);
    lane->status.dropped++;
    pthread_mutex_unlock(&lane->dispatcher->mutex);
}

// Appends ENTRY unless the dispatcher is stopping. *DROPPED is the event that had to go, or NULL.
static int enqueue(struct fw_dispatcher *dispatcher, size_t index, struct entry *entry,
                   struct fw_event **dropped)
{
    struct record *record = &dispatcher->records[index];
    int status = FW_OK;

    *dropped = NULL;
    pthread_mutex_lock(&dispatcher->mutex);
    if (dispatcher->is_stopping) {
        status = FW_ECANCELED;
    } else {
        *dropped = make_room(dispatcher, record);
        if (*dropped != NULL)
            dispatcher->lanes[index].status.dropped++;
        entry->posted_us = fw_monotonic_us();
        append(record, entry);
        pthread_cond_broadcast(&dispatcher->changed);
    }
    pthread_mutex_unlock(&dispatcher->mutex);
    return status;
}

static int post_to(struct fw_dispatcher *dispatcher, size_t index, struct fw_event *event)
{
    struct lane *lane = &dispatcher->lanes[index];
    struct entry *entry = calloc(1, sizeof(*entry));
    struct fw_event *dropped;
    int status;

    if (entry == NULL) {
        count_drop(lane);
        return FW_ENOMEM;
    }
    entry->event = fw_event_ref(event);
    status = enqueue(dispatcher, index, entry, &dropped);
    if (status != FW_OK) {
        fw_event_unref(event);
        free(entry);
    }
    if (dropped != NULL)
        fw_log_warning(dispatcher->options.log,
                       "%s: more than %zu alerts wait, the oldest (%s) is dropped",
                       lane->status.name, dispatcher->options.max_events, dropped->id);
    fw_event_unref(dropped);
    return status;
}

int fw_dispatcher_post(struct fw_dispatcher *dispatcher, struct fw_event *event)
{
    int status = FW_OK;

    for (size_t i = 0; i < dispatcher->record_count; i++) {
        int result = post_to(dispatcher, i, event);
        if (status == FW_OK)
            status = result;
    }
    return status;
}

bool fw_dispatcher_drain(struct fw_dispatcher *dispatcher, int64_t timeout_ms)
{
    int64_t until_us = timeout_ms < 0 ? INT64_MAX : fw_monotonic_us() + timeout_ms * FW_US_PER_MS;
    bool is_empty = false;

    pthread_mutex_lock(&dispatcher->mutex);
    for (;;) {
        is_empty = true;
        for (size_t i = 0; i < dispatcher->record_count; i++)
            is_empty = is_empty && dispatcher->records[i].count == 0;
        if (is_empty || fw_monotonic_us() >= until_us)
            break;
        wait_until(dispatcher, until_us);
    }
    pthread_mutex_unlock(&dispatcher->mutex);
    return is_empty;
}

static uint64_t due_to(const struct lane *lane, int64_t now_us)
{
    uint64_t due = 0;

    for (const struct entry *entry = lane->record->first; entry != NULL; entry = entry->next)
        if (!is_rejected_by(entry, lane) && due_us(lane, entry) <= now_us)
            due++;
    return due;
}

size_t fw_dispatcher_status(struct fw_dispatcher *dispatcher, struct fw_sink_status *status,
                            size_t max)
{
    int64_t now_us = fw_monotonic_us();

    pthread_mutex_lock(&dispatcher->mutex);
    for (size_t i = 0; i < dispatcher->lane_count && i < max; i++) {
        status[i] = dispatcher->lanes[i].status;
        status[i].waiting = due_to(&dispatcher->lanes[i], now_us);
    }
    pthread_mutex_unlock(&dispatcher->mutex);
    return dispatcher->lane_count;
}
