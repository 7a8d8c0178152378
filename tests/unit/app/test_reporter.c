// From face reports to events and pictures. The store is the test's own, so that it can fail, hang
// and be looked into.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "app/reporter.h"
#include "media/frame.h"
#include "storage/store.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/text.h"
#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PUTS = 128, MAX_EVENTS = 128, WAIT_MS = 20000 };

// --- the store ---

struct put {
    char *key;
    uint8_t *data;
    size_t length;
};

struct fw_store {
    pthread_mutex_t lock; // guards `puts` and `put_count`
    struct put puts[MAX_PUTS];
    int put_count;
    int status;             // what every put comes to
    struct fw_cancel *gate; // puts wait for it; NULL: they don't
    bool ignores_cancel;    // as a hanging disk does
};

int fw_store_put(struct fw_store *store, const char *key, const uint8_t *data, size_t length,
                 const char *content_type, struct fw_cancel *cancel, struct fw_error *error)
{
    assert_string_equal(content_type, "image/jpeg");
    while (store->gate && !fw_cancel_wait(store->gate, 5))
        if (fw_cancel_is_set(cancel) && !store->ignores_cancel)
            return fw_fail(error, FW_ECANCELED, "given up");
    if (store->status != FW_OK)
        return fw_fail(error, store->status, "the disk is full; free some space");
    pthread_mutex_lock(&store->lock);
    assert_true(store->put_count < MAX_PUTS);
    struct put *put = &store->puts[store->put_count++];
    put->key = fw_strdup(key);
    put->data = malloc(length);
    put->length = length;
    assert_non_null(put->data);
    memcpy(put->data, data, length);
    pthread_mutex_unlock(&store->lock);
    return FW_OK;
}

void fw_store_sweep(struct fw_store *store)
{
    (void)store;
}

char *fw_store_url(const struct fw_store *store, const char *key)
{
    (void)store;
    return fw_strdup_printf("https://pictures.example/%s", key);
}

// --- the sink ---

struct received {
    pthread_mutex_t lock;
    char *events[MAX_EVENTS];
    int count;
};

static int sink_open(void **state, const struct fw_sink_options *options, struct fw_error *error)
{
    (void)error;
    memcpy(state, &options->path, sizeof(*state)); // the struct received, smuggled in
    return FW_OK;
}

static int sink_deliver(void *state, const struct fw_event *event, struct fw_cancel *cancel,
                        struct fw_error *error)
{
    struct received *received = state;
    (void)cancel;
    (void)error;
    pthread_mutex_lock(&received->lock);
    assert_true(received->count < MAX_EVENTS);
    received->events[received->count++] = fw_strdup(event->json);
    pthread_mutex_unlock(&received->lock);
    return FW_OK;
}

static void sink_close(void *state)
{
    (void)state;
}

static const struct fw_sink_backend memory_sink = {
    .type = "memory", .open = sink_open, .deliver = sink_deliver, .close = sink_close};

// --- everything around a reporter ---

