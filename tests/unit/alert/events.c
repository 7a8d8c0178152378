// Events for tests.
#include "alert_tests.h"

static const struct fw_event_face one_face = {
    .track = 7,
    .face = {.box = {100.126F, 50.5F, 80, 100},
             .score = 0.875F,
             .landmarks = {{120, 80}, {160, 80}, {140, 100}, {125, 120}, {155, 120.25F}},
             .has_landmarks = 1},
    .quality = 0.5F,
};

struct fw_event_input input_of(const char *camera, uint64_t track)
{
    struct fw_event_input input = {
        .type = FW_EVENT_FACE_APPEARED,
        .camera = {.worker_id = "edge 1", .camera_id = camera},
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

struct fw_event_input left_input_of(const struct fw_event *appeared)
{
    struct fw_event_input input = input_of(appeared->camera_id, appeared->track);

    input.type = FW_EVENT_FACE_LEFT;
    input.appeared_id = appeared->id;
    input.reason = "lost";
    return input;
}
