// From reports of cameras to posted events and pictures. Spool and outbox are the test's own, so
// that they can fail, hang and be looked into.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "app/reporter.h"
#include "media/frame.h"
#include "storage/spool.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/text.h"
#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PUTS = 128, MAX_EVENTS = 128, WAIT_MS = 20000 };

// --- the spool ---

struct put {
    char *key;
    uint8_t *data;
    size_t length;
};

struct fw_spool {
    pthread_mutex_t lock; // guards `puts` and `put_count`
    struct put puts[MAX_PUTS];
    int put_count;
    int status;             // what every put comes to
    struct fw_cancel *gate; // puts wait for it, as on a disk that hangs; NULL: they don't
    int64_t delay_ms;       // of each put
    enum fw_spool_state state;
};

int fw_spool_put(struct fw_spool *spool, const char *key, const uint8_t *data, size_t length,
                 struct fw_error *error)
{
    if (spool->gate)
        fw_cancel_wait(spool->gate, -1);
    if (spool->delay_ms > 0) {
        struct fw_cancel *never = fw_cancel_create();
        fw_cancel_wait(never, spool->delay_ms);
        fw_cancel_destroy(never);
    }
    if (spool->status != FW_OK)
        return fw_fail(error, spool->status, "the disk is full; free some space");
    pthread_mutex_lock(&spool->lock);
    assert_true(spool->put_count < MAX_PUTS);
    struct put *put = &spool->puts[spool->put_count++];
    put->key = fw_strdup(key);
    put->data = malloc(length);
    put->length = length;
    assert_non_null(put->data);
    memcpy(put->data, data, length);
    pthread_mutex_unlock(&spool->lock);
    return FW_OK;
}

void fw_spool_sweep(struct fw_spool *spool)
{
    (void)spool;
}

enum fw_spool_state fw_spool_state(struct fw_spool *spool, const char *key)
{
    (void)key;
    return spool->state;
}

char *fw_spool_plain_url(struct fw_spool *spool, const char *key)
{
    (void)spool;
    return fw_strdup_printf("https://pictures.example/%s", key);
}

// --- the outbox ---

struct fw_outbox {
    pthread_mutex_t lock;
    struct fw_event *events[MAX_EVENTS];
    int count;
};

int fw_outbox_post(struct fw_outbox *outbox, struct fw_event *event)
{
    pthread_mutex_lock(&outbox->lock);
    assert_true(outbox->count < MAX_EVENTS);
    outbox->events[outbox->count++] = fw_event_ref(event);
    pthread_mutex_unlock(&outbox->lock);
    return FW_OK;
}

void fw_outbox_get_stats(struct fw_outbox *outbox, struct fw_outbox_stats *stats)
{
    (void)outbox;
    *stats = (struct fw_outbox_stats){.waiting = 5};
}

// --- everything around a reporter ---

struct bench {
    struct fw_spool spool;
    struct fw_outbox outbox;
    struct fw_reporter *reporter;
    struct fw_frame *picture;
    struct fw_config config;
    struct fw_camera_config camera;
    struct fw_zone_config zone;
    struct fw_log log;
    char worker_id[8], camera_id[8], zone_name[8];
};

static void start(struct bench *bench)
{
    const struct fw_reporter_options options = {.config = &bench->config,
                                                .spool = &bench->spool,
                                                .outbox = &bench->outbox,
                                                .log = &bench->log};
    struct fw_error error = {0};
    assert_int_equal(fw_reporter_start(&bench->reporter, &options, &error), FW_OK);
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));

    assert_non_null(bench);
    pthread_mutex_init(&bench->spool.lock, NULL);
    pthread_mutex_init(&bench->outbox.lock, NULL);
    strcpy(bench->worker_id, "gate");
    strcpy(bench->camera_id, "door");
    strcpy(bench->zone_name, "mat");
    bench->config.worker.id = bench->worker_id;
    bench->config.worker.heartbeat_s = 3600;
    bench->config.cameras = &bench->camera;
    bench->config.camera_count = 1;
    bench->camera.id = bench->camera_id;
    bench->camera.enabled = true;
    bench->camera.zones = &bench->zone;
    bench->camera.zone_count = 1;
    bench->zone = (struct fw_zone_config){.name = bench->zone_name, .cooldown_s = -1};
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

    if (bench->spool.gate)
        fw_cancel_trigger(bench->spool.gate);
    assert_int_equal(fw_reporter_destroy(bench->reporter, WAIT_MS), FW_OK);
    fw_frame_unref(bench->picture);
    fw_cancel_destroy(bench->spool.gate);
    for (int i = 0; i < bench->spool.put_count; i++) {
        free(bench->spool.puts[i].key);
        free(bench->spool.puts[i].data);
    }
    for (int i = 0; i < bench->outbox.count; i++)
        fw_event_unref(bench->outbox.events[i]);
    pthread_mutex_destroy(&bench->spool.lock);
    pthread_mutex_destroy(&bench->outbox.lock);
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
        .zone = -1,
        .first_box = {50, 60, 40, 50},
        .last_box = {55, 60, 40, 50},
        .still_us = 200000,
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

