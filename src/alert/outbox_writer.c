// The writer's thread: gathers what was posted and marked, and commits it in groups.
#include "alert/outbox_internal.h"
#include "util/clock.h"
#include "util/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    GROUP_EVENTS = FW_OUTBOX_GROUP_EVENTS,
    GROUP_MARKS = 4096,
    EAGER_MARKS = 512,   // so many marks wait for nobody
    MARK_DELAY_MS = 100, // else they wait so long for company: a commit costs a turn of the disk
    RETRY_MS = 1000,
    UPKEEP_MS = 1000,
    RESERVE_MS = 5000,
    EXPIRE_EVENTS = 1000, // at once, so that what is posted does not wait for long
    EXPIRE_ROUNDS = 20,
    EVENT_BYTES = 4096,    // with pictures' names and many faces
    FREE_PAGES_MIN = 2048, // more than these, and a quarter of the file, go back to the disk
    VACUUM_PAGES = 512,
};

// A group on its way; `pending` is copied from the ring, which keeps it until the commit.
struct group {
    struct fw_outbox_pending *pending;
    size_t count;
    struct fw_outbox_marks marks;
};

// The group

static void take_marks(struct fw_outbox *outbox, struct fw_outbox_marks *taken)
{
    struct fw_outbox_marks *from = &outbox->marks;

    *taken = (struct fw_outbox_marks){.first = from->first};
    while (from->first != NULL && taken->count < GROUP_MARKS) {
        taken->last = from->first;
        from->first = from->first->next;
        from->count--;
        taken->count++;
    }
    if (taken->last != NULL)
        taken->last->next = NULL;
    if (from->first == NULL)
        from->last = NULL;
}

static void put_marks_back(struct fw_outbox *outbox, struct fw_outbox_marks *taken)
{
    if (taken->first == NULL)
        return;
    taken->last->next = outbox->marks.first;
    outbox->marks.first = taken->first;
    if (outbox->marks.last == NULL)
        outbox->marks.last = taken->last;
    outbox->marks.count += taken->count;
}

static void take_group(struct fw_outbox *outbox, struct group *group)
{
    group->count = outbox->ring.count < GROUP_EVENTS ? outbox->ring.count : GROUP_EVENTS;
    for (size_t i = 0; i < group->count; i++)
        group->pending[i] = *fw_outbox_ring_at(&outbox->ring, i);
    outbox->in_commit = group->count;
    outbox->commit_began_us = fw_monotonic_us();
    take_marks(outbox, &group->marks);
}

// Ends a group that was committed. What it held is freed without the lock.
static void finish_group(struct fw_outbox *outbox, struct group *group)
{
    outbox->in_commit = 0;
    for (size_t i = 0; i < group->count; i++)
        (void)fw_outbox_ring_take(&outbox->ring, 0);
    outbox->generation++;
    for (const struct fw_outbox_mark *mark = group->marks.first; mark != NULL; mark = mark->next) {
        outbox->marked = mark->ticket;
        if (mark->outcome != FW_OUTCOME_REJECTED)
            outbox->marked_waiting[mark->queue]--;
    }
    outbox->stats.committed += group->count;
    outbox->stats.commits++;
    outbox->must_notify = true;
}

static int write_group(struct fw_outbox *outbox, const struct group *group,
                       struct fw_outbox_tally *tally)
{
    struct fw_outbox_db *db = &outbox->db;
    int code = fw_outbox_db_exec(db, "BEGIN IMMEDIATE");

    if (code != SQLITE_OK)
        return code;
    for (size_t i = 0; code == SQLITE_OK && i < group->count; i++)
        code = fw_outbox_store_insert(db, &outbox->ids, &group->pending[i], tally);
    for (const struct fw_outbox_mark *mark = group->marks.first; code == SQLITE_OK && mark != NULL;
         mark = mark->next)
        code = fw_outbox_store_mark(db, &outbox->ids, mark, tally);
    // Something to write, so that an outbox with nothing to do learns that it can write again.
    if (code == SQLITE_OK && outbox->stats.is_degraded)
        code = fw_outbox_db_run(db, FW_SQL_ADD_TOTAL, "ti", "recovered", INT64_C(1));
    if (code == SQLITE_OK)
        code = fw_outbox_db_exec(db, "COMMIT");
    return code;
}

