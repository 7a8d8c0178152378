#include "app/detect_run.h"
#include "app/detect_output.h"
#include "camera/source.h"
#include "media/image_file.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/thread.h"
#include "util/url.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_EVERY_US 200000

// One input's answer, kept until all before it are written.
struct answer {
    struct fw_text text;
    bool is_done;
};

// What the threads share. `options` is read-only; everything below `lock` is guarded by it.
struct run {
    const struct fw_detect_run_options *options;
    struct fw_cancel *cancel; // of the sources; never triggered
    int64_t began_us;
    pthread_mutex_t lock;
    size_t next;  // input to be taken
    size_t shown; // first input that is not wholly written
    struct answer *answers;
    size_t pictures, failures;
    int64_t told_us; // when progress was last shown
};

// One thread and what it alone uses.
struct worker {
    struct run *run;
    struct fw_thread *thread;
    struct fw_detector *detector;
    struct fw_annotator annotator;
    struct fw_faces faces;
};

// --- under the lock ---

static void show_progress(struct run *run, bool is_end)
{
    int64_t now_us = fw_monotonic_us();
    if (!run->options->progress || (!is_end && now_us - run->told_us < PROGRESS_EVERY_US))
        return;
    run->told_us = now_us;
    double seconds = (double)(now_us - run->began_us) / FW_US_PER_S;
    double rate = seconds > 0 ? (double)run->pictures / seconds : 0;
    size_t total = run->options->inputs->count, done = run->shown;
    fprintf(stderr, "\r%zu of %zu, %zu pictures, %.1f a second", done, total, run->pictures, rate);
    if (!is_end && done > 0) {
        long left = (long)(seconds / (double)done * (double)(total - done) + 0.5);
        fprintf(stderr, ", %ld:%02ld left", left / 60, left % 60);
    }
    fputs(is_end ? "\x1b[K\n" : "\x1b[K", stderr);
}

// Writes what is next in order.
static void flush_answers(struct run *run)
{
    for (; run->shown < run->options->inputs->count; run->shown++) {
        struct answer *answer = &run->answers[run->shown];
        fputs(fw_text_get(&answer->text), run->options->out);
        fw_text_clear(&answer->text);
        if (!answer->is_done)
            return;
        fw_text_free(&answer->text);
    }
}

// --- what a thread does ---

// Adds one picture's line to the answer of input INDEX.
static void give(struct run *run, size_t index, const char *name, const struct fw_frame *frame,
                 const struct fw_faces *faces)
{
    pthread_mutex_lock(&run->lock);
    fw_detect_append_line(&run->answers[index].text, name, frame, faces);
    if (run->answers[index].text.failed)
        run->failures++;
    run->pictures++;
    if (index == run->shown)
        flush_answers(run);
    show_progress(run, false);
    pthread_mutex_unlock(&run->lock);
}

static void fail(struct run *run, const char *name, const struct fw_error *error)
{
    struct fw_text line = FW_TEXT_INIT, clean = FW_TEXT_INIT;
    // Most messages name the file already.
    bool names_it = strstr(error->message, name) != NULL;
    fw_text_appendf(&line, "%sfaceworker detect: %s%s%s\n",
                    run->options->progress ? "\r\x1b[K" : "", names_it ? "" : name,
                    names_it ? "" : ": ", error->message);
    fw_secrets_redact(run->options->secrets, fw_text_get(&line), &clean);
    pthread_mutex_lock(&run->lock);
    run->failures++;
    fputs(fw_text_get(&clean), stderr);
    pthread_mutex_unlock(&run->lock);
    fw_text_free(&line);
    fw_text_free(&clean);
}

static int detect_frame(struct worker *worker, size_t index, const char *name,
                        struct fw_frame *frame, struct fw_error *error)
{
    const struct fw_detect_run_options *options = worker->run->options;
    int status =
        fw_detector_detect(worker->detector, frame, &options->parameters, &worker->faces, error);
    if (status == FW_OK && options->annotate != NULL)
        status = fw_annotate(&worker->annotator, name, frame, &worker->faces, error);
    if (status == FW_OK)
        give(worker->run, index, name, frame, &worker->faces);
    return status;
}

static int detect_picture(struct worker *worker, size_t index, const char *path,
                          struct fw_error *error)
{
    struct fw_frame *frame = NULL;
    int status = fw_image_load(path, &frame, error);
    if (status == FW_OK)
        status = detect_frame(worker, index, path, frame, error);
    fw_frame_unref(frame);
    return status;
}