// Ends the work and returns event INDEX of COUNT, `worker.started` (which comes first) not counted;
// the caller json_decref()s it.
static json_t *finished_event(struct bench *bench, int index, int count)
{
    assert_int_equal(fw_reporter_finish(bench->reporter, WAIT_MS, NULL), FW_OK);
    assert_int_equal(bench->outbox.count, count + 1);
    assert_string_equal(bench->outbox.events[0]->type, FW_EVENT_WORKER_STARTED);
    json_t *event = json_loads(bench->outbox.events[index + 1]->json, JSON_REJECT_DUPLICATES, NULL);
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
    for (int i = 0; i < bench->spool.put_count; i++)
        if (strcmp(bench->spool.puts[i].key, key) == 0)
            return &bench->spool.puts[i];
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

    start(bench);
    report(bench, FW_REPORT_APPEARED, 7, NULL);
    report(bench, FW_REPORT_LEFT, 7, NULL);
    json_t *appeared = finished_event(bench, 0, 2), *left = finished_event(bench, 1, 2);

    // Consumers pair them.
    assert_string_equal(bench->outbox.events[2]->appeared_id, bench->outbox.events[1]->id);
    assert_string_equal(bench->outbox.events[1]->appeared_id, bench->outbox.events[1]->id);
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
    assert_int_equal(bench->spool.put_count, 0);
    assert_int_equal(fw_reporter_get_stats(bench->reporter).events, 3);
    json_decref(appeared);
    json_decref(left);
}

static void test_four_pictures_are_stored_and_hashed(void **state)
{
    struct bench *bench = *state;

    start(bench);
    report(bench, FW_REPORT_APPEARED, 12, bench->picture);
    json_t *event = finished_event(bench, 0, 1);

    assert_string_equal(string_at(event, NULL, "state"), "stored");
    assert_string_equal(string_at(event, "full", "key"),
                        "door/2025/12/31/235959.123-t12-appeared-full.jpg");
    assert_stored(bench, event, "full");
    assert_stored(bench, event, "full_annotated");
    assert_stored(bench, event, "face");
    assert_stored(bench, event, "face_annotated");
    assert_int_equal(bench->spool.put_count, 4);
    assert_int_equal(fw_reporter_get_stats(bench->reporter).snapshots_made, 1);
    assert_true(fw_frame_is_writable(bench->picture)); // nobody holds it any more
    json_decref(event);
}

static void test_a_store_that_fails_costs_the_pictures_alone(void **state)
{
    struct bench *bench = *state;

    bench->spool.status = FW_EFULL;
    start(bench);
    report(bench, FW_REPORT_APPEARED, 1, bench->picture);
    json_t *event = finished_event(bench, 0, 1);

    assert_string_equal(string_at(event, NULL, "state"), "failed");
    json_t *snapshot = json_object_get(json_object_get(event, "data"), "snapshot");
    assert_null(json_object_get(snapshot, "full"));
    struct fw_reporter_stats stats = fw_reporter_get_stats(bench->reporter);
    assert_int_equal(stats.snapshots_failed, 1);
    assert_int_equal(stats.snapshots_made, 0);
    assert_int_equal(stats.lost, 0);
    json_decref(event);
}

static void test_pictures_beyond_the_bound_are_skipped_and_counted(void **state)
{
    struct bench *bench = *state;
    int skipped = 0;

    bench->spool.gate = fw_cancel_create();
    assert_non_null(bench->spool.gate);
    start(bench);
    for (uint64_t track = 1; track <= 20; track++)
        report(bench, FW_REPORT_APPEARED, track, bench->picture);
    assert_int_equal(fw_reporter_get_stats(bench->reporter).snapshots_skipped, 4);
    fw_cancel_trigger(bench->spool.gate);
    json_decref(finished_event(bench, 0, 20));

    for (int i = 0; i < 20; i++) {
        json_t *event = finished_event(bench, i, 20);
        skipped += strcmp(string_at(event, NULL, "state"), "failed") == 0;
        json_decref(event);
    }
    assert_int_equal(skipped, 4);
    assert_int_equal(bench->spool.put_count, 16 * 4);
    assert_int_equal(fw_reporter_get_stats(bench->reporter).snapshots_made, 16);
}

