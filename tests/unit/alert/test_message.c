// Messages: pictures as they are at the time of sending, and both formats.
#include "alert/message.h"
#include "alert_tests.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A store in which each picture is in a state of its own, by the first letter of its key.
static enum fw_picture_state state_of(void *opaque, const char *key)
{
    (void)opaque;
    return key[0] == 'p'   ? FW_PICTURE_PENDING
           : key[0] == 'f' ? FW_PICTURE_FAILED
                           : FW_PICTURE_STORED;
}

static char *url_of(void *opaque, const char *key)
{
    char *url = malloc(64);

    assert_non_null(url);
    (void)snprintf(url, 64, "https://now/%s?signed=%d", key, ++*(int *)opaque);
    return url;
}

static int read_picture(void *opaque, const char *key, uint8_t **data, size_t *length)
{
    (void)opaque;
    *data = NULL;
    if (key[0] == 'f')
        return FW_ENOENT;
    if (key[0] == 'm')
        return FW_ENOMEM;
    *length = strlen(key);
    *data = malloc(*length);
    assert_non_null(*data);
    memcpy(*data, key, *length);
    return FW_OK;
}

static struct fw_event *event_with(const char *full, const char *face, const char *state)
{
    struct fw_event_input input = input_of("front-door", 7);
    const struct fw_event_snapshot snapshot = {
        .state = state,
        .full = {full, "https://before/full", "00ff", 800, 400, 1000},
        .face = {face, "https://before/face", "11ff", 80, 100, 100},
    };
    struct fw_event *event;

