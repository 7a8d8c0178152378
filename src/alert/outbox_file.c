#include "alert/outbox_file.h"
#include "alert/outbox_db.h"
#include "util/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_FATES = 64,
    CHUNK = 500, // events changed at once, so that a daemon never waits for long
};

struct fw_outbox_file {
    char *path;
    struct fw_outbox_db db;
    sqlite3_stmt *records, *rejections;
};

static const char *const state_names[] = {"waiting", "delivered", "dead", "expired"};

static int fail(const struct fw_outbox_file *file, int code, struct fw_error *error)
{
    const char *what =
        file->db.handle != NULL ? sqlite3_errmsg(file->db.handle) : sqlite3_errstr(code);

    if (code == SQLITE_NOMEM)
        return fw_fail(error, FW_ENOMEM, "no memory for %s", file->path);
    if (fw_outbox_db_is_damage(code))
        return fw_fail(error, FW_EFORMAT, "%s is damaged: %s", file->path, what);
    if ((code & 0xff) == SQLITE_BUSY)
        return fw_fail(error, FW_EIO, "%s is busy; try again, or stop the daemon first",
                       file->path);
    return fw_fail(error, FW_EIO, "can't use %s: %s; check who may read and write there",
                   file->path, what);
}

// Opening

static int identify(struct fw_outbox_file *file, struct fw_error *error)
{
    int64_t events = 0, version = 0;
    int code = fw_outbox_db_integer(&file->db,
                                    "SELECT count(*) FROM sqlite_schema WHERE name IN ('event',"
                                    " 'body', 'record', 'rejection', 'track', 'sink')",
                                    &events);

    if (code == SQLITE_OK)
        code = fw_outbox_db_integer(&file->db, "PRAGMA user_version", &version);
    if (code == SQLITE_NOTADB || (code == SQLITE_OK && events != 6))
        return fw_fail(error, FW_EFORMAT, "%s is no outbox of faceworker", file->path);
    if (code != SQLITE_OK)
        return fail(file, code, error);
    if (version > fw_outbox_db_version())
        return fw_fail(error, FW_ENOTSUP,
                       "%s was written by a later version of faceworker; use that one", file->path);
    return FW_OK;
}

