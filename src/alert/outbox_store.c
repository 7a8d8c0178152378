#include "alert/outbox_store.h"
#include "util/text.h"
#include <stdlib.h>
#include <string.h>

enum { BATCH_MAX = 2000 };

size_t fw_outbox_queue_count(const struct fw_outbox_queues *queues)
{
    if (queues->is_shared)
        return queues->sink_count > 0 ? 1 : 0;
    return queues->sink_count;
}

int64_t fw_outbox_queue_id(const struct fw_outbox_queues *queues, size_t queue)
{
    return queues->is_shared ? FW_SHARED_QUEUE : queues->sink_ids[queue];
}

// Events and marks

static int insert_records(struct fw_outbox_db *db, const struct fw_outbox_queues *queues,
                          int64_t seq, struct fw_outbox_tally *tally)
{
    int code = SQLITE_OK;

    for (size_t i = 0; code == SQLITE_OK && i < fw_outbox_queue_count(queues); i++) {
        code = fw_outbox_db_run(db, FW_SQL_INSERT_RECORD, "ii", seq, fw_outbox_queue_id(queues, i));
        tally->waiting[i]++;
    }
    return code;
}

// A track is open from its `appeared` to its `left`.
static int note_track(struct fw_outbox_db *db, const struct fw_event *event, int64_t seq)
{
    if (strcmp(event->type, FW_EVENT_FACE_APPEARED) == 0)
        return fw_outbox_db_run(db, FW_SQL_INSERT_TRACK, "ti", event->id, seq);
    if (strcmp(event->type, FW_EVENT_FACE_LEFT) == 0)
        return fw_outbox_db_run(db, FW_SQL_DELETE_TRACK, "t", event->appeared_id);
    return SQLITE_OK;
}

int fw_outbox_store_insert(struct fw_outbox_db *db, const struct fw_outbox_queues *queues,
                           const struct fw_outbox_pending *pending, struct fw_outbox_tally *tally)
{
    const struct fw_event *event = pending->event;
    int code = fw_outbox_db_run(db, FW_SQL_INSERT_EVENT, "itttiii", pending->seq, event->id,
                                event->type, event->camera_id, event->time_utc_us,
                                pending->posted_utc_us, (int64_t)fw_outbox_queue_count(queues));

    if ((code & 0xff) == SQLITE_CONSTRAINT)
        return SQLITE_OK;
    if (code == SQLITE_OK)
        code = fw_outbox_db_run(db, FW_SQL_INSERT_BODY, "it", pending->seq, event->json);
    if (code == SQLITE_OK)
        code = insert_records(db, queues, pending->seq, tally);
    if (code == SQLITE_OK)
        code = note_track(db, event, pending->seq);
    for (struct fw_outbox_mark *mark = pending->marks; code == SQLITE_OK && mark != NULL;
         mark = mark->next)
        code = fw_outbox_store_mark(db, queues, mark, tally);
    return code;
}

static int deliver(struct fw_outbox_db *db, int64_t queue, int64_t sink,
                   const struct fw_outbox_mark *mark, struct fw_outbox_tally *tally)
{
    int code =
        fw_outbox_db_run(db, FW_SQL_DELIVER, "iiii", mark->seq, queue, sink, mark->at_utc_us);

    if (code != SQLITE_OK || sqlite3_changes(db->handle) == 0)
        return code;
    tally->waiting[mark->queue]--;
    return fw_outbox_db_run(db, FW_SQL_COUNT_DOWN, "i", mark->seq);
}

static int bury(struct fw_outbox_db *db, int64_t queue, const struct fw_outbox_mark *mark,
                struct fw_outbox_tally *tally)
{
    int code = fw_outbox_db_run(db, FW_SQL_BURY, "iii", mark->seq, queue, mark->at_utc_us);

    if (code != SQLITE_OK || sqlite3_changes(db->handle) == 0)
        return code;
    tally->waiting[mark->queue]--;
    tally->dead++;
    return fw_outbox_db_run(db, FW_SQL_COUNT_DEAD, "i", mark->seq);
}

int fw_outbox_store_mark(struct fw_outbox_db *db, const struct fw_outbox_queues *queues,
                         const struct fw_outbox_mark *mark, struct fw_outbox_tally *tally)
{
    int64_t queue = fw_outbox_queue_id(queues, mark->queue), sink = queues->sink_ids[mark->sink];
    int code;

    if (mark->outcome == FW_OUTCOME_DELIVERED)
        return deliver(db, queue, sink, mark, tally);
    code = fw_outbox_db_run(db, FW_SQL_REJECT, "iiiit", mark->seq, queue, sink, mark->at_utc_us,
                            mark->reason);
    if (code == SQLITE_OK && mark->outcome == FW_OUTCOME_DEAD)
        code = bury(db, queue, mark, tally);
    return code;
}

// Bounds