static void test_at_the_deadline_events_go_without_their_pictures(void **state)
{
    struct bench *bench = *state;

    bench->spool.delay_ms = 20;
    start(bench);
    for (uint64_t track = 1; track <= 10; track++)
        report(bench, FW_REPORT_APPEARED, track, bench->picture);
    assert_int_equal(fw_reporter_finish(bench->reporter, 10, NULL), FW_OK);
    json_t *last = finished_event(bench, 9, 10);
    assert_string_equal(string_at(last, NULL, "state"), "failed");
    json_decref(last);
    report(bench, FW_REPORT_APPEARED, 11, bench->picture); // too late
    struct fw_reporter_stats stats = fw_reporter_get_stats(bench->reporter);
    assert_int_equal(stats.events, 11);
    assert_int_equal(stats.lost, 1);
    assert_true(stats.snapshots_skipped >= 8);
}

static void test_hurry_cuts_the_waiting_short(void **state)
{
    struct bench *bench = *state;
    struct fw_cancel *hurry = fw_cancel_create();

    assert_non_null(hurry);
    bench->spool.delay_ms = 100;
    start(bench);
    for (uint64_t track = 1; track <= 16; track++) // 6 s of puts
        report(bench, FW_REPORT_APPEARED, track, bench->picture);
    fw_cancel_trigger(hurry);
    int64_t began_us = fw_monotonic_us();
    (void)fw_reporter_finish(bench->reporter, WAIT_MS, hurry);
    assert_true(fw_monotonic_us() - began_us < 3 * FW_US_PER_S);
    fw_cancel_destroy(hurry);
}

static void test_a_disk_that_hangs_is_left_behind(void **state)
{
    struct bench *bench = *state;

    bench->spool.gate = fw_cancel_create();
    assert_non_null(bench->spool.gate);
    start(bench);
    report(bench, FW_REPORT_APPEARED, 1, bench->picture);
    assert_int_equal(fw_reporter_destroy(bench->reporter, 10), FW_ETIMEDOUT);
    // It was not freed: tear_down() ends it once the disk is back.
    assert_int_equal(fw_reporter_get_stats(bench->reporter).lost, 0);
}

// Who comes is refused when too much waits; who was told to come is told to leave all the same.
static void test_faces_leave_however_much_waits(void **state)
{
    struct bench *bench = *state;

    bench->camera.alerts.cooldown_s = 3600;
    bench->camera.alerts.camera_events = true;
    bench->spool.gate = fw_cancel_create();
    assert_non_null(bench->spool.gate);
    start(bench);
    report(bench, FW_REPORT_APPEARED, 1, bench->picture);
    for (uint64_t track = 2; track <= 5000; track++)
        report(bench, FW_REPORT_APPEARED, track, NULL);
    assert_true(fw_reporter_get_stats(bench->reporter).lost > 0);
    report(bench, FW_REPORT_LEFT, 1, NULL);
    fw_reporter_camera(bench->reporter, &bench->camera, FW_CAMERA_BACKOFF, "gone", 1);
    fw_cancel_trigger(bench->spool.gate);
    json_t *left = finished_event(bench, 2, 3);
    assert_string_equal(bench->outbox.events[2]->type, FW_EVENT_FACE_LEFT);
    assert_string_equal(bench->outbox.events[3]->type, FW_EVENT_CAMERA_OFFLINE);
    json_decref(left);
}

static void test_pictures_on_their_way_are_said_to_be(void **state)
{
    struct bench *bench = *state;

    bench->spool.state = FW_SPOOL_PENDING;
    start(bench);
    report(bench, FW_REPORT_APPEARED, 1, bench->picture);
    json_t *event = finished_event(bench, 0, 1);
    assert_string_equal(string_at(event, NULL, "state"), "pending");
    json_decref(event);
}