struct bench {
    struct fw_store store;
    struct received received;
    struct fw_dispatcher *dispatcher;
    struct fw_reporter *reporter;
    struct fw_frame *picture;
    struct fw_config config;
    struct fw_camera_config camera;
    struct fw_log log;
    char worker_id[8], camera_id[8];
};

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct fw_sink *sink = NULL;
    struct fw_error error = {0};

    assert_non_null(bench);
    pthread_mutex_init(&bench->store.lock, NULL);
    pthread_mutex_init(&bench->received.lock, NULL);
    strcpy(bench->worker_id, "gate");
    strcpy(bench->camera_id, "door");
    bench->config.worker.id = bench->worker_id;
    bench->camera.id = bench->camera_id;
    const struct fw_sink_options sink_options = {.name = "memory",
                                                 .path = (const char *)&bench->received};
    assert_int_equal(fw_sink_open_backend(&sink, &memory_sink, &sink_options, &error), FW_OK);
    const struct fw_dispatcher_options dispatcher = {.delivery = FW_DELIVERY_ALL,
                                                     .max_events = 1000};
    bench->dispatcher = fw_dispatcher_create(&dispatcher, &sink, 1);
    assert_non_null(bench->dispatcher);
    const struct fw_reporter_options options = {.config = &bench->config,
                                                .store = &bench->store,
                                                .dispatcher = bench->dispatcher,
                                                .log = &bench->log};
    assert_int_equal(fw_reporter_start(&bench->reporter, &options, &error), FW_OK);
    bench->picture = fw_frame_create(FW_PIXEL_I420, 320, 240);
    assert_non_null(bench->picture);
    for (int plane = 0; plane < 3; plane++)
        memset(bench->picture->planes[plane], 128,
               (size_t)bench->picture->strides[plane] *
                   (size_t)fw_frame_row_count(bench->picture, plane));
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;

    if (bench->store.gate)
        fw_cancel_trigger(bench->store.gate);
    assert_int_equal(fw_reporter_destroy(bench->reporter, WAIT_MS), FW_OK);
    assert_int_equal(fw_dispatcher_destroy(bench->dispatcher, WAIT_MS), FW_OK);
    fw_frame_unref(bench->picture);
    fw_cancel_destroy(bench->store.gate);
    for (int i = 0; i < bench->store.put_count; i++) {
        free(bench->store.puts[i].key);
        free(bench->store.puts[i].data);
    }
    for (int i = 0; i < bench->received.count; i++)
        free(bench->received.events[i]);
    pthread_mutex_destroy(&bench->store.lock);
    pthread_mutex_destroy(&bench->received.lock);
    free(bench);
    return 0;
}

static void report(struct bench *bench, enum fw_report_kind kind, uint64_t track,
                   struct fw_frame *picture)
{
    const struct fw_face other = {.box = {200, 100, 40, 50}, .score = 0.8F};
    const uint64_t other_track = 99;
    const struct fw_face_report face_report = {
        .kind = kind,
        .track = track,
        .capture_utc_us = 1767225599123456, // 2025-12-31T23:59:59.123Z
        .first_seen_utc_us = 1767225598923000,
        .last_seen_utc_us = 1767225599123456,
        .reason = kind == FW_REPORT_LEFT ? "lost" : NULL,
        .picture = picture,
        .frame_width = 320,
        .frame_height = 240,
        .face = {.box = {50, 60, 40, 50}, .score = 0.9F},
        .quality = 0.5F,
        .others = &other,
        .other_tracks = &other_track,
        .other_count = 1,
    };
    fw_reporter_face(bench->reporter, &bench->camera, &face_report);
}