static int open_video(struct worker *worker, const char *path, struct fw_url **url,
                      struct fw_source **source, struct fw_error *error)
{
    const struct fw_source_options options = {
        .transport = FW_TRANSPORT_AUTO,
        .tls_verify = true,
        .connect_timeout_ms = 10000,
        .packet_timeout_ms = 10000,
        .keyframe_timeout_ms = 30000,
        .secrets = worker->run->options->secrets,
        .cancel = worker->run->cancel,
        .log = worker->run->options->detector.log,
    };
    struct fw_source_options with_url = options;
    int status = fw_url_parse(url, path, NULL, NULL, worker->run->options->secrets, error);
    with_url.url = *url;
    return status == FW_OK ? fw_source_open(source, &with_url, error) : status;
}

// Every picture of a video, named PATH#NUMBER from 0.
static int detect_video(struct worker *worker, size_t index, const char *path,
                        struct fw_error *error)
{
    struct fw_source *source = NULL;
    struct fw_url *url = NULL;
    int status = open_video(worker, path, &url, &source, error);
    for (unsigned long number = 0; status == FW_OK; number++) {
        struct fw_frame *frame = NULL;
        char *name = fw_strdup_printf("%s#%lu", path, number);
        status = name == NULL ? fw_fail(error, FW_ENOMEM, "out of memory")
                              : fw_source_read(source, &frame, error);
        if (status == FW_OK)
            status = detect_frame(worker, index, name, frame, error);
        fw_frame_unref(frame);
        free(name);
    }
    fw_source_close(source);
    fw_url_destroy(url);
    return status == FW_EEND ? FW_OK : status;
}

static bool take(struct run *run, size_t *index)
{
    pthread_mutex_lock(&run->lock);
    bool is_there = run->next < run->options->inputs->count;
    *index = run->next;
    run->next += is_there;
    pthread_mutex_unlock(&run->lock);
    return is_there;
}

static void finish(struct run *run, size_t index)
{
    pthread_mutex_lock(&run->lock);
    run->answers[index].is_done = true;
    if (index == run->shown)
        flush_answers(run);
    pthread_mutex_unlock(&run->lock);
}

static void work(void *opaque)
{
    struct worker *worker = opaque;
    struct run *run = worker->run;
    size_t index;
    while (take(run, &index)) {
        const struct fw_detect_input *input = &run->options->inputs->items[index];
        struct fw_error error = {0};
        int status = input->is_video ? detect_video(worker, index, input->path, &error)
                                     : detect_picture(worker, index, input->path, &error);
        if (status != FW_OK)
            fail(run, input->path, &error);
        finish(run, index);
    }
}

// --- start and end ---

static void close_workers(struct worker *workers, int count)
{
    for (int i = 0; i < count; i++) {
        fw_thread_join(workers[i].thread, -1);
        fw_detector_close(workers[i].detector);
        fw_annotator_free(&workers[i].annotator);
        fw_faces_free(&workers[i].faces);
    }
}

// Detectors are opened before the first thread starts, so that a model that can't be used is one
// message rather than one a thread.
static int start_workers(struct run *run, struct worker *workers, int count, struct fw_error *error)
{
    for (int i = 0; i < count; i++) {
        workers[i].run = run;
        workers[i].annotator.folder = run->options->annotate;
        int status = fw_detector_open(&workers[i].detector, &run->options->detector, error);
        if (status != FW_OK)
            return status;
    }
    for (int i = 0; i < count; i++) {
        int status = fw_thread_start(&workers[i].thread, "detect", run->options->detector.log, work,
                                     &workers[i]);
        // With one thread the work gets done, if more slowly.
        if (status != FW_OK && i == 0)
            return fw_fail(error, status, "can't start a thread (%s)", fw_status_text(status));
    }
    return FW_OK;
}

int fw_detect_run(const struct fw_detect_run_options *options, struct fw_error *error)
{
    struct run run = {.options = options,
                      .cancel = fw_cancel_create(),
                      .began_us = fw_monotonic_us(),
                      .lock = PTHREAD_MUTEX_INITIALIZER};
    int count = options->inputs->count < (size_t)options->jobs ? (int)options->inputs->count
                                                               : options->jobs;
    struct worker *workers = calloc((size_t)count + 1, sizeof(*workers));
    run.answers = calloc(options->inputs->count + 1, sizeof(*run.answers));
    int status = FW_ENOMEM;
    if (run.cancel == NULL || workers == NULL || run.answers == NULL)
        fw_fail(error, status, "out of memory");
    else
        status = start_workers(&run, workers, count, error);
    if (workers != NULL)
        close_workers(workers, count);
    if (status == FW_OK) {
        show_progress(&run, true);
        status = run.failures > 0 ? FW_EIO : FW_OK;
    }
    for (size_t i = 0; run.answers != NULL && i < options->inputs->count; i++)
        fw_text_free(&run.answers[i].text);
    free(run.answers);
    free(workers);
    fw_cancel_destroy(run.cancel);
    pthread_mutex_destroy(&run.lock);
    return status;
}
