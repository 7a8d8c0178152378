// A thread takes the next input. When there is none left, it helps with a video that another one
// reads: whoever holds the video's `reading` lock decodes the next picture, and detects in it
// while others decode. So all threads have work to the end, whatever the inputs are.
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
#include <unistd.h>

#define PROGRESS_EVERY_US 200000

// What was printed for one picture, waiting for those before it.
struct line {
    struct line *next;
    unsigned long number;
    char *text;
};

// A video while threads read it.
struct video {
    pthread_mutex_t reading;
    // Under `reading`.
    struct fw_source *source;
    struct fw_url *url;
    unsigned long next_number;
    bool has_ended;
};

// One input. Everything is guarded by the run's lock, but for what VIDEO points to.
struct task {
    struct line *lines;    // not written yet, by number
    struct line *last;     // of them; undefined when there is none
    unsigned long written; // lines written
    struct video *video;   // while it may be read; NULL for pictures
    int readers;           // threads at it
    bool is_cut;           // it was stopped in the middle
    bool is_done;          // no line will come any more
    double expected;       // pictures of the video, as its header says; 0: unknown
};

// What the threads share. `options` is read-only; everything below `lock` is guarded by it.
struct run {
    const struct fw_detect_run_options *options;
    bool is_out_terminal, has_video;
    int64_t began_us;
    pthread_mutex_t lock;
    struct task *tasks; // one an input
    size_t next;        // input to be taken
    size_t shown;       // first input that is not wholly written
    size_t done, pictures, failures;
    bool stopped;    // OUT takes no more
    int64_t told_us; // when progress was last shown
    bool is_progress_shown;
};

// One thread and what it alone uses.
struct worker {
    struct run *run;
    struct fw_thread *thread;
    struct fw_detector *detector;
    struct fw_annotator annotator;
    struct fw_faces faces;
};

// --- progress, under the lock ---

// The part of the work that is done, 0 to 1: whole inputs, and what is known of open videos.
static double fraction_done(const struct run *run)
{
    double done = (double)run->done;
    for (size_t i = run->shown; i < run->next; i++) {
        const struct task *task = &run->tasks[i];
        if (task->video != NULL && task->expected > 0) {
            double part = (double)task->video->next_number / task->expected;
            done += part < 1 ? part : 1;
        }
    }
    return done / (double)run->options->inputs->count;
}

static void print_time(double seconds)
{
    long left = (long)(seconds + 0.5);
    if (left >= 3600)
        fprintf(stderr, "%ld:%02ld:%02ld", left / 3600, left / 60 % 60, left % 60);
    else
        fprintf(stderr, "%ld:%02ld", left / 60, left % 60);
}

// Told where a video makes them more than the inputs.
static void print_pictures(const struct run *run)
{
    if (run->has_video)
        fprintf(stderr, ", %zu pictures", run->pictures);
}

static void show_progress(struct run *run)
{
    int64_t now_us = fw_monotonic_us();
    if (!run->options->progress || now_us - run->told_us < PROGRESS_EVERY_US)
        return;
    run->told_us = now_us;
    run->is_progress_shown = true;
    double seconds = (double)(now_us - run->began_us) / FW_US_PER_S;
    double fraction = fraction_done(run);
    fprintf(stderr, "\r%zu of %zu (%.0f %%)", run->done, run->options->inputs->count,
            100 * fraction);
    print_pictures(run);
    fprintf(stderr, ", %.1f a second", (double)run->pictures / seconds);
    if (fraction > 0) {
        fputs(", ", stderr);
        print_time(seconds / fraction * (1 - fraction));
        fputs(" left", stderr);
    }
    fputs("\x1b[K", stderr);
}

static void clear_progress(struct run *run)
{
    if (run->is_progress_shown)
        fputs("\r\x1b[K", stderr);
    run->is_progress_shown = false;
}

// What was done in all; nothing for a single picture.
static void show_end(struct run *run)
{
    bool is_short = run->options->inputs->count == 1 && run->told_us == run->began_us;
    if (!run->options->progress || is_short)
        return;
    double seconds = (double)(fw_monotonic_us() - run->began_us) / FW_US_PER_S;
    clear_progress(run);
    fprintf(stderr, "%zu of %zu", run->done, run->options->inputs->count);
    print_pictures(run);
    fputs(" in ", stderr);
    print_time(seconds);
    fprintf(stderr, ", %.1f a second\n", (double)run->pictures / seconds);
}

