// Locks: `mutex` guards the clients and what the threads do, `specs_mutex` the specs. Neither is
// held while a model is located, a detector works or `done` runs; both are never held at once.
#include "detect/pool.h"

#include "media/frame.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"
#include "util/thread.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_US (30 * FW_US_PER_S)
// Lack of memory passes sooner than a model appears.
#define RETRY_MEMORY_US FW_US_PER_S
#define MAX_THREADS     256

// One distinct detector that clients ask for. Made when first asked for, freed with the pool.
struct spec {
    struct spec *next; // under specs_mutex
    // Read-only after the making.
    char *model, *precision, *isa;
    int input_size;
    // Under specs_mutex. FILES and BACKEND: read-only once BACKEND is set.
    const char *backend; // NULL: not located yet
    struct fw_model_files files;
    struct fw_detector *spare; // opened by fw_pool_prepare(), for the first thread that needs it
    int failure;               // why it can't be opened, else FW_OK
    struct fw_error error;
    int64_t retry_at_us;
};

// A detector of one thread.
struct opened {
    struct opened *next;
    const struct spec *spec;
    struct fw_detector *detector;
};

struct worker {
    struct fw_pool *pool;
    struct fw_thread *thread;
    char name[16];
    // This thread only.
    struct opened *opened;
    struct fw_faces faces;
};

struct fw_pool_client {
    struct fw_pool *pool;
    struct fw_pool_client_options options;
    struct spec *spec;
    // Under the pool's mutex.
    struct fw_pool_client *next;
    struct fw_frame *waiting;
    bool running;
    uint64_t served_at; // the pool's count of services at the last one
    struct fw_pool_stats stats;
};

struct fw_pool {
    struct fw_model_store_options models;
    const struct fw_log *log;
    struct fw_cancel *cancel; // stops downloads at the end
    struct worker *workers;
    int worker_count;

    pthread_mutex_t mutex;
    pthread_cond_t work; // a picture came, or the end
    pthread_cond_t idle; // a client's picture is done
    struct fw_pool_client *clients;
    uint64_t services;
    bool stopping;

    pthread_mutex_t specs_mutex;
    struct spec *specs;
};

// ---- Specs

static void spec_free(struct spec *spec)
{
    if (!spec)
        return;
    fw_detector_close(spec->spare);
    fw_model_files_free(&spec->files);
    free(spec->model);
    free(spec->precision);
    free(spec->isa);
    free(spec);
}

static struct spec *spec_create(const struct fw_pool_client_options *options)
{
    struct spec *spec = calloc(1, sizeof *spec);
    if (!spec)
        return NULL;
    spec->model = fw_strdup(options->model);
    spec->precision = fw_strdup(options->precision ? options->precision : "auto");
    spec->isa = fw_strdup(options->isa ? options->isa : "auto");
    spec->input_size = options->input_size;
    if (!spec->model || !spec->precision || !spec->isa) {
        spec_free(spec);
        return NULL;
    }
    return spec;
}

static bool spec_fits(const struct spec *spec, const struct fw_pool_client_options *options)
{
    return strcmp(spec->model, options->model) == 0 &&
           strcmp(spec->precision, options->precision ? options->precision : "auto") == 0 &&
           strcmp(spec->isa, options->isa ? options->isa : "auto") == 0 &&
           spec->input_size == options->input_size;
}

// The spec for OPTIONS, made when there is none. NULL when memory is out.
static struct spec *spec_for(struct fw_pool *pool, const struct fw_pool_client_options *options)
{
    pthread_mutex_lock(&pool->specs_mutex);
    struct spec *spec = pool->specs;
    while (spec && !spec_fits(spec, options))
        spec = spec->next;
    if (!spec) {
        spec = spec_create(options);
        if (spec) {
            spec->next = pool->specs;
            pool->specs = spec;
        }
    }
    pthread_mutex_unlock(&pool->specs_mutex);
    return spec;
}

// The backend called MODEL that needs no file, or NULL.
static const char *backend_without_model(const char *model)
{
    const struct fw_detector_backend *const *backends = fw_detector_backends();
    for (size_t i = 0; backends[i]; i++)
        if (!backends[i]->needs_model && strcmp(backends[i]->name, model) == 0)
            return backends[i]->name;
    return NULL;
}