// The numbers in the first column of a statement that was started, as long as the second column, if
// there is one, is below BEFORE. A code.
static int collect(sqlite3_stmt *statement, int64_t before, int64_t *seqs, int64_t *count)
{
    int code;

    *count = 0;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW && *count < BATCH_MAX) {
        if (sqlite3_column_count(statement) > 1 && sqlite3_column_int64(statement, 1) >= before)
            break;
        seqs[(*count)++] = sqlite3_column_int64(statement, 0);
    }
    sqlite3_reset(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static void count_dropped(const struct fw_outbox_queues *queues, int64_t queue,
                          struct fw_outbox_tally *tally)
{
    for (size_t i = 0; i < fw_outbox_queue_count(queues); i++) {
        if (fw_outbox_queue_id(queues, i) == queue) {
            tally->waiting[i]--;
            tally->dropped[i]++;
        }
    }
}

// Ends what waits of the event SEQ.
static int end_waiting(struct fw_outbox_db *db, const struct fw_outbox_queues *queues, int64_t seq,
                       int64_t now_utc_us, struct fw_outbox_tally *tally)
{
    sqlite3_stmt *statement;
    uint64_t before = tally->expired;
    int code = fw_outbox_db_start(db, FW_SQL_WAITING_QUEUES, &statement, "i", seq);

    if (code != SQLITE_OK)
        return code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        count_dropped(queues, sqlite3_column_int64(statement, 0), tally);
        tally->expired++;
    }
    sqlite3_reset(statement);
    if (code != SQLITE_DONE || tally->expired == before)
        return code == SQLITE_DONE ? SQLITE_OK : code;
    if (seq > tally->expired_through)
        tally->expired_through = seq;
    code = fw_outbox_db_run(db, FW_SQL_EXPIRE_RECORDS, "ii", seq, now_utc_us);
    return code == SQLITE_OK ? fw_outbox_db_run(db, FW_SQL_CLEAR_WAITING, "i", seq) : code;
}

