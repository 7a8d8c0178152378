// What the dispatcher reads.
#include "alert/outbox_internal.h"
#include "util/clock.h"
#include <stdio.h>
#include <string.h>

enum {
    // Marks that can't be committed (full disk) are held in memory, so no more is read of the
    // database when there are as many.
    MARKS_MAX = 65536,
    HANG_MS = 3000, // a commit takes milliseconds
};

static int prepare_reader(struct fw_outbox *outbox)
{
    int code = SQLITE_OK;

    if (outbox->reader.handle != NULL)
        return SQLITE_OK;
    code = fw_outbox_db_open(&outbox->reader, outbox->path, true);
    if (code != SQLITE_OK)
        fw_outbox_db_close(&outbox->reader);
    return code;
}

// Bits of the sinks that have rejected a record.
static int rejections(struct fw_outbox *outbox, int64_t seq, int64_t queue, unsigned *rejected_by)
{
    sqlite3_stmt *statement;
    int code = fw_outbox_db_start(&outbox->reader, FW_SQL_REJECTIONS, &statement, "ii", seq, queue);

    *rejected_by = 0;
    if (code != SQLITE_OK)
        return code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        for (size_t i = 0; i < outbox->ids.sink_count; i++)
            if (outbox->ids.sink_ids[i] == sqlite3_column_int64(statement, 0))
                *rejected_by |= 1u << i;
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int read_row(struct fw_outbox *outbox, sqlite3_stmt *row, int64_t queue,
                    struct fw_outbox_record *record)
{
    const char *json = (const char *)sqlite3_column_text(row, 2);
    int status;

    *record = (struct fw_outbox_record){.seq = sqlite3_column_int64(row, 0),
                                        .posted_utc_us = sqlite3_column_int64(row, 1)};
    if (json == NULL) // without text: a damaged row, or no memory
        return sqlite3_errcode(outbox->reader.handle) == SQLITE_NOMEM
                   ? SQLITE_NOMEM
                   : rejections(outbox, record->seq, queue, &record->rejected_by);
    status = fw_event_parse(&record->event, json, (size_t)sqlite3_column_bytes(row, 2), NULL);
    if (status == FW_ENOMEM)
        return SQLITE_NOMEM;
    return rejections(outbox, record->seq, queue, &record->rejected_by);
}

static void drop_records(struct fw_outbox_record *records, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        fw_event_unref(records[i].event);
    *count = 0;
}

static int read_rows(struct fw_outbox *outbox, const struct fw_outbox_ask *ask,
                     struct fw_outbox_record *records, size_t *count)
{
    int64_t queue = fw_outbox_queue_id(&outbox->ids, ask->queue), skip = -1;
    int64_t last = ask->after_seq;
    sqlite3_stmt *statement;
    int code = prepare_reader(outbox);

    if (code != SQLITE_OK)
        return code;
    if (ask->skip_sink != FW_OUTBOX_NO_SINK)
        skip = outbox->ids.sink_ids[ask->skip_sink];
    code = fw_outbox_db_start(&outbox->reader, FW_SQL_FETCH, &statement, "iiii", queue,
                              ask->after_seq, skip, (int64_t)ask->max);
    if (code != SQLITE_OK)
        return code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW && *count < ask->max) {
        code = read_row(outbox, statement, queue, &records[*count]);
        if (code == SQLITE_OK && records[*count].seq <= last)
            code = SQLITE_CORRUPT; // an index out of order: the caller would read in circles
        last = records[*count].seq;
        ++*count;
        if (code != SQLITE_OK)
            break;
    }
    sqlite3_reset(statement);
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        return SQLITE_OK;
    drop_records(records, count);
    return code;
}

// Events that wait in memory because the disk can't be written.
static void read_ring(struct fw_outbox *outbox, const struct fw_outbox_ask *ask, int64_t after_seq,
                      struct fw_outbox_record *records, size_t *count)
{
    size_t i = fw_outbox_ring_find(&outbox->ring, after_seq + 1);