// Finds the model's files, unless that was done before.
static int spec_locate(struct fw_pool *pool, struct spec *spec, struct fw_cancel *cancel,
                       struct fw_error *error)
{
    pthread_mutex_lock(&pool->specs_mutex);
    bool located = spec->backend != NULL;
    pthread_mutex_unlock(&pool->specs_mutex);
    if (located)
        return FW_OK;
    struct fw_model_files files = {.backend = backend_without_model(spec->model)};
    int status = FW_OK;
    if (!files.backend)
        status = fw_model_locate(&pool->models, spec->model, cancel, &files, error);
    if (status != FW_OK)
        return status;
    pthread_mutex_lock(&pool->specs_mutex);
    // Another thread may have been quicker, and readers hold on to what it found.
    if (spec->backend) {
        fw_model_files_free(&files);
    } else {
        spec->files = files;
        spec->backend = files.backend;
    }
    pthread_mutex_unlock(&pool->specs_mutex);
    return FW_OK;
}

static int spec_open(struct fw_pool *pool, struct spec *spec, struct fw_cancel *cancel,
                     struct fw_detector **detector, struct fw_error *error)
{
    *detector = NULL;
    int status = spec_locate(pool, spec, cancel, error);
    if (status != FW_OK)
        return status;
    const struct fw_detector_options options = {
        .backend = spec->backend,
        .model_path = spec->files.path,
        .config_path = spec->files.config_path,
        .precision = spec->precision,
        .isa = spec->isa,
        .input_size = spec->input_size,
        .log = pool->log,
    };
    return fw_detector_open(detector, &options, error);
}

// ---- The threads

// The spare detector, or the failure that is not to be tried again yet. FW_EAGAIN: open one.
static int take_spare(struct fw_pool *pool, struct spec *spec, struct fw_detector **detector,
                      struct fw_error *error)
{
    int status = FW_EAGAIN;
    pthread_mutex_lock(&pool->specs_mutex);
    if (spec->spare) {
        *detector = spec->spare;
        spec->spare = NULL;
        status = FW_OK;
    } else if (spec->failure != FW_OK && fw_monotonic_us() < spec->retry_at_us) {
        status = spec->failure;
        *error = spec->error;
    }
    pthread_mutex_unlock(&pool->specs_mutex);
    return status;
}

// Keeps the outcome of an opening for all threads. True when it is a new failure.
static bool note_outcome(struct fw_pool *pool, struct spec *spec, int status,
                         const struct fw_error *error)
{
    pthread_mutex_lock(&pool->specs_mutex);
    bool news = status != FW_OK && spec->failure == FW_OK;
    spec->failure = status;
    if (status != FW_OK) {
        spec->error = *error;
        spec->retry_at_us = fw_monotonic_us() + (status == FW_ENOMEM ? RETRY_MEMORY_US : RETRY_US);
    }
    pthread_mutex_unlock(&pool->specs_mutex);
    return news;
}

static int worker_open(struct worker *worker, struct spec *spec, struct fw_detector **detector,
                       struct fw_error *error)
{
    struct fw_pool *pool = worker->pool;
    int status = take_spare(pool, spec, detector, error);
    if (status != FW_EAGAIN)
        return status;
    status = spec_open(pool, spec, pool->cancel, detector, error);
    if (note_outcome(pool, spec, status, error) && status != FW_ECANCELED)
        fw_log_error(pool->log, "no faces are looked for with the model '%s': %s", spec->model,
                     error->message);
    return status;
}

static int worker_detector(struct worker *worker, struct spec *spec, struct fw_detector **detector,
                           struct fw_error *error)
{
    for (struct opened *opened = worker->opened; opened; opened = opened->next) {
        if (opened->spec == spec) {
            *detector = opened->detector;
            return FW_OK;
        }
    }
    struct opened *opened = calloc(1, sizeof *opened);
    if (!opened)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    int status = worker_open(worker, spec, &opened->detector, error);
    if (status != FW_OK) {
        free(opened);
        return status;
    }
    opened->spec = spec;
    opened->next = worker->opened;
    worker->opened = opened;
    *detector = opened->detector;
    return FW_OK;
}

