// Events as JSON, and events from JSON.
#include "alert/event.h"
#include "alert_tests.h"
#include "util/clock.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *parsed(const struct fw_event *event)
{
    json_t *root = json_loadb(event->json, event->json_length, JSON_REJECT_DUPLICATES, NULL);

    assert_non_null(root);
    return root;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    assert_non_null(text);
    return text;
}

static void an_appearance_says_who_where_and_when(void **state)
{
    struct fw_event *event = event_of("front-door", 7);
    json_t *root = parsed(event), *data = json_object_get(root, "data"), *face;
    (void)state;

    assert_string_equal(text_at(root, "specversion"), "1.0");
    assert_string_equal(text_at(root, "id"), event->id);
    assert_int_equal(strlen(event->id), 36);
    assert_int_equal(event->id[14], '7');
    assert_string_equal(text_at(root, "source"), "/workers/edge%201/cameras/front-door");
    assert_string_equal(text_at(root, "type"), "faceworker.face.appeared");
    assert_string_equal(text_at(root, "subject"), "cameras/front-door/tracks/7");
    assert_string_equal(text_at(root, "time"), "2025-12-31T23:59:59.123Z");
    assert_string_equal(text_at(root, "datacontenttype"), "application/json");
    assert_string_equal(text_at(json_object_get(data, "camera"), "name"), "front-door");
    assert_true(json_is_null(json_object_get(json_object_get(data, "camera"), "location")));
    assert_true(json_is_null(json_object_get(data, "snapshot")));
    assert_null(json_object_get(data, "reason"));
    assert_string_equal(text_at(data, "appeared_id"), event->id);
    assert_string_equal(event->appeared_id, event->id);
    assert_int_equal(event->track, 7);
    assert_true(json_is_null(json_object_get(data, "zone")));
    face = json_array_get(json_object_get(data, "faces"), 0);
    assert_true(json_real_value(json_array_get(json_object_get(face, "box"), 0)) == 100.13);
    assert_true(json_real_value(json_array_get(json_object_get(face, "box_fraction"), 3)) == 0.25);
    assert_true(json_real_value(json_object_get(face, "score")) == 0.875);
    assert_int_equal(json_array_size(json_object_get(face, "landmarks")), 5);
    assert_null(strchr(event->json, '\n'));
    assert_non_null(strstr(event->json, "\"duration_s\":1.123,"));
    json_decref(root);
    fw_event_unref(event);
}

static void a_departure_has_its_reason_and_pictures(void **state)
{
    struct fw_event *appeared = event_of("front-door", 7);
    struct fw_event_input input = left_input_of(appeared);
    struct fw_event_snapshot snapshot = {
        .state = "stored",
        .full = {"a/full.jpg", "http://h/a/full.jpg", "00ff", 1920, 1080, 123456},
        .face = {"a/face.jpg", "http://h/a/face.jpg", "11ee", 90, 110, 4321},
    };
    struct fw_event *event;
    json_t *root, *pictures;
    (void)state;

    input.camera.name = "Front door";
    input.zone = "gate";
    input.snapshot = &snapshot;
    event = fw_event_create(&input);
    assert_non_null(event);
    root = parsed(event);
    assert_string_equal(text_at(json_object_get(root, "data"), "reason"), "lost");
    assert_string_equal(text_at(json_object_get(root, "data"), "zone"), "gate");
    assert_string_equal(text_at(json_object_get(root, "data"), "appeared_id"), appeared->id);
    assert_string_equal(event->appeared_id, appeared->id);
    assert_string_not_equal(event->id, appeared->id);
    pictures = json_object_get(json_object_get(root, "data"), "snapshot");
    assert_string_equal(text_at(pictures, "state"), "stored");
    assert_string_equal(text_at(json_object_get(pictures, "full"), "url"), "http://h/a/full.jpg");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(pictures, "full"), "bytes")), 123456);
    assert_string_equal(text_at(json_object_get(pictures, "face"), "sha256"), "11ee");
    assert_null(json_object_get(pictures, "face_annotated"));
    json_decref(root);
    fw_event_unref(event);
    fw_event_unref(appeared);
}

static void text_that_is_no_utf8_is_repaired(void **state)
{
    struct fw_event_input input = input_of("front-door", 7);
    struct fw_event *event;
    json_t *root;
    (void)state;

    input.camera.name = "caf\xe9 \"x\"";
    input.camera.location = "T\xc3\xbcr\n2";
    event = fw_event_create(&input);
    assert_non_null(event);
    root = parsed(event);
    assert_string_equal(text_at(json_object_get(json_object_get(root, "data"), "camera"), "name"),
                        "caf\xef\xbf\xbd \"x\"");
    assert_string_equal(
        text_at(json_object_get(json_object_get(root, "data"), "camera"), "location"),
        "T\xc3\xbcr\n2");
    assert_null(strchr(event->json, '\n'));
    json_decref(root);
    fw_event_unref(event);
}