// Ends the work and returns event INDEX of COUNT; the caller json_decref()s it.
static json_t *finished_event(struct bench *bench, int index, int count)
{
    assert_int_equal(fw_reporter_finish(bench->reporter, WAIT_MS, NULL), FW_OK);
    assert_true(fw_dispatcher_drain(bench->dispatcher, WAIT_MS));
    assert_int_equal(bench->received.count, count);
    json_t *event = json_loads(bench->received.events[index], JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(event);
    return event;
}

static const char *string_at(json_t *event, const char *outer, const char *inner)
{
    json_t *snapshot = json_object_get(json_object_get(event, "data"), "snapshot");
    json_t *at = outer ? json_object_get(snapshot, outer) : snapshot;
    const char *text = json_string_value(json_object_get(at, inner));
    assert_non_null(text);
    return text;
}

static const struct put *put_of(const struct bench *bench, const char *key)
{
    for (int i = 0; i < bench->store.put_count; i++)
        if (strcmp(bench->store.puts[i].key, key) == 0)
            return &bench->store.puts[i];
    fail_msg("nothing is stored as '%s'", key);
    return NULL;
}

static void assert_stored(const struct bench *bench, json_t *event, const char *kind)
{
    const struct put *put = put_of(bench, string_at(event, kind, "key"));
    const char *wanted = string_at(event, kind, "sha256");
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[65];

    if (!put)
        return; // put_of() has failed the test
    assert_int_equal(EVP_Digest(put->data, put->length, digest, NULL, EVP_sha256(), NULL), 1);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", digest[i]);
    assert_string_equal(hex, wanted);
    assert_memory_equal(put->data, "\xff\xd8\xff", 3);
    assert_true(fw_ends_with(string_at(event, kind, "url"), put->key));
}

static void test_an_event_a_report(void **state)
{
    struct bench *bench = *state;

    report(bench, FW_REPORT_APPEARED, 7, NULL);
    report(bench, FW_REPORT_LEFT, 7, NULL);
    json_t *appeared = finished_event(bench, 0, 2), *left = finished_event(bench, 1, 2);

    assert_string_equal(json_string_value(json_object_get(appeared, "type")),
                        "faceworker.face.appeared");
    assert_string_equal(json_string_value(json_object_get(left, "type")), "faceworker.face.left");
    json_t *data = json_object_get(left, "data");
    assert_string_equal(json_string_value(json_object_get(data, "reason")), "lost");
    assert_int_equal(json_integer_value(json_object_get(data, "track")), 7);
    json_t *faces = json_object_get(data, "faces");
    assert_int_equal(json_array_size(faces), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(faces, 0), "track")), 7);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(faces, 1), "track")), 99);
    assert_true(json_is_null(json_object_get(data, "snapshot")));
    assert_int_equal(bench->store.put_count, 0);
    assert_int_equal(fw_reporter_get_stats(bench->reporter).events, 2);
    json_decref(appeared);
    json_decref(left);
}

static void test_four_pictures_are_stored_and_hashed(void **state)
{
    struct bench *bench = *state;

    report(bench, FW_REPORT_APPEARED, 12, bench->picture);
    json_t *event = finished_event(bench, 0, 1);

    assert_string_equal(string_at(event, NULL, "state"), "stored");
    assert_string_equal(string_at(event, "full", "key"),
                        "door/2025/12/31/235959.123-t12-appeared-full.jpg");
    assert_stored(bench, event, "full");
    assert_stored(bench, event, "full_annotated");
    assert_stored(bench, event, "face");
    assert_stored(bench, event, "face_annotated");
    assert_int_equal(bench->store.put_count, 4);
    assert_int_equal(fw_reporter_get_stats(bench->reporter).snapshots_stored, 1);
    assert_true(fw_frame_is_writable(bench->picture)); // nobody holds it any more
    json_decref(event);
}

static void test_a_store_that_fails_costs_the_pictures_alone(void **state)
{
    struct bench *bench = *state;

    bench->store.status = FW_EFULL;
    report(bench, FW_REPORT_APPEARED, 1, bench->picture);
    json_t *event = finished_event(bench, 0, 1);

    assert_string_equal(string_at(event, NULL, "state"), "failed");
    json_t *snapshot = json_object_get(json_object_get(event, "data"), "snapshot");
    assert_null(json_object_get(snapshot, "full"));
    struct fw_reporter_stats stats = fw_reporter_get_stats(bench->reporter);
    assert_int_equal(stats.snapshots_failed, 1);
    assert_int_equal(stats.snapshots_stored, 0);
    assert_int_equal(stats.lost, 0);
    json_decref(event);
}

static void test_pictures_beyond_the_bound_are_skipped_and_counted(void **state)
{
    struct bench *bench = *state;
    int skipped = 0;

    bench->store.gate = fw_cancel_create();
    assert_non_null(bench->store.gate);
    for (uint64_t track = 1; track <= 20; track++)
        report(bench, FW_REPORT_APPEARED, track, bench->picture);
    assert_int_equal(fw_reporter_get_stats(bench->reporter).snapshots_skipped, 4);
    fw_cancel_trigger(bench->store.gate);
    json_decref(finished_event(bench, 0, 20));

    for (int i = 0; i < 20; i++) {
        json_t *event = finished_event(bench, i, 20);
        skipped += strcmp(string_at(event, NULL, "state"), "failed") == 0;
        json_decref(event);
    }
    assert_int_equal(skipped, 4);
    assert_int_equal(bench->store.put_count, 16 * 4);
    assert_int_equal(fw_reporter_get_stats(bench->reporter).snapshots_stored, 16);
}

