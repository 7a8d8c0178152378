// Events, messages, schedules and the policy when memory runs out.
#include "fault.h"

#include "alert/message.h"
#include "alert/policy.h"
#include "alert/schedule.h"
#include "util/error.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fw_event *make_face(void)
{
    static const struct fw_event_face face = {
        .track = 7,
        .face = {.box = {10, 20, 30, 40}, .score = 0.9F, .has_landmarks = 1},
        .quality = 0.5F,
    };
    static const struct fw_event_snapshot snapshot = {
        .state = "pending",
        .full = {.key = "a/b.jpg", .url = "http://h/", .sha256 = "00", .width = 9, .height = 8},
        .face = {.key = "a/c.jpg", .url = "http://h/", .sha256 = "00", .width = 9, .height = 8}};
    const struct fw_event_input input = {.type = FW_EVENT_FACE_APPEARED,
                                         .camera = {"edge 1", "front", "bad \xff name", "hall"},
                                         .frame_width = 800,
                                         .frame_height = 400,
                                         .faces = &face,
                                         .face_count = 1,
                                         .track = 7,
                                         .zone = "gate",
                                         .snapshot = &snapshot};
    return fw_event_create(&input);
}

// Whole or not at all.
static int keep_and_end(struct fw_event *event)
{
    struct fw_event *kept = NULL, *left = NULL;
    struct fw_error error = {0};
    int status = fw_event_parse(&kept, event->json, event->json_length, &error);

    if (status == FW_OK) {
        assert_string_equal(kept->json, event->json);
        left = fw_event_create_left(kept, "worker_restarted", 1);
        status = fault_status_of(left);
    }
    if (left)
        assert_non_null(strstr(left->json, "\"reason\":\"worker_restarted\""));
    fw_event_unref(left);
    fw_event_unref(kept);
    return status;
}

static int face_event(void *opaque)
{
    struct fw_event *event = make_face();
    int status = fault_status_of(event);

    (void)opaque;
    if (event) {
        assert_non_null(
            strstr(event->json, "\"snapshot\":{\"state\":\"pending\",\"full\":{\"key\""));
        status = keep_and_end(event);
    }
    fw_event_unref(event);
    return status;
}

static int other_events(void *opaque)
{
    const struct fw_event_state_input state = {
        FW_EVENT_CAMERA_OFFLINE, {"w", "c", NULL, NULL}, 1, "gone \xff", "online"};
    const struct fw_event_worker_input worker = {
        .type = FW_EVENT_WORKER_HEARTBEAT, .worker_id = "w", .version = "1"};
    struct fw_event *one = fw_event_create_state(&state), *two = fw_event_create_worker(&worker);
    int status = one && two ? FW_OK : FW_ENOMEM;

    (void)opaque;
    if (one)
        assert_non_null(strstr(one->json, "\"reason\":\"gone \xef\xbf\xbd\"}}"));
    if (two)
        assert_non_null(strstr(two->json, "\"events_waiting\":0}}"));
    fw_event_unref(one);
    fw_event_unref(two);
    return status;
}

static enum fw_picture_state state_of(void *opaque, const char *key)
{
    (void)opaque;
    (void)key;
    return FW_PICTURE_STORED;
}

static char *url_of(void *opaque, const char *key)
{
    char *url = malloc(8);

    (void)opaque;
    (void)key;
    if (url)
        memcpy(url, "http://", 8);
    return url;
}

static int read_picture(void *opaque, const char *key, uint8_t **data, size_t *length)
{
    (void)opaque;
    (void)key;
    *length = 3;
    *data = calloc(1, 3);
    return fault_status_of(*data);
}

// No picture is told to have failed because memory was out.
static int messages(void *opaque)
{
    const struct fw_picture_source pictures = {NULL, state_of, url_of, read_picture};
    const struct fw_message_options all[] = {{FW_FORMAT_CLOUDEVENTS, false, &pictures},
                                             {FW_FORMAT_CLOUDEVENTS, true, &pictures},
                                             {FW_FORMAT_PLAIN, false, &pictures},
                                             {FW_FORMAT_CLOUDEVENTS, true, NULL}};
    struct fw_event *event = make_face();
    int status = fault_status_of(event);

    (void)opaque;
    for (int i = 0; i < 4 && status == FW_OK; i++) {
        struct fw_message message;
        struct fw_error error = {0};

        assert_int_equal(fw_event_pictures_state(event, &pictures), FW_PICTURE_STORED);
        status = fw_message_make(&message, event, &all[i], &error);
        assert_int_equal(status == FW_OK, message.body != NULL);
        if (message.body)
            assert_null(strstr(message.body, "failed"));
        fw_message_free(&message);
    }
    fw_event_unref(event);
    return status;
}

// The verdicts stay as they are without memory for the tracks.
static int policy(void *opaque)
{
    const struct fw_schedule_span span = {127, 0, 1440};
    const int64_t cooldown_us = 5;
    struct fw_policy_camera camera = {
        .id = "c", .zone_cooldown_us = &cooldown_us, .zone_count = 1, .static_after_us = 1000000};
    const struct fw_policy_options options = {&camera, 1, 0};
    struct fw_schedule *schedule = NULL;
    struct fw_policy *made = NULL;
    int status = fw_schedule_create(&schedule, &span, 1, "UTC", NULL);

    (void)opaque;
    camera.schedule = schedule;
    if (status == FW_OK) {
        made = fw_policy_create(&options);
        status = fault_status_of(made);
    }
    for (int i = 0; i < 40 && made; i++) {
        struct fw_policy_face face = {.track = (uint64_t)i + 1,
                                      .zone = -1,
                                      .first_box = {(float)i * 30, 10, 20, 20},
                                      .box = {(float)i * 30, 10, 20, 20},
                                      .width = 1280,
                                      .height = 720,
                                      .now_us = i * 10};
        assert_int_equal(fw_policy_appeared(made, &face), FW_PASSED);
        fw_policy_moved(made, &face);
        if (i % 2)
            fw_policy_left(made, &face);
    }
    fw_policy_destroy(made);
    fw_schedule_destroy(schedule);
    return status;
}

static void try_all(void **state)
{
    static const struct fault_scenario scenarios[] = {
        {.name = "face_event",
         .run = face_event,
         .may_survive = true}, // the name is repaired twice
        {.name = "other_events", .run = other_events, .may_survive = true},
        {.name = "messages", .run = messages, .may_survive = true},
        {.name = "policy", .run = policy, .may_survive = true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        fault_try(&scenarios[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(try_all)};

    return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