static void numbers_that_json_lacks_become_zero(void **state)
{
    struct fw_event_input input = input_of("front-door", 7);
    struct fw_event_face face = input.faces[0];
    struct fw_event *event;
    json_t *root, *told, *box;
    (void)state;

    face.face.box.x = NAN;
    face.face.box.y = INFINITY;
    face.face.has_landmarks = 0;
    face.quality = -1;
    input.faces = &face;
    event = fw_event_create(&input);
    assert_non_null(event);
    root = parsed(event);
    told = json_array_get(json_object_get(json_object_get(root, "data"), "faces"), 0);
    assert_true(json_is_null(json_object_get(told, "quality")));
    box = json_object_get(told, "box");
    assert_true(json_real_value(json_array_get(box, 0)) == 0);
    assert_true(json_real_value(json_array_get(box, 1)) == 0);
    json_decref(root);
    fw_event_unref(event);
}

static void refuses_what_is_no_event(void **state)
{
    struct fw_event_input input = input_of("front-door", 7);
    (void)state;

    input.type = "faceworker.face.smiled";
    assert_null(fw_event_create(&input));
    input = input_of("front-door", 7);
    input.frame_width = 0;
    assert_null(fw_event_create(&input));
    input = input_of("front-door", 0);
    assert_null(fw_event_create(&input));
    input = input_of("front-door", 7);
    input.reason = "lost";
    assert_null(fw_event_create(&input));
    input = input_of("front-door", 7);
    input.type = FW_EVENT_FACE_LEFT;
    assert_null(fw_event_create(&input));
    input.appeared_id = "01a20664-3213-767a-a6e4-2e23da1cf738";
    assert_null(fw_event_create(&input));
    input.reason = "lost";
    input.type = FW_EVENT_CAMERA_ONLINE;
    assert_null(fw_event_create(&input));
}

static void a_state_says_what_was_before(void **state)
{
    struct fw_event_state_input input = {
        .type = FW_EVENT_CAMERA_OFFLINE,
        .camera = {"edge 1", "front door", NULL, "Hall"},
        .time_utc_us = INT64_C(1767225599123456),
        .reason = "no answer \xff",
        .previous = "online",
    };
    struct fw_event *event = fw_event_create_state(&input);
    json_t *root, *data;
    (void)state;

    assert_non_null(event);
    root = parsed(event);
    data = json_object_get(root, "data");
    assert_string_equal(event->camera_id, "front door");
    assert_int_equal(event->track, 0);
    assert_string_equal(event->appeared_id, "");
    assert_string_equal(text_at(root, "source"), "/workers/edge%201/cameras/front%20door");
    assert_string_equal(text_at(root, "subject"), "cameras/front%20door");
    assert_string_equal(text_at(data, "state"), "offline");
    assert_string_equal(text_at(data, "previous"), "online");
    assert_string_equal(text_at(data, "reason"), "no answer \xef\xbf\xbd");
    json_decref(root);
    fw_event_unref(event);
    input.type = FW_EVENT_WORKER_STARTED;
    assert_null(fw_event_create_state(&input));
}

static void the_worker_says_how_it_is(void **state)
{
    struct fw_event_worker_input input = {
        .type = FW_EVENT_WORKER_HEARTBEAT,
        .worker_id = "edge/1",
        .version = "1.2.3",
        .time_utc_us = INT64_C(1767225599123456),
        .started_utc_us = INT64_C(1767225589000000),
        .cameras = 3,
        .cameras_live = 2,
        .events_waiting = 17,
    };
    struct fw_event *event = fw_event_create_worker(&input);
    json_t *root, *data;
    (void)state;

    assert_non_null(event);
    root = parsed(event);
    data = json_object_get(root, "data");
    assert_string_equal(event->camera_id, "");
    assert_string_equal(text_at(root, "source"), "/workers/edge%2F1");
    assert_null(json_object_get(root, "subject"));
    assert_string_equal(text_at(json_object_get(data, "worker"), "version"), "1.2.3");
    assert_true(json_real_value(json_object_get(data, "uptime_s")) == 10.123);
    assert_int_equal(json_integer_value(json_object_get(data, "events_waiting")), 17);
    json_decref(root);
    fw_event_unref(event);
    input.type = FW_EVENT_FACE_APPEARED;
    assert_null(fw_event_create_worker(&input));
}

static void assert_comes_back(struct fw_event *event)
{
    struct fw_event *again = NULL;
    struct fw_error error = {0};

    assert_non_null(event);
    assert_int_equal(fw_event_parse(&again, event->json, event->json_length, &error), FW_OK);
    assert_string_equal(again->id, event->id);
    assert_ptr_equal(again->type, event->type);
    assert_string_equal(again->camera_id, event->camera_id);
    assert_string_equal(again->appeared_id, event->appeared_id);
    assert_true(again->track == event->track);
    assert_string_equal(again->json, event->json);
    assert_true(again->json_length == event->json_length);
    assert_true(again->time_utc_us == event->time_utc_us / FW_US_PER_MS * FW_US_PER_MS);
    fw_event_unref(again);
    fw_event_unref(event);
}