static bool is_too_old(const struct fw_pool_client *client, const struct fw_frame *frame,
                       int64_t now_us)
{
    return client->options.max_age_us > 0 &&
           now_us - frame->capture_mono_us > client->options.max_age_us;
}

// The client with a picture that was served longest ago, or NULL. With the mutex held.
static struct fw_pool_client *pick(const struct fw_pool *pool)
{
    struct fw_pool_client *best = NULL;
    for (struct fw_pool_client *client = pool->clients; client; client = client->next)
        if (client->waiting && !client->running && (!best || client->served_at < best->served_at))
            best = client;
    return best;
}

// Waits for work. The client it returns is marked as running; NULL is the end. *FRAME is the
// caller's. Pictures that got too old while waiting are dropped on the way.
static struct fw_pool_client *take(struct fw_pool *pool, struct fw_frame **frame)
{
    struct fw_pool_client *client = NULL;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->stopping) {
        client = pick(pool);
        if (!client) {
            pthread_cond_wait(&pool->work, &pool->mutex);
            continue;
        }
        *frame = client->waiting;
        client->waiting = NULL;
        if (!is_too_old(client, *frame, fw_monotonic_us())) {
            client->running = true;
            client->served_at = ++pool->services;
            break;
        }
        client->stats.dropped_age++;
        client = NULL;
        fw_frame_unref(*frame);
    }
    pthread_mutex_unlock(&pool->mutex);
    return client;
}

static void give_back(struct fw_pool *pool, struct fw_pool_client *client, int status,
                      int64_t busy_us)
{
    pthread_mutex_lock(&pool->mutex);
    client->running = false;
    if (status == FW_OK) {
        client->stats.analysed++;
        client->stats.busy_us += busy_us;
        client->stats.last_us = busy_us;
    } else {
        client->stats.failed++;
    }
    pthread_cond_broadcast(&pool->idle);
    pthread_mutex_unlock(&pool->mutex);
}

static void serve(struct worker *worker, struct fw_pool_client *client, struct fw_frame *frame)
{
    struct fw_error error = {0};
    struct fw_detector *detector = NULL;
    int64_t busy_us = 0;
    fw_faces_clear(&worker->faces);
    int status = worker_detector(worker, client->spec, &detector, &error);
    if (status == FW_OK) {
        int64_t began_us = fw_monotonic_us();
        status = fw_detector_detect(detector, frame, &client->options.parameters, &worker->faces,
                                    &error);
        busy_us = fw_monotonic_us() - began_us;
    }
    if (status != FW_OK)
        fw_faces_clear(&worker->faces);
    client->options.done(client->options.opaque, frame, &worker->faces, status, &error);
    fw_frame_unref(frame);
    give_back(worker->pool, client, status, busy_us);
}

static void run(void *opaque)
{
    struct worker *worker = opaque;
    struct fw_frame *frame = NULL;
    struct fw_pool_client *client;
    while ((client = take(worker->pool, &frame)))
        serve(worker, client, frame);
    while (worker->opened) {
        struct opened *opened = worker->opened;
        worker->opened = opened->next;
        fw_detector_close(opened->detector);
        free(opened);
    }
    fw_faces_free(&worker->faces);
}

// ---- The pool

static int core_count(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : (int)count;
}

static int init_locks(struct fw_pool *pool)
{
    if (pthread_mutex_init(&pool->mutex, NULL) != 0)
        return FW_ENOMEM;
    if (pthread_mutex_init(&pool->specs_mutex, NULL) != 0)
        goto no_specs_mutex;
    if (pthread_cond_init(&pool->work, NULL) != 0)
        goto no_work;
    if (pthread_cond_init(&pool->idle, NULL) == 0)
        return FW_OK;
    pthread_cond_destroy(&pool->work);
no_work:
    pthread_mutex_destroy(&pool->specs_mutex);
no_specs_mutex:
    pthread_mutex_destroy(&pool->mutex);
    return FW_ENOMEM;
}

