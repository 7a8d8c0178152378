// The outbox as the dispatcher and the reporter see it; and the program's main.
#include "outbox_tests.h"
#include "util/clock.h"
#include "util/thread.h"
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void what_is_posted_waits_in_its_order_for_every_sink(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 2);
    char posted[5][37], ids[64][37];
    (void)state;

    open_outbox(bench);
    for (int i = 0; i < 5; i++)
        post_quiet(bench, "x", posted[i]);
    flush_outbox(bench);
    for (size_t queue = 0; queue < 2; queue++) {
        assert_int_equal(fetch_ids(bench, queue, FW_OUTBOX_NO_SINK, ids, NULL), 5);
        for (int i = 0; i < 5; i++)
            assert_string_equal(ids[i], posted[i]);
    }
    free_outbox_bench(bench);
}

static void what_waits_is_there_after_a_restart_and_what_ended_is_not(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_FALLBACK, 2);
    struct fw_outbox_stats stats;
    char posted[6][37], ids[64][37];
    int64_t seqs[64];
    (void)state;

    open_outbox(bench);
    for (int i = 0; i < 6; i++)
        post_quiet(bench, "x", posted[i]);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, seqs), 6);
    mark_record(bench, seqs[0], 0, 0, FW_OUTCOME_DELIVERED);
    mark_record(bench, seqs[2], 0, 0, FW_OUTCOME_REJECTED);
    mark_record(bench, seqs[3], 0, 0, FW_OUTCOME_REJECTED);
    mark_record(bench, seqs[3], 0, 1, FW_OUTCOME_DEAD);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.waiting, 4); // known before its commit
    close_outbox(bench);

    open_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.waiting, 4);
    assert_int_equal(stats.dead, 1);
    assert_true(stats.oldest_waiting_utc_us > 0);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL), 4);
    assert_string_equal(ids[0], posted[1]);
    assert_string_equal(ids[1], posted[2]);
    assert_string_equal(ids[2], posted[4]);
    assert_int_equal(fetch_ids(bench, 0, 0, ids, NULL), 3); // the first has rejected one
    assert_string_equal(ids[1], posted[4]);
    free_outbox_bench(bench);
}

static void the_rejections_of_a_record_come_with_it(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_FALLBACK, 3);
    struct fw_outbox_ask ask = {.skip_sink = FW_OUTBOX_NO_SINK, .max = 8};
    struct fw_outbox_record records[8];
    size_t count;
    bool is_all;
    int64_t seqs[64];
    (void)state;

    open_outbox(bench);
    post_quiet(bench, "x", NULL);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 1);
    mark_record(bench, seqs[0], 0, 0, FW_OUTCOME_REJECTED);
    mark_record(bench, seqs[0], 0, 2, FW_OUTCOME_REJECTED);
    flush_outbox(bench);
    assert_int_equal(fw_outbox_fetch(bench->outbox, &ask, records, &count, &is_all, NULL), FW_OK);
    assert_int_equal(count, 1);
    assert_true(is_all);
    assert_int_equal(records[0].rejected_by, 5);
    fw_event_unref(records[0].event);
    free_outbox_bench(bench);
}

static void an_event_posted_twice_is_one(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_event *event = event_of("x", 1);
    struct fw_outbox_stats stats;
    (void)state;

    open_outbox(bench);
    assert_int_equal(fw_outbox_post(bench->outbox, event), FW_OK);
    assert_int_equal(fw_outbox_post(bench->outbox, event), FW_OK);
    fw_event_unref(event);
    flush_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.waiting, 1);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, NULL), 1);
    free_outbox_bench(bench);
}

// Sinks that come, go, and share the work differently