static void an_event_comes_back_from_its_json(void **state)
{
    const struct fw_event_state_input camera = {
        FW_EVENT_CAMERA_STALLED, {"w", "c\xff", NULL, NULL}, 1767225599123456, "", NULL};
    const struct fw_event_worker_input worker = {
        .type = FW_EVENT_WORKER_STARTED, .worker_id = "w", .version = "1"};
    struct fw_event *appeared = event_of("front-door", UINT64_C(1) << 53);
    struct fw_event_input left = left_input_of(appeared);
    (void)state;

    assert_comes_back(fw_event_create(&left));
    assert_comes_back(appeared);
    assert_comes_back(fw_event_create_worker(&worker));
    appeared = fw_event_create_state(&camera);
    assert_non_null(appeared);
    assert_non_null(strstr(appeared->json, "\"id\":\"c\xef\xbf\xbd\""));
    fw_event_unref(appeared);
}

// Each byte of an event's JSON, cut off and changed: parsed or refused, never believed by halves.
static void damaged_events_are_refused(void **state)
{
    struct fw_event *event = event_of("front-door", 7), *again;
    struct fw_error error = {0};
    char *json = event->json;
    (void)state;

    for (size_t length = 0; length < event->json_length; length++) {
        again = event;
        assert_int_equal(fw_event_parse(&again, json, length, &error), FW_EFORMAT);
        assert_null(again);
    }
    for (size_t i = 0; i < event->json_length; i++) {
        char was = json[i];
        json[i] = was == '1' ? 'x' : '1';
        if (fw_event_parse(&again, json, event->json_length, &error) == FW_OK) {
            assert_int_equal(strlen(again->id), 36);
            assert_true(again->track > 0);
            assert_int_equal(strlen(again->appeared_id), 36);
            fw_event_unref(again);
        }
        json[i] = was;
    }
    json[event->json_length] = '\n'; // fine JSON, but no line
    assert_int_equal(fw_event_parse(&again, json, event->json_length + 1, &error), FW_EFORMAT);
    json[event->json_length] = '\0';
    fw_event_unref(event);
}

static void what_a_restart_ends_says_so(void **state)
{
    struct fw_event_input input = input_of("front-door", 7);
    const struct fw_event_snapshot snapshot = {.state = "stored",
                                               .full = {"k", "u", "00ff", 10, 10, 1}};
    const int64_t now_us = INT64_C(1767229200000000);
    struct fw_event *appeared, *left;
    json_t *root, *data, *before;
    (void)state;

    input.snapshot = &snapshot;
    input.zone = "gate";
    appeared = fw_event_create(&input);
    assert_non_null(appeared);
    left = fw_event_create_left(appeared, "worker_restarted", now_us);
    assert_non_null(left);
    root = parsed(left);
    before = parsed(appeared);
    data = json_object_get(root, "data");
    assert_string_equal(left->type, FW_EVENT_FACE_LEFT);
    assert_string_equal(text_at(root, "type"), FW_EVENT_FACE_LEFT);
    assert_string_equal(text_at(root, "id"), left->id);
    assert_string_not_equal(left->id, appeared->id);
    assert_string_equal(text_at(root, "time"), "2026-01-01T01:00:00.000Z");
    assert_true(left->time_utc_us == now_us);
    assert_string_equal(text_at(data, "reason"), "worker_restarted");
    assert_string_equal(text_at(data, "appeared_id"), appeared->id);
    assert_true(json_is_null(json_object_get(data, "snapshot")));
    assert_true(json_equal(json_object_get(data, "faces"),
                           json_object_get(json_object_get(before, "data"), "faces")));
    assert_null(fw_event_create_left(left, "worker_restarted", now_us));
    json_decref(before);
    json_decref(root);
    fw_event_unref(appeared);
    assert_comes_back(left);
}

static void ids_are_unique_and_references_counted(void **state)
{
    struct fw_event *a = event_of("x", 1), *b = event_of("x", 1);
    (void)state;

    assert_string_not_equal(a->id, b->id);
    assert_ptr_equal(fw_event_ref(a), a);
    fw_event_unref(a);
    assert_string_equal(a->camera_id, "x");
    fw_event_unref(a);
    fw_event_unref(b);
    fw_event_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_appearance_says_who_where_and_when),
        cmocka_unit_test(a_departure_has_its_reason_and_pictures),
        cmocka_unit_test(text_that_is_no_utf8_is_repaired),
        cmocka_unit_test(numbers_that_json_lacks_become_zero),
        cmocka_unit_test(refuses_what_is_no_event),
        cmocka_unit_test(a_state_says_what_was_before),
        cmocka_unit_test(the_worker_says_how_it_is),
        cmocka_unit_test(an_event_comes_back_from_its_json),
        cmocka_unit_test(damaged_events_are_refused),
        cmocka_unit_test(what_a_restart_ends_says_so),
        cmocka_unit_test(ids_are_unique_and_references_counted),
    };
    int failed = cmocka_run_group_tests_name("event", tests, NULL, NULL);

    failed += run_message_tests();
    return failed != 0;
}