    for (; i < outbox->ring.count && *count < ask->max; i++) {
        const struct fw_outbox_pending *pending = fw_outbox_ring_at(&outbox->ring, i);
        unsigned rejected_by;
        bool has_ended = fw_outbox_pending_has_ended(pending, ask->queue, &rejected_by);
        if (has_ended ||
            (ask->skip_sink != FW_OUTBOX_NO_SINK && (rejected_by >> ask->skip_sink & 1) != 0))
            continue;
        records[(*count)++] = (struct fw_outbox_record){.seq = pending->seq,
                                                        .posted_utc_us = pending->posted_utc_us,
                                                        .event = fw_event_ref(pending->event),
                                                        .rejected_by = rejected_by};
    }
}

static int read_stored(struct fw_outbox *outbox, const struct fw_outbox_ask *ask,
                       struct fw_outbox_record *records, size_t *count)
{
    int code;

    pthread_mutex_lock(&outbox->reader_mutex);
    code = read_rows(outbox, ask, records, count);
    if (code != SQLITE_OK)
        fw_outbox_db_close(&outbox->reader);
    pthread_mutex_unlock(&outbox->reader_mutex);
    return code;
}

int fw_outbox_fetch(struct fw_outbox *outbox, const struct fw_outbox_ask *ask,
                    struct fw_outbox_record *records, size_t *count, bool *is_all,
                    struct fw_error *error)
{
    uint64_t generation, file;
    int64_t after_seq = ask->after_seq;
    bool is_stored, is_held;
    int code = SQLITE_OK, status = FW_OK;

    *count = 0;
    pthread_mutex_lock(&outbox->state.mutex);
    generation = outbox->generation;
    file = outbox->stats.damaged;
    is_stored = outbox->is_stored;
    is_held = outbox->marks.count >= MARKS_MAX;
    outbox->fetchers++;
    pthread_mutex_unlock(&outbox->state.mutex);
    if (is_stored && !is_held)
        code = read_stored(outbox, ask, records, count);
    if (code == SQLITE_OK && *count > 0)
        after_seq = records[*count - 1].seq;
    pthread_mutex_lock(&outbox->state.mutex);
    // A commit in between may have moved events from the ring into the part that was read before.
    *is_all = generation == outbox->generation && !is_held;
    if (code == SQLITE_OK && *is_all && outbox->stats.is_degraded && *count < ask->max)
        read_ring(outbox, ask, after_seq, records, count);
    *is_all = *is_all && *count < ask->max;
    // Of a file that was moved aside meanwhile that is nothing new, and says nothing of the next.
    if (fw_outbox_db_is_damage(code) && file == outbox->stats.damaged)
        outbox->is_damaged = true;
    if (code == SQLITE_NOMEM)
        status = fw_fail(error, FW_ENOMEM, "no memory to read the outbox");
    else if (code != SQLITE_OK)
        status = fw_fail(error, FW_EIO, "can't read the outbox %s: %s", outbox->path,
                         sqlite3_errstr(code));
    outbox->fetchers--;
    pthread_cond_broadcast(&outbox->state.changed);
    pthread_mutex_unlock(&outbox->state.mutex);
    return status;
}

// Marks

static void append(struct fw_outbox_marks *marks, struct fw_outbox_mark *mark)
{
    mark->next = NULL;
    if (marks->last != NULL)
        marks->last->next = mark;
    else
        marks->first = mark;
    marks->last = mark;
    marks->count++;
}

uint64_t fw_outbox_mark(struct fw_outbox *outbox, struct fw_outbox_mark *mark)
{
    struct fw_outbox_pending *pending = NULL;
    uint64_t ticket = 0;
    size_t index;

    pthread_mutex_lock(&outbox->state.mutex);
    index = fw_outbox_ring_find(&outbox->ring, mark->seq);
    if (index >= outbox->in_commit && index < outbox->ring.count)
        pending = fw_outbox_ring_at(&outbox->ring, index);
    if (pending != NULL && pending->seq == mark->seq) {
        // In the order of their making: a rejection before a burial.
        struct fw_outbox_mark **last = &pending->marks;
        while (*last != NULL)
            last = &(*last)->next;
        mark->next = NULL;
        *last = mark;
    } else {
        ticket = mark->ticket = ++outbox->last_ticket;
        if (mark->outcome != FW_OUTCOME_REJECTED)
            outbox->marked_waiting[mark->queue]++;
        if (outbox->marks.count == 0) {
            outbox->first_mark_us = fw_monotonic_us();
            pthread_cond_broadcast(&outbox->state.changed);
        }
        append(&outbox->marks, mark);
    }
    pthread_mutex_unlock(&outbox->state.mutex);
    return ticket;
}