static void free_pool(struct fw_pool *pool)
{
    while (pool->specs) {
        struct spec *spec = pool->specs;
        pool->specs = spec->next;
        spec_free(spec);
    }
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->specs_mutex);
    pthread_mutex_destroy(&pool->mutex);
    fw_cancel_destroy(pool->cancel);
    free(pool->workers);
    free(pool);
}

static int start_workers(struct fw_pool *pool, int count)
{
    for (int i = 0; i < count; i++) {
        struct worker *worker = &pool->workers[i];
        worker->pool = pool;
        snprintf(worker->name, sizeof worker->name, "detect-%d", i);
        int status = fw_thread_start(&worker->thread, worker->name, pool->log, run, worker);
        if (status != FW_OK)
            return status;
        pool->worker_count++;
    }
    return FW_OK;
}

struct fw_pool *fw_pool_create(int threads, const struct fw_model_store_options *models,
                               const struct fw_log *log)
{
    int count = threads > 0 && threads <= MAX_THREADS ? threads : core_count();
    struct fw_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->models = *models;
    pool->log = log;
    pool->cancel = fw_cancel_create();
    pool->workers = calloc((size_t)count, sizeof *pool->workers);
    if (!pool->cancel || !pool->workers || init_locks(pool) != FW_OK) {
        fw_cancel_destroy(pool->cancel);
        free(pool->workers);
        free(pool);
        return NULL;
    }
    if (start_workers(pool, count) != FW_OK) {
        // They have nothing to do yet, so they end at once.
        fw_pool_destroy(pool, -1);
        return NULL;
    }
    return pool;
}

int fw_pool_destroy(struct fw_pool *pool, int64_t timeout_ms)
{
    if (!pool)
        return FW_OK;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    fw_cancel_trigger(pool->cancel);

    int64_t until_us = fw_monotonic_us() + timeout_ms * FW_US_PER_MS;
    int status = FW_OK;
    for (int i = 0; i < pool->worker_count; i++) {
        int64_t left_ms = (until_us - fw_monotonic_us()) / FW_US_PER_MS;
        if (timeout_ms < 0)
            left_ms = -1;
        else if (left_ms < 0)
            left_ms = 0;
        if (fw_thread_join(pool->workers[i].thread, left_ms) != FW_OK)
            status = FW_ETIMEDOUT;
    }
    if (status == FW_OK)
        free_pool(pool);
    return status;
}

int fw_pool_threads(const struct fw_pool *pool)
{
    return pool->worker_count;
}

// ---- Preparing

// The second choices, in order, and what they cost.
static const struct {
    const char *model, *loss;
} second_choices[] = {
    {"accurate", "each picture takes about fifteen times the processor time, so expect fewer "
                 "analyses a second, and very small faces are missed more often"},
    {"haar", "only upright faces that look at the camera are found, most others are missed, things "
             "are taken for faces, there are no landmarks, and each picture takes about thirty "
             "times the processor time: don't rely on it"},
};

static int prepare_one(struct fw_pool *pool, const struct fw_pool_client_options *options,
                       struct fw_cancel *cancel, struct fw_error *error)
{
    struct spec *spec = spec_for(pool, options);
    if (!spec)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    struct fw_detector *detector = NULL;
    int status = spec_open(pool, spec, cancel ? cancel : pool->cancel, &detector, error);
    if (status != FW_OK)
        return status;
    note_outcome(pool, spec, FW_OK, NULL);
    pthread_mutex_lock(&pool->specs_mutex);
    struct fw_detector *surplus = spec->spare;
    spec->spare = detector;
    pthread_mutex_unlock(&pool->specs_mutex);
    fw_detector_close(surplus);
    return FW_OK;
}

// Whether MODEL stands for a file that the user chose himself: such a choice is not overruled.
static bool is_own_file(const struct fw_model_store_options *models, const char *model)
{
    const struct fw_model_info *info = fw_model_find(model);
    if (!info)
        return true;
    const char *file = NULL;
    if (strcmp(info->name, "yunet") == 0)
        file = models->onnx;
    else if (strcmp(info->name, "res10") == 0)
        file = models->caffemodel;
    else if (strcmp(info->name, "haar") == 0)
        file = models->cascade;
    return file && strchr(file, '/') && !strstr(file, "://");
}