// --- lines, under the lock ---

static void write_line(struct run *run, const struct line *line)
{
    if (run->is_out_terminal)
        clear_progress(run);
    fputs(line->text, run->options->out);
}

static void free_line(struct line *line)
{
    free(line->text);
    free(line);
}

// Writes the lines of TASK whose turn has come: all of them once no other will come.
static bool write_task(struct run *run, struct task *task)
{
    bool is_any = false;
    while (task->lines != NULL && (task->is_done || task->lines->number == task->written)) {
        struct line *line = task->lines;
        task->lines = line->next;
        task->written++;
        write_line(run, line);
        free_line(line);
        is_any = true;
    }
    return is_any;
}

// Writes what is next in order, so that an interrupted run leaves what was found.
static void write_lines(struct run *run)
{
    bool is_any = false;
    for (; run->shown < run->options->inputs->count; run->shown++) {
        struct task *task = &run->tasks[run->shown];
        is_any = write_task(run, task) || is_any;
        if (!task->is_done)
            break;
    }
    if (is_any && (fflush(run->options->out) != 0 || ferror(run->options->out) != 0))
        run->stopped = true;
}

static void insert(struct task *task, struct line *line)
{
    // Nearly always it is the last one, and a video that waits for its turn has many.
    bool is_last = task->lines == NULL || task->last->number < line->number;
    struct line **at = task->lines != NULL && is_last ? &task->last->next : &task->lines;
    while (*at != NULL && (*at)->number < line->number)
        at = &(*at)->next;
    line->next = *at;
    *at = line;
    if (is_last)
        task->last = line;
}

// --- what a thread does ---

static bool is_stopped(struct run *run)
{
    pthread_mutex_lock(&run->lock);
    bool stopped = run->stopped || fw_cancel_is_set(run->options->cancel);
    pthread_mutex_unlock(&run->lock);
    return stopped;
}

// Hands the line of picture NUMBER of input INDEX in. TEXT is taken over.
static int give(struct run *run, size_t index, unsigned long number, struct fw_text *text)
{
    struct line *line = calloc(1, sizeof(*line));
    if (line != NULL)
        *line = (struct line){.number = number, .text = fw_text_steal(text)};
    if (line == NULL || line->text == NULL) {
        free(line);
        return FW_ENOMEM;
    }
    pthread_mutex_lock(&run->lock);
    insert(&run->tasks[index], line);
    run->pictures++;
    if (index == run->shown)
        write_lines(run);
    if (run->has_video)
        show_progress(run);
    pthread_mutex_unlock(&run->lock);
    return FW_OK;
}

static void fail(struct run *run, const char *name, const struct fw_error *error)
{
    struct fw_text line = FW_TEXT_INIT, clean = FW_TEXT_INIT;
    // Most messages name the file already.
    bool names_it = strstr(error->message, name) != NULL;
    fw_text_appendf(&line, "faceworker detect: %s%s%s\n", names_it ? "" : name,
                    names_it ? "" : ": ", error->message);
    fw_secrets_redact(run->options->secrets, fw_text_get(&line), &clean);
    pthread_mutex_lock(&run->lock);
    run->failures++;
    clear_progress(run);
    fputs(fw_text_get(&clean), stderr);
    pthread_mutex_unlock(&run->lock);
    fw_text_free(&line);
    fw_text_free(&clean);
}

static int detect_frame(struct worker *worker, size_t index, unsigned long number, const char *name,
                        struct fw_frame *frame, struct fw_error *error)
{
    const struct fw_detect_run_options *options = worker->run->options;
    struct fw_text text = FW_TEXT_INIT;
    int status =
        fw_detector_detect(worker->detector, frame, &options->parameters, &worker->faces, error);
    if (status == FW_OK && options->annotate != NULL)
        status = fw_annotate(&worker->annotator, name, frame, &worker->faces, error);
    if (status == FW_OK && options->crop != NULL)
        status = fw_detect_write_crops(options->targets, options->crop, name, frame, &worker->faces,
                                       error);
    if (status != FW_OK)
        return status;
    fw_detect_append_line(&text, name, frame, &worker->faces, options->crop);
    status = give(worker->run, index, number, &text);
    fw_text_free(&text);
    return status == FW_OK ? FW_OK : fw_fail(error, status, "out of memory");
}

