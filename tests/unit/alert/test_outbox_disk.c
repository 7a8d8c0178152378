// A full disk.
#include "outbox_tests.h"
#include "util/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

// No file may grow any more; works without being root.
static rlim_t limit_files(rlim_t bytes)
{
    struct rlimit limit;
    rlim_t before;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    before = limit.rlim_cur;
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    return before;
}

static struct fw_outbox_stats await_degraded(struct outbox_bench *bench, bool is_degraded)
{
    struct fw_outbox_stats stats;

    for (int i = 0; i < 400; i++) {
        fw_outbox_get_stats(bench->outbox, &stats);
        if (stats.is_degraded == is_degraded)
            break;
        nap_ms(25);
    }
    return stats;
}

static void events_wait_in_memory_while_the_disk_is_full(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats, full, after;
    char posted[40][37], ids[64][37];
    int64_t seqs[64];
    size_t count;
    rlim_t before;
    (void)state;

    bench->options.max_ring_events = 15;
    open_outbox(bench);
    for (int i = 0; i < 10; i++)
        post_quiet(bench, "x", posted[i]);
    flush_outbox(bench);
    before = limit_files(1);
    for (int i = 10; i < 13; i++)
        post_quiet(bench, "x", posted[i]);
    full = await_degraded(bench, true);
    for (int i = 13; i < 30; i++)
        post_quiet(bench, "x", posted[i]);
    fw_outbox_get_stats(bench->outbox, &stats);
    // What is stored, then what lies in memory: the 15 newest.
    count = fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, seqs);
    mark_record(bench, seqs[0], 0, 0, FW_OUTCOME_DELIVERED);
    mark_record(bench, seqs[20], 0, 0, FW_OUTCOME_DELIVERED);
    nap_ms(1500);
    (void)limit_files(before);

    assert_true(full.is_degraded);
    assert_non_null(strstr(full.reason, bench->path));
    assert_int_equal(stats.dropped, 5);
    assert_int_equal(count, 25);
    assert_string_equal(ids[9], posted[9]);
    assert_string_equal(ids[10], posted[15]);
    assert_string_equal(ids[24], posted[29]);
    after = await_degraded(bench, false);
    assert_false(after.is_degraded);
    assert_string_equal(after.reason, "");
    flush_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &after);
    assert_int_equal(after.waiting, 23);
    close_outbox(bench);
    assert_true(is_intact(bench->path));
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM event"), 25);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM record WHERE state = 1"), 2);
    free_outbox_bench(bench);
}

static void it_recovers_without_anything_to_write(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    rlim_t before;
    (void)state;

    bench->options.max_ring_events = 1;
    open_outbox(bench);
    before = limit_files(1);
    post_quiet(bench, "x", NULL);
    stats = await_degraded(bench, true);
    (void)limit_files(before);
    assert_true(stats.is_degraded);
    assert_false(await_degraded(bench, false).is_degraded);
    free_outbox_bench(bench);
}

static void it_starts_on_a_full_disk(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    char earlier[37], posted[37], ids[64][37];
    size_t count;
    rlim_t before;
    (void)state;

    open_outbox(bench);
    post_quiet(bench, "x", earlier);
    close_outbox(bench);
    before = limit_files(1);
    open_outbox(bench);
    post_quiet(bench, "x", posted);
    stats = await_degraded(bench, true);
    count = fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL);
    (void)limit_files(before);
    assert_true(stats.is_degraded);
    assert_true(count >= 1);
    assert_string_equal(ids[count - 1], posted);
    assert_false(await_degraded(bench, false).is_degraded);
    flush_outbox(bench);
    // In their order, also those that could not be read at first.
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL), 2);
    assert_string_equal(ids[0], earlier);
    assert_string_equal(ids[1], posted);
    free_outbox_bench(bench);
}

static void what_can_not_be_written_at_the_end_is_given_up_in_time(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    int64_t began_us;
    rlim_t before;
    (void)state;

    open_outbox(bench);
    before = limit_files(1);
    post_quiet(bench, "x", NULL);
    began_us = fw_monotonic_us();
    close_outbox(bench);
    (void)limit_files(before);
    assert_true(fw_monotonic_us() - began_us < 2 * FW_US_PER_S);
    free_outbox_bench(bench);
}

// Somebody keeps the database locked: as long as a disk that hangs.
static void a_commit_that_takes_too_long_shows(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    sqlite3 *handle = NULL;
    (void)state;

    open_outbox(bench);
    assert_int_equal(sqlite3_open(bench->path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    post_quiet(bench, "x", NULL);
    stats = await_degraded(bench, true);
    assert_non_null(strstr(stats.reason, "waited for its disk"));
    assert_int_equal(sqlite3_exec(handle, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
    assert_false(await_degraded(bench, false).is_degraded);
    flush_outbox(bench);
    free_outbox_bench(bench);
}

// A disk of its own

static void fill_disk(const char *path)
{
    char block[4096];
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    memset(block, 1, sizeof(block));
    while (write(fd, block, sizeof(block)) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void await_reserve(struct outbox_bench *bench, bool is_there)
{
    struct fw_outbox_stats stats;

    for (int i = 0; i < 400; i++) {
        fw_outbox_get_stats(bench->outbox, &stats);
        if (stats.has_reserve == is_there)
            return;
        nap_ms(25);
    }
    fail_msg("the reserve is %s", is_there ? "not made again" : "not given up");
}

static void the_reserve_is_used_up_first_and_made_again(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    char filler[128];
    uint64_t posted = 0;
    (void)state;

    if (mount("tmpfs", bench->folder, "tmpfs", 0, "size=6m") != 0) {
        print_message("can't mount a small disk here: %s\n", strerror(errno));
        free_outbox_bench(bench);
        skip();
    }
    bench->options.reserve_bytes = 1000000;
    open_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_true(stats.has_reserve);
    post_quiet(bench, "x", NULL);
    flush_outbox(bench);
    snprintf(filler, sizeof(filler), "%s/filler", bench->folder);
    fill_disk(filler);
    do { // the reserve takes hundreds
        for (int i = 0; i < 50; i++, posted++)
            post_quiet(bench, "x", NULL);
        flush_outbox(bench);
        fw_outbox_get_stats(bench->outbox, &stats);
    } while (!stats.is_degraded && posted < 20000);
    print_message("degraded after %llu events: %s\n", (unsigned long long)posted, stats.reason);
    assert_true(stats.is_degraded);
    assert_false(stats.has_reserve);
    assert_true(stats.committed > 100);
    assert_int_equal(unlink(filler), 0);
    assert_false(await_degraded(bench, false).is_degraded);
    await_reserve(bench, true);
    flush_outbox(bench);
    close_outbox(bench);
    assert_true(is_intact(bench->path));
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM event"),
                     (int64_t)(posted + 1));
    assert_int_equal(umount(bench->folder), 0);
    free_outbox_bench(bench);
}

int run_outbox_disk_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_wait_in_memory_while_the_disk_is_full),
        cmocka_unit_test(it_recovers_without_anything_to_write),
        cmocka_unit_test(it_starts_on_a_full_disk),
        cmocka_unit_test(what_can_not_be_written_at_the_end_is_given_up_in_time),
        cmocka_unit_test(a_commit_that_takes_too_long_shows),
        cmocka_unit_test(the_reserve_is_used_up_first_and_made_again),
    };

    (void)signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests_name("outbox disk", tests, NULL, NULL);
}