void fw_outbox_book(struct fw_outbox *outbox, const struct fw_outbox_tally *tally)
{
    for (size_t i = 0; i < FW_OUTBOX_MAX_SINKS; i++) {
        outbox->queues[i].waiting += (uint64_t)tally->waiting[i];
        outbox->queues[i].dropped += tally->dropped[i];
    }
    outbox->stats.dead += (uint64_t)tally->dead;
    outbox->stats.expired += tally->expired;
    if (tally->expired_through > outbox->expired_through)
        outbox->expired_through = tally->expired_through;
}

// Trouble

static void degrade(struct fw_outbox *outbox, int code)
{
    char reason[sizeof(outbox->stats.reason)];
    bool is_new;

    fw_outbox_explain(outbox, code, reason, sizeof(reason));
    pthread_mutex_lock(&outbox->state.mutex);
    is_new = !outbox->stats.is_degraded;
    outbox->stats.is_degraded = true;
    memcpy(outbox->stats.reason, reason, sizeof(reason));
    outbox->must_notify = true;
    pthread_mutex_unlock(&outbox->state.mutex);
    outbox->next_try_us = fw_monotonic_us() + RETRY_MS * FW_US_PER_MS;
    if (is_new)
        fw_log_error(outbox->options.log, "%s; alerts wait in memory until then", reason);
}

static void recover(struct fw_outbox *outbox)
{
    bool was_degraded;

    pthread_mutex_lock(&outbox->state.mutex);
    was_degraded = outbox->stats.is_degraded;
    outbox->stats.is_degraded = false;
    outbox->stats.reason[0] = '\0';
    pthread_mutex_unlock(&outbox->state.mutex);
    if (was_degraded)
        fw_log_info(outbox->options.log, "the outbox can be written again");
}

// A connection that can still read is kept: the dispatcher reads on what is there. Else a fresh one
// forgets whatever was wrong with this one.
static void check_connection(struct fw_outbox *outbox)
{
    int64_t any;

    if (outbox->db.handle == NULL || !outbox->is_ready ||
        !sqlite3_get_autocommit(outbox->db.handle) ||
        fw_outbox_db_integer(&outbox->db, "SELECT seq FROM event LIMIT 1", &any) != SQLITE_OK)
        fw_outbox_unready(outbox);
}

// Without the reserve the log of the database is kept short: it takes as much room as the events.
static void use_reserve(struct fw_outbox *outbox)
{
    fw_outbox_release_reserve(outbox);
    outbox->has_reserve = false;
    if (outbox->db.handle != NULL)
        (void)fw_outbox_db_exec(&outbox->db, "PRAGMA wal_checkpoint(TRUNCATE);"
                                             "PRAGMA wal_autocheckpoint = 64");
}

// After a failed transaction: makes the next try more likely to succeed.
static void treat(struct fw_outbox *outbox, int code)
{
    code = fw_outbox_reason(outbox, code);
    if (outbox->db.handle != NULL && !sqlite3_get_autocommit(outbox->db.handle) &&
        fw_outbox_db_exec(&outbox->db, "ROLLBACK") != SQLITE_OK)
        code = SQLITE_NOMEM; // a new connection is not in the midst of this
    if (fw_outbox_db_is_damage(code)) {
        outbox->next_try_us = fw_monotonic_us() + RETRY_MS * FW_US_PER_MS;
        code = fw_outbox_replace(outbox);
        if (code == SQLITE_OK)
            return;
    } else if (outbox->has_reserve &&
               ((code & 0xff) == SQLITE_FULL || (code & 0xff) == SQLITE_IOERR)) {
        use_reserve(outbox);
        return;
    }
    degrade(outbox, code);
    check_connection(outbox);
}