static int detect_picture(struct worker *worker, size_t index, struct fw_error *error)
{
    const char *path = worker->run->options->inputs->items[index].path;
    struct fw_frame *frame = NULL;
    int status = fw_image_load(path, &frame, error);
    if (status == FW_OK)
        status = detect_frame(worker, index, 0, path, frame, error);
    fw_frame_unref(frame);
    return status;
}

// --- videos ---

static int open_video(struct run *run, size_t index, struct video *video, struct fw_error *error)
{
    const char *path = run->options->inputs->items[index].path;
    // It is a file, whatever its name looks like.
    char *whole = fw_strdup_printf("%s%s", path[0] == '/' ? "" : "./", path);
    if (whole == NULL)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    int status = fw_url_parse(&video->url, whole, NULL, NULL, run->options->secrets, error);
    free(whole);
    if (status != FW_OK)
        return status;
    const struct fw_source_options options = {
        .url = video->url,
        .transport = FW_TRANSPORT_AUTO,
        .tls_verify = true,
        .connect_timeout_ms = 10000,
        .packet_timeout_ms = 10000,
        .keyframe_timeout_ms = 30000,
        .secrets = run->options->secrets,
        .cancel = run->options->cancel,
        .log = run->options->detector.log,
    };
    status = fw_source_open(&video->source, &options, error);
    if (status != FW_OK)
        return status;
    struct fw_source_info info;
    fw_source_get_info(video->source, &info);
    pthread_mutex_lock(&run->lock);
    run->tasks[index].expected = info.fps * info.duration_s;
    pthread_mutex_unlock(&run->lock);
    return FW_OK;
}

// The video's next picture and its number. FW_EEND for every thread once it has ended or failed.
static int read_video(struct run *run, size_t index, struct video *video, struct fw_frame **frame,
                      unsigned long *number, struct fw_error *error)
{
    int status = FW_EEND;
    pthread_mutex_lock(&video->reading);
    if (!video->has_ended) {
        status = video->source == NULL ? open_video(run, index, video, error) : FW_OK;
        if (status == FW_OK)
            status = fw_source_read(video->source, frame, error);
        video->has_ended = status != FW_OK;
    }
    if (status == FW_OK) {
        pthread_mutex_lock(&run->lock); // progress reads it
        *number = video->next_number++;
        pthread_mutex_unlock(&run->lock);
    }
    pthread_mutex_unlock(&video->reading);
    return status;
}

static void end_video(struct video *video)
{
    pthread_mutex_lock(&video->reading);
    video->has_ended = true;
    pthread_mutex_unlock(&video->reading);
}

// This thread's share of a video's pictures, which are named PATH#NUMBER from 0.
static int detect_video(struct worker *worker, size_t index, struct video *video,
                        struct fw_error *error)
{
    const char *path = worker->run->options->inputs->items[index].path;
    int status = FW_OK;
    while (status == FW_OK) {
        struct fw_frame *frame = NULL;
        unsigned long number = 0;
        status = is_stopped(worker->run)
                     ? FW_ECANCELED
                     : read_video(worker->run, index, video, &frame, &number, error);
        if (status != FW_OK)
            break;
        char *name = fw_strdup_printf("%s#%lu", path, number);
        status = name == NULL ? fw_fail(error, FW_ENOMEM, "out of memory")
                              : detect_frame(worker, index, number, name, frame, error);
        fw_frame_unref(frame);
        free(name);
    }
    end_video(video);
    return status == FW_EEND ? FW_OK : status;
}

static struct video *create_video(void)
{
    struct video *video = calloc(1, sizeof(*video));
    if (video != NULL && pthread_mutex_init(&video->reading, NULL) != 0) {
        free(video);
        video = NULL;
    }
    return video;
}

static void destroy_video(struct video *video)
{
    if (video == NULL)
        return;
    fw_source_close(video->source);
    fw_url_destroy(video->url);
    pthread_mutex_destroy(&video->reading);
    free(video);
}

// --- the choice of work ---

// The open video with the fewest threads at it, or the number of inputs. Under the lock.
static size_t find_video(const struct run *run)
{
    size_t best = run->options->inputs->count;
    for (size_t i = run->shown; i < run->next; i++) {
        const struct task *task = &run->tasks[i];
        if (task->video != NULL &&
            (best == run->options->inputs->count || task->readers < run->tasks[best].readers))
            best = i;
    }
    return best;
}