static void test_at_the_deadline_events_go_without_their_pictures(void **state)
{
    struct bench *bench = *state;

    bench->store.gate = fw_cancel_create();
    assert_non_null(bench->store.gate);
    for (uint64_t track = 1; track <= 10; track++)
        report(bench, FW_REPORT_LEFT, track, bench->picture);
    int64_t began_us = fw_monotonic_us();
    assert_int_equal(fw_reporter_finish(bench->reporter, 50, NULL), FW_OK);
    assert_true(fw_monotonic_us() - began_us < 5 * FW_US_PER_S);
    for (int i = 0; i < 10; i++) {
        json_t *event = finished_event(bench, i, 10);
        assert_string_equal(string_at(event, NULL, "state"), "failed");
        json_decref(event);
    }
    report(bench, FW_REPORT_LEFT, 11, bench->picture); // too late
    struct fw_reporter_stats stats = fw_reporter_get_stats(bench->reporter);
    assert_int_equal(stats.events, 10);
    assert_int_equal(stats.lost, 1);
}

static void test_hurry_cuts_the_waiting_short(void **state)
{
    struct bench *bench = *state;
    struct fw_cancel *hurry = fw_cancel_create();

    bench->store.gate = fw_cancel_create();
    assert_non_null(hurry);
    assert_non_null(bench->store.gate);
    report(bench, FW_REPORT_LEFT, 1, bench->picture);
    fw_cancel_trigger(hurry);
    int64_t began_us = fw_monotonic_us();
    assert_int_equal(fw_reporter_finish(bench->reporter, WAIT_MS, hurry), FW_OK);
    assert_true(fw_monotonic_us() - began_us < WAIT_MS * FW_US_PER_MS / 2);
    fw_cancel_destroy(hurry);
}

static void test_a_disk_that_hangs_is_left_behind(void **state)
{
    struct bench *bench = *state;

    bench->store.gate = fw_cancel_create();
    bench->store.ignores_cancel = true;
    assert_non_null(bench->store.gate);
    report(bench, FW_REPORT_LEFT, 1, bench->picture);
    assert_int_equal(fw_reporter_destroy(bench->reporter, 10), FW_ETIMEDOUT);
    // It was not freed: tear_down() ends it once the disk is back.
    assert_int_equal(fw_reporter_get_stats(bench->reporter).lost, 0);
}

static void test_the_latest_events_come_newest_first(void **state)
{
    struct bench *bench = *state;

    for (uint64_t track = 1; track <= 3; track++)
        report(bench, FW_REPORT_APPEARED, track, NULL);
    json_decref(finished_event(bench, 0, 3));
    char *text = fw_reporter_events_json(bench->reporter, 2);
    json_t *root = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    json_t *events = json_object_get(root, "events");

    assert_int_equal(json_array_size(events), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *data = json_object_get(json_array_get(events, i), "data");
        assert_int_equal(json_integer_value(json_object_get(data, "track")), 3 - (json_int_t)i);
    }
    json_decref(root);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_an_event_a_report),
        TEST(test_four_pictures_are_stored_and_hashed),
        TEST(test_a_store_that_fails_costs_the_pictures_alone),
        TEST(test_pictures_beyond_the_bound_are_skipped_and_counted),
        TEST(test_at_the_deadline_events_go_without_their_pictures),
        TEST(test_hurry_cuts_the_waiting_short),
        TEST(test_a_disk_that_hangs_is_left_behind),
        TEST(test_the_latest_events_come_newest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
