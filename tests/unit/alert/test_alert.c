// Events as JSON; and the program's main.
#include "alert/event.h"
#include "alert_tests.h"
#include <curl/curl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct fw_event_face one_face = {
    .track = 7,
    .face = {.box = {100.126F, 50.5F, 80, 100},
             .score = 0.875F,
             .landmarks = {{120, 80}, {160, 80}, {140, 100}, {125, 120}, {155, 120.25F}},
             .has_landmarks = 1},
    .quality = 0.5F,
};

static struct fw_event_input input_of(const char *camera, uint64_t track)
{
    struct fw_event_input input = {
        .type = FW_EVENT_FACE_APPEARED,
        .worker_id = "edge 1",
        .camera_id = camera,
        .time_utc_us = INT64_C(1767225599123456), // 2025-12-31T23:59:59.123456Z
        .frame_width = 800,
        .frame_height = 400,
        .faces = &one_face,
        .face_count = 1,
        .track = track,
        .first_seen_utc_us = INT64_C(1767225598000000),
        .last_seen_utc_us = INT64_C(1767225599123456),
    };
    return input;
}

struct fw_event *event_of(const char *camera, uint64_t track)
{
    struct fw_event_input input = input_of(camera, track);
    struct fw_event *event = fw_event_create(&input);

    assert_non_null(event);
    return event;
}

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
    struct fw_event_input input = input_of("front-door", 7);
    struct fw_event_snapshot snapshot = {
        .state = "stored",
        .full = {"a/full.jpg", "http://h/a/full.jpg", "00ff", 1920, 1080, 123456, NULL},
        .face = {"a/face.jpg", NULL, "11ee", 90, 110, 4321, "/9j/"},
    };
    struct fw_event *event;
    json_t *root, *pictures;
    (void)state;

    input.type = FW_EVENT_FACE_LEFT;
    input.reason = "lost";
    input.camera_name = "Front door";
    input.snapshot = &snapshot;
    event = fw_event_create(&input);
    assert_non_null(event);
    root = parsed(event);
    assert_string_equal(text_at(json_object_get(root, "data"), "reason"), "lost");
    pictures = json_object_get(json_object_get(root, "data"), "snapshot");
    assert_string_equal(text_at(pictures, "state"), "stored");
    assert_string_equal(text_at(json_object_get(pictures, "full"), "url"), "http://h/a/full.jpg");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(pictures, "full"), "bytes")), 123456);
    assert_string_equal(text_at(json_object_get(pictures, "face"), "base64"), "/9j/");
    assert_null(json_object_get(json_object_get(pictures, "face"), "url"));
    assert_null(json_object_get(pictures, "face_annotated"));
    json_decref(root);
    fw_event_unref(event);
}

static void text_that_is_no_utf8_is_repaired(void **state)
{
    struct fw_event_input input = input_of("front-door", 7);
    struct fw_event *event;
    json_t *root;
    (void)state;

    input.camera_name = "caf\xe9 \"x\"";
    input.camera_location = "T\xc3\xbcr\n2";
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
    struct fw_event_face face = one_face;
    struct fw_event_input input = input_of("front-door", 7);
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
        cmocka_unit_test(ids_are_unique_and_references_counted),
    };
    int failed;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return EXIT_FAILURE;
    failed = cmocka_run_group_tests_name("event", tests, NULL, NULL);
    failed += run_sink_file_tests();
    failed += run_sink_http_tests();
    failed += run_dispatcher_tests();
    curl_global_cleanup();
    return failed != 0;
}