static void records_move_when_the_delivery_changes(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_FALLBACK, 3);
    struct fw_outbox_stats stats;
    char ids[64][37];
    int64_t seqs[64];
    (void)state;

    open_outbox(bench);
    for (int i = 0; i < 3; i++)
        post_quiet(bench, "x", NULL);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 3);
    mark_record(bench, seqs[1], 0, 0, FW_OUTCOME_REJECTED);
    close_outbox(bench);

    bench->options.delivery = FW_DELIVERY_ALL;
    open_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, NULL), 2); // it rejected one
    assert_int_equal(fetch_ids(bench, 1, FW_OUTBOX_NO_SINK, NULL, NULL), 3);
    assert_int_equal(fetch_ids(bench, 2, FW_OUTBOX_NO_SINK, NULL, seqs), 3);
    mark_record(bench, seqs[0], 2, 2, FW_OUTCOME_DELIVERED);
    close_outbox(bench);

    bench->options.delivery = FW_DELIVERY_FALLBACK;
    open_outbox(bench);
    // One sink has the first event: enough for all of them.
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, seqs), 2);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.waiting, 2);
    assert_int_equal(stats.expired, 0);
    free_outbox_bench(bench);
}

static void what_waits_for_a_sink_that_is_gone_expires(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 3);
    struct fw_outbox_stats stats;
    (void)state;

    open_outbox(bench);
    post_quiet(bench, "x", NULL);
    close_outbox(bench);
    bench->names[1] = "another";
    bench->options.sink_count = 2; // "third" is gone, too
    open_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.expired, 2);
    assert_int_equal(stats.waiting, 1);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, NULL), 1);
    assert_int_equal(fetch_ids(bench, 1, FW_OUTBOX_NO_SINK, NULL, NULL), 0);
    free_outbox_bench(bench);
}

static void a_record_that_the_sinks_of_today_have_rejected_is_dead(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_FALLBACK, 2);
    struct fw_outbox_stats stats;
    int64_t seqs[64];
    (void)state;

    open_outbox(bench);
    post_quiet(bench, "x", NULL);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 1);
    mark_record(bench, seqs[0], 0, 0, FW_OUTCOME_REJECTED);
    close_outbox(bench);
    bench->options.sink_count = 1; // the one that would have taken it is gone
    open_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.dead, 1);
    free_outbox_bench(bench);
}

static void without_sinks_what_waits_is_kept(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 2);
    (void)state;

    open_outbox(bench);
    post_quiet(bench, "x", NULL);
    close_outbox(bench);
    bench->options.sink_count = 0;
    open_outbox(bench);
    post_quiet(bench, "x", NULL); // history only
    close_outbox(bench);
    bench->options.sink_count = 2;
    open_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, NULL), 1);
    assert_int_equal(fetch_ids(bench, 1, FW_OUTBOX_NO_SINK, NULL, NULL), 1);
    free_outbox_bench(bench);
}

// Tracks

static void tracks_left_open_get_their_left_at_the_next_start(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_event *ended = event_of("y", 2), *left;
    struct fw_event_input input = left_input_of(ended);
    struct fw_error error = {0};
    char opened[37], ids[64][37];
    char *history;
    (void)state;

    open_outbox(bench);
    post_to(bench, "x", opened);
    assert_int_equal(fw_outbox_post(bench->outbox, ended), FW_OK);
    left = fw_event_create(&input);
    assert_non_null(left);
    assert_int_equal(fw_outbox_post(bench->outbox, left), FW_OK);
    fw_event_unref(left);
    fw_event_unref(ended);
    close_outbox(bench);

    for (int i = 0; i < 2; i++) { // once only
        open_outbox(bench);
        assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL), 4);
        if (i == 0)
            close_outbox(bench);
    }
    history = fw_outbox_history(bench->outbox,
                                &(struct fw_outbox_query){.limit = 10, .camera_id = "x"}, &error);
    assert_non_null(history);
    assert_non_null(strstr(history, "\"reason\":\"worker_restarted\""));
    assert_non_null(strstr(history, opened));
    free(history);
    free_outbox_bench(bench);
}

// Bounds