static void test_what_is_suppressed_neither_appears_nor_leaves(void **state)
{
    struct bench *bench = *state;

    bench->camera.alerts.cooldown_s = 60;
    start(bench);
    report(bench, FW_REPORT_APPEARED, 1, bench->picture);
    report(bench, FW_REPORT_APPEARED, 2, bench->picture);
    report(bench, FW_REPORT_LEFT, 2, bench->picture);
    report(bench, FW_REPORT_LEFT, 1, bench->picture);
    report(bench, FW_REPORT_LEFT, 1, bench->picture); // once is enough
    json_decref(finished_event(bench, 1, 2));
    assert_string_equal(bench->outbox.events[1]->type, FW_EVENT_FACE_APPEARED);
    assert_string_equal(bench->outbox.events[2]->type, FW_EVENT_FACE_LEFT);
    assert_int_equal(bench->outbox.events[2]->track, 1);
    assert_int_equal(bench->spool.put_count, 2 * 4);
    assert_int_equal(
        fw_reporter_suppressed(bench->reporter, &bench->camera, FW_SUPPRESSED_COOLDOWN), 1);
}

static void test_a_late_disk_does_not_shift_the_cooldown(void **state)
{
    struct bench *bench = *state;

    // The reports are handled some 0.3 s apart, but were made at the same moment.
    bench->camera.alerts.cooldown_s = 0.2;
    bench->spool.delay_ms = 80;
    start(bench);
    report(bench, FW_REPORT_APPEARED, 1, bench->picture);
    report(bench, FW_REPORT_APPEARED, 2, bench->picture);
    json_decref(finished_event(bench, 0, 1));
    assert_int_equal(
        fw_reporter_suppressed(bench->reporter, &bench->camera, FW_SUPPRESSED_COOLDOWN), 1);
}

// Waits until COUNT events were posted.
static void wait_for_events(struct bench *bench, int count)
{
    struct fw_cancel *never = fw_cancel_create();
    int64_t until_us = fw_monotonic_us() + WAIT_MS * FW_US_PER_MS;
    int seen = 0;

    assert_non_null(never);
    while (seen < count && fw_monotonic_us() < until_us) {
        fw_cancel_wait(never, 5);
        pthread_mutex_lock(&bench->outbox.lock);
        seen = bench->outbox.count;
        pthread_mutex_unlock(&bench->outbox.lock);
    }
    fw_cancel_destroy(never);
    assert_int_equal(seen, count);
}

static void test_cameras_states_are_told(void **state)
{
    struct bench *bench = *state;

    bench->camera.alerts.camera_events = true;
    start(bench);
    fw_reporter_camera(bench->reporter, &bench->camera, FW_CAMERA_CONNECTING, "", 1000);
    fw_reporter_camera(bench->reporter, &bench->camera, FW_CAMERA_BACKOFF, "no route", 2000);
    wait_for_events(bench, 2);
    fw_reporter_camera(bench->reporter, &bench->camera, FW_CAMERA_LIVE, "", 3000);
    wait_for_events(bench, 3);
    fw_reporter_camera(bench->reporter, &bench->camera, FW_CAMERA_STALLED, "frozen", 4000);
    wait_for_events(bench, 4);
    fw_reporter_camera(bench->reporter, &bench->camera, FW_CAMERA_STOPPED, "", 5000);
    static const char *const types[] = {FW_EVENT_CAMERA_OFFLINE, FW_EVENT_CAMERA_ONLINE,
                                        FW_EVENT_CAMERA_STALLED};
    for (int i = 0; i < 3; i++) {
        json_t *event = finished_event(bench, i, 3);
        assert_string_equal(json_string_value(json_object_get(event, "type")), types[i]);
        json_decref(event);
    }
}

static void test_the_worker_tells_that_it_lives(void **state)
{
    struct bench *bench = *state;

    bench->config.worker.heartbeat_s = 1;
    start(bench);
    fw_reporter_camera(bench->reporter, &bench->camera, FW_CAMERA_LIVE, "", 1000);
    wait_for_events(bench, 2);
    json_t *event = finished_event(bench, 0, bench->outbox.count - 1);
    assert_string_equal(json_string_value(json_object_get(event, "type")),
                        FW_EVENT_WORKER_HEARTBEAT);
    json_decref(event);
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
        TEST(test_faces_leave_however_much_waits),
        TEST(test_pictures_on_their_way_are_said_to_be),
        TEST(test_what_is_suppressed_neither_appears_nor_leaves),
        TEST(test_a_late_disk_does_not_shift_the_cooldown),
        TEST(test_cameras_states_are_told),
        TEST(test_the_worker_tells_that_it_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
