// Opening the database: is it ours and whole, which version is it, what did a crash leave open?
#include "alert/outbox_internal.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Longer than this nobody waits at a start; the rest of the check goes on beside the work.
enum { CHECK_MS = 2000 };

void fw_outbox_explain(const struct fw_outbox *outbox, int code, char *text, size_t size)
{
    const char *what =
        outbox->db.handle != NULL ? sqlite3_errmsg(outbox->db.handle) : sqlite3_errstr(code);
    int error_number = outbox->db.handle != NULL ? sqlite3_system_errno(outbox->db.handle) : 0;
    bool is_full = (code & 0xff) == SQLITE_FULL;

    snprintf(text, size, "the outbox %.100s can't be written: %.60s%s%.40s; %s", outbox->path, what,
             error_number != 0 && !is_full ? ", " : "",
             error_number != 0 && !is_full ? strerror(error_number) : "",
             is_full ? "free some space" : "check the disk and who may write there");
}

// The file itself

// SQLite makes files that everybody may read; they would show who was where. A file that is there
// is not opened: closing it would end the locks that other connections of this process hold on it.
static int touch(const struct fw_outbox *outbox)
{
    int fd = open(outbox->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

    if (fd < 0 && errno == EEXIST)
        return SQLITE_OK;
    if (fd < 0)
        return fw_status_of_errno(errno) == FW_EFULL ? SQLITE_FULL : SQLITE_CANTOPEN;
    close(fd);
    return SQLITE_OK;
}

int fw_outbox_reason(const struct fw_outbox *outbox, int code)
{
    int kind = code & 0xff;

    // A file that we may write, but that says it was made for programs that are not.
    if (code == SQLITE_READONLY && access(outbox->path, W_OK) == 0)
        return SQLITE_CORRUPT;
    if ((kind == SQLITE_CANTOPEN || kind == SQLITE_IOERR) && outbox->db.handle != NULL &&
        fw_status_of_errno(sqlite3_system_errno(outbox->db.handle)) == FW_EFULL)
        return SQLITE_FULL;
    return code;
}

static int open_file(struct fw_outbox *outbox)
{
    int code = touch(outbox);

    return code == SQLITE_OK ? fw_outbox_db_open(&outbox->db, outbox->path, false) : code;
}

static const char *word_of(enum fw_outbox_file_state state)
{
    switch (state) {
    case FW_OUTBOX_FILE_FOREIGN:
        return "foreign";
    case FW_OUTBOX_FILE_NEWER:
        return "newer";
    case FW_OUTBOX_FILE_GOOD:
    case FW_OUTBOX_FILE_DAMAGED:
        break;
    }
    return "damaged";
}

static int put_aside(struct fw_outbox *outbox, enum fw_outbox_file_state state)
{
    struct fw_error error = {0};
    int status;

    fw_outbox_unready(outbox);
    status = fw_outbox_move_aside(outbox, word_of(state), &error);
    if (status != FW_OK) {
        fw_log_error(outbox->options.log, "%s", error.message);
        return status == FW_ENOMEM ? SQLITE_NOMEM : SQLITE_CANTOPEN;
    }
    // What the dispatcher has fetched from the old file it may still deliver.
    outbox->was_replaced = outbox->was_open;
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->stats.damaged++;
    outbox->is_damaged = false; // that was the old one
    pthread_mutex_unlock(&outbox->state.mutex);
    return open_file(outbox);
}

static int open_checked(struct fw_outbox *outbox)
{
    enum fw_outbox_file_state state = FW_OUTBOX_FILE_GOOD;
    int code = open_file(outbox);

    if (code == SQLITE_OK)
        code = fw_outbox_db_inspect(&outbox->db, outbox->was_open ? 0 : CHECK_MS, &state,
                                    &outbox->is_checked);
    if (code == SQLITE_OK && state != FW_OUTBOX_FILE_GOOD)
        code = put_aside(outbox, state);
    if (code == SQLITE_OK)
        code = fw_outbox_db_settle(&outbox->db);
    if (code == SQLITE_OK)
        code = fw_outbox_db_migrate(&outbox->db);
    return code;
}

// Tracks that a crash left open

static int end_track(struct fw_outbox *outbox, const char *json)
{
    struct fw_outbox_tally tally = {0}; // the counts are read after this
    struct fw_outbox_pending pending = {.posted_utc_us = fw_utc_us()};
    struct fw_event *appeared = NULL;
    int code, status = FW_EFORMAT;

    if (json != NULL)
        status = fw_event_parse(&appeared, json, strlen(json), NULL);
    errno = 0;
    if (status == FW_OK)
        pending.event = fw_event_create_left(appeared, "worker_restarted", pending.posted_utc_us);
    fw_event_unref(appeared);
    if (status == FW_ENOMEM || (pending.event == NULL && errno == ENOMEM))
        return SQLITE_NOMEM;
    if (pending.event == NULL) // what it tells of is damaged or gone
        return SQLITE_OK;
    pthread_mutex_lock(&outbox->state.mutex);
    pending.seq = outbox->next_seq++;
    pthread_mutex_unlock(&outbox->state.mutex);
    code = fw_outbox_store_insert(&outbox->db, &outbox->ids, &pending, &tally);
    fw_event_unref(pending.event);
    return code;
}

static int end_tracks(struct fw_outbox *outbox)
{
    sqlite3_stmt *statement;
    int64_t last = -1;
    int ended = 0, code;

    while ((code = fw_outbox_db_start(&outbox->db, FW_SQL_NEXT_TRACK, &statement, "i", last)) ==
               SQLITE_OK &&
           (code = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t seq = sqlite3_column_int64(statement, 0);
        code = SQLITE_CORRUPT; // an index out of order would keep us here for ever
        if (seq > last)
            code = end_track(outbox, (const char *)sqlite3_column_text(statement, 1));
        last = seq;
        sqlite3_reset(statement);
        if (code != SQLITE_OK)
            return code;
        ended++;
    }
    sqlite3_reset(statement);
    if (code != SQLITE_DONE)
        return code;
    if (ended > 0)
        fw_log_info(outbox->options.log,
                    "%d faces were in view when the worker ended; their face.left is sent now",
                    ended);
    return ended > 0 ? fw_outbox_db_exec(&outbox->db, "DELETE FROM track") : SQLITE_OK;
}

// Sinks and counts

int fw_outbox_adopt(struct fw_outbox *outbox)
{
    struct fw_outbox_queues ids = outbox->ids;
    uint64_t expired = 0;
    int code = fw_outbox_db_exec(&outbox->db, "BEGIN IMMEDIATE");

    if (code == SQLITE_OK)
        code = fw_outbox_store_adopt(&outbox->db, &ids, outbox->options.sink_names, &expired);
    pthread_mutex_lock(&outbox->reader_mutex);
    memcpy(outbox->ids.sink_ids, ids.sink_ids, sizeof(ids.sink_ids));
    pthread_mutex_unlock(&outbox->reader_mutex);
    if (code == SQLITE_OK && !outbox->was_open)
        code = end_tracks(outbox);
    if (code == SQLITE_OK)
        code = fw_outbox_db_exec(&outbox->db, "COMMIT");
    if (code != SQLITE_OK) {
        (void)fw_outbox_db_exec(&outbox->db, "ROLLBACK");
        return code;
    }
    if (expired > 0)
        fw_log_warning(outbox->options.log,
                       "%llu events waited for sinks that are no longer configured; they are not "
                       "sent",
                       (unsigned long long)expired);
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->stats.expired += expired;
    outbox->told_expired += expired; // just now
    pthread_mutex_unlock(&outbox->state.mutex);
    return SQLITE_OK;
}

static int count_queue(struct fw_outbox *outbox, size_t queue, int64_t *waiting)
{
    char sql[96];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM record WHERE queue = %lld AND state = 0",
             (long long)fw_outbox_queue_id(&outbox->ids, queue));
    return fw_outbox_db_integer(&outbox->db, sql, waiting);
}

int fw_outbox_recount(struct fw_outbox *outbox, bool is_new)
{
    int64_t waiting[FW_OUTBOX_MAX_SINKS] = {0}, dead = 0;
    size_t count = fw_outbox_queue_count(&outbox->ids);
    int code = fw_outbox_db_integer(&outbox->db, "PRAGMA data_version", &outbox->data_version);

    for (size_t i = 0; code == SQLITE_OK && i < count; i++)
        code = count_queue(outbox, i, &waiting[i]);
    if (code == SQLITE_OK)
        code =
            fw_outbox_db_integer(&outbox->db, "SELECT sum(dead) FROM event WHERE dead > 0", &dead);
    if (code != SQLITE_OK)
        return code;
    pthread_mutex_lock(&outbox->state.mutex);
    for (size_t i = 0; i < count; i++)
        outbox->queues[i].waiting = (uint64_t)waiting[i];
    outbox->stats.dead = (uint64_t)dead;
    if (is_new) {
        outbox->expired_through = 0;
        outbox->version++;
    }
    outbox->must_notify = true;
    pthread_mutex_unlock(&outbox->state.mutex);
    return fw_outbox_measure(outbox);
}

// Numbers go on after the highest one that there is. While the file can't be read they begin at the
// time, which no file of ours has reached by counting.
static int number(struct fw_outbox *outbox)
{
    int64_t last = 0;
    int code = fw_outbox_db_integer(&outbox->db, "SELECT max(seq) FROM event", &last);

    pthread_mutex_lock(&outbox->state.mutex);
    if (code == SQLITE_OK && outbox->next_seq <= last)
        outbox->next_seq = last + 1;
    pthread_mutex_unlock(&outbox->state.mutex);
    return code;
}

static void remember_file(struct fw_outbox *outbox)
{
    struct stat info;

    outbox->inode = outbox->device = 0;
    if (stat(outbox->path, &info) == 0) {
        outbox->inode = (uint64_t)info.st_ino;
        outbox->device = (uint64_t)info.st_dev;
    }
}

// The rest of a check that was too long for the start.
static void run_checker(void *opaque)
{
    struct fw_outbox *outbox = opaque;
    struct fw_outbox_db db = {0};
    bool is_good = true;

    if (fw_outbox_db_open(&db, outbox->path, true) == SQLITE_OK)
        is_good = fw_outbox_db_check(&db, &outbox->is_stopping);
    fw_outbox_db_close(&db);
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->is_damaged =
        outbox->is_damaged || (!is_good && outbox->stats.damaged == outbox->checked_file);
    pthread_mutex_unlock(&outbox->state.mutex);
}

static void start_checker(struct fw_outbox *outbox)
{
    if (outbox->is_checked || outbox->checker != NULL)
        return;
    outbox->checked_file = outbox->stats.damaged;
    if (fw_thread_start(&outbox->checker, "outbox-check", outbox->options.log, run_checker,
                        outbox) != FW_OK)
        fw_log_warning(outbox->options.log, "no thread to check %s for damage", outbox->path);
}

static int open_all(struct fw_outbox *outbox)
{
    int code = open_checked(outbox);

    if (code == SQLITE_OK)
        code = number(outbox);
    if (code == SQLITE_OK)
        code = fw_outbox_adopt(outbox);
    if (code == SQLITE_OK)
        code = fw_outbox_recount(outbox, !outbox->was_replaced);
    return code;
}

static void close_reader(struct fw_outbox *outbox)
{
    pthread_mutex_lock(&outbox->reader_mutex);
    fw_outbox_db_close(&outbox->reader);
    pthread_mutex_unlock(&outbox->reader_mutex);
}

int fw_outbox_ready(struct fw_outbox *outbox)
{
    int code;

    if (outbox->is_ready)
        return SQLITE_OK;
    code = fw_outbox_reason(outbox, open_all(outbox));
    // The check of a file looks at its pages, not at what they mean.
    if (fw_outbox_db_is_damage(code) && fw_outbox_replace(outbox) == SQLITE_OK)
        code = fw_outbox_reason(outbox, open_all(outbox));
    if (code != SQLITE_OK)
        return code;
    remember_file(outbox);
    outbox->is_ready = outbox->was_open = true;
    outbox->was_replaced = false;
    close_reader(outbox); // a fetch that was under way may have opened the file of before
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->is_stored = true;
    pthread_mutex_unlock(&outbox->state.mutex);
    start_checker(outbox);
    return SQLITE_OK;
}

void fw_outbox_unready(struct fw_outbox *outbox)
{
    pthread_mutex_lock(&outbox->state.mutex);
    outbox->is_stored = false;
    pthread_mutex_unlock(&outbox->state.mutex);
    close_reader(outbox);
    fw_outbox_db_close(&outbox->db);
    outbox->is_ready = false;
}

int fw_outbox_replace(struct fw_outbox *outbox)
{
    int code = put_aside(outbox, FW_OUTBOX_FILE_DAMAGED);

    if (code == SQLITE_OK)
        fw_outbox_unready(outbox); // opened anew with all that belongs to it
    return code;
}
