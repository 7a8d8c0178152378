// How fast events become durable: prints "<events/s> <events> <commits> <delivered/s>".
//
//     outbox_bench FOLDER [EVENTS [BATCH [SINK]]]
//
// Posts EVENTS (default 20000; faces that appear and leave in front of four cameras) from one
// thread, as the reporter does, and waits for their commit (synchronous=FULL, grouped); then has a
// sink that only counts take them, BATCH (default 64) at once, and their marks committed. With a
// BATCH of 0 nobody takes them (<delivered/s> is 0): they wait in FOLDER/outbox.db for a daemon
// whose sink is called SINK.
#include "alert/dispatcher.h"
#include "alert/outbox.h"
#include "util/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEP = 5000, // posted ahead of a commit: the ring is bounded
    CAMERAS = 4,
};

static int count_open(void **state, const struct fw_sink_options *options, struct fw_error *error)
{
    static int any;

    (void)options;
    (void)error;
    *state = &any;
    return FW_OK;
}

static int count_deliver(void *state, const struct fw_message *messages, size_t count, int *results,
                         struct fw_cancel *cancel, struct fw_error *error)
{
    (void)state;
    (void)messages;
    (void)cancel;
    (void)error;
    for (size_t i = 0; i < count; i++)
        results[i] = FW_OK;
    return FW_OK;
}

static void count_close(void *state)
{
    (void)state;
}

// Those with an odd INDEX leave: APPEARED is then the event before.
static struct fw_event *make_event(int index, const struct fw_event *appeared)
{
    const uint64_t track = (uint64_t)index / 2 + 1;
    const struct fw_event_face face = {
        .track = track,
        .face = {.box = {812.38F, 240.5F, 96, 121.25F},
                 .score = 0.93F,
                 .landmarks = {{836, 290}, {880, 289}, {858, 315}, {840, 338}, {876, 337.5F}},
                 .has_landmarks = 1},
        .quality = 0.62F};
    const struct fw_event_picture picture = {
        .key = "front-door/2025/12/31/235959.123-t7-left-full.jpg",
        .url = "https://cdn.example.com/front-door/2025/12/31/235959.123-t7-left-full.jpg",
        .sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        .width = 1920,
        .height = 1080,
        .length = 345678};
    const struct fw_event_snapshot snapshot = {
        .state = "pending", .full = picture, .face = picture};
    char camera[16];

    snprintf(camera, sizeof(camera), "camera-%d", (int)(track % CAMERAS));
    const struct fw_event_input input = {.type = appeared != NULL ? FW_EVENT_FACE_LEFT
                                                                  : FW_EVENT_FACE_APPEARED,
                                         .camera = {.worker_id = "edge-1",
                                                    .camera_id = camera,
                                                    .name = "Front door",
                                                    .location = "Building 2"},
                                         .time_utc_us = 1767225599123456,
                                         .frame_width = 1920,
                                         .frame_height = 1080,
                                         .faces = &face,
                                         .face_count = 1,
                                         .track = track,
                                         .appeared_id = appeared != NULL ? appeared->id : NULL,
                                         .reason = appeared != NULL ? "lost" : NULL,
                                         .first_seen_utc_us = 1767225598000000,
                                         .last_seen_utc_us = 1767225599123456,
                                         .snapshot = &snapshot};

    return fw_event_create(&input);
}

static bool post_all(struct fw_outbox *outbox, struct fw_event **events, int count)
{
    for (int i = 0; i < count; i++) {
        if (fw_outbox_post(outbox, events[i]) != FW_OK)
            return false;
        if (i % STEP == STEP - 1 && fw_outbox_flush(outbox, 60000) != FW_OK)
            return false;
    }
    return fw_outbox_flush(outbox, 60000) == FW_OK;
}

static bool deliver_all(struct fw_outbox *outbox, size_t batch)
{
    const struct fw_sink_backend backend = {.type = "count",
                                            .max_batch = batch,
                                            .open = count_open,
                                            .deliver = count_deliver,
                                            .close = count_close};
    const struct fw_sink_options sink_options = {.name = "count"};
    const struct fw_dispatcher_options options = {.outbox = outbox};
    struct fw_dispatcher *dispatcher = NULL;
    struct fw_sink *sink;
    bool is_drained = false;

    if (fw_sink_open_backend(&sink, &backend, &sink_options, NULL) == FW_OK)
        dispatcher = fw_dispatcher_create(&options, &sink, 1);
    if (dispatcher != NULL)
        is_drained = fw_dispatcher_drain(dispatcher, 600000);
    return fw_dispatcher_destroy(dispatcher, 5000) == FW_OK && is_drained &&
           fw_outbox_flush(outbox, 60000) == FW_OK;
}

// False: something of it went wrong.
static bool measure(struct fw_outbox *outbox, struct fw_event **events, int count, size_t batch)
{
    int64_t began_us = fw_monotonic_us(), posted_us, delivered_us;
    struct fw_outbox_stats stats;

    if (!post_all(outbox, events, count))
        return false;
    posted_us = fw_monotonic_us();
    fw_outbox_get_stats(outbox, &stats);
    if (stats.dropped > 0 || stats.is_degraded || (batch > 0 && !deliver_all(outbox, batch)))
        return false;
    delivered_us = fw_monotonic_us();
    printf("%.0f %d %llu %.0f\n", (double)count * 1e6 / (double)(posted_us - began_us), count,
           (unsigned long long)stats.commits,
           batch > 0 ? (double)count * 1e6 / (double)(delivered_us - posted_us) : 0.0);
    return true;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : ".";
    int count = argc > 2 ? atoi(argv[2]) : 20000, made = 0, code = 1;
    size_t batch = argc > 3 ? (size_t)atoi(argv[3]) : 64;
    const char *names[] = {argc > 4 ? argv[4] : "count"};
    struct fw_event **events = calloc((size_t)count, sizeof(struct fw_event *));
    struct fw_outbox *outbox = NULL;
    struct fw_error error = {0};
    char path[4096];

    snprintf(path, sizeof(path), "%s/outbox.db", folder);
    const struct fw_outbox_options options = {.path = path,
                                              .max_ring_events = 2 * STEP,
                                              .delivery = FW_DELIVERY_FALLBACK,
                                              .sink_names = names,
                                              .sink_count = 1};
    if (events == NULL || fw_outbox_open(&outbox, &options, &error) != FW_OK) {
        fprintf(stderr, "%s\n", error.message);
        free(events);
        return 1;
    }
    while (made < count &&
           (events[made] = make_event(made, made % 2 == 1 ? events[made - 1] : NULL)) != NULL)
        made++;
    if (made == count && measure(outbox, events, count, batch))
        code = 0;
    for (int i = 0; i < made; i++)
        fw_event_unref(events[i]);
    free(events);
    return fw_outbox_close(outbox, 10000) == FW_OK ? code : 1;
}
