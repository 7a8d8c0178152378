#include "app/bench_run.h"
#include "media/frame.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/thread.h"
#include <pthread.h>
#include <stdlib.h>

#define WARM_UP_CALLS 2

static const struct fw_detect_parameters parameters = {.min_score = 0.7F, .nms_iou = 0.45F};

// The threads start together, once all are warm.
struct start {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int warm; // threads that wait
    bool is_open;
    int64_t until_us;
    struct fw_cancel *cancel;
};

struct runner {
    struct start *start;
    struct fw_thread *thread;
    struct fw_detector *detector;
    struct fw_frame *frame;
    struct fw_faces faces;
    // Read when the thread has ended.
    int status;
    struct fw_error error;
    int64_t calls, busy_us;
};

static int call(struct runner *runner)
{
    return fw_detector_detect(runner->detector, runner->frame, &parameters, &runner->faces,
                              &runner->error);
}

static int64_t wait_for_start(struct start *start)
{
    pthread_mutex_lock(&start->lock);
    start->warm++;
    pthread_cond_broadcast(&start->changed);
    while (!start->is_open)
        pthread_cond_wait(&start->changed, &start->lock);
    int64_t until_us = start->until_us;
    pthread_mutex_unlock(&start->lock);
    return until_us;
}

static void run(void *opaque)
{
    struct runner *runner = opaque;
    for (int i = 0; i < WARM_UP_CALLS && runner->status == FW_OK; i++)
        runner->status = call(runner);
    int64_t until_us = wait_for_start(runner->start);
    int64_t began_us = fw_monotonic_us(), now_us = began_us;
    while (runner->status == FW_OK && (runner->calls == 0 || now_us < until_us) &&
           !fw_cancel_is_set(runner->start->cancel)) {
        runner->status = call(runner);
        now_us = fw_monotonic_us();
        runner->calls++;
    }
    runner->busy_us = now_us - began_us;
}

static int prepare(struct runner *runner, const struct fw_bench_options *options,
                   struct start *start, struct fw_error *error)
{
    const struct fw_frame *frame = options->frame;
    runner->start = start;
    runner->frame = fw_frame_create(frame->format, frame->width, frame->height);
    if (runner->frame == NULL || fw_frame_copy(runner->frame, frame) != FW_OK)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    return fw_detector_open(&runner->detector, &options->detector, error);
}

static void free_runner(struct runner *runner)
{
    fw_detector_close(runner->detector);
    fw_frame_unref(runner->frame);
    fw_faces_free(&runner->faces);
}

// Starts the threads and opens the gate; without all of them nothing is measured.
static int let_run(struct runner *runners, const struct fw_bench_options *options,
                   struct start *start, struct fw_error *error)
{
    int started = 0, status = FW_OK;
    while (started < options->threads && status == FW_OK) {
        status = fw_thread_start(&runners[started].thread, "bench", options->log, run,
                                 &runners[started]);
        started += status == FW_OK;
    }
    pthread_mutex_lock(&start->lock);
    while (start->warm < started)
        pthread_cond_wait(&start->changed, &start->lock);
    // Those that started without the others end at once.
    int64_t length_us = status == FW_OK ? (int64_t)(options->seconds * FW_US_PER_S) : 0;
    start->until_us = fw_monotonic_us() + length_us;
    start->is_open = true;
    pthread_cond_broadcast(&start->changed);
    pthread_mutex_unlock(&start->lock);
    for (int i = 0; i < started; i++)
        fw_thread_join(runners[i].thread, -1);
    return status == FW_OK ? FW_OK
                           : fw_fail(error, status, "can't start %d threads (%s); use fewer",
                                     options->threads, fw_status_text(status));
}

static int sum_up(const struct runner *runners, int count, struct fw_cancel *cancel,
                  struct fw_bench_sample *sample, struct fw_error *error)
{
    int64_t calls = 0, busy_us = 0;
    *sample = (struct fw_bench_sample){0};
    for (int i = 0; i < count; i++) {
        if (runners[i].status != FW_OK) {
            *error = runners[i].error;
            return runners[i].status;
        }
        if (fw_cancel_is_set(cancel) || runners[i].calls == 0)
            return fw_fail(error, FW_ECANCELED, "interrupted");
        sample->pictures_per_s +=
            (double)runners[i].calls * FW_US_PER_S / (double)runners[i].busy_us;
        calls += runners[i].calls;
        busy_us += runners[i].busy_us;
    }
    sample->ms = (double)busy_us / FW_US_PER_MS / (double)calls;
    return FW_OK;
}

int fw_bench_measure(const struct fw_bench_options *options, struct fw_bench_sample *sample,
                     struct fw_error *error)
{
    struct start start = {.lock = PTHREAD_MUTEX_INITIALIZER,
                          .changed = PTHREAD_COND_INITIALIZER,
                          .cancel = options->cancel};
    struct runner *runners = calloc((size_t)options->threads, sizeof(*runners));
    if (runners == NULL)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    int status = FW_OK;
    for (int i = 0; i < options->threads && status == FW_OK; i++)
        status = prepare(&runners[i], options, &start, error);
    if (status == FW_OK)
        status = let_run(runners, options, &start, error);
    if (status == FW_OK)
        status = sum_up(runners, options->threads, options->cancel, sample, error);
    for (int i = 0; i < options->threads; i++)
        free_runner(&runners[i]);
    free(runners);
    pthread_cond_destroy(&start.changed);
    pthread_mutex_destroy(&start.lock);
    return status;
}

int fw_bench_profile(const struct fw_bench_options *options,
                     struct fw_detector_part parts[FW_DETECTOR_MAX_PARTS], int64_t *calls,
                     struct fw_error *error)
{
    struct runner runner = {.detector = NULL};
    int count = prepare(&runner, options, NULL, error);
    for (int i = 0; i < WARM_UP_CALLS && count == FW_OK; i++)
        count = call(&runner);
    int64_t until_us = fw_monotonic_us() + (int64_t)(options->seconds * FW_US_PER_S);
    *calls = 0;
    for (bool is_over = false; !is_over && count >= 0; ++*calls) {
        count = fw_detector_profile(runner.detector, runner.frame, &parameters, parts, error);
        is_over = fw_monotonic_us() >= until_us;
        if (fw_cancel_is_set(options->cancel))
            count = fw_fail(error, FW_ECANCELED, "interrupted");
    }
    free_runner(&runner);
    return count;
}

struct fw_frame *fw_bench_picture(int width, int height)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, width, height);
    uint32_t noise = 1;
    for (int plane = 0; frame != NULL && plane < 3; plane++) {
        for (int y = 0; y < fw_frame_row_count(frame, plane); y++) {
            uint8_t *row = frame->planes[plane] + (ptrdiff_t)y * frame->strides[plane];
            for (int x = 0; x < fw_frame_row_bytes(frame, plane); x++) {
                noise = noise * 1664525U + 1013904223U;
                int edge = ((x / 48 + y / 36) & 1) * 40;
                row[x] = (uint8_t)(60 + edge + (x + y) / 16 % 64 + (int)(noise >> 28));
            }
        }
    }
    return frame;
}