// The lock is held, save while the disk is at work.
static void commit(struct fw_outbox *outbox, struct group *group)
{
    struct fw_outbox_tally tally = {0};
    int code;

    take_group(outbox, group);
    pthread_mutex_unlock(&outbox->state.mutex);
    code = fw_outbox_ready(outbox);
    if (code == SQLITE_OK)
        code = write_group(outbox, group, &tally);
    if (code == SQLITE_OK)
        recover(outbox);
    else
        treat(outbox, code);
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->commit_began_us = 0;
    if (code == SQLITE_OK) {
        finish_group(outbox, group);
        fw_outbox_book(outbox, &tally);
    } else {
        outbox->in_commit = 0;
        put_marks_back(outbox, &group->marks);
    }
    pthread_cond_broadcast(&outbox->state.changed);
    pthread_mutex_unlock(&outbox->state.mutex);
    if (code == SQLITE_OK) {
        for (size_t i = 0; i < group->count; i++)
            fw_outbox_pending_free(&group->pending[i]);
        fw_outbox_marks_free(group->marks.first);
        code = fw_outbox_measure(outbox);
        if (code == SQLITE_OK)
            code = fw_outbox_expire(outbox);
        if (code != SQLITE_OK)
            treat(outbox, code);
    }
    pthread_mutex_lock(&outbox->state.mutex);
}

// Bounds

int fw_outbox_measure(struct fw_outbox *outbox)
{
    int64_t bytes = 0, free_pages = 0, oldest = 0;
    sqlite3_stmt *statement;
    int code = fw_outbox_store_size(&outbox->db, &bytes, &free_pages);

    if (code == SQLITE_OK)
        code = fw_outbox_db_start(&outbox->db, FW_SQL_OLDEST_WAITING, &statement, "");
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        oldest = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        code = SQLITE_OK;
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->stats.bytes = bytes;
    outbox->stats.has_reserve = outbox->has_reserve;
    outbox->oldest_stored_utc_us = oldest;
    pthread_mutex_unlock(&outbox->state.mutex);
    return code;
}

// What this process posted is as old as the monotonic clock says: a clock that is set forward shall
// not throw away what has just come.
static struct fw_outbox_expiry expiry_of(const struct fw_outbox *outbox)
{
    int64_t now_utc_us = fw_utc_us(), max_age_us = outbox->options.max_age_us;
    bool is_long_here = fw_monotonic_us() - outbox->opened_us > max_age_us;

    return (struct fw_outbox_expiry){
        .posted_before_utc_us = max_age_us > 0 ? now_utc_us - max_age_us : INT64_MIN,
        .seq_before = is_long_here ? INT64_MAX : outbox->first_seq,
        .now_utc_us = now_utc_us,
        .max_events = EXPIRE_EVENTS,
    };
}

// As many events as are above the bound by a cautious guess of their size: what goes is gone.
static int64_t count_above(const struct fw_outbox *outbox)
{
    int64_t count = (outbox->stats.bytes - outbox->options.max_bytes) / EVENT_BYTES + 1;

    return count < EXPIRE_EVENTS ? count : EXPIRE_EVENTS;
}

static int expire_some(struct fw_outbox *outbox, bool any_age, int64_t *count)
{
    struct fw_outbox_expiry expiry = expiry_of(outbox);
    struct fw_outbox_tally tally = {0};
    int code = fw_outbox_db_exec(&outbox->db, "BEGIN IMMEDIATE");

    *count = 0;
    if (any_age)
        expiry.max_events = count_above(outbox);
    if (code == SQLITE_OK)
        code = fw_outbox_store_expire(&outbox->db, &outbox->ids, &expiry, any_age, count, &tally);
    if (code == SQLITE_OK)
        code = fw_outbox_db_exec(&outbox->db, *count > 0 ? "COMMIT" : "ROLLBACK");
    if (code != SQLITE_OK || *count == 0)
        return code;
    pthread_mutex_lock(&outbox->state.mutex);
    fw_outbox_book(outbox, &tally);
    outbox->must_notify = outbox->must_notify || tally.expired > 0;
    pthread_mutex_unlock(&outbox->state.mutex);
    return fw_outbox_measure(outbox);
}

