// The outbox's database as SQL: connections, the schema and its versions, and what is asked of it.
// Functions that return "a code" return SQLite's own (SQLITE_OK, SQLITE_FULL, …). A connection is
// one thread's at a time.
#ifndef FW_ALERT_OUTBOX_DB_H
#define FW_ALERT_OUTBOX_DB_H

#include "util/error.h"
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// record.state
enum fw_record_state {
    FW_RECORD_WAITING,
    FW_RECORD_DELIVERED,
    FW_RECORD_DEAD,
    FW_RECORD_EXPIRED,
};

// record.queue of FW_DELIVERY_FALLBACK; the others are sink.id, from 1.
enum { FW_SHARED_QUEUE = 0 };

// Statements that are prepared once and kept.
enum fw_outbox_sql {
    FW_SQL_INSERT_EVENT,
    FW_SQL_INSERT_BODY,
    FW_SQL_INSERT_RECORD,
    FW_SQL_INSERT_TRACK,
    FW_SQL_DELETE_TRACK,
    FW_SQL_NEXT_TRACK,
    FW_SQL_DELIVER,
    FW_SQL_BURY,
    FW_SQL_COUNT_DOWN,
    FW_SQL_COUNT_DEAD,
    FW_SQL_REJECT,
    FW_SQL_FETCH,
    FW_SQL_REJECTIONS,
    FW_SQL_DONE_EVENTS,
    FW_SQL_WAITING_EVENTS,
    FW_SQL_OLD_EVENTS,
    FW_SQL_WAITING_QUEUES,
    FW_SQL_EXPIRE_RECORDS,
    FW_SQL_CLEAR_WAITING,
    FW_SQL_DELETE_REJECTIONS,
    FW_SQL_DELETE_RECORDS,
    FW_SQL_DELETE_BODY,
    FW_SQL_DELETE_EVENT,
    FW_SQL_ADD_TOTAL,
    FW_SQL_OLDEST_WAITING,
    FW_SQL_COUNT, // how many there are
};

struct fw_outbox_db {
    sqlite3 *handle; // NULL: closed
    sqlite3_stmt *statements[FW_SQL_COUNT];
};

// What a file turned out to be.
enum fw_outbox_file_state {
    FW_OUTBOX_FILE_GOOD,
    FW_OUTBOX_FILE_DAMAGED, // or no database at all
    FW_OUTBOX_FILE_FOREIGN, // another program's
    FW_OUTBOX_FILE_NEWER,   // a later version of ours wrote it
};

// Opens PATH, which exists; nothing is read or changed yet. A code; close it in any case.
int fw_outbox_db_open(struct fw_outbox_db *db, const char *path, bool is_read_only);
// The settings that the outbox wants, for a file that is ours to write. A code.
int fw_outbox_db_settle(struct fw_outbox_db *db);
void fw_outbox_db_close(struct fw_outbox_db *db);
// True for what a damaged file answers: all that is neither the disk's, nor memory's, nor another
// process's doing. Our own SQL is right.
bool fw_outbox_db_is_damage(int code);

// Says what the file is, looking no longer than TIMEOUT_MS for damage (*IS_CHECKED: all of it was
// looked at). A code: SQLITE_OK also for a file that is not good.
int fw_outbox_db_inspect(struct fw_outbox_db *db, int64_t timeout_ms,
                         enum fw_outbox_file_state *state, bool *is_checked);
// Looks at all of it until STOP. False when it is damaged.
bool fw_outbox_db_check(struct fw_outbox_db *db, const atomic_bool *stop);
// Brings the schema to the newest version, step by step, in one transaction. A code.
int fw_outbox_db_migrate(struct fw_outbox_db *db);
// The version that fw_outbox_db_migrate() brings files to.
int fw_outbox_db_version(void);

int fw_outbox_db_exec(struct fw_outbox_db *db, const char *sql);
// The first column of the first row of SQL; 0 when there is no row.
int fw_outbox_db_integer(struct fw_outbox_db *db, const char *sql, int64_t *value);
// Binds ARGUMENTS by KINDS, a letter each: 'i' int64_t, 't' const char * (NULL: null; not copied).
// STATEMENT is ready to be stepped, and must be reset by sqlite3_reset() after.
int fw_outbox_db_start(struct fw_outbox_db *db, enum fw_outbox_sql sql, sqlite3_stmt **statement,
                       const char *kinds, ...);
// The same for a statement without rows, done at once.
int fw_outbox_db_run(struct fw_outbox_db *db, enum fw_outbox_sql sql, const char *kinds, ...);
int fw_outbox_db_bind(sqlite3_stmt *statement, const char *kinds, ...);

#endif
