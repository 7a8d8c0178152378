// The outbox's file from outside, while a daemon works with it.
#include "outbox_tests.h"
#include "util/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen {
    int count;
    char ids[64][37];
    char states[64][16];
    char last_reason[64], last_sink[64];
};

static int see(void *opaque, const struct fw_outbox_row *row)
{
    struct seen *seen = opaque;

    assert_true(seen->count < 64);
    strcpy(seen->ids[seen->count], row->id);
    strcpy(seen->states[seen->count++], row->state);
    assert_int_equal(row->json_length, strlen(row->json));
    for (size_t i = 0; i < row->fate_count; i++) {
        if (row->fates[i].reason != NULL) {
            strcpy(seen->last_reason, row->fates[i].reason);
            strcpy(seen->last_sink, row->fates[i].sink);
        }
    }
    return FW_OK;
}

static struct fw_outbox_file *open_file(struct outbox_bench *bench, bool is_read_only)
{
    struct fw_outbox_file *file = NULL;
    struct fw_error error = {0};

    if (fw_outbox_file_open(&file, bench->path, is_read_only, &error) != FW_OK)
        fail_msg("%s", error.message);
    return file;
}

static struct seen look(struct outbox_bench *bench, struct fw_outbox_query query, bool oldest_first)
{
    struct fw_outbox_file *file = open_file(bench, true);
    struct seen seen = {0};

    assert_int_equal(fw_outbox_file_each(file, &query, oldest_first, see, &seen, NULL), FW_OK);
    fw_outbox_file_close(file);
    return seen;
}

// Six events: delivered, dead, dead, waiting, waiting, waiting.
static struct outbox_bench *bench_with_letters(int64_t seqs[64])
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);

    open_outbox(bench);
    for (int i = 0; i < 6; i++)
        post_quiet(bench, i == 2 ? "special" : "x", NULL);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 6);
    mark_record(bench, seqs[0], 0, 0, FW_OUTCOME_DELIVERED);
    mark_record(bench, seqs[1], 0, 0, FW_OUTCOME_DEAD);
    mark_record(bench, seqs[2], 0, 0, FW_OUTCOME_DEAD);
    flush_outbox(bench);
    return bench;
}

static void rows_come_in_either_order_with_their_state(void **state)
{
    int64_t seqs[64];
    struct outbox_bench *bench = bench_with_letters(seqs);
    struct seen seen = look(bench, (struct fw_outbox_query){0}, true), again;
    (void)state;

    assert_int_equal(seen.count, 6);
    assert_string_equal(seen.states[0], "delivered");
    assert_string_equal(seen.states[1], "dead");
    assert_string_equal(seen.states[5], "waiting");
    assert_string_equal(seen.last_reason, "because");
    assert_string_equal(seen.last_sink, "first");
    again = look(bench, (struct fw_outbox_query){.limit = 2}, false);
    assert_int_equal(again.count, 2);
    assert_string_equal(again.ids[0], seen.ids[5]);
    again = look(bench, (struct fw_outbox_query){.state = "dead", .camera_id = "special"}, true);
    assert_int_equal(again.count, 1);
    assert_string_equal(again.ids[0], seen.ids[2]);
    free_outbox_bench(bench);
}

static void await_version(struct outbox_bench *bench, uint64_t before)
{
    for (int i = 0; i < 200 && fw_outbox_version(bench->outbox) == before; i++)
        nap_ms(25);
    assert_true(fw_outbox_version(bench->outbox) > before);
}

static void dead_letters_wait_again_and_the_daemon_notices(void **state)
{
    int64_t seqs[64];
    struct outbox_bench *bench = bench_with_letters(seqs);
    struct fw_outbox_file *file = open_file(bench, false);
    struct seen all = look(bench, (struct fw_outbox_query){0}, true);
    const char *ids[] = {all.ids[2], all.ids[0]}; // the latter is not dead
    uint64_t version = fw_outbox_version(bench->outbox), count = 0;
    struct fw_outbox_stats stats;
    char waiting[64][37];
    (void)state;

    assert_int_equal(fw_outbox_file_retry(
                         file, &(struct fw_outbox_query){.ids = ids, .id_count = 2}, &count, NULL),
                     FW_OK);
    assert_int_equal(count, 1);
    await_version(bench, version);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.waiting, 4);
    assert_int_equal(stats.dead, 1);
    assert_int_equal(fetch_ids(bench, 0, 0, waiting, NULL), 4); // its rejection is forgotten
    assert_string_equal(waiting[0], all.ids[2]);
    assert_int_equal(fw_outbox_file_retry(file, &(struct fw_outbox_query){0}, &count, NULL), FW_OK);
    assert_int_equal(count, 1);
    assert_int_equal(fw_outbox_file_retry(file, &(struct fw_outbox_query){0}, &count, NULL), FW_OK);
    assert_int_equal(count, 0);
    fw_outbox_file_close(file);
    free_outbox_bench(bench);
}