static bool is_too_large(struct fw_outbox *outbox)
{
    return outbox->options.max_bytes > 0 && outbox->stats.bytes > outbox->options.max_bytes;
}

int fw_outbox_expire(struct fw_outbox *outbox)
{
    int64_t count = 1;
    int code = SQLITE_OK;

    for (int i = 0; code == SQLITE_OK && count > 0 && i < EXPIRE_ROUNDS && is_too_large(outbox);
         i++)
        code = expire_some(outbox, true, &count);
    return code;
}

static int expire_old(struct fw_outbox *outbox)
{
    int64_t count = 1;
    int code = SQLITE_OK;

    for (int i = 0; code == SQLITE_OK && count > 0 && i < EXPIRE_ROUNDS; i++)
        code = expire_some(outbox, false, &count);
    return code;
}

static void tell_losses(struct fw_outbox *outbox)
{
    uint64_t expired, dropped;

    pthread_mutex_lock(&outbox->state.mutex);
    expired = outbox->stats.expired - outbox->told_expired;
    dropped = outbox->stats.dropped - outbox->told_dropped;
    outbox->told_expired = outbox->stats.expired;
    outbox->told_dropped = outbox->stats.dropped;
    pthread_mutex_unlock(&outbox->state.mutex);
    if (expired > 0)
        fw_log_warning(outbox->options.log,
                       "%llu alerts were removed undelivered: too old, or more than the outbox may "
                       "hold",
                       (unsigned long long)expired);
    if (dropped > 0)
        fw_log_error(outbox->options.log,
                     "%llu alerts are lost: the disk can't be written and too many wait in memory",
                     (unsigned long long)dropped);
}

// Upkeep

// Somebody removed the file under us, or put another in its place: what we wrote into it nobody
// would ever find.
static bool is_gone(const struct fw_outbox *outbox)
{
    struct stat info;

    return stat(outbox->path, &info) != 0 || (uint64_t)info.st_ino != outbox->inode ||
           (uint64_t)info.st_dev != outbox->device;
}

static int notice_changes(struct fw_outbox *outbox)
{
    int64_t version = 0;
    int code;

    if (is_gone(outbox)) {
        fw_log_error(outbox->options.log,
                     "%s was removed while it was in use; a new outbox is begun", outbox->path);
        fw_outbox_unready(outbox);
        outbox->was_replaced = true; // what the dispatcher has fetched of it may still be delivered
        return fw_outbox_ready(outbox);
    }
    code = fw_outbox_db_integer(&outbox->db, "PRAGMA data_version", &version);
    if (code != SQLITE_OK || version == outbox->data_version)
        return code;
    // A dead letter of former sinks or of another way of sharing may wait again.
    code = fw_outbox_adopt(outbox);
    return code == SQLITE_OK ? fw_outbox_recount(outbox, true) : code;
}

static int give_room_back(struct fw_outbox *outbox)
{
    int64_t used_bytes = 0, free_pages = 0, pages = 0;
    char sql[64];
    int code = fw_outbox_store_size(&outbox->db, &used_bytes, &free_pages);

    if (code == SQLITE_OK)
        code = fw_outbox_db_integer(&outbox->db, "PRAGMA page_count", &pages);
    if (code != SQLITE_OK || free_pages < FREE_PAGES_MIN || free_pages < pages / 4)
        return code;
    snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
    return fw_outbox_db_exec(&outbox->db, sql);
}

static void restore_reserve(struct fw_outbox *outbox)
{
    int64_t now_us = fw_monotonic_us();

    if (outbox->has_reserve || outbox->options.reserve_bytes <= 0 ||
        now_us < outbox->next_reserve_us)
        return;
    outbox->next_reserve_us = now_us + RESERVE_MS * FW_US_PER_MS;
    outbox->has_reserve = fw_outbox_make_reserve(outbox);
    if (!outbox->has_reserve)
        return;
    (void)fw_outbox_db_exec(&outbox->db, "PRAGMA wal_autocheckpoint = 1000");
    fw_log_info(outbox->options.log, "the outbox has its reserve of %lld MB again",
                (long long)(outbox->options.reserve_bytes / 1000000));
}

