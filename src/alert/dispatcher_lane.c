// A sink's thread.
#include "alert/dispatcher_internal.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

// A jittered delay may be nothing at all; the next sink shall get its turn in between.
static const int64_t MIN_DELAY_MS = 100;
static const int64_t MAX_RETRY_AFTER_MS = 60000;
static const int64_t IDLE_MS = 1000;
// Of all messages of a batch: with pictures inside they are large.
static const size_t MAX_BATCH_BYTES = 8 << 20;
// Delivering a backlog must not take the processor from the cameras.
static const int NICENESS = 5;

// A cancel object for the next attempt; false when there is none to be had.
static bool renew_cancel(struct fw_lane *lane)
{
    if (lane->cancel != NULL && fw_cancel_is_set(lane->cancel)) {
        fw_cancel_destroy(lane->cancel);
        lane->cancel = NULL;
    }
    if (lane->cancel == NULL)
        lane->cancel = fw_cancel_create();
    return lane->cancel != NULL;
}

// The mutex is held.
static void confirm(struct fw_lane *lane)
{
    fw_backoff_reset(&lane->retrying);
    fw_backoff_reset(&lane->refused);
    lane->next_try_us = 0;
    lane->status.state = FW_SINK_OK;
    lane->status.last_error[0] = '\0';
}

// The mutex is held.
static void hold(struct fw_lane *lane, int status, const struct fw_error *error, int64_t asked_ms)
{
    struct fw_backoff *backoff = status == FW_EAUTH ? &lane->refused : &lane->retrying;
    int64_t now_us = fw_monotonic_us();
    int64_t delay_ms = fw_backoff_next_ms(backoff, now_us, fw_random_u32());

    if (asked_ms > MAX_RETRY_AFTER_MS)
        asked_ms = MAX_RETRY_AFTER_MS;
    if (delay_ms < asked_ms)
        delay_ms = asked_ms;
    if (delay_ms < MIN_DELAY_MS)
        delay_ms = MIN_DELAY_MS;
    fw_backoff_reset(status == FW_EAUTH ? &lane->retrying : &lane->refused);
    lane->next_try_us = now_us + delay_ms * FW_US_PER_MS;
    lane->status.state = status == FW_EAUTH ? FW_SINK_REFUSED : FW_SINK_RETRYING;
    snprintf(lane->status.last_error, sizeof(lane->status.last_error), "%.*s",
             (int)sizeof(lane->status.last_error) - 1, error->message);
}

static void report(const struct fw_lane *lane, int status, const struct fw_error *error,
                   enum fw_sink_state before, enum fw_sink_state after)
{
    const struct fw_log *log = lane->dispatcher->options.log;
    const char *name = lane->status.name;

    if (after == FW_SINK_REFUSED && before != FW_SINK_REFUSED)
        fw_log_error(log, "%s refuses us, alerts wait: %s", name, error->message);
    else if (after == FW_SINK_RETRYING && before != FW_SINK_RETRYING)
        fw_log_warning(log, "%s: alerts wait: %s", name, error->message);
    else if (status == FW_OK && before != FW_SINK_OK)
        fw_log_info(log, "%s takes alerts again", name);
}

static void plan_idle(struct fw_lane *lane)
{
    if (fw_sink_has_idle(lane->sink))
        lane->next_idle_us = fw_monotonic_us() + IDLE_MS * FW_US_PER_MS;
}

// Making messages; the mutex is not held, the entries are ours

static struct fw_outbox_mark *new_mark(const struct fw_lane *lane,
                                       const struct fw_dispatch_entry *entry)
{
    struct fw_outbox_mark *mark = calloc(1, sizeof(*mark));

    if (mark != NULL)
        *mark = (struct fw_outbox_mark){
            .seq = entry->seq, .queue = lane->list->queue, .sink = lane->index};
    return mark;
}