static int prepare_second_choice(struct fw_pool *pool, const struct fw_pool_client_options *options,
                                 struct fw_cancel *cancel, const char **used,
                                 const struct fw_error *why)
{
    const char *tried = fw_model_find(options->model)->name;
    for (size_t i = 0; i < sizeof second_choices / sizeof *second_choices; i++) {
        struct fw_error error = {0};
        struct fw_pool_client_options other = *options;
        other.model = second_choices[i].model;
        // What was chosen for one model need not suit another.
        other.precision = "auto";
        other.isa = "auto";
        if (strcmp(other.model, tried) == 0)
            continue;
        int status = prepare_one(pool, &other, cancel, &error);
        if (status == FW_OK) {
            fw_log_warning(pool->log,
                           "THE FACE DETECTOR IS A SECOND CHOICE: '%s' instead of '%s', "
                           "because %s",
                           other.model, options->model, why->message);
            fw_log_warning(pool->log, "with '%s', %s", other.model, second_choices[i].loss);
            *used = second_choices[i].model;
            return FW_OK;
        }
        if (status == FW_ECANCELED || status == FW_ENOMEM)
            return status;
        fw_log_warning(pool->log, "the second choice '%s' can't be had either: %s", other.model,
                       error.message);
    }
    return FW_ENOENT;
}

int fw_pool_prepare(struct fw_pool *pool, const struct fw_pool_client_options *options,
                    struct fw_cancel *cancel, const char **used, struct fw_error *error)
{
    struct fw_error why = {0};
    *used = NULL;
    int status = prepare_one(pool, options, cancel, &why);
    if (status == FW_OK) {
        *used = options->model;
        return FW_OK;
    }
    if (status != FW_ECANCELED && status != FW_ENOMEM &&
        !is_own_file(&pool->models, options->model)) {
        int other = prepare_second_choice(pool, options, cancel, used, &why);
        if (other == FW_OK)
            return FW_OK;
        if (other == FW_ECANCELED)
            return fw_fail(error, other, "the search for a model was stopped");
    }
    // The first choice's failure is the one to mend.
    if (error)
        *error = why;
    return status;
}

// ---- Clients

struct fw_pool_client *fw_pool_client_add(struct fw_pool *pool,
                                          const struct fw_pool_client_options *options)
{
    struct fw_pool_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->pool = pool;
    client->options = *options;
    client->spec = spec_for(pool, options);
    if (!client->spec) {
        free(client);
        return NULL;
    }
    pthread_mutex_lock(&pool->mutex);
    client->next = pool->clients;
    pool->clients = client;
    pthread_mutex_unlock(&pool->mutex);
    return client;
}

void fw_pool_submit(struct fw_pool_client *client, struct fw_frame *frame)
{
    struct fw_pool *pool = client->pool;
    struct fw_frame *newest = fw_frame_ref(frame);
    pthread_mutex_lock(&pool->mutex);
    struct fw_frame *replaced = client->waiting;
    client->waiting = newest;
    if (replaced)
        client->stats.dropped_newer++;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    fw_frame_unref(replaced);
}

bool fw_pool_client_is_busy(struct fw_pool_client *client)
{
    pthread_mutex_lock(&client->pool->mutex);
    bool busy = client->waiting || client->running;
    pthread_mutex_unlock(&client->pool->mutex);
    return busy;
}

void fw_pool_client_remove(struct fw_pool_client *client)
{
    if (!client)
        return;
    struct fw_pool *pool = client->pool;
    pthread_mutex_lock(&pool->mutex);
    struct fw_pool_client **at = &pool->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    struct fw_frame *waiting = client->waiting;
    client->waiting = NULL;
    while (client->running)
        pthread_cond_wait(&pool->idle, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    fw_frame_unref(waiting);
    free(client);
}

struct fw_pool_stats fw_pool_client_get_stats(struct fw_pool_client *client)
{
    pthread_mutex_lock(&client->pool->mutex);
    struct fw_pool_stats stats = client->stats;
    pthread_mutex_unlock(&client->pool->mutex);
    return stats;
}