void fw_outbox_upkeep(struct fw_outbox *outbox)
{
    bool is_damaged;
    int code = SQLITE_OK;

    pthread_mutex_lock(&outbox->state.mutex);
    is_damaged = outbox->is_damaged;
    outbox->is_damaged = false;
    pthread_mutex_unlock(&outbox->state.mutex);
    if (is_damaged && outbox->is_ready)
        code = fw_outbox_replace(outbox);
    if (code == SQLITE_OK)
        code = fw_outbox_ready(outbox);
    if (code == SQLITE_OK)
        code = notice_changes(outbox);
    if (code == SQLITE_OK && outbox->options.max_age_us > 0)
        code = expire_old(outbox);
    if (code == SQLITE_OK)
        code = fw_outbox_expire(outbox);
    if (code == SQLITE_OK)
        code = give_room_back(outbox);
    if (code == SQLITE_OK) {
        restore_reserve(outbox);
        code = fw_outbox_measure(outbox);
    }
    if (code != SQLITE_OK)
        treat(outbox, code);
    tell_losses(outbox);
}

// The thread

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool has_work(const struct fw_outbox *outbox)
{
    return outbox->ring.count > 0 || outbox->marks.count > 0 || outbox->stats.is_degraded;
}

// When the next commit is due.
static int64_t commit_due_us(const struct fw_outbox *outbox)
{
    if (!has_work(outbox))
        return INT64_MAX;
    if (outbox->is_closing)
        return 0;
    if (outbox->next_try_us > 0)
        return outbox->next_try_us;
    if (outbox->ring.count > 0 || outbox->flushers > 0 || outbox->marks.count >= EAGER_MARKS)
        return 0;
    return outbox->first_mark_us + MARK_DELAY_MS * FW_US_PER_MS;
}

static void notify(struct fw_outbox *outbox)
{
    void (*changed)(void *opaque) = outbox->changed;
    void *listener = outbox->listener;

    outbox->must_notify = false;
    if (changed == NULL)
        return;
    outbox->is_notifying = true;
    pthread_mutex_unlock(&outbox->state.mutex);
    changed(listener);
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->is_notifying = false;
    pthread_cond_broadcast(&outbox->state.changed);
}

static void upkeep(struct fw_outbox *outbox)
{
    pthread_mutex_unlock(&outbox->state.mutex);
    fw_outbox_upkeep(outbox);
    outbox->next_upkeep_us = fw_monotonic_us() + UPKEEP_MS * FW_US_PER_MS;
    pthread_mutex_lock(&outbox->state.mutex);
    pthread_cond_broadcast(&outbox->state.changed);
}

// The lock is held. False when the end has come.
static bool work(struct fw_outbox *outbox, struct group *group)
{
    int64_t now_us = fw_monotonic_us(), due_us = commit_due_us(outbox);

    if (outbox->must_notify) {
        notify(outbox);
    } else if (due_us <= now_us) {
        outbox->next_try_us = 0;
        commit(outbox, group);
        // At the end there is one try: the disk that fails now will not be better in time.
        return !(outbox->is_closing && outbox->stats.is_degraded);
    } else if (outbox->is_closing) {
        return false;
    } else if (outbox->next_upkeep_us <= now_us) {
        upkeep(outbox);
    } else {
        fw_condition_wait(&outbox->state, earlier(due_us, outbox->next_upkeep_us));
    }
    return true;
}

void fw_outbox_run_writer(void *opaque)
{
    struct fw_outbox *outbox = opaque;
    struct group group = {.pending = outbox->group};

    pthread_mutex_lock(&outbox->state.mutex);
    while (work(outbox, &group))
        ;
    pthread_mutex_unlock(&outbox->state.mutex);
}
