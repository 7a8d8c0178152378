#include "alert/outbox_db.h"
#include "util/clock.h"
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

// "FWOB": no other program's database has it.
#define APPLICATION_ID "1180127042"

enum { BUSY_TIMEOUT_MS = 5000, APPLICATION_ID_NUMBER = 1180127042, CHECK_STEPS = 10000 };

// What a later version changed comes as a step of its own; user_version counts the steps made.
static const char *const steps[] = {
    "CREATE TABLE event(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,"
    " camera TEXT NOT NULL, time_us INTEGER NOT NULL, posted_us INTEGER NOT NULL,"
    " waiting INTEGER NOT NULL, dead INTEGER NOT NULL);"
    // Apart from the rest, so that marking an event does not write its text anew.
    "CREATE TABLE body(seq INTEGER PRIMARY KEY, json TEXT NOT NULL);"
    "CREATE TABLE sink(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE record(seq INTEGER NOT NULL, queue INTEGER NOT NULL, state INTEGER NOT NULL,"
    " sink INTEGER, at_us INTEGER, PRIMARY KEY(seq, queue)) WITHOUT ROWID;"
    "CREATE TABLE rejection(seq INTEGER NOT NULL, queue INTEGER NOT NULL, sink INTEGER NOT NULL,"
    " at_us INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY(seq, queue, sink)) WITHOUT ROWID;"
    "CREATE TABLE track(appeared_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX track_seq ON track(seq);"
    "CREATE INDEX record_waiting ON record(queue, seq) WHERE state = 0;"
    "CREATE INDEX event_waiting ON event(seq) WHERE waiting > 0;"
    "CREATE INDEX event_done ON event(seq) WHERE waiting = 0;"
    "CREATE INDEX event_dead ON event(seq) WHERE dead > 0;",

    "CREATE INDEX event_camera ON event(camera, seq);"
    "CREATE TABLE total(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
};

#define NO_OPEN_TRACK " AND seq NOT IN (SELECT seq FROM track)"

static const char *const texts[FW_SQL_COUNT] = {
    [FW_SQL_INSERT_EVENT] = "INSERT INTO event(seq, id, type, camera, time_us, posted_us, waiting,"
                            " dead) VALUES(?, ?, ?, ?, ?, ?, ?, 0)",
    [FW_SQL_INSERT_BODY] = "INSERT INTO body(seq, json) VALUES(?, ?)",
    [FW_SQL_INSERT_RECORD] = "INSERT INTO record(seq, queue, state) VALUES(?, ?, 0)",
    [FW_SQL_INSERT_TRACK] = "INSERT OR IGNORE INTO track(appeared_id, seq) VALUES(?, ?)",
    [FW_SQL_DELETE_TRACK] = "DELETE FROM track WHERE appeared_id = ?",
    [FW_SQL_NEXT_TRACK] = "SELECT t.seq, b.json FROM track t LEFT JOIN body b ON b.seq = t.seq"
                          " WHERE t.seq > ? ORDER BY t.seq LIMIT 1",
    [FW_SQL_DELIVER] = "UPDATE record SET state = 1, sink = ?3, at_us = ?4"
                       " WHERE seq = ?1 AND queue = ?2 AND state = 0",
    [FW_SQL_BURY] = "UPDATE record SET state = 2, at_us = ?3"
                    " WHERE seq = ?1 AND queue = ?2 AND state = 0",
    [FW_SQL_COUNT_DOWN] = "UPDATE event SET waiting = waiting - 1 WHERE seq = ?",
    [FW_SQL_COUNT_DEAD] = "UPDATE event SET waiting = waiting - 1, dead = dead + 1 WHERE seq = ?",
    // Nothing is noted of events that are gone.
    [FW_SQL_REJECT] = "INSERT OR REPLACE INTO rejection(seq, queue, sink, at_us, reason)"
                      " SELECT seq, queue, ?3, ?4, ?5 FROM record WHERE seq = ?1 AND queue = ?2",
    [FW_SQL_FETCH] = "SELECT r.seq, e.posted_us, b.json FROM record r"
                     " JOIN event e ON e.seq = r.seq LEFT JOIN body b ON b.seq = r.seq"
                     " WHERE r.queue = ?1 AND r.state = 0 AND r.seq > ?2 AND NOT EXISTS(SELECT 1"
                     " FROM rejection j WHERE j.seq = r.seq AND j.queue = ?1 AND j.sink = ?3)"
                     " ORDER BY r.seq LIMIT ?4",
    [FW_SQL_REJECTIONS] = "SELECT sink FROM rejection WHERE seq = ? AND queue = ?",
    [FW_SQL_DONE_EVENTS] = "SELECT seq FROM event INDEXED BY event_done"
                           " WHERE waiting = 0" NO_OPEN_TRACK " ORDER BY seq LIMIT ?",
    [FW_SQL_WAITING_EVENTS] = "SELECT seq FROM event INDEXED BY event_waiting WHERE waiting > 0"
                              " ORDER BY seq LIMIT ?",
    // Of an event whose track is open only the waiting ends.
    [FW_SQL_OLD_EVENTS] = "SELECT seq, posted_us FROM event WHERE seq < ?1"
                          " AND (waiting > 0 OR seq NOT IN (SELECT seq FROM track))"
                          " ORDER BY seq LIMIT ?2",
    [FW_SQL_WAITING_QUEUES] = "SELECT queue FROM record WHERE seq = ? AND state = 0",
    [FW_SQL_EXPIRE_RECORDS] = "UPDATE record SET state = 3, at_us = ?2"
                              " WHERE seq = ?1 AND state = 0",
    [FW_SQL_CLEAR_WAITING] = "UPDATE event SET waiting = 0 WHERE seq = ?",
    [FW_SQL_DELETE_REJECTIONS] = "DELETE FROM rejection WHERE seq = ?1" NO_OPEN_TRACK,
    [FW_SQL_DELETE_RECORDS] = "DELETE FROM record WHERE seq = ?1" NO_OPEN_TRACK,
    [FW_SQL_DELETE_BODY] = "DELETE FROM body WHERE seq = ?1" NO_OPEN_TRACK,
    [FW_SQL_DELETE_EVENT] = "DELETE FROM event WHERE seq = ?1" NO_OPEN_TRACK " RETURNING dead",
    [FW_SQL_ADD_TOTAL] = "INSERT INTO total(name, value) VALUES(?1, ?2)"
                         " ON CONFLICT(name) DO UPDATE SET value = value + ?2",
    [FW_SQL_OLDEST_WAITING] = "SELECT posted_us FROM event INDEXED BY event_waiting"
                              " WHERE waiting > 0 ORDER BY seq LIMIT 1",
};

