// What the outbox's tests share.
#include "outbox_tests.h"
#include "util/clock.h"
#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct outbox_bench *new_outbox_bench(enum fw_delivery delivery, size_t sinks)
{
    struct outbox_bench *bench = calloc(1, sizeof(*bench));

    assert_non_null(bench);
    strcpy(bench->folder, "/tmp/fw-outbox-XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    snprintf(bench->path, sizeof(bench->path), "%s/outbox.db", bench->folder);
    bench->names[0] = "first";
    bench->names[1] = "second";
    bench->names[2] = "third";
    bench->options = (struct fw_outbox_options){.path = bench->path,
                                                .max_ring_events = 1000,
                                                .delivery = delivery,
                                                .sink_names = bench->names,
                                                .sink_count = sinks};
    return bench;
}

static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    char path[512];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(folder);
}

void free_outbox_bench(struct outbox_bench *bench)
{
    assert_int_equal(fw_outbox_close(bench->outbox, 5000), FW_OK);
    remove_folder(bench->folder);
    free(bench);
}

void open_outbox(struct outbox_bench *bench)
{
    struct fw_error error = {0};

    if (fw_outbox_open(&bench->outbox, &bench->options, &error) != FW_OK)
        fail_msg("%s", error.message);
}

void close_outbox(struct outbox_bench *bench)
{
    assert_int_equal(fw_outbox_close(bench->outbox, 10000), FW_OK);
    bench->outbox = NULL;
}

static void post(struct outbox_bench *bench, struct fw_event *event, char *id)
{
    assert_non_null(event);
    if (id != NULL)
        strcpy(id, event->id);
    assert_int_equal(fw_outbox_post(bench->outbox, event), FW_OK);
    fw_event_unref(event);
}

void post_to(struct outbox_bench *bench, const char *camera, char *id)
{
    post(bench, event_of(camera, 7), id);
}

void post_quiet(struct outbox_bench *bench, const char *camera, char *id)
{
    struct fw_event_state_input input = {
        .type = FW_EVENT_CAMERA_ONLINE,
        .camera = {.worker_id = "edge 1", .camera_id = camera},
        .time_utc_us = fw_utc_us(),
        .reason = "",
    };

    post(bench, fw_event_create_state(&input), id);
}

void flush_outbox(struct outbox_bench *bench)
{
    assert_int_equal(fw_outbox_flush(bench->outbox, 20000), FW_OK);
}

size_t fetch_ids(struct outbox_bench *bench, size_t queue, size_t skip_sink, char ids[64][37],
                 int64_t seqs[64])
{
    struct fw_outbox_ask ask = {.queue = queue, .skip_sink = skip_sink, .max = 64};
    struct fw_outbox_record records[64];
    struct fw_error error = {0};
    size_t count;
    bool is_all;

    if (fw_outbox_fetch(bench->outbox, &ask, records, &count, &is_all, &error) != FW_OK)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < count; i++) {
        if (ids != NULL)
            strcpy(ids[i], records[i].event != NULL ? records[i].event->id : "");
        if (seqs != NULL)
            seqs[i] = records[i].seq;
        fw_event_unref(records[i].event);
    }
    return count;
}

void mark_record(struct outbox_bench *bench, int64_t seq, size_t queue, size_t sink,
                 enum fw_outbox_outcome outcome)
{
    struct fw_outbox_mark *mark = calloc(1, sizeof(*mark));

    assert_non_null(mark);
    *mark = (struct fw_outbox_mark){
        .seq = seq, .queue = queue, .sink = sink, .outcome = outcome, .at_utc_us = fw_utc_us()};
    strcpy(mark->reason, "because");
    (void)fw_outbox_mark(bench->outbox, mark);
}

static sqlite3 *open_database(const char *path)
{
    sqlite3 *handle = NULL;

    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, 5000);
    return handle;
}

int64_t ask_database(const char *path, const char *sql)
{
    sqlite3 *handle = open_database(path);
    sqlite3_stmt *statement = NULL;
    int64_t value;

    if (sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(handle));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return value;
}

void tell_database(const char *path, const char *sql)
{
    sqlite3 *handle = open_database(path);
    char *message = NULL;

    if (sqlite3_exec(handle, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    sqlite3_close(handle);
}

bool is_intact(const char *path)
{
    sqlite3 *handle = open_database(path);
    sqlite3_stmt *statement = NULL;
    bool is_good =
        sqlite3_prepare_v2(handle, "PRAGMA integrity_check", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW &&
        strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0;

    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return is_good;
}

void nap_ms(int64_t ms)
{
    struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};

    (void)nanosleep(&pause, NULL);
}