static void old_events_go(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    char ids[64][37], young[37];
    int64_t seqs[64];
    (void)state;

    open_outbox(bench);
    for (int i = 0; i < 4; i++)
        post_quiet(bench, "x", NULL);
    post_quiet(bench, "x", young);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 5);
    mark_record(bench, seqs[0], 0, 0, FW_OUTCOME_DELIVERED);
    close_outbox(bench);
    tell_database(bench->path, "UPDATE event SET posted_us = posted_us - 100000000 WHERE seq <= 3");
    bench->options.max_age_us = 50 * FW_US_PER_S;
    open_outbox(bench);
    for (int i = 0; i < 100; i++) {
        fw_outbox_get_stats(bench->outbox, &stats);
        if (stats.expired > 0)
            break;
        nap_ms(50);
    }
    assert_int_equal(stats.expired, 2); // the first was delivered: no loss
    assert_int_equal(stats.waiting, 2);
    assert_int_equal(fw_outbox_expired_through(bench->outbox), 3);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL), 2);
    assert_string_equal(ids[1], young);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM event"), 2);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM body"), 2);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM record"), 2);
    assert_int_equal(ask_database(bench->path, "SELECT value FROM total WHERE name = 'expired'"),
                     2);
    free_outbox_bench(bench);
}

// A clock that is set forward by years must not throw away what has just come.
static void what_this_process_posted_does_not_age_by_the_clock(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    (void)state;

    bench->options.max_age_us = 50 * FW_US_PER_S;
    open_outbox(bench);
    post_quiet(bench, "x", NULL);
    flush_outbox(bench);
    tell_database(bench->path, "UPDATE event SET posted_us = 0");
    nap_ms(2500); // two rounds of upkeep
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.expired, 0);
    assert_int_equal(stats.waiting, 1);
    free_outbox_bench(bench);
}

static void above_its_size_delivered_events_go_first_then_the_oldest(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    int64_t seqs[64], first_waiting;
    char last[37] = "", ids[64][37];
    (void)state;

    bench->options.max_bytes = 400000;
    bench->options.max_ring_events = 10000;
    open_outbox(bench);
    for (int i = 0; i < 64; i++)
        post_quiet(bench, "x", NULL);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 64);
    for (int i = 32; i < 64; i++) // the younger half
        mark_record(bench, seqs[i], 0, 0, FW_OUTCOME_DELIVERED);
    flush_outbox(bench);
    for (int i = 0; i < 3000; i++)
        post_quiet(bench, "x", last);
    flush_outbox(bench);
    for (int i = 0; i < 100; i++) {
        fw_outbox_get_stats(bench->outbox, &stats);
        if (stats.bytes <= bench->options.max_bytes)
            break;
        nap_ms(50);
    }
    assert_true(stats.bytes <= bench->options.max_bytes);
    assert_true(stats.expired > 0);
    assert_int_equal(stats.waiting + stats.expired, 3032);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM event WHERE waiting = 0"), 0);
    first_waiting = ask_database(bench->path, "SELECT min(seq) FROM event");
    assert_int_equal(fw_outbox_expired_through(bench->outbox), first_waiting - 1);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM record"),
                     ask_database(bench->path, "SELECT count(*) FROM event"));
    assert_true(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL) > 0);
    print_message("%lld bytes, %llu wait, %llu expired\n", (long long)stats.bytes,
                  (unsigned long long)stats.waiting, (unsigned long long)stats.expired);
    free_outbox_bench(bench);
}

static void the_event_of_an_open_track_outlives_the_bounds(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox_stats stats;
    char opened[37];
    (void)state;

    bench->options.max_bytes = 300000;
    open_outbox(bench);
    post_to(bench, "x", opened);
    for (int i = 0; i < 2000; i++) {
        post_quiet(bench, "x", NULL);
        if (i % 500 == 499)
            flush_outbox(bench);
    }
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_true(stats.expired > 0);
    assert_int_equal(ask_database(bench->path, "SELECT min(seq) FROM event"), 1);
    assert_int_equal(ask_database(bench->path, "SELECT waiting FROM event WHERE seq = 1"), 0);
    close_outbox(bench);
    open_outbox(bench);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM event WHERE type LIKE "
                                               "'%face.left'"),
                     1);
    free_outbox_bench(bench);
}

// History

