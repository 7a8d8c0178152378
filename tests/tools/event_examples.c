// Prints events of every shape, one a line, for the test of docs/alert.schema.json.
#include "alert/event.h"
#include <stdio.h>
#include <stdlib.h>

#define SUM "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct fw_event_face faces[] = {
    {.track = 7,
     .face = {.box = {812.375F, 240.5F, 96, 121.25F},
              .score = 0.93125F,
              .landmarks = {{836, 290}, {880, 289}, {858, 315}, {840, 338}, {876, 337.5F}},
              .has_landmarks = 1},
     .quality = 0.62F},
    {.track = 9, .face = {.box = {-3.5F, 100, 40, 50}, .score = 0.71F}, .quality = -1},
};

static const struct fw_event_snapshot stored = {
    .state = "stored",
    .full = {"front-door/a-full.jpg", "http://cdn/front-door/a-full.jpg", SUM, 1920, 1080, 345678,
             NULL},
    .full_annotated = {"front-door/a-full-annotated.jpg", "file:///snapshots/x.jpg", SUM, 1920,
                       1080, 356789, NULL},
    .face = {"front-door/a-face.jpg", "http://cdn/front-door/a-face.jpg", SUM, 172, 218, 9876,
             NULL},
    .face_annotated = {"front-door/a-face-annotated.jpg", NULL, SUM, 172, 218, 9999, "/9j/4AAQ"},
};
static const struct fw_event_snapshot failed = {.state = "failed"};

static struct fw_event_input base(void)
{
    struct fw_event_input input = {
        .type = FW_EVENT_FACE_APPEARED,
        .worker_id = "edge-1",
        .camera_id = "front-door",
        .camera_name = "Front door",
        .camera_location = "Building 2",
        .time_utc_us = INT64_C(1767225599123456),
        .frame_width = 1920,
        .frame_height = 1080,
        .faces = faces,
        .face_count = 2,
        .track = 7,
        .first_seen_utc_us = INT64_C(1767225598923456),
        .last_seen_utc_us = INT64_C(1767225599123456),
        .snapshot = &stored,
    };

    return input;
}

static int print(const struct fw_event_input *input)
{
    struct fw_event *event = fw_event_create(input);
    int is_printed = event != NULL && puts(event->json) >= 0;

    fw_event_unref(event);
    return is_printed;
}

int main(void)
{
    static const char *const reasons[] = {"lost", "camera_stopped", "worker_restarted"};
    struct fw_event_input input = base();
    int is_printed = print(&input);

    input.camera_name = input.camera_location = NULL;
    input.camera_id = "k\xc3\xbc-che/\xff 1";
    input.snapshot = NULL;
    input.face_count = 1;
    is_printed &= print(&input);
    input = base();
    input.snapshot = &failed;
    is_printed &= print(&input);
    for (int i = 0; i < 3; i++) {
        input = base();
        input.type = FW_EVENT_FACE_LEFT;
        input.reason = reasons[i];
        input.last_seen_utc_us += INT64_C(86400123000);
        is_printed &= print(&input);
    }
    return is_printed ? EXIT_SUCCESS : EXIT_FAILURE;
}
