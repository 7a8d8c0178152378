// Files that are damaged, foreign or gone, and a process that is killed.
#include "outbox_tests.h"
#include "util/backoff.h"
#include "util/clock.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int count_files(const struct outbox_bench *bench, const char *part)
{
    DIR *dir = opendir(bench->folder);
    const struct dirent *entry;
    int count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        count += strstr(entry->d_name, part) != NULL;
    closedir(dir);
    return count;
}

static void overwrite(const char *path, off_t at, const void *bytes, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, length, at), (ssize_t)length);
    close(fd);
}

// It was moved aside, and the new one works.
static void expect_replaced(struct outbox_bench *bench, const char *why)
{
    struct fw_outbox_stats stats;
    char ids[64][37], id[37];

    open_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.damaged, 1);
    assert_false(stats.is_degraded);
    assert_true(count_files(bench, why) >= 1);
    post_quiet(bench, "x", id);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL), 1);
    assert_string_equal(ids[0], id);
    close_outbox(bench);
    assert_true(is_intact(bench->path));
}

static void garbage_is_moved_aside(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    char garbage[20000];
    (void)state;

    memset(garbage, 'x', sizeof(garbage));
    overwrite(bench->path, 0, garbage, sizeof(garbage));
    expect_replaced(bench, ".damaged-");
    free_outbox_bench(bench);
}

static void a_truncated_database_is_moved_aside(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct stat info;
    (void)state;

    open_outbox(bench);
    for (int i = 0; i < 100; i++)
        post_quiet(bench, "x", NULL);
    close_outbox(bench);
    assert_int_equal(stat(bench->path, &info), 0);
    assert_int_equal(truncate(bench->path, info.st_size / 2), 0);
    expect_replaced(bench, ".damaged-");
    free_outbox_bench(bench);
}

static void another_programs_database_is_moved_aside(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    (void)state;

    tell_database(bench->path, "CREATE TABLE mine(x); INSERT INTO mine VALUES(1)");
    expect_replaced(bench, ".foreign-");
    free_outbox_bench(bench);
}

static void a_later_versions_database_is_moved_aside_whole(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    (void)state;

    open_outbox(bench);
    post_quiet(bench, "x", NULL);
    close_outbox(bench);
    tell_database(bench->path, "PRAGMA user_version = 9");
    expect_replaced(bench, ".newer-");
    free_outbox_bench(bench);
}

static void an_empty_file_is_a_new_outbox(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    (void)state;

    overwrite(bench->path, 0, "", 0);
    open_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.damaged, 0);
    free_outbox_bench(bench);
}

static void fill(struct outbox_bench *bench)
{
    int64_t seqs[64];

    open_outbox(bench);
    for (int i = 0; i < 64; i++)
        post_to(bench, "x", NULL);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 64);
    for (int i = 0; i < 20; i++)
        mark_record(bench, seqs[i], 0, 0, i % 2 ? FW_OUTCOME_DELIVERED : FW_OUTCOME_DEAD);
    close_outbox(bench);
}

// It takes events and hands them out, at once or (damage that only reading finds) soon.
static void expect_working(struct outbox_bench *bench)
{
    const struct fw_outbox_ask ask = {.skip_sink = FW_OUTBOX_NO_SINK, .max = 8};
    struct fw_outbox_record records[8];
    size_t count = 0;
    bool is_all;

    for (int i = 0; i < 200 && count == 0; i++) {
        post_quiet(bench, "x", NULL);
        assert_int_equal(fw_outbox_flush(bench->outbox, 20000), FW_OK);
        if (fw_outbox_fetch(bench->outbox, &ask, records, &count, &is_all, NULL) != FW_OK)
            nap_ms(50);
    }
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        fw_event_unref(records[i].event);
}

