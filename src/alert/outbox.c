#include "alert/outbox_internal.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"
#include "util/thread.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Making and unmaking

static int copy_options(struct fw_outbox *outbox, const struct fw_outbox_options *options)
{
    outbox->options = *options;
    if (outbox->options.max_ring_events < 1)
        outbox->options.max_ring_events = 1;
    outbox->path = fw_strdup(options->path);
    outbox->lock_path = fw_strdup_printf("%s.lock", options->path);
    outbox->reserve_path = fw_strdup_printf("%s.reserve", options->path);
    if (outbox->path == NULL || outbox->lock_path == NULL || outbox->reserve_path == NULL)
        return FW_ENOMEM;
    for (size_t i = 0; i < options->sink_count; i++) {
        outbox->sink_names[i] = fw_strdup(options->sink_names[i]);
        if (outbox->sink_names[i] == NULL)
            return FW_ENOMEM;
    }
    outbox->options.path = outbox->path;
    outbox->options.sink_names = (const char *const *)outbox->sink_names;
    outbox->ids = (struct fw_outbox_queues){.is_shared = options->delivery == FW_DELIVERY_FALLBACK,
                                            .sink_count = options->sink_count};
    return FW_OK;
}

static int make_sync(struct fw_outbox *outbox)
{
    if (fw_condition_init(&outbox->state) != FW_OK)
        return FW_ENOMEM;
    outbox->has_state = true;
    if (pthread_mutex_init(&outbox->reader_mutex, NULL) != 0)
        return FW_ENOMEM;
    outbox->has_reader_mutex = true;
    return FW_OK;
}

static int make(struct fw_outbox **made, const struct fw_outbox_options *options)
{
    struct fw_outbox *outbox = calloc(1, sizeof(*outbox));

    *made = outbox;
    if (outbox == NULL)
        return FW_ENOMEM;
    outbox->lock_fd = -1;
    atomic_init(&outbox->is_stopping, false);
    outbox->opened_us = fw_monotonic_us();
    outbox->next_seq = 1;
    outbox->group = calloc(FW_OUTBOX_GROUP_EVENTS, sizeof(*outbox->group));
    if (outbox->group == NULL || copy_options(outbox, options) != FW_OK ||
        make_sync(outbox) != FW_OK)
        return FW_ENOMEM;
    return fw_outbox_ring_init(&outbox->ring,
                               outbox->options.max_ring_events + FW_OUTBOX_GROUP_EVENTS);
}

// No thread of ours runs any more.
static void destroy(struct fw_outbox *outbox)
{
    if (outbox == NULL)
        return;
    fw_outbox_db_close(&outbox->reader);
    fw_outbox_db_close(&outbox->db);
    fw_outbox_unlock(outbox);
    fw_outbox_ring_free(&outbox->ring);
    fw_outbox_marks_free(outbox->marks.first);
    if (outbox->has_reader_mutex)
        pthread_mutex_destroy(&outbox->reader_mutex);
    if (outbox->has_state)
        fw_condition_destroy(&outbox->state);
    for (size_t i = 0; i < FW_OUTBOX_MAX_SINKS; i++)
        free(outbox->sink_names[i]);
    free(outbox->group);
    free(outbox->path);
    free(outbox->lock_path);
    free(outbox->reserve_path);
    free(outbox);
}

// A disk that is full or failing does not keep the outbox from working in memory; a folder that is
// not ours does.
static int open_database(struct fw_outbox *outbox, struct fw_error *error)
{
    char reason[sizeof(outbox->stats.reason)];
    int code;

    outbox->has_reserve = fw_outbox_make_reserve(outbox);
    code = fw_outbox_ready(outbox);
    if (code != SQLITE_OK && outbox->has_reserve) {
        fw_outbox_unready(outbox);
        fw_outbox_release_reserve(outbox);
        outbox->has_reserve = false;
        code = fw_outbox_ready(outbox);
    }
    if (code == SQLITE_NOMEM)
        return fw_fail(error, FW_ENOMEM, "no memory to open the outbox %s", outbox->path);
    if (code != SQLITE_OK) {
        fw_outbox_explain(outbox, code, reason, sizeof(reason));
        fw_outbox_unready(outbox);
        if ((code & 0xff) != SQLITE_FULL && (code & 0xff) != SQLITE_IOERR)
            return fw_fail(error, FW_EIO, "%s", reason);
        fw_log_error(outbox->options.log, "%s; alerts wait in memory until then", reason);
        outbox->stats.is_degraded = true;
        memcpy(outbox->stats.reason, reason, sizeof(reason));
        if (outbox->next_seq == 1)
            outbox->next_seq = fw_utc_us(); // above what the file may hold
    }
    return FW_OK;
}

int fw_outbox_open(struct fw_outbox **opened, const struct fw_outbox_options *options,
                   struct fw_error *error)
{
    struct fw_outbox *outbox = NULL;
    int status;