// The message for the entry at INDEX, and its mark: there must be one once the sink has it. FW_OK,
// FW_ENOMEM, FW_ENOTSUP (nothing to send), FW_EFORMAT.
static int make_one(struct fw_lane *lane, size_t index, struct fw_error *error)
{
    const struct fw_dispatch_entry *entry = lane->batch[index];
    struct fw_message_options options = fw_sink_message_options(lane->sink);

    options.pictures = lane->dispatcher->options.pictures;
    lane->marks[index] = new_mark(lane, entry);
    if (lane->marks[index] == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for a message");
    if (entry->event == NULL)
        return fw_fail(error, FW_EFORMAT, "what the outbox kept of it is damaged");
    return fw_message_make(&lane->messages[index], entry->event, &options, error);
}

static void unmake_one(struct fw_lane *lane, size_t index)
{
    fw_message_free(&lane->messages[index]);
    memset(&lane->messages[index], 0, sizeof(lane->messages[index]));
    free(lane->marks[index]);
    lane->marks[index] = NULL;
}

// Makes messages for as much of the batch as can be sent together, which is *COUNT; what can't be
// made into a message is a batch alone. FW_OK, or what is wrong with the first one.
static int make_messages(struct fw_lane *lane, size_t *count, struct fw_error *error)
{
    size_t bytes = 0;
    int status = FW_OK;

    for (*count = 0; *count < lane->batch_count && bytes < MAX_BATCH_BYTES; ++*count) {
        status = make_one(lane, *count, error);
        if (status != FW_OK)
            break;
        bytes += lane->messages[*count].length;
    }
    if (status == FW_OK)
        return FW_OK;
    if (*count > 0) {
        unmake_one(lane, *count);
        return FW_OK;
    }
    *count = 1;
    return status;
}

// Settling; the mutex is held

// True when no lane is left that may take ENTRY.
static bool is_given_up(const struct fw_lane *lane, const struct fw_dispatch_entry *entry)
{
    const struct fw_dispatcher *dispatcher = lane->dispatcher;

    if (dispatcher->delivery == FW_DELIVERY_ALL)
        return true;
    for (size_t i = 0; i < dispatcher->lane_count; i++)
        if (!fw_lane_has_rejected(&dispatcher->lanes[i], entry))
            return false;
    return true;
}

static void note(struct fw_lane *lane, size_t index, enum fw_outbox_outcome outcome,
                 const char *reason)
{
    struct fw_dispatch_entry *entry = lane->batch[index];
    struct fw_outbox_mark *mark = lane->marks[index];
    uint64_t ticket;

    lane->marks[index] = NULL;
    mark->outcome = outcome;
    mark->at_utc_us = fw_utc_us();
    snprintf(mark->reason, sizeof(mark->reason), "%.*s", (int)sizeof(mark->reason) - 1, reason);
    ticket = fw_outbox_mark(lane->dispatcher->options.outbox, mark);
    if (outcome == FW_OUTCOME_REJECTED)
        entry->ticket = ticket;
    else
        fw_dispatch_list_end(lane->list, entry, ticket);
}

// The peer refuses this very message, or (NOTHING_TO_SEND) there is none in its format.
static void reject(struct fw_lane *lane, size_t index, bool nothing_to_send, const char *reason)
{
    struct fw_dispatch_entry *entry = lane->batch[index];
    struct fw_lane *counted =
        lane->dispatcher->delivery == FW_DELIVERY_ALL ? lane : &lane->dispatcher->lanes[0];

    entry->rejected_by |= 1u << lane->index;
    if (!nothing_to_send)
        lane->status.rejected++;
    if (!is_given_up(lane, entry)) {
        note(lane, index, FW_OUTCOME_REJECTED, reason);
    } else if (nothing_to_send) {
        note(lane, index, FW_OUTCOME_DELIVERED, reason);
    } else {
        note(lane, index, FW_OUTCOME_DEAD, reason);
        counted->status.dead++;
    }
}

// Books what became of the COUNT messages that were tried, and gives the rest of the batch back.
static void settle(struct fw_lane *lane, size_t count, int status, const struct fw_error *error)
{
    for (size_t i = 0; i < lane->batch_count; i++)
        lane->batch[i]->taken_by = NULL;
    for (size_t i = 0; i < count && !lane->dispatcher->is_abandoned; i++) {
        int result = lane->results[i];
        if (result == FW_OK) {
            lane->status.delivered++;
            note(lane, i, FW_OUTCOME_DELIVERED, "");
        } else if (result == FW_EREJECTED || result == FW_ENOTSUP) {
            reject(lane, i, result == FW_ENOTSUP, error->message);
        }
        if (result == FW_OK || result == FW_EREJECTED)
            confirm(lane); // the peer is there and knows us
    }
    lane->batch_count = 0;
    lane->is_overtaken = false;
    pthread_cond_broadcast(&lane->dispatcher->sync.changed);
    if (status == FW_OK || lane->dispatcher->is_stopping)
        return;
    lane->status.retried++;
    hold(lane, status, error, fw_sink_retry_after_ms(lane->sink));
}

static void report_rejections(const struct fw_lane *lane, size_t count,
                              const struct fw_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (lane->results[i] == FW_EREJECTED)
            fw_log_error(lane->dispatcher->options.log, "%s rejects alert %s: %s",
                         lane->status.name, lane->messages[i].id, error->message);
}

// Messages to the sink; the mutex is not held.
static int send(struct fw_lane *lane, size_t *count, struct fw_error *error)
{
    int status = make_messages(lane, count, error);

    if (status == FW_EFORMAT || status == FW_ENOTSUP) {
        if (lane->batch[0]->event != NULL)
            memcpy(lane->messages[0].id, lane->batch[0]->event->id, sizeof(lane->messages[0].id));
        lane->results[0] = status == FW_EFORMAT ? FW_EREJECTED : FW_ENOTSUP;
        return FW_OK;
    }
    if (status != FW_OK) {
        lane->results[0] = status;
        return status;
    }
    return fw_sink_deliver(lane->sink, lane->messages, *count, lane->results, lane->cancel, error);
}

// One attempt with the batch, without the mutex while the sink works. When it was overtaken the
// sink's own words ("cancelled") would say nothing.
static void attempt(struct fw_lane *lane)
{
    struct fw_dispatcher *dispatcher = lane->dispatcher;
    enum fw_sink_state before = lane->status.state, after;
    struct fw_error error = {0};
    size_t count;
    bool is_stopping;
    int status;

    pthread_mutex_unlock(&dispatcher->sync.mutex);
    status = send(lane, &count, &error);
    pthread_mutex_lock(&dispatcher->sync.mutex);
    if (status == FW_ECANCELED && lane->is_overtaken)
        fw_fail(&error, FW_ETIMEDOUT, "no confirmation within %lld ms; the next sink takes over",
                (long long)dispatcher->options.fallback_after_ms);
    settle(lane, count, status, &error);
    after = lane->status.state;
    is_stopping = dispatcher->is_stopping;
    pthread_mutex_unlock(&dispatcher->sync.mutex);
    if (!is_stopping) { // the log may be gone when a stop did not wait for us
        report_rejections(lane, count, &error);
        report(lane, status, &error, before, after);
    }
    for (size_t i = 0; i < count; i++)
        unmake_one(lane, i);
    plan_idle(lane);
    pthread_mutex_lock(&dispatcher->sync.mutex);
}

// Nothing is to be delivered: lets the sink look after its connection.
static void idle(struct fw_lane *lane)
{
    struct fw_dispatcher *dispatcher = lane->dispatcher;
    enum fw_sink_state before = lane->status.state, after;
    struct fw_error error = {0};
    bool is_stopping;
    int status;

    pthread_mutex_unlock(&dispatcher->sync.mutex);
    status = fw_sink_idle(lane->sink, lane->cancel, &error);
    pthread_mutex_lock(&dispatcher->sync.mutex);
    is_stopping = dispatcher->is_stopping;
    if (status == FW_OK)
        confirm(lane);
    else if (!is_stopping)
        hold(lane, status, &error, fw_sink_retry_after_ms(lane->sink));
    after = lane->status.state;
    pthread_mutex_unlock(&dispatcher->sync.mutex);
    if (!is_stopping)
        report(lane, status, &error, before, after);
    plan_idle(lane);
    pthread_mutex_lock(&dispatcher->sync.mutex);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// One step of the work, or a wait for some; the mutex is held.
static void step(struct fw_lane *lane)
{
    struct fw_dispatcher *dispatcher = lane->dispatcher;
    int64_t now_us, wake_us, idle_us = lane->next_idle_us;

    fw_dispatcher_catch_up(dispatcher);
    if (fw_lane_load(lane))
        return;
    now_us = fw_monotonic_us();
    wake_us = lane->next_try_us;
    if (wake_us <= now_us) {
        if (fw_lane_look_after_pictures(lane))
            return;
        if (!renew_cancel(lane)) {
            lane->next_try_us = now_us + FW_US_PER_S;
            return;
        }
        if (fw_lane_take(lane, now_us, &wake_us) > 0) {
            attempt(lane);
            return;
        }
        if (idle_us <= now_us) {
            idle(lane);
            return;
        }
        wake_us = earlier(wake_us, idle_us);
    }
    if (lane->list->next_load_us > now_us)
        wake_us = earlier(wake_us, lane->list->next_load_us);
    fw_condition_wait(&dispatcher->sync, wake_us);
}

void fw_lane_run(void *opaque)
{
    struct fw_lane *lane = opaque;
    struct fw_dispatcher *dispatcher = lane->dispatcher;

    // Linux: of this thread alone. Where it is not allowed nothing is lost.
    (void)setpriority(PRIO_PROCESS, 0, NICENESS);
    pthread_mutex_lock(&dispatcher->sync.mutex);
    while (!dispatcher->is_stopping)
        step(lane);
    pthread_mutex_unlock(&dispatcher->sync.mutex);
}