int fw_outbox_db_exec(struct fw_outbox_db *db, const char *sql)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
}

int fw_outbox_db_integer(struct fw_outbox_db *db, const char *sql, int64_t *value)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);

    *value = 0;
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *value = sqlite3_column_int64(statement, 0);
        code = SQLITE_OK;
    } else if (code == SQLITE_DONE) {
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code;
}

static int bind(sqlite3_stmt *statement, const char *kinds, va_list arguments)
{
    int code = SQLITE_OK;

    for (int i = 0; kinds[i] != '\0' && code == SQLITE_OK; i++) {
        if (kinds[i] == 'i')
            code = sqlite3_bind_int64(statement, i + 1, va_arg(arguments, int64_t));
        else
            code = sqlite3_bind_text(statement, i + 1, va_arg(arguments, const char *), -1,
                                     SQLITE_STATIC);
    }
    return code;
}

int fw_outbox_db_bind(sqlite3_stmt *statement, const char *kinds, ...)
{
    va_list arguments;
    int code;

    va_start(arguments, kinds);
    code = bind(statement, kinds, arguments);
    va_end(arguments);
    return code;
}

static int prepare(struct fw_outbox_db *db, enum fw_outbox_sql sql)
{
    if (db->statements[sql] != NULL)
        return SQLITE_OK;
    return sqlite3_prepare_v3(db->handle, texts[sql], -1, SQLITE_PREPARE_PERSISTENT,
                              &db->statements[sql], NULL);
}

int fw_outbox_db_start(struct fw_outbox_db *db, enum fw_outbox_sql sql, sqlite3_stmt **statement,
                       const char *kinds, ...)
{
    va_list arguments;
    int code = prepare(db, sql);

    *statement = db->statements[sql];
    if (code != SQLITE_OK)
        return code;
    va_start(arguments, kinds);
    code = bind(*statement, kinds, arguments);
    va_end(arguments);
    return code;
}

int fw_outbox_db_run(struct fw_outbox_db *db, enum fw_outbox_sql sql, const char *kinds, ...)
{
    va_list arguments;
    int code = prepare(db, sql);

    if (code != SQLITE_OK)
        return code;
    va_start(arguments, kinds);
    code = bind(db->statements[sql], kinds, arguments);
    va_end(arguments);
    if (code == SQLITE_OK)
        code = sqlite3_step(db->statements[sql]);
    sqlite3_reset(db->statements[sql]);
    sqlite3_clear_bindings(db->statements[sql]);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int fw_outbox_db_open(struct fw_outbox_db *db, const char *path, bool is_read_only)
{
    int flags = is_read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int code = sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);

    if (code != SQLITE_OK)
        return code;
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
    // A damaged file must not make SQL of its own run.
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return SQLITE_OK;
}

int fw_outbox_db_settle(struct fw_outbox_db *db)
{
    // auto_vacuum counts only before the first table.
    return fw_outbox_db_exec(db, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
                                 "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216;"
                                 "PRAGMA secure_delete = FAST; PRAGMA cell_size_check = ON");
}