// Whatever the flips hit: it opens, takes events, hands them out, and answers for its history.
static void no_flipped_bit_stops_the_outbox(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_query query = {.limit = 1000};
    struct fw_outbox_stats stats;
    char copy[128], command[300];
    struct stat info;
    int replaced = 0;
    (void)state;

    fill(bench);
    snprintf(copy, sizeof(copy), "%s/good", bench->folder);
    assert_int_equal(rename(bench->path, copy), 0);
    assert_int_equal(stat(copy, &info), 0);
    for (int round = 0; round < 150; round++) {
        snprintf(command, sizeof(command), "cd %s && rm -f outbox.db* && cp good outbox.db",
                 bench->folder);
        assert_int_equal(system(command), 0);
        for (int i = 0; i <= round % 8; i++) {
            uint8_t byte = (uint8_t)fw_random_u32();
            // The first pages hold the schema.
            off_t range = round % 3 == 0 ? 4096 : info.st_size;
            overwrite(bench->path, (off_t)(fw_random_u32() % (uint32_t)range), &byte, 1);
        }
        open_outbox(bench);
        expect_working(bench);
        free(fw_outbox_history(bench->outbox, &query, NULL));
        fw_outbox_get_stats(bench->outbox, &stats);
        replaced += stats.damaged > 0;
        close_outbox(bench);
    }
    print_message("%d of 150 were moved aside\n", replaced);
    assert_true(replaced > 10);
    free_outbox_bench(bench);
}

static void damage_that_shows_later_is_moved_aside_at_work(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    struct fw_outbox_ask ask = {.skip_sink = FW_OUTBOX_NO_SINK, .max = 8};
    struct fw_outbox_record records[8];
    char garbage[65536], id[37], ids[64][37];
    struct stat info;
    size_t count;
    bool is_all;
    (void)state;

    fill(bench);
    open_outbox(bench);
    assert_int_equal(stat(bench->path, &info), 0);
    memset(garbage, 0x5a, sizeof(garbage));
    for (off_t at = 0; at < info.st_size; at += (off_t)sizeof(garbage))
        overwrite(bench->path, at, garbage, sizeof(garbage));
    for (int i = 0; i < 100; i++) {
        post_quiet(bench, "x", id);
        flush_outbox(bench);
        (void)fw_outbox_fetch(bench->outbox, &ask, records, &count, &is_all, NULL);
        for (size_t k = 0; k < count; k++)
            fw_event_unref(records[k].event);
        fw_outbox_get_stats(bench->outbox, &stats);
        if (stats.damaged > 0)
            break;
        nap_ms(50);
    }
    assert_int_equal(stats.damaged, 1);
    post_quiet(bench, "x", id);
    flush_outbox(bench);
    assert_true(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL) >= 1);
    close_outbox(bench);
    assert_true(is_intact(bench->path));
    free_outbox_bench(bench);
}

static void a_database_that_is_removed_is_begun_anew(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    char id[37], ids[64][37];
    (void)state;

    open_outbox(bench);
    post_quiet(bench, "x", NULL);
    flush_outbox(bench);
    unlink(bench->path);
    for (int i = 0; i < 200 && access(bench->path, F_OK) != 0; i++)
        nap_ms(25);
    post_quiet(bench, "x", id);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL), 1);
    assert_string_equal(ids[0], id);
    close_outbox(bench);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM event"), 1);
    free_outbox_bench(bench);
}