static json_t *history_of(struct outbox_bench *bench, const struct fw_outbox_query *query)
{
    struct fw_error error = {0};
    char *text = fw_outbox_history(bench->outbox, query, &error);
    json_t *root;

    if (text == NULL)
        fail_msg("%s", error.message);
    root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

static const char *id_at(const json_t *root, size_t index)
{
    const json_t *event = json_array_get(json_object_get(root, "events"), index);

    return json_string_value(json_object_get(event, "id"));
}

static size_t count_history(struct outbox_bench *bench, struct fw_outbox_query query)
{
    json_t *root;
    size_t count;

    query.limit = 1000;
    root = history_of(bench, &query);
    count = json_array_size(json_object_get(root, "events"));
    json_decref(root);
    return count;
}

static void the_history_is_filtered_and_paged(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 2);
    char posted[10][37];
    int64_t seqs[64], now_us = fw_utc_us();
    json_t *root, *next;
    char before[37];
    (void)state;

    open_outbox(bench);
    for (int i = 0; i < 10; i++)
        post_quiet(bench, i % 2 == 0 ? "even" : "odd", posted[i]);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 10);
    for (size_t queue = 0; queue < 2; queue++)
        mark_record(bench, seqs[0], queue, queue, FW_OUTCOME_DELIVERED);
    mark_record(bench, seqs[1], 1, 1, FW_OUTCOME_DEAD);
    flush_outbox(bench);

    root = history_of(bench, &(struct fw_outbox_query){.limit = 4});
    next = json_object_get(root, "next");
    assert_string_equal(id_at(root, 0), posted[9]);
    assert_string_equal(id_at(root, 3), posted[6]);
    assert_string_equal(json_string_value(next), posted[6]);
    strcpy(before, json_string_value(next));
    json_decref(root);
    root = history_of(bench, &(struct fw_outbox_query){.limit = 100, .before_id = before});
    assert_int_equal(json_array_size(json_object_get(root, "events")), 6);
    assert_string_equal(id_at(root, 0), posted[5]);
    assert_true(json_is_null(json_object_get(root, "next")));
    json_decref(root);

    assert_int_equal(count_history(bench, (struct fw_outbox_query){.camera_id = "odd"}), 5);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.type = "no.such"}), 0);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.type = FW_EVENT_CAMERA_ONLINE}),
                     10);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.type = "camera.online"}), 10);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.without_type = "online"}), 10);
    assert_int_equal(
        count_history(bench, (struct fw_outbox_query){.without_type = "camera.online"}), 0);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.state = "waiting"}), 9);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.state = "delivered"}), 1);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.state = "dead"}), 1);
    assert_int_equal(
        count_history(bench, (struct fw_outbox_query){.state = "dead", .sink = "first"}), 0);
    assert_int_equal(
        count_history(bench, (struct fw_outbox_query){.state = "dead", .sink = "second"}), 1);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.since_utc_us = now_us}), 10);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.until_utc_us = now_us}), 0);
    assert_int_equal(count_history(bench, (struct fw_outbox_query){.before_id = "of long ago"}), 0);
    free_outbox_bench(bench);
}

static void the_history_says_what_became_of_an_event(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_FALLBACK, 2);
    struct fw_error error = {0};
    int64_t seqs[64];
    const char *sink = NULL, *reason = NULL, *word = NULL, *rejected = NULL;
    json_t *root;
    (void)state;

    open_outbox(bench);
    post_quiet(bench, "x", NULL);
    flush_outbox(bench);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, NULL, seqs), 1);
    mark_record(bench, seqs[0], 0, 0, FW_OUTCOME_REJECTED);
    mark_record(bench, seqs[0], 0, 1, FW_OUTCOME_DELIVERED);
    flush_outbox(bench);
    root = history_of(bench, &(struct fw_outbox_query){.limit = 1});
    assert_int_equal(json_unpack(root, "{s:[{s:s, s:{s:s, s:[{s:s}], s:[{s:s, s:s}]}}]}", "events",
                                 "specversion", &word, "delivery", "state", &word, "records",
                                 "sink", &sink, "rejections", "sink", &rejected, "reason", &reason),
                     0);
    assert_string_equal(word, "delivered");
    assert_string_equal(sink, "second");
    assert_string_equal(rejected, "first");
    assert_string_equal(reason, "because");
    json_decref(root);
    assert_null(fw_outbox_history(bench->outbox, &(struct fw_outbox_query){.limit = 0}, &error));
    assert_null(fw_outbox_history(bench->outbox,
                                  &(struct fw_outbox_query){.limit = 5, .state = "lost"}, &error));
    assert_non_null(strstr(error.message, "'lost'"));
    free_outbox_bench(bench);
}