void fw_outbox_db_close(struct fw_outbox_db *db)
{
    for (int i = 0; i < FW_SQL_COUNT; i++) {
        sqlite3_finalize(db->statements[i]);
        db->statements[i] = NULL;
    }
    sqlite3_close_v2(db->handle);
    db->handle = NULL;
}

bool fw_outbox_db_is_damage(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_NOMEM:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_INTERRUPT:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_NOLFS:
        return false;
    default:
        return true;
    }
}

// Integrity

// When a check has to end.
struct limit {
    int64_t until_us;
    const atomic_bool *stop; // may be NULL
};

static int is_over(void *opaque)
{
    const struct limit *limit = opaque;

    return (limit->stop != NULL && atomic_load(limit->stop)) || fw_monotonic_us() > limit->until_us;
}

// *IS_GOOD stays true when the time was too short to know.
static int quick_check(struct fw_outbox_db *db, struct limit limit, bool *is_good, bool *is_checked)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->handle, "PRAGMA quick_check(1)", -1, &statement, NULL);

    *is_good = true;
    *is_checked = false;
    if (code != SQLITE_OK)
        return code;
    sqlite3_progress_handler(db->handle, CHECK_STEPS, is_over, &limit);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const char *answer = (const char *)sqlite3_column_text(statement, 0);
        *is_good = answer != NULL && strcmp(answer, "ok") == 0;
        *is_checked = true;
        code = SQLITE_OK;
    } else if ((code & 0xff) == SQLITE_INTERRUPT) {
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    sqlite3_progress_handler(db->handle, 0, NULL, NULL);
    return code;
}

bool fw_outbox_db_check(struct fw_outbox_db *db, const atomic_bool *stop)
{
    bool is_good, is_checked;
    int code = quick_check(db, (struct limit){INT64_MAX, stop}, &is_good, &is_checked);

    return is_good && !fw_outbox_db_is_damage(code);
}

static int identify(struct fw_outbox_db *db, enum fw_outbox_file_state *state)
{
    int64_t tables = 0, application = 0, version = 0;
    int code = fw_outbox_db_integer(db, "SELECT count(*) FROM sqlite_schema", &tables);

    if (code == SQLITE_OK)
        code = fw_outbox_db_integer(db, "PRAGMA application_id", &application);
    if (code == SQLITE_OK)
        code = fw_outbox_db_integer(db, "PRAGMA user_version", &version);
    *state = FW_OUTBOX_FILE_GOOD;
    if (tables > 0 && application != APPLICATION_ID_NUMBER)
        *state = FW_OUTBOX_FILE_FOREIGN;
    else if (version > fw_outbox_db_version())
        *state = FW_OUTBOX_FILE_NEWER;
    else if ((tables > 0) != (version > 0))
        *state = FW_OUTBOX_FILE_DAMAGED;
    return code;
}

int fw_outbox_db_inspect(struct fw_outbox_db *db, int64_t timeout_ms,
                         enum fw_outbox_file_state *state, bool *is_checked)
{
    struct limit limit = {.until_us = INT64_MAX};
    bool is_good = true;
    int code = identify(db, state);

    if (timeout_ms >= 0)
        limit.until_us = fw_monotonic_us() + timeout_ms * FW_US_PER_MS;
    *is_checked = true;
    if (code == SQLITE_OK && *state == FW_OUTBOX_FILE_GOOD)
        code = quick_check(db, limit, &is_good, is_checked);
    if (!is_good || fw_outbox_db_is_damage(code)) {
        *state = FW_OUTBOX_FILE_DAMAGED;
        code = SQLITE_OK;
    }
    return code;
}

// Versions

int fw_outbox_db_version(void)
{
    return (int)(sizeof(steps) / sizeof(steps[0]));
}

static int set_version(struct fw_outbox_db *db)
{
    // PRAGMA takes no parameters.
    char sql[] = "PRAGMA application_id = " APPLICATION_ID "; PRAGMA user_version = 0";

    sql[sizeof(sql) - 2] = (char)('0' + fw_outbox_db_version());
    return fw_outbox_db_exec(db, sql);
}

int fw_outbox_db_migrate(struct fw_outbox_db *db)
{
    int64_t version = 0;
    int code = fw_outbox_db_integer(db, "PRAGMA user_version", &version);

    if (code != SQLITE_OK || version == fw_outbox_db_version())
        return code;
    code = fw_outbox_db_exec(db, "BEGIN IMMEDIATE");
    for (int64_t i = version; code == SQLITE_OK && i < fw_outbox_db_version(); i++)
        code = fw_outbox_db_exec(db, steps[i]);
    if (code == SQLITE_OK)
        code = set_version(db);
    if (code == SQLITE_OK)
        code = fw_outbox_db_exec(db, "COMMIT");
    if (code != SQLITE_OK)
        (void)fw_outbox_db_exec(db, "ROLLBACK");
    return code;
}