static int prepare(struct fw_outbox_file *file, struct fw_error *error)
{
    int code = sqlite3_prepare_v2(
        file->db.handle,
        "SELECT s.name, r.state, r.at_us FROM record r LEFT JOIN sink s"
        " ON s.id = CASE WHEN r.state = 1 THEN r.sink ELSE r.queue END WHERE r.seq = ?"
        " ORDER BY r.queue",
        -1, &file->records, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(file->db.handle,
                                  "SELECT s.name, j.reason, j.at_us FROM rejection j"
                                  " LEFT JOIN sink s ON s.id = j.sink WHERE j.seq = ?"
                                  " ORDER BY j.at_us",
                                  -1, &file->rejections, NULL);
    return code == SQLITE_OK ? FW_OK : fail(file, code, error);
}

int fw_outbox_file_open(struct fw_outbox_file **opened, const char *path, bool is_read_only,
                        struct fw_error *error)
{
    struct fw_outbox_file *file;
    int status = FW_OK, code;

    *opened = NULL;
    if (access(path, F_OK) != 0)
        return fw_fail(error, FW_ENOENT,
                       "there is no outbox %s; has the daemon run with this worker.state_dir?",
                       path);
    file = calloc(1, sizeof(*file));
    if (file != NULL)
        file->path = fw_strdup(path);
    if (file == NULL || file->path == NULL) {
        free(file);
        return fw_fail(error, FW_ENOMEM, "no memory for %s", path);
    }
    code = fw_outbox_db_open(&file->db, path, is_read_only);
    if (code != SQLITE_OK)
        status = fail(file, code, error);
    if (status == FW_OK)
        status = identify(file, error);
    if (status == FW_OK)
        status = prepare(file, error);
    if (status != FW_OK) {
        fw_outbox_file_close(file);
        return status;
    }
    *opened = file;
    return FW_OK;
}

void fw_outbox_file_close(struct fw_outbox_file *file)
{
    if (file == NULL)
        return;
    sqlite3_finalize(file->records);
    sqlite3_finalize(file->rejections);
    fw_outbox_db_close(&file->db);
    free(file->path);
    free(file);
}

// Queries

static bool has_state(const struct fw_outbox_query *query, int *state)
{
    *state = -1;
    for (size_t i = 0; i < sizeof(state_names) / sizeof(state_names[0]); i++)
        if (query->state != NULL && strcmp(query->state, state_names[i]) == 0)
            *state = (int)i;
    return query->state == NULL || *state >= 0;
}

// What a record has to be like. Rows of an old file have the same columns.
static void append_record_filter(struct fw_text *sql, const struct fw_outbox_query *query,
                                 int state)
{
    if (state < 0 && query->sink == NULL)
        return;
    fw_text_append(sql, " AND EXISTS(SELECT 1 FROM record r WHERE r.seq = e.seq");
    if (state >= 0)
        fw_text_appendf(sql, " AND r.state = %d", state);
    if (query->sink != NULL)
        fw_text_append(sql, " AND (r.queue = (SELECT id FROM sink WHERE name = :sink)"
                            " OR r.sink = (SELECT id FROM sink WHERE name = :sink)"
                            " OR (r.queue = 0 AND (r.state = 0 OR EXISTS(SELECT 1 FROM rejection j"
                            " WHERE j.seq = r.seq AND j.queue = 0 AND"
                            " j.sink = (SELECT id FROM sink WHERE name = :sink)))))");
    fw_text_append(sql, ")");
}

static void append_filters(struct fw_text *sql, const struct fw_outbox_query *query, int state)
{
    if (query->camera_id != NULL)
        fw_text_append(sql, " AND e.camera = :camera");
    if (query->type != NULL)
        fw_text_append(sql, " AND e.type IN (:type, 'faceworker.' || :type)");
    if (query->without_type != NULL)
        fw_text_append(sql, " AND e.type NOT IN (:without, 'faceworker.' || :without)");
    if (query->since_utc_us != 0)
        fw_text_append(sql, " AND e.time_us >= :since");
    if (query->until_utc_us != 0)
        fw_text_append(sql, " AND e.time_us < :until");
    if (query->before_id != NULL)
        fw_text_append(sql, " AND e.seq < (SELECT seq FROM event WHERE id = :before)");
    if (query->id_count > 0)
        fw_text_append(sql, " AND e.id IN (");
    for (size_t i = 0; i < query->id_count; i++)
        fw_text_appendf(sql, i > 0 ? ", :id%zu" : ":id%zu", i);
    if (query->id_count > 0)
        fw_text_append(sql, ")");
    append_record_filter(sql, query, state);
}

static int bind_text(sqlite3_stmt *statement, const char *name, const char *text)
{
    int index = sqlite3_bind_parameter_index(statement, name);

    if (index == 0)
        return SQLITE_OK;
    return sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

static int bind_number(sqlite3_stmt *statement, const char *name, int64_t number)
{
    int index = sqlite3_bind_parameter_index(statement, name);

    return index == 0 ? SQLITE_OK : sqlite3_bind_int64(statement, index, number);
}

static int bind_query(sqlite3_stmt *statement, const struct fw_outbox_query *query)
{
    int code = bind_text(statement, ":camera", query->camera_id);
    char name[32];

    if (code == SQLITE_OK)
        code = bind_text(statement, ":type", query->type);
    if (code == SQLITE_OK)
        code = bind_text(statement, ":without", query->without_type);
    if (code == SQLITE_OK)
        code = bind_text(statement, ":sink", query->sink);
    if (code == SQLITE_OK)
        code = bind_text(statement, ":before", query->before_id);
    if (code == SQLITE_OK)
        code = bind_number(statement, ":since", query->since_utc_us);
    if (code == SQLITE_OK)
        code = bind_number(statement, ":until", query->until_utc_us);
    for (size_t i = 0; code == SQLITE_OK && i < query->id_count; i++) {
        snprintf(name, sizeof(name), ":id%zu", i);
        code = bind_text(statement, name, query->ids[i]);
    }
    return code;
}

// SELECT COLUMNS for QUERY, then TAIL. FW_OK with a statement to finalize.
static int start(struct fw_outbox_file *file, const char *columns,
                 const struct fw_outbox_query *query, const char *tail, sqlite3_stmt **statement,
                 struct fw_error *error)
{
    // The planner does not know how few these are.
    static const char *const indexes[] = {"INDEXED BY event_waiting WHERE e.waiting > 0", NULL,
                                          "INDEXED BY event_dead WHERE e.dead > 0", NULL};
    struct fw_text sql = FW_TEXT_INIT;
    int state, code = SQLITE_NOMEM;

    *statement = NULL;
    if (!has_state(query, &state))
        return fw_fail(error, FW_EINVAL,
                       "there is no state '%s'; use waiting, delivered, dead or expired",
                       query->state);
    fw_text_appendf(&sql, "SELECT %s FROM event e %s", columns,
                    state >= 0 && indexes[state] != NULL ? indexes[state] : "WHERE 1");
    append_filters(&sql, query, state);
    fw_text_append(&sql, tail);
    if (query->limit > 0)
        fw_text_appendf(&sql, " LIMIT %d", query->limit);
    if (!sql.failed)
        code = sqlite3_prepare_v2(file->db.handle, fw_text_get(&sql), -1, statement, NULL);
    fw_text_free(&sql);
    if (code == SQLITE_OK)
        code = bind_query(*statement, query);
    return code == SQLITE_OK ? FW_OK : fail(file, code, error);
}

// Reading

static const char *text_of(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    return text != NULL ? text : "";
}

// Texts stay valid until the statements are reset.
static int read_fates(struct fw_outbox_file *file, int64_t seq, struct fw_outbox_row *row,
                      struct fw_outbox_fate *fates, char **names)
{
    sqlite3_stmt *statements[] = {file->records, file->rejections};
    bool has[4] = {false};
    int code = SQLITE_OK;

    for (int i = 0; i < 2 && code == SQLITE_OK; i++) {
        code = sqlite3_bind_int64(statements[i], 1, seq);
        while (code == SQLITE_OK && row->fate_count < MAX_FATES &&
               (code = sqlite3_step(statements[i])) == SQLITE_ROW) {
            struct fw_outbox_fate *fate = &fates[row->fate_count];
            int state = sqlite3_column_int(statements[i], 1) & 3;
            // A copy: the next step takes the text away.
            names[2 * row->fate_count] =
                fw_strdup((const char *)sqlite3_column_text(statements[i], 0));
            if (i == 1)
                names[2 * row->fate_count + 1] = fw_strdup(text_of(statements[i], 1));
            else
                has[state] = true;
            *fate = (struct fw_outbox_fate){.sink = names[2 * row->fate_count],
                                            .state = i == 0 ? state_names[state] : "rejected",
                                            .reason = names[2 * row->fate_count + 1],
                                            .at_utc_us = sqlite3_column_int64(statements[i], 2)};
            row->fate_count++;
            code = SQLITE_OK;
        }
        sqlite3_reset(statements[i]);
        if (code == SQLITE_DONE)
            code = SQLITE_OK;
    }
    row->state = has[0] ? "waiting" : has[2] ? "dead" : has[1] ? "delivered" : "none";
    if (!has[0] && !has[1] && !has[2] && has[3])
        row->state = "expired";
    return code;
}

static int visit_row(struct fw_outbox_file *file, sqlite3_stmt *statement,
                     int (*visit)(void *opaque, const struct fw_outbox_row *row), void *opaque,
                     struct fw_error *error)
{
    struct fw_outbox_fate fates[MAX_FATES];
    char *names[2 * MAX_FATES] = {NULL};
    struct fw_outbox_row row = {
        .id = text_of(statement, 1),
        .type = text_of(statement, 2),
        .camera_id = text_of(statement, 3),
        .time_utc_us = sqlite3_column_int64(statement, 4),
        .posted_utc_us = sqlite3_column_int64(statement, 5),
        .json = text_of(statement, 6),
        .json_length = (size_t)sqlite3_column_bytes(statement, 6),
        .fates = fates,
    };
    int code = read_fates(file, sqlite3_column_int64(statement, 0), &row, fates, names);
    int status = code == SQLITE_OK ? visit(opaque, &row) : fail(file, code, error);

    for (size_t i = 0; i < 2 * row.fate_count; i++)
        free(names[i]);
    return status;
}

int fw_outbox_file_each(struct fw_outbox_file *file, const struct fw_outbox_query *query,
                        bool oldest_first,
                        int (*visit)(void *opaque, const struct fw_outbox_row *row), void *opaque,
                        struct fw_error *error)
{
    sqlite3_stmt *statement;
    int code = SQLITE_DONE,
        status = start(file,
                       "e.seq, e.id, e.type, e.camera, e.time_us, e.posted_us,"
                       " (SELECT json FROM body b WHERE b.seq = e.seq)",
                       query, oldest_first ? " ORDER BY e.seq" : " ORDER BY e.seq DESC", &statement,
                       error);

    while (status == FW_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
        status = visit_row(file, statement, visit, opaque, error);
    if (status == FW_OK && code != SQLITE_DONE)
        status = fail(file, code, error);
    sqlite3_finalize(statement);
    return status;
}

// Changing

// The numbers of the events of QUERY after *LAST, CHUNK of them at most.
static int list_chunk(struct fw_outbox_file *file, const struct fw_outbox_query *query,
                      int64_t last, int64_t *seqs, size_t *count, struct fw_error *error)
{
    struct fw_outbox_query chunk = *query;
    char tail[64];
    sqlite3_stmt *statement;
    int code = SQLITE_DONE, status;

    *count = 0;
    chunk.limit = CHUNK;
    snprintf(tail, sizeof(tail), " AND e.seq > %lld ORDER BY e.seq", (long long)last);
    status = start(file, "e.seq", &chunk, tail, &statement, error);
    while (status == FW_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
        seqs[(*count)++] = sqlite3_column_int64(statement, 0);
    if (status == FW_OK && code != SQLITE_DONE)
        status = fail(file, code, error);
    sqlite3_finalize(statement);
    return status;
}

// Runs each of SQL, ended by NULL, with the event's number for "?1" and the sink's name for "?2".
// *CHANGES: of the first of them.
static int run_for(struct fw_outbox_file *file, const char *const *sql, int64_t seq,
                   const char *sink, uint64_t *changes)
{
    int code = SQLITE_OK;

    for (size_t i = 0; code == SQLITE_OK && sql[i] != NULL; i++) {
        sqlite3_stmt *statement = NULL;
        code = sqlite3_prepare_v2(file->db.handle, sql[i], -1, &statement, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_bind_int64(statement, 1, seq);
        if (code == SQLITE_OK && sqlite3_bind_parameter_count(statement) > 1)
            code = sqlite3_bind_text(statement, 2, sink, -1, SQLITE_STATIC);
        if (code == SQLITE_OK)
            code = sqlite3_step(statement);
        if (code == SQLITE_DONE)
            code = SQLITE_OK;
        if (i == 0)
            *changes += (uint64_t)sqlite3_changes(file->db.handle);
        sqlite3_finalize(statement);
    }
    return code;
}

static int change_chunk(struct fw_outbox_file *file, const char *const *sql, const int64_t *seqs,
                        size_t count, const char *sink, uint64_t *changes)
{
    uint64_t changed = 0;
    int code = fw_outbox_db_exec(&file->db, "BEGIN IMMEDIATE");

    if (code != SQLITE_OK)
        return code;
    for (size_t i = 0; code == SQLITE_OK && i < count; i++)
        code = run_for(file, sql, seqs[i], sink, &changed);
    if (code == SQLITE_OK)
        code = fw_outbox_db_exec(&file->db, "COMMIT");
    if (code != SQLITE_OK)
        (void)fw_outbox_db_exec(&file->db, "ROLLBACK");
    else
        *changes += changed;
    return code;
}

static int change(struct fw_outbox_file *file, const struct fw_outbox_query *query,
                  const char *const *sql, uint64_t *changes, struct fw_error *error)
{
    int64_t seqs[CHUNK], last = -1;
    size_t count = 1;
    int status = FW_OK;

    *changes = 0;
    if (fw_outbox_db_exec(&file->db, "PRAGMA synchronous = FULL") != SQLITE_OK)
        return fail(file, SQLITE_ERROR, error);
    while (status == FW_OK && count > 0) {
        int code = SQLITE_OK;
        status = list_chunk(file, query, last, seqs, &count, error);
        if (status == FW_OK && count > 0 && seqs[count - 1] <= last)
            code = SQLITE_CORRUPT; // an index out of order
        if (status == FW_OK && count > 0 && code == SQLITE_OK) {
            last = seqs[count - 1];
            code = change_chunk(file, sql, seqs, count, query->sink, changes);
        }
        if (code != SQLITE_OK)
            status = fail(file, code, error);
    }
    return status;
}

int fw_outbox_file_retry(struct fw_outbox_file *file, const struct fw_outbox_query *query,
                         uint64_t *count, struct fw_error *error)
{
    static const char *const sql[] = {
        "UPDATE record SET state = 0, at_us = NULL, sink = NULL WHERE seq = ?1 AND state = 2 AND"
        " (?2 IS NULL OR queue = 0 OR queue = (SELECT id FROM sink WHERE name = ?2))",
        "DELETE FROM rejection WHERE seq = ?1 AND queue IN (SELECT queue FROM record WHERE seq = ?1"
        " AND state = 0)",
        "UPDATE event SET waiting = (SELECT count(*) FROM record r WHERE r.seq = ?1 AND r.state ="
        " 0), dead = (SELECT count(*) FROM record r WHERE r.seq = ?1 AND r.state = 2)"
        " WHERE seq = ?1",
        NULL,
    };
    struct fw_outbox_query dead = *query;

    dead.state = "dead";
    return change(file, &dead, sql, count, error);
}

int fw_outbox_file_purge(struct fw_outbox_file *file, const struct fw_outbox_query *query,
                         uint64_t *count, struct fw_error *error)
{
    static const char *const sql[] = {
        "DELETE FROM event WHERE seq = ?1 AND seq NOT IN (SELECT seq FROM track)",
        "DELETE FROM rejection WHERE seq = ?1 AND seq NOT IN (SELECT seq FROM event)",
        "DELETE FROM record WHERE seq = ?1 AND seq NOT IN (SELECT seq FROM event)",
        "DELETE FROM body WHERE seq = ?1 AND seq NOT IN (SELECT seq FROM event)",
        NULL,
    };

    return change(file, query, sql, count, error);
}