    input.snapshot = &snapshot;
    event = fw_event_create(&input);
    assert_non_null(event);
    return event;
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

// The message for EVENT (which is given away), parsed.
static json_t *made(struct fw_event *event, enum fw_message_format format, bool embed,
                    bool has_pictures)
{
    int urls = 0;
    const struct fw_picture_source pictures = {&urls, state_of, url_of, read_picture};
    const struct fw_message_options options = {format, embed, has_pictures ? &pictures : NULL};
    struct fw_error error = {0};
    struct fw_message message;
    json_t *root;

    assert_int_equal(fw_message_make(&message, event, &options, &error), FW_OK);
    assert_string_equal(message.id, event->id);
    assert_ptr_equal(message.type, event->type);
    assert_string_equal(message.camera_id, event->camera_id);
    assert_true(message.time_utc_us == event->time_utc_us);
    assert_int_equal(strlen(message.body), message.length);
    assert_null(strchr(message.body, '\n'));
    root = json_loadb(message.body, message.length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    fw_message_free(&message);
    fw_event_unref(event);
    return root;
}

static json_t *snapshot_in(const json_t *root)
{
    return json_object_get(json_object_get(root, "data"), "snapshot");
}

static void pictures_are_told_as_they_are_now(void **state)
{
    static const struct {
        const char *full, *face, *told;
        enum fw_picture_state state;
        const char *expected;
    } rows[] = {
        {"s1", "s2", "pending", FW_PICTURE_STORED, "stored"},
        {"s1", "p2", "stored", FW_PICTURE_PENDING, "pending"},
        {"p1", "f2", "pending", FW_PICTURE_PENDING, "pending"},
        {"f1", "p2", "pending", FW_PICTURE_PENDING, "pending"},
        {"s1", "f2", "pending", FW_PICTURE_FAILED, "failed"},
        {"f1", "f2", "pending", FW_PICTURE_FAILED, "failed"},
        {"s1", NULL, "failed", FW_PICTURE_STORED, "failed"}, // the face was never rendered
        {NULL, NULL, "failed", FW_PICTURE_STORED, "failed"},
    };
    const struct fw_picture_source pictures = {NULL, state_of, url_of, read_picture};
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fw_event *event = event_with(rows[i].full, rows[i].face, rows[i].told);
        json_t *root, *snapshot, *full;
        const char *key = rows[i].full;

        assert_int_equal(fw_event_pictures_state(event, &pictures), rows[i].state);
        root = made(event, FW_FORMAT_CLOUDEVENTS, false, true);
        snapshot = snapshot_in(root);
        full = json_object_get(snapshot, "full");
        assert_string_equal(text_at(snapshot, "state"), rows[i].expected);
        assert_int_equal(full != NULL, key != NULL && key[0] != 'f');
        if (full != NULL) {
            assert_non_null(strstr(text_at(full, "url"), "https://now/"));
            assert_non_null(strstr(text_at(full, "url"), key));
            assert_string_equal(text_at(full, "sha256"), "00ff");
        }
        json_decref(root);
    }
}

static void what_has_no_pictures_goes_as_it_is(void **state)
{
    const struct fw_picture_source pictures = {NULL, state_of, url_of, read_picture};
    const struct fw_event_worker_input worker = {
        .type = FW_EVENT_WORKER_STARTED, .worker_id = "w", .version = "1"};
    const struct fw_message_options options = {FW_FORMAT_CLOUDEVENTS, true, &pictures};
    struct fw_event *events[3] = {event_of("a", 1), fw_event_create_worker(&worker),
                                  event_with("s", "s", "pending")};
    (void)state;

    for (int i = 0; i < 3; i++) {
        struct fw_message_options own = options;
        struct fw_message message;
        if (i == 2)
            own.pictures = NULL;
        assert_int_equal(fw_event_pictures_state(events[i], own.pictures), FW_PICTURE_STORED);
        assert_int_equal(fw_message_make(&message, events[i], &own, NULL), FW_OK);
        assert_string_equal(message.body, events[i]->json);
        assert_string_equal(message.content_type, "application/cloudevents+json");
        fw_message_free(&message);
        fw_message_free(&message); // twice is once
        fw_event_unref(events[i]);
    }
}

static void pictures_are_embedded(void **state)
{
    json_t *root = made(event_with("pixels", "f", "pending"), FW_FORMAT_CLOUDEVENTS, true, true);
    json_t *snapshot = snapshot_in(root), *full = json_object_get(snapshot, "full");
    (void)state;

    assert_string_equal(text_at(full, "base64"), "cGl4ZWxz");
    assert_null(json_object_get(full, "url"));
    assert_string_equal(text_at(full, "key"), "pixels");
    assert_null(json_object_get(snapshot, "face"));
    assert_string_equal(text_at(snapshot, "state"), "failed");
    json_decref(root);
    // On its way to a store, but in the message.
    root = made(event_with("pix", "pi", "pending"), FW_FORMAT_CLOUDEVENTS, true, true);
    assert_string_equal(text_at(snapshot_in(root), "state"), "stored");
    assert_string_equal(text_at(json_object_get(snapshot_in(root), "face"), "base64"), "cGk=");
    json_decref(root);
}

static void a_lack_of_memory_is_said(void **state)
{
    const struct fw_picture_source pictures = {NULL, state_of, url_of, read_picture};
    const struct fw_message_options options = {FW_FORMAT_CLOUDEVENTS, true, &pictures};
    struct fw_event *event = event_with("s", "m", "pending");
    struct fw_message message;
    (void)state;

    assert_int_equal(fw_message_make(&message, event, &options, NULL), FW_ENOMEM);
    fw_message_free(&message);
    fw_event_unref(event);
}

static void plain_messages_have_what_the_older_backends_read(void **state)
{
    json_t *root = made(event_with("s1", "s2", "pending"), FW_FORMAT_PLAIN, false, true);
    json_t *face = json_array_get(json_object_get(root, "faces"), 0);
    (void)state;

    assert_int_equal(json_object_size(root), 4);
    assert_string_equal(text_at(root, "camera_id"), "front-door");
    assert_string_equal(text_at(root, "timestamp"), "2025-12-31T23:59:59.123Z");
    assert_string_equal(text_at(root, "snapshot_url"), "https://now/s1?signed=1"); // one only
    assert_int_equal(json_object_size(face), 2);
    assert_int_equal(json_array_size(json_object_get(face, "box")), 4);
    assert_true(json_real_value(json_object_get(face, "score")) == 0.875);
    json_decref(root);
    root = made(event_with("s1", "s2", "pending"), FW_FORMAT_PLAIN, true, true);
    assert_string_equal(text_at(root, "snapshot"), "czE=");
    assert_null(json_object_get(root, "snapshot_url"));
    json_decref(root);
    root = made(event_with("f1", "s2", "pending"), FW_FORMAT_PLAIN, false, true);
    assert_true(json_is_null(json_object_get(root, "snapshot_url")));
    json_decref(root);
    root = made(event_of("front-door", 7), FW_FORMAT_PLAIN, true, false);
    assert_true(json_is_null(json_object_get(root, "snapshot_url")));
    json_decref(root);
}

static void plain_messages_are_of_appearances_alone(void **state)
{
    const struct fw_event_worker_input worker = {
        .type = FW_EVENT_WORKER_STARTED, .worker_id = "w", .version = "1"};
    const struct fw_message_options options = {.format = FW_FORMAT_PLAIN};
    struct fw_event *appeared = event_of("a", 1);
    struct fw_event_input left = left_input_of(appeared);
    struct fw_event *events[2] = {fw_event_create(&left), fw_event_create_worker(&worker)};
    (void)state;

    for (int i = 0; i < 2; i++) {
        struct fw_error error = {0};
        struct fw_message message;
        assert_int_equal(fw_message_make(&message, events[i], &options, &error), FW_ENOTSUP);
        assert_non_null(strstr(error.message, events[i]->type));
        assert_null(message.body);
        fw_message_free(&message);
        fw_event_unref(events[i]);
    }
    fw_event_unref(appeared);
}

int run_message_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_told_as_they_are_now),
        cmocka_unit_test(what_has_no_pictures_goes_as_it_is),
        cmocka_unit_test(pictures_are_embedded),
        cmocka_unit_test(a_lack_of_memory_is_said),
        cmocka_unit_test(plain_messages_have_what_the_older_backends_read),
        cmocka_unit_test(plain_messages_are_of_appearances_alone),
    };

    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