static void dead_letters_of_another_delivery_go_to_the_sinks_of_today(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_FALLBACK, 2);
    struct fw_outbox_file *file;
    uint64_t version, count = 0;
    int64_t seqs[64];
    char ids[64][37], id[37];
    (void)state;

    open_outbox(bench);
    post_quiet(bench, "x", id);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 1);
    mark_record(bench, seqs[0], 0, 0, FW_OUTCOME_DEAD);
    close_outbox(bench);
    bench->options.delivery = FW_DELIVERY_ALL;
    open_outbox(bench);
    version = fw_outbox_version(bench->outbox);
    file = open_file(bench, false);
    assert_int_equal(fw_outbox_file_retry(file, &(struct fw_outbox_query){0}, &count, NULL), FW_OK);
    assert_int_equal(count, 1);
    await_version(bench, version);
    for (size_t queue = 0; queue < 2; queue++) {
        assert_int_equal(fetch_ids(bench, queue, FW_OUTBOX_NO_SINK, ids, NULL), 1);
        assert_string_equal(ids[0], id);
    }
    fw_outbox_file_close(file);
    free_outbox_bench(bench);
}

static void what_is_purged_is_gone_save_open_tracks(void **state)
{
    int64_t seqs[64];
    struct outbox_bench *bench = bench_with_letters(seqs);
    struct fw_outbox_file *file = open_file(bench, false);
    uint64_t version, count = 0;
    struct fw_outbox_stats stats;
    (void)state;

    post_to(bench, "x", NULL); // its track is open
    flush_outbox(bench);
    version = fw_outbox_version(bench->outbox);
    assert_int_equal(
        fw_outbox_file_purge(file, &(struct fw_outbox_query){.state = "dead"}, &count, NULL),
        FW_OK);
    assert_int_equal(count, 2);
    await_version(bench, version);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.dead, 0);
    assert_int_equal(stats.waiting, 4);
    assert_int_equal(fw_outbox_file_purge(file, &(struct fw_outbox_query){0}, &count, NULL), FW_OK);
    assert_int_equal(count, 4);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM event"), 1);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM record"), 1);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM body"), 1);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM rejection"), 0);
    fw_outbox_file_close(file);
    free_outbox_bench(bench);
}

static void wrong_files_are_named(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_file *file = NULL;
    struct fw_error error = {0};
    FILE *garbage;
    (void)state;

    assert_int_equal(fw_outbox_file_open(&file, bench->path, true, &error), FW_ENOENT);
    garbage = fopen(bench->path, "w");
    assert_non_null(garbage);
    for (int i = 0; i < 3000; i++)
        fputs("no database", garbage);
    fclose(garbage);
    assert_int_equal(fw_outbox_file_open(&file, bench->path, true, &error), FW_EFORMAT);
    assert_non_null(strstr(error.message, bench->path));
    remove(bench->path);
    tell_database(bench->path, "CREATE TABLE mine(x)");
    assert_int_equal(fw_outbox_file_open(&file, bench->path, true, &error), FW_EFORMAT);
    remove(bench->path);
    open_outbox(bench);
    close_outbox(bench);
    tell_database(bench->path, "PRAGMA user_version = 9");
    assert_int_equal(fw_outbox_file_open(&file, bench->path, true, &error), FW_ENOTSUP);
    assert_null(file);
    free_outbox_bench(bench);
}

int run_outbox_file_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_in_either_order_with_their_state),
        cmocka_unit_test(dead_letters_wait_again_and_the_daemon_notices),
        cmocka_unit_test(dead_letters_of_another_delivery_go_to_the_sinks_of_today),
        cmocka_unit_test(what_is_purged_is_gone_save_open_tracks),
        cmocka_unit_test(wrong_files_are_named),
    };

    return cmocka_run_group_tests_name("outbox file", tests, NULL, NULL);
}