static int remove_event(struct fw_outbox_db *db, int64_t seq, struct fw_outbox_tally *tally)
{
    static const enum fw_outbox_sql statements[] = {FW_SQL_DELETE_REJECTIONS, FW_SQL_DELETE_RECORDS,
                                                    FW_SQL_DELETE_BODY};
    sqlite3_stmt *statement;
    int code = SQLITE_OK;

    for (size_t i = 0; code == SQLITE_OK && i < sizeof(statements) / sizeof(statements[0]); i++)
        code = fw_outbox_db_run(db, statements[i], "i", seq);
    if (code == SQLITE_OK)
        code = fw_outbox_db_start(db, FW_SQL_DELETE_EVENT, &statement, "i", seq);
    if (code != SQLITE_OK)
        return code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        tally->dead -= sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

// The events to go next; none: *COUNT is 0.
static int choose(struct fw_outbox_db *db, const struct fw_outbox_expiry *expiry, bool any_age,
                  int64_t *seqs, int64_t *count)
{
    sqlite3_stmt *statement;
    int code;

    if (!any_age) {
        code = fw_outbox_db_start(db, FW_SQL_OLD_EVENTS, &statement, "ii", expiry->seq_before,
                                  expiry->max_events);
        return code == SQLITE_OK ? collect(statement, expiry->posted_before_utc_us, seqs, count)
                                 : code;
    }
    code = fw_outbox_db_start(db, FW_SQL_DONE_EVENTS, &statement, "i", expiry->max_events);
    if (code == SQLITE_OK)
        code = collect(statement, 0, seqs, count);
    if (code != SQLITE_OK || *count > 0)
        return code;
    code = fw_outbox_db_start(db, FW_SQL_WAITING_EVENTS, &statement, "i", expiry->max_events);
    return code == SQLITE_OK ? collect(statement, 0, seqs, count) : code;
}

int fw_outbox_store_expire(struct fw_outbox_db *db, const struct fw_outbox_queues *queues,
                           const struct fw_outbox_expiry *expiry, bool any_age, int64_t *count,
                           struct fw_outbox_tally *tally)
{
    int64_t *seqs = malloc(BATCH_MAX * sizeof(*seqs));
    int code;

    *count = 0;
    if (seqs == NULL)
        return SQLITE_NOMEM;
    code = choose(db, expiry, any_age, seqs, count);
    for (int64_t i = 0; code == SQLITE_OK && i < *count; i++) {
        code = end_waiting(db, queues, seqs[i], expiry->now_utc_us, tally);
        if (code == SQLITE_OK)
            code = remove_event(db, seqs[i], tally);
    }
    if (code == SQLITE_OK && tally->expired > 0)
        code = fw_outbox_db_run(db, FW_SQL_ADD_TOTAL, "ti", "expired", (int64_t)tally->expired);
    free(seqs);
    return code;
}

int fw_outbox_store_size(struct fw_outbox_db *db, int64_t *used_bytes, int64_t *free_pages)
{
    int64_t pages = 0, page_size = 0;
    int code = fw_outbox_db_integer(db, "PRAGMA page_count", &pages);

    *free_pages = 0;
    if (code == SQLITE_OK)
        code = fw_outbox_db_integer(db, "PRAGMA freelist_count", free_pages);
    if (code == SQLITE_OK)
        code = fw_outbox_db_integer(db, "PRAGMA page_size", &page_size);
    *used_bytes = (pages - *free_pages) * page_size;
    return code;
}

// Sinks that came, went or changed how they share the work

static int find_sink(struct fw_outbox_db *db, const char *name, int64_t *id)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(
        db->handle,
        "INSERT INTO sink(name) VALUES(?) ON CONFLICT(name) DO UPDATE SET name = name"
        " RETURNING id",
        -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = fw_outbox_db_bind(statement, "t", name);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *id = sqlite3_column_int64(statement, 0);
        code = sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

// Runs SQL with "@" replaced by the list of the sinks' numbers.
static int run_for_sinks(struct fw_outbox_db *db, const struct fw_outbox_queues *queues,
                         const char *sql, int64_t *changes)
{
    struct fw_text text = FW_TEXT_INIT;
    int code = SQLITE_NOMEM;

    for (; *sql != '\0'; sql++) {
        if (*sql != '@')
            fw_text_append_n(&text, sql, 1);
        for (size_t i = 0; *sql == '@' && i < queues->sink_count; i++)
            fw_text_appendf(&text, i > 0 ? ",%lld" : "%lld", (long long)queues->sink_ids[i]);
    }
    if (!text.failed)
        code = fw_outbox_db_exec(db, fw_text_get(&text));
    fw_text_free(&text);
    *changes = sqlite3_changes(db->handle);
    return code;
}

// One record for all sinks in place of one for each. An event that one of them has is done with.
static const char *const to_shared[] = {
    "INSERT OR IGNORE INTO record(seq, queue, state) SELECT DISTINCT seq, 0, 0 FROM record r"
    " WHERE state = 0 AND queue > 0 AND NOT EXISTS(SELECT 1 FROM record d WHERE d.seq = r.seq"
    " AND d.state = 1)",
    "INSERT OR IGNORE INTO rejection(seq, queue, sink, at_us, reason)"
    " SELECT seq, 0, sink, at_us, reason FROM rejection WHERE queue > 0"
    " AND seq IN (SELECT seq FROM record WHERE queue = 0 AND state = 0)",
    "DELETE FROM record WHERE state = 0 AND queue > 0",
    // What the sinks of today have all rejected.
    "UPDATE record SET state = 2 WHERE queue = 0 AND state = 0 AND (SELECT count(*) FROM rejection "
    "j"
    " WHERE j.seq = record.seq AND j.queue = 0 AND j.sink IN (@)) ="
    " (SELECT count(*) FROM sink WHERE id IN (@))",
    NULL,
};

// A record for each sink in place of one for all.
static const char *const to_each[] = {
    "INSERT OR IGNORE INTO record(seq, queue, state) SELECT r.seq, s.id, 0 FROM record r, sink s"
    " WHERE r.queue = 0 AND r.state = 0 AND s.id IN (@) AND NOT EXISTS(SELECT 1 FROM rejection j"
    " WHERE j.seq = r.seq AND j.queue = 0 AND j.sink = s.id)",
    "UPDATE record SET state = 2 WHERE queue = 0 AND state = 0 AND NOT EXISTS(SELECT 1"
    " FROM record d WHERE d.seq = record.seq AND d.queue > 0)",
    "DELETE FROM record WHERE queue = 0 AND state = 0",
    NULL,
};

static int move_records(struct fw_outbox_db *db, const struct fw_outbox_queues *queues,
                        uint64_t *expired)
{
    const char *const *sql = queues->is_shared ? to_shared : to_each;
    int64_t changes = 0;
    int code = SQLITE_OK;

    for (; code == SQLITE_OK && *sql != NULL; sql++)
        code = run_for_sinks(db, queues, *sql, &changes);
    if (code == SQLITE_OK && !queues->is_shared) {
        code = run_for_sinks(db, queues,
                             "UPDATE record SET state = 3 WHERE state = 0 AND queue > 0"
                             " AND queue NOT IN (@)",
                             &changes);
        *expired = (uint64_t)changes;
    }
    return code;
}

int fw_outbox_store_adopt(struct fw_outbox_db *db, struct fw_outbox_queues *queues,
                          const char *const *names, uint64_t *expired)
{
    int64_t before;
    int code = SQLITE_OK;

    *expired = 0;
    for (size_t i = 0; code == SQLITE_OK && i < queues->sink_count; i++)
        code = find_sink(db, names[i], &queues->sink_ids[i]);
    // Without any sink there is nobody to decide for: all waits on.
    if (code != SQLITE_OK || queues->sink_count == 0)
        return code;
    before = sqlite3_total_changes64(db->handle);
    code = move_records(db, queues, expired);
    if (code != SQLITE_OK || sqlite3_total_changes64(db->handle) == before)
        return code;
    return fw_outbox_db_exec(
        db, "UPDATE event SET waiting = (SELECT count(*) FROM record r WHERE r.seq = event.seq"
            " AND r.state = 0), dead = (SELECT count(*) FROM record r WHERE r.seq = event.seq"
            " AND r.state = 2) WHERE waiting > 0");
}