    *opened = NULL;
    if (options->sink_count > FW_OUTBOX_MAX_SINKS)
        return fw_fail(error, FW_EINVAL, "%zu sinks are too many; %d are allowed",
                       options->sink_count, FW_OUTBOX_MAX_SINKS);
    status = make(&outbox, options);
    if (status != FW_OK)
        (void)fw_fail(error, status, "no memory for the outbox %s", options->path);
    if (status == FW_OK)
        status = fw_outbox_lock(outbox, error);
    if (status == FW_OK)
        status = open_database(outbox, error);
    if (status == FW_OK) {
        outbox->first_seq = outbox->next_seq;
        status = fw_thread_start(&outbox->writer, "fw-outbox", options->log, fw_outbox_run_writer,
                                 outbox);
        if (status != FW_OK)
            (void)fw_fail(error, status, "no thread for the outbox %s", options->path);
    }
    if (status != FW_OK) {
        (void)fw_outbox_close(outbox, -1);
        return status;
    }
    *opened = outbox;
    return FW_OK;
}

static void stop(struct fw_outbox *outbox)
{
    atomic_store(&outbox->is_stopping, true);
    if (!outbox->has_state)
        return;
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->is_closing = true;
    pthread_cond_broadcast(&outbox->state.changed);
    pthread_mutex_unlock(&outbox->state.mutex);
}

static int64_t left_ms(int64_t until_us)
{
    int64_t left_us = until_us - fw_monotonic_us();

    if (until_us == INT64_MAX)
        return -1;
    return left_us > 0 ? left_us / FW_US_PER_MS : 0;
}

// A dispatcher that was left behind may still read.
static bool wait_for_fetchers(struct fw_outbox *outbox, int64_t until_us)
{
    bool is_alone = true;

    if (!outbox->has_state)
        return true;
    pthread_mutex_lock(&outbox->state.mutex);
    while (!(is_alone = outbox->fetchers == 0) &&
           fw_condition_wait(&outbox->state, until_us) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&outbox->state.mutex);
    return is_alone;
}

int fw_outbox_close(struct fw_outbox *outbox, int64_t timeout_ms)
{
    int64_t until_us = fw_condition_until_us(timeout_ms);

    if (outbox == NULL)
        return FW_OK;
    stop(outbox);
    if (fw_thread_join(outbox->writer, left_ms(until_us)) != FW_OK ||
        fw_thread_join(outbox->checker, left_ms(until_us)) != FW_OK ||
        !wait_for_fetchers(outbox, until_us)) {
        fw_log_error(outbox->options.log, "the outbox does not end: its disk hangs; left behind");
        return FW_ETIMEDOUT;
    }
    if (outbox->ring.count > 0)
        fw_log_error(outbox->options.log, "%zu alerts are lost: the outbox can't be written",
                     outbox->ring.count);
    destroy(outbox);
    return FW_OK;
}

// Posting

// Makes room for one event more in the ring; what had to go is the caller's.
static struct fw_outbox_pending make_room(struct fw_outbox *outbox)
{
    struct fw_outbox_pending gone = {0};
    unsigned rejected_by;
    bool is_lost = false;

    if (outbox->ring.count - outbox->in_commit < outbox->options.max_ring_events)
        return gone;
    gone = fw_outbox_ring_take(&outbox->ring, outbox->in_commit);
    for (size_t i = 0; i < fw_outbox_queue_count(&outbox->ids); i++) {
        if (fw_outbox_pending_has_ended(&gone, i, &rejected_by))
            continue;
        outbox->queues[i].dropped++;
        is_lost = true;
    }
    outbox->stats.dropped += is_lost;
    return gone;
}

int fw_outbox_post(struct fw_outbox *outbox, struct fw_event *event)
{
    struct fw_outbox_pending gone = {0};
    int status = FW_OK;

    pthread_mutex_lock(&outbox->state.mutex);
    if (outbox->is_closing) {
        status = FW_ECANCELED;
    } else {
        gone = make_room(outbox);
        fw_outbox_ring_push(&outbox->ring,
                            (struct fw_outbox_pending){.event = fw_event_ref(event),
                                                       .seq = outbox->next_seq++,
                                                       .posted_utc_us = fw_utc_us()});
        // The dispatcher sees the ring itself only while nothing can be committed.
        if (outbox->stats.is_degraded)
            outbox->must_notify = true;
        pthread_cond_broadcast(&outbox->state.changed);
    }
    pthread_mutex_unlock(&outbox->state.mutex);
    fw_outbox_pending_free(&gone);
    return status;
}

int fw_outbox_flush(struct fw_outbox *outbox, int64_t timeout_ms)
{
    int64_t until_us = fw_condition_until_us(timeout_ms), last;
    uint64_t ticket;
    bool is_done;

    pthread_mutex_lock(&outbox->state.mutex);
    last = outbox->next_seq - 1;
    ticket = outbox->last_ticket;
    outbox->flushers++;
    pthread_cond_broadcast(&outbox->state.changed);
    for (;;) {
        bool is_committed =
            (outbox->ring.count == 0 || fw_outbox_ring_at(&outbox->ring, 0)->seq > last) &&
            outbox->marked >= ticket;
        is_done = is_committed || outbox->stats.is_degraded;
        if (is_done || fw_condition_wait(&outbox->state, until_us) == ETIMEDOUT)
            break;
    }
    outbox->flushers--;
    pthread_mutex_unlock(&outbox->state.mutex);
    return is_done ? FW_OK : FW_ETIMEDOUT;
}