// Small questions

enum fw_delivery fw_outbox_delivery(const struct fw_outbox *outbox)
{
    return outbox->options.delivery;
}

size_t fw_outbox_sink_count(const struct fw_outbox *outbox)
{
    return outbox->options.sink_count;
}

int64_t fw_outbox_first_seq(const struct fw_outbox *outbox)
{
    return outbox->first_seq;
}

uint64_t fw_outbox_marked(struct fw_outbox *outbox)
{
    uint64_t marked;

    pthread_mutex_lock(&outbox->state.mutex);
    marked = outbox->marked;
    pthread_mutex_unlock(&outbox->state.mutex);
    return marked;
}

uint64_t fw_outbox_version(struct fw_outbox *outbox)
{
    uint64_t version;

    pthread_mutex_lock(&outbox->state.mutex);
    version = outbox->version;
    pthread_mutex_unlock(&outbox->state.mutex);
    return version;
}

int64_t fw_outbox_expired_through(struct fw_outbox *outbox)
{
    int64_t through;

    pthread_mutex_lock(&outbox->state.mutex);
    through = outbox->expired_through;
    pthread_mutex_unlock(&outbox->state.mutex);
    return through;
}

// The lock is held.
static uint64_t count_waiting(const struct fw_outbox *outbox, size_t queue)
{
    uint64_t waiting = outbox->queues[queue].waiting, ended = outbox->marked_waiting[queue];
    unsigned rejected_by;

    for (size_t i = 0; i < outbox->ring.count; i++)
        if (!fw_outbox_pending_has_ended(fw_outbox_ring_at(&outbox->ring, i), queue, &rejected_by))
            waiting++;
    return waiting > ended ? waiting - ended : 0;
}

void fw_outbox_queue_get_stats(struct fw_outbox *outbox, size_t queue,
                               struct fw_outbox_queue_stats *stats)
{
    pthread_mutex_lock(&outbox->state.mutex);
    stats->dropped = outbox->queues[queue].dropped;
    stats->waiting = count_waiting(outbox, queue);
    pthread_mutex_unlock(&outbox->state.mutex);
}

// A disk that hangs says nothing at all; the lock is held.
static void describe_hang(const struct fw_outbox *outbox, struct fw_outbox_stats *stats)
{
    int64_t waited_us = fw_monotonic_us() - outbox->commit_began_us;

    if (stats->is_degraded || outbox->commit_began_us == 0 || waited_us < HANG_MS * FW_US_PER_MS)
        return;
    stats->is_degraded = true;
    snprintf(stats->reason, sizeof(stats->reason),
             "the outbox %.100s has waited for its disk for %lld s; check the disk", outbox->path,
             (long long)(waited_us / FW_US_PER_S));
}

void fw_outbox_get_stats(struct fw_outbox *outbox, struct fw_outbox_stats *stats)
{
    pthread_mutex_lock(&outbox->state.mutex);
    *stats = outbox->stats;
    describe_hang(outbox, stats);
    stats->waiting = 0;
    for (size_t i = 0; i < fw_outbox_queue_count(&outbox->ids); i++)
        stats->waiting += count_waiting(outbox, i);
    stats->oldest_waiting_utc_us = outbox->oldest_stored_utc_us;
    if (stats->waiting == 0)
        stats->oldest_waiting_utc_us = 0;
    else if (stats->oldest_waiting_utc_us == 0 && outbox->ring.count > 0)
        stats->oldest_waiting_utc_us = fw_outbox_ring_at(&outbox->ring, 0)->posted_utc_us;
    pthread_mutex_unlock(&outbox->state.mutex);
}

void fw_outbox_listen(struct fw_outbox *outbox, void (*changed)(void *opaque), void *opaque)
{
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->changed = changed;
    outbox->listener = opaque;
    outbox->must_notify = true;
    pthread_cond_broadcast(&outbox->state.changed);
    while (changed == NULL && outbox->is_notifying)
        fw_condition_wait(&outbox->state, INT64_MAX);
    pthread_mutex_unlock(&outbox->state.mutex);
}