// Opening

static void two_cannot_use_one_outbox(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_outbox *second = NULL;
    struct fw_error error = {0};
    char number[24];
    int status;
    pid_t child;
    (void)state;

    open_outbox(bench);
    assert_int_equal(fw_outbox_open(&second, &bench->options, &error), FW_EIO);
    assert_null(second);
    snprintf(number, sizeof(number), "process %ld", (long)getpid());
    assert_non_null(strstr(error.message, number));
    assert_non_null(strstr(error.message, "worker.state_dir"));
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(fw_outbox_open(&second, &bench->options, NULL) == FW_EIO ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    free_outbox_bench(bench);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    struct fw_error error = {0};
    (void)state;

    bench->options.path = "/nonexistent/folder/outbox.db";
    assert_int_equal(fw_outbox_open(&bench->outbox, &bench->options, &error), FW_EIO);
    assert_null(bench->outbox);
    assert_non_null(strstr(error.message, "/nonexistent/folder/outbox.db"));
    bench->options.path = bench->path;
    bench->options.sink_count = 17;
    assert_int_equal(fw_outbox_open(&bench->outbox, &bench->options, &error), FW_EINVAL);
    free_outbox_bench(bench);
}

static void others_may_not_read_it(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 1);
    char command[160];
    (void)state;

    open_outbox(bench);
    snprintf(command, sizeof(command), "test -z \"$(find %s -type f -perm /007)\"", bench->folder);
    assert_int_equal(system(command), 0);
    free_outbox_bench(bench);
}

// The version before `total` was there.
static const char first_version[] =
    "PRAGMA application_id = 1180127042; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;"
    "CREATE TABLE event(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,"
    " camera TEXT NOT NULL, time_us INTEGER NOT NULL, posted_us INTEGER NOT NULL,"
    " waiting INTEGER NOT NULL, dead INTEGER NOT NULL);"
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
    "CREATE INDEX event_dead ON event(seq) WHERE dead > 0;"
    "INSERT INTO sink VALUES(5, 'first');"
    "INSERT INTO event VALUES(41, '01a20664-3213-767a-a6e4-2e23da1cf738',"
    " 'faceworker.camera.online', 'x', 1767225599123456, 1767225599123456, 1, 0);"
    "INSERT INTO record VALUES(41, 0, 0, NULL, NULL);";

static void a_file_of_an_older_version_is_brought_up_to_date(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_FALLBACK, 2);
    char ids[64][37], sql[2048];
    struct fw_event_state_input input = {.type = FW_EVENT_CAMERA_ONLINE,
                                         .camera = {.worker_id = "w", .camera_id = "x"},
                                         .time_utc_us = fw_utc_us(),
                                         .reason = ""};
    struct fw_event *event = fw_event_create_state(&input);
    struct fw_outbox_stats stats;
    (void)state;

    assert_non_null(event);
    tell_database(bench->path, first_version);
    snprintf(sql, sizeof(sql), "INSERT INTO body VALUES(41, '%s')", event->json);
    tell_database(bench->path, sql);
    open_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(stats.damaged, 0);
    assert_int_equal(ask_database(bench->path, "PRAGMA user_version"), 2);
    assert_int_equal(ask_database(bench->path, "SELECT count(*) FROM total"), 0);
    assert_int_equal(fetch_ids(bench, 0, FW_OUTBOX_NO_SINK, ids, NULL), 1);
    assert_string_equal(ids[0], event->id);
    post_quiet(bench, "x", NULL);
    flush_outbox(bench);
    assert_int_equal(ask_database(bench->path, "SELECT max(seq) FROM event"), 42);
    fw_event_unref(event);
    free_outbox_bench(bench);
}