// An input to work on: a new one, else a video that others read. False: nothing is left. *VIDEO is
// NULL for pictures, and when memory is out.
static bool take(struct run *run, size_t *index, struct video **video)
{
    const struct fw_detect_inputs *inputs = run->options->inputs;
    pthread_mutex_lock(&run->lock);
    if (run->next < inputs->count) {
        *index = run->next++;
        if (inputs->items[*index].is_video)
            run->tasks[*index].video = create_video();
    } else {
        *index = find_video(run);
    }
    bool is_any = *index < inputs->count;
    if (is_any) {
        *video = run->tasks[*index].video;
        run->tasks[*index].readers++;
    }
    pthread_mutex_unlock(&run->lock);
    return is_any;
}

// This thread's work on input INDEX has come to its end with STATUS; the last thread closes it.
static void leave(struct run *run, size_t index, struct video *video, int status)
{
    struct task *task = &run->tasks[index];
    pthread_mutex_lock(&run->lock);
    task->video = NULL; // it has ended: nobody shall join any more
    task->is_cut = task->is_cut || status == FW_ECANCELED;
    bool is_last = --task->readers == 0;
    if (is_last) {
        task->is_done = true;
        run->done += !task->is_cut;
        if (index == run->shown)
            write_lines(run);
        show_progress(run);
    }
    pthread_mutex_unlock(&run->lock);
    if (is_last)
        destroy_video(video);
}

static void work(void *opaque)
{
    struct worker *worker = opaque;
    struct run *run = worker->run;
    struct video *video = NULL;
    size_t index;
    while (!is_stopped(run) && take(run, &index, &video)) {
        const struct fw_detect_input *input = &run->options->inputs->items[index];
        struct fw_error error = {0};
        int status;
        if (!input->is_video)
            status = detect_picture(worker, index, &error);
        else if (video != NULL)
            status = detect_video(worker, index, video, &error);
        else
            status = fw_fail(&error, FW_ENOMEM, "out of memory");
        if (status != FW_OK && status != FW_ECANCELED)
            fail(run, input->path, &error);
        leave(run, index, video, status);
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
        workers[i].annotator.targets = run->options->targets;
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

static void free_tasks(struct run *run)
{
    for (size_t i = 0; run->tasks != NULL && i < run->options->inputs->count; i++) {
        while (run->tasks[i].lines != NULL) {
            struct line *line = run->tasks[i].lines;
            run->tasks[i].lines = line->next;
            free_line(line);
        }
    }
    free(run->tasks);
}

static bool has_video(const struct fw_detect_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++) {
        if (inputs->items[i].is_video)
            return true;
    }
    return false;
}

static int outcome(const struct run *run, struct fw_error *error)
{
    size_t count = run->options->inputs->count;
    if (fw_cancel_is_set(run->options->cancel) && run->done < count)
        return fw_fail(error, FW_ECANCELED, "interrupted with %zu of %zu inputs done", run->done,
                       count);
    return run->failures > 0 || run->stopped ? FW_EIO : FW_OK;
}

int fw_detect_run(const struct fw_detect_run_options *options, struct fw_error *error)
{
    struct run run = {.options = options,
                      .is_out_terminal = isatty(fileno(options->out)) != 0,
                      .has_video = has_video(options->inputs),
                      .began_us = fw_monotonic_us(),
                      .lock = PTHREAD_MUTEX_INITIALIZER};
    // More threads than pictures would have nothing to do; a video has pictures for all.
    int count = options->jobs;
    if (!run.has_video && options->inputs->count < (size_t)count)
        count = (int)options->inputs->count;
    struct worker *workers = calloc((size_t)count + 1, sizeof(*workers));
    run.told_us = run.began_us;
    run.tasks = calloc(options->inputs->count + 1, sizeof(*run.tasks));
    int status = FW_ENOMEM;
    if (workers == NULL || run.tasks == NULL)
        fw_fail(error, status, "out of memory");
    else
        status = start_workers(&run, workers, count, error);
    if (workers != NULL)
        close_workers(workers, count);
    if (status == FW_OK) {
        show_end(&run);
        status = outcome(&run, error);
    }
    free_tasks(&run);
    free(workers);
    pthread_mutex_destroy(&run.lock);
    return status;
}