// Opening the outbox must not end the lock that another connection of this process holds: whoever
// came next could take the log of the database away from under both.
static void locks_of_other_connections_last(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct flock lock = {.l_type = F_WRLCK, .l_start = 0x40000002, .l_len = 510}; // SQLite's own
    struct fw_outbox_file *file = NULL;
    int result;
    pid_t child;
    (void)state;

    open_outbox(bench);
    close_outbox(bench);
    assert_int_equal(fw_outbox_file_open(&file, bench->path, true, NULL), FW_OK);
    open_outbox(bench);
    child = fork();
    if (child == 0) {
        int fd = open(bench->path, O_RDWR);
        _exit(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    fw_outbox_file_close(file);
    free_outbox_bench(bench);
}

// Killing

// Posts, and tells of what is committed, until it is killed.
static void post_until_killed(struct outbox_bench *bench, int out)
{
    struct fw_error error = {0};
    char ids[8][37];
    int64_t seqs[64];

    if (fw_outbox_open(&bench->outbox, &bench->options, &error) != FW_OK) {
        fprintf(stderr, "%s\n", error.message);
        _exit(1);
    }
    for (;;) {
        int count = 1 + (int)(fw_random_u32() % 8);
        for (int i = 0; i < count; i++) {
            if (fw_random_u32() % 4 == 0)
                post_to(bench, "x", ids[i]);
            else
                post_quiet(bench, "x", ids[i]);
        }
        if (fw_outbox_flush(bench->outbox, 20000) != FW_OK)
            _exit(2);
        for (int i = 0; i < count; i++)
            if (write(out, ids[i], sizeof(ids[i])) != (ssize_t)sizeof(ids[i]))
                _exit(3);
        if (fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs) > 4)
            for (int i = 0; i < 4; i++)
                mark_record(bench, seqs[i], 0, 0, FW_OUTCOME_DELIVERED);
    }
}

// Starts the child, kills it after AFTER_MS, and returns how many ids came, which go on in IDS.
static int kill_one(struct outbox_bench *bench, int64_t after_ms, char (*ids)[37], int most)
{
    int ends[2], count = 0, status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        post_until_killed(bench, ends[1]);
    }
    close(ends[1]);
    nap_ms(after_ms);
    assert_int_equal(kill(child, SIGKILL), 0);
    while (count < most && read(ends[0], ids[count], sizeof(ids[count])) == sizeof(ids[count]))
        count++;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); // it did not give up by itself
    return count;
}

static void nothing_committed_is_lost_by_a_kill(void **state)
{
    enum { ROUNDS = 100, MOST = 200000 };
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    char(*ids)[37] = calloc(MOST, sizeof(*ids));
    sqlite3 *handle = NULL;
    sqlite3_stmt *statement = NULL;
    int count = 0;
    (void)state;

    assert_non_null(ids);
    bench->options.max_ring_events = 10000;
    for (int round = 0; round < ROUNDS; round++) {
        count += kill_one(bench, 10 + fw_random_u32() % 60, ids + count, MOST - count);
        if (round % 10 == 9)
            assert_true(is_intact(bench->path));
    }
    assert_int_equal(sqlite3_open(bench->path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle,
                                        "SELECT 1 FROM event JOIN body USING(seq) WHERE "
                                        "id = ?",
                                        -1, &statement, NULL),
                     SQLITE_OK);
    for (int i = 0; i < count; i++) {
        sqlite3_bind_text(statement, 1, ids[i], -1, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        sqlite3_reset(statement);
    }
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    // Every track that a kill left open was ended by the next start, once.
    open_outbox(bench);
    close_outbox(bench);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM track"), 0);
    assert_int_equal(
        ask_database(bench->path, "SELECT count(*) FROM event WHERE type LIKE '%appeared'"),
        ask_database(bench->path, "SELECT count(*) FROM event WHERE type LIKE '%left'"));
    assert_int_equal(count_files(bench, ".damaged"), 0);
    print_message("%d events over %d kills\n", count, ROUNDS);
    assert_true(count > ROUNDS / 10); // an emulator is slow
    free(ids);
    free_outbox_bench(bench);
}

int run_outbox_damage_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_is_moved_aside),
        cmocka_unit_test(a_truncated_database_is_moved_aside),
        cmocka_unit_test(another_programs_database_is_moved_aside),
        cmocka_unit_test(a_later_versions_database_is_moved_aside_whole),
        cmocka_unit_test(an_empty_file_is_a_new_outbox),
        cmocka_unit_test(no_flipped_bit_stops_the_outbox),
        cmocka_unit_test(damage_that_shows_later_is_moved_aside_at_work),
        cmocka_unit_test(a_database_that_is_removed_is_begun_anew),
        cmocka_unit_test(locks_of_other_connections_last),
        cmocka_unit_test(nothing_committed_is_lost_by_a_kill),
    };

    return cmocka_run_group_tests_name("outbox damage", tests, NULL, NULL);
}