// Threads

struct poster {
    struct outbox_bench *bench;
    atomic_int *failed;
};

static void post_many(void *opaque)
{
    struct poster *poster = opaque;

    for (int i = 0; i < 500; i++) {
        struct fw_event *event = event_of("x", 1);
        if (fw_outbox_post(poster->bench->outbox, event) != FW_OK)
            atomic_fetch_add(poster->failed, 1);
        fw_event_unref(event);
        if (i % 100 == 0 && fw_outbox_flush(poster->bench->outbox, 20000) != FW_OK)
            atomic_fetch_add(poster->failed, 1);
    }
}

static void many_threads_post_and_commits_are_grouped(void **state)
{
    struct outbox_bench *bench = new_outbox_bench(FW_DELIVERY_ALL, 2);
    struct poster poster = {.bench = bench};
    struct fw_thread *threads[4];
    struct fw_outbox_stats stats;
    atomic_int failed;
    (void)state;

    atomic_init(&failed, 0);
    poster.failed = &failed;
    bench->options.max_ring_events = 10000;
    open_outbox(bench);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fw_thread_start(&threads[i], "poster", NULL, post_many, &poster), FW_OK);
    for (int i = 0; i < 200; i++) // at the same time
        (void)fetch_ids(bench, 1, FW_OUTBOX_NO_SINK, NULL, NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fw_thread_join(threads[i], -1), FW_OK);
    flush_outbox(bench);
    fw_outbox_get_stats(bench->outbox, &stats);
    assert_int_equal(atomic_load(&failed), 0);
    assert_int_equal(stats.committed, 2000);
    assert_int_equal(stats.waiting, 4000);
    assert_true(stats.commits < 1000);
    print_message("2000 events in %llu commits\n", (unsigned long long)stats.commits);
    free_outbox_bench(bench);
}

static void none_is_fine(void **state)
{
    (void)state;
    assert_int_equal(fw_outbox_close(NULL, 0), FW_OK);
    fw_outbox_file_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_posted_waits_in_its_order_for_every_sink),
        cmocka_unit_test(what_waits_is_there_after_a_restart_and_what_ended_is_not),
        cmocka_unit_test(the_rejections_of_a_record_come_with_it),
        cmocka_unit_test(an_event_posted_twice_is_one),
        cmocka_unit_test(records_move_when_the_delivery_changes),
        cmocka_unit_test(what_waits_for_a_sink_that_is_gone_expires),
        cmocka_unit_test(a_record_that_the_sinks_of_today_have_rejected_is_dead),
        cmocka_unit_test(without_sinks_what_waits_is_kept),
        cmocka_unit_test(tracks_left_open_get_their_left_at_the_next_start),
        cmocka_unit_test(old_events_go),
        cmocka_unit_test(what_this_process_posted_does_not_age_by_the_clock),
        cmocka_unit_test(above_its_size_delivered_events_go_first_then_the_oldest),
        cmocka_unit_test(the_event_of_an_open_track_outlives_the_bounds),
        cmocka_unit_test(the_history_is_filtered_and_paged),
        cmocka_unit_test(the_history_says_what_became_of_an_event),
        cmocka_unit_test(two_cannot_use_one_outbox),
        cmocka_unit_test(a_folder_that_is_not_there_is_an_error),
        cmocka_unit_test(others_may_not_read_it),
        cmocka_unit_test(a_file_of_an_older_version_is_brought_up_to_date),
        cmocka_unit_test(many_threads_post_and_commits_are_grouped),
        cmocka_unit_test(none_is_fine),
    };
    int failed = cmocka_run_group_tests_name("outbox", tests, NULL, NULL);

    failed += run_outbox_file_tests();
    failed += run_outbox_damage_tests();
    failed += run_outbox_disk_tests();
    return failed;
}
