// Prints events of every shape, one a line, for the tests of docs/alert.schema.json; with "plain"
// messages in the plain format, for docs/plain.schema.json.
#include "alert/event.h"
#include "alert/message.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUM "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define KEY "front-door/a"
#define URL "http://cdn/front-door/a"

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
    .full = {KEY "-full.jpg", URL "-full.jpg", SUM, 1920, 1080, 345678},
    .full_annotated = {KEY "-full-annotated.jpg", "file:///snapshots/x.jpg", SUM, 1920, 1080,
                       356789},
    .face = {KEY "-face.jpg", URL "-face.jpg", SUM, 172, 218, 9876},
    .face_annotated = {KEY "-face-annotated.jpg", URL "-face-annotated.jpg", SUM, 172, 218, 9999},
};
static const struct fw_event_snapshot failed = {.state = "failed"};

static struct fw_event_input base(void)
{
    struct fw_event_input input = {
        .type = FW_EVENT_FACE_APPEARED,
        .camera = {"edge-1", "front-door", "Front door", "Building 2"},
        .time_utc_us = INT64_C(1767225599123456),
        .frame_width = 1920,
        .frame_height = 1080,
        .faces = faces,
        .face_count = 2,
        .track = 7,
        .zone = "gate",
        .first_seen_utc_us = INT64_C(1767225598923456),
        .last_seen_utc_us = INT64_C(1767225599123456),
        .snapshot = &stored,
    };

    return input;
}

// Pictures, half of which are not uploaded yet.
static enum fw_picture_state state_of(void *opaque, const char *key)
{
    (void)opaque;
    return strstr(key, "annotated") != NULL ? FW_PICTURE_PENDING : FW_PICTURE_STORED;
}

static char *url_of(void *opaque, const char *key)
{
    char *url = malloc(256);

    (void)opaque;
    if (url != NULL)
        (void)snprintf(url, 256, "https://bucket/%s?X-Amz-Signature=1", key);
    return url;
}

static int read_picture(void *opaque, const char *key, uint8_t **data, size_t *length)
{
    (void)opaque;
    *length = strlen(key);
    *data = malloc(*length);
    if (*data == NULL)
        return FW_ENOMEM;
    memcpy(*data, key, *length);
    return FW_OK;
}

static int print_message(const struct fw_event *event, enum fw_message_format format, bool embed)
{
    const struct fw_picture_source pictures = {NULL, state_of, url_of, read_picture};
    const struct fw_message_options options = {format, embed, &pictures};
    struct fw_message message;
    int is_printed = event != NULL && fw_message_make(&message, event, &options, NULL) == FW_OK;

    if (event == NULL)
        return 0;
    is_printed = is_printed && puts(message.body) >= 0;
    fw_message_free(&message);
    return is_printed;
}

// EVENT is given away.
static int print(struct fw_event *event)
{
    int is_printed = event != NULL && puts(event->json) >= 0;

    fw_event_unref(event);
    return is_printed;
}

static int print_appeared(enum fw_message_format format)
{
    bool is_plain = format == FW_FORMAT_PLAIN;
    struct fw_event_input inputs[4] = {base(), base(), base(), base()};
    int is_printed = 1;

    inputs[1].camera = (struct fw_event_camera){"edge-1", "k\xc3\xbc-che/\xff 1", NULL, NULL};
    inputs[1].zone = NULL;
    inputs[1].snapshot = NULL;
    inputs[1].face_count = 1;
    inputs[2].snapshot = &failed;
    for (int i = 0; i < 4; i++) {
        struct fw_event *event = fw_event_create(&inputs[i]);
        is_printed &= is_plain ? print_message(event, format, i == 3)
                               : event != NULL && puts(event->json) >= 0;
        fw_event_unref(event);
    }
    return is_printed;
}

static int print_left(const struct fw_event *appeared)
{
    struct fw_event_input input = base();
    int is_printed;

    input.type = FW_EVENT_FACE_LEFT;
    input.appeared_id = appeared->id;
    input.last_seen_utc_us += INT64_C(86400123000);
    input.reason = "lost";
    is_printed = print(fw_event_create(&input));
    input.reason = "camera_stopped";
    is_printed &= print(fw_event_create(&input));
    return is_printed &
           print(fw_event_create_left(appeared, "worker_restarted", input.last_seen_utc_us));
}

static int print_faces(void)
{
    struct fw_event_input input = base();
    struct fw_event *event = fw_event_create(&input);
    int is_printed = event != NULL && print_appeared(FW_FORMAT_CLOUDEVENTS) && print_left(event) &&
                     print_message(event, FW_FORMAT_CLOUDEVENTS, false) &&
                     print_message(event, FW_FORMAT_CLOUDEVENTS, true);

    fw_event_unref(event);
    return is_printed;
}

static int print_states(void)
{
    static const char *const rows[][3] = {
        {FW_EVENT_CAMERA_ONLINE, NULL, ""},
        {FW_EVENT_CAMERA_OFFLINE, "online", "no answer from 10.0.0.5:554"},
        {FW_EVENT_CAMERA_STALLED, "offline", "no picture for 10 s"},
        {FW_EVENT_CAMERA_TAMPERED, "online", "the picture is black"},
    };
    int is_printed = 1;

    for (int i = 0; i < 4; i++) {
        const struct fw_event_state_input input = {
            .type = rows[i][0],
            .camera = base().camera,
            .time_utc_us = INT64_C(1767225599123456),
            .previous = rows[i][1],
            .reason = rows[i][2],
        };
        is_printed &= print(fw_event_create_state(&input));
    }
    return is_printed;
}

static int print_worker(void)
{
    static const char *const types[] = {FW_EVENT_WORKER_STARTED, FW_EVENT_WORKER_HEARTBEAT};
    int is_printed = 1;

    for (int i = 0; i < 2; i++) {
        const struct fw_event_worker_input input = {
            .type = types[i],
            .worker_id = "edge-1",
            .version = "1.2.3",
            .time_utc_us = INT64_C(1767225599123456) + i * INT64_C(60000000),
            .started_utc_us = INT64_C(1767225599123456),
            .cameras = 3,
            .cameras_live = (size_t)i * 2,
            .events_waiting = 5,
        };
        is_printed &= print(fw_event_create_worker(&input));
    }
    return is_printed;
}

int main(int argc, char **argv)
{
    int is_printed;

    if (argc > 1 && strcmp(argv[1], "plain") == 0)
        is_printed = print_appeared(FW_FORMAT_PLAIN);
    else
        is_printed = print_faces() && print_states() && print_worker();
    return is_printed ? EXIT_SUCCESS : EXIT_FAILURE;
}
