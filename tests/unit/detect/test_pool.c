// The pool, over detectors of our own: these functions stand in for those of registry.c.
#include "detect/pool.h"

#include "media/frame.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/thread.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_S 20

// A gate that detections pass one by one, or all at once when it is open.
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool open;
    int tokens, arrived;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, true, 0, 0};

static atomic_int opened_count;
static atomic_int closed_count;

struct fw_detector {
    int unused;
};

static const struct fw_detector_backend fake = {.name = "fake", .needs_model = false};
static const struct fw_detector_backend broken = {.name = "broken", .needs_model = false};
static const struct fw_detector_backend *const backends[] = {&fake, &broken, NULL};

const struct fw_detector_backend *const *fw_detector_backends(void)
{
    return backends;
}

int fw_detector_open(struct fw_detector **detector, const struct fw_detector_options *options,
                     struct fw_error *error)
{
    *detector = NULL;
    atomic_fetch_add(&opened_count, 1);
    if (strcmp(options->backend, "broken") == 0)
        return fw_fail(error, FW_EFORMAT, "it is broken; mend it");
    *detector = calloc(1, sizeof **detector);
    return *detector ? FW_OK : FW_ENOMEM;
}

void fw_detector_close(struct fw_detector *detector)
{
    if (detector)
        atomic_fetch_add(&closed_count, 1);
    free(detector);
}

static void gate_pass(void)
{
    pthread_mutex_lock(&gate.mutex);
    gate.arrived++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open && gate.tokens == 0)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    if (!gate.open)
        gate.tokens--;
    pthread_mutex_unlock(&gate.mutex);
}

static void gate_set(bool open, int tokens)
{
    pthread_mutex_lock(&gate.mutex);
    gate.open = open;
    gate.tokens = tokens;
    gate.arrived = 0;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

static struct timespec patience(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    return until;
}

static void gate_await(int arrivals)
{
    struct timespec until = patience();
    pthread_mutex_lock(&gate.mutex);
    while (gate.arrived < arrivals)
        assert_int_equal(0, pthread_cond_timedwait(&gate.changed, &gate.mutex, &until));
    pthread_mutex_unlock(&gate.mutex);
}

int fw_detector_detect(struct fw_detector *detector, const struct fw_frame *frame,
                       const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                       struct fw_error *error)
{
    (void)detector;
    (void)error;
    gate_pass();
    struct fw_face face = {.score = parameters->min_score,
                           .box = {(float)frame->sequence, 0, 10, 10}};
    fw_faces_clear(faces);
    return fw_faces_add(faces, &face);
}

// ---- What the callbacks saw, in order

#define MAX_CALLS 4096

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int count;
    struct {
        int client, status;
        uint64_t sequence;
        char message[64];
    } calls[MAX_CALLS];
} seen = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

struct camera {
    int index;
    struct fw_pool_client *client;
    _Atomic int again; // pictures that `done` submits itself
    struct fw_frame *frame;
    atomic_int inside;
};

static void done(void *opaque, struct fw_frame *frame, const struct fw_faces *faces, int status,
                 const struct fw_error *error)
{
    struct camera *camera = opaque;
    // Never twice at once for one client.
    assert_int_equal(0, atomic_fetch_add(&camera->inside, 1));
    if (status == FW_OK)
        assert_true(faces->count == 1 && faces->items[0].box.x == (float)frame->sequence);
    else
        assert_int_equal(0, faces->count);
    if (atomic_load(&camera->again) > 0) {
        atomic_fetch_sub(&camera->again, 1);
        fw_pool_submit(camera->client, camera->frame);
    }
    pthread_mutex_lock(&seen.mutex);
    if (seen.count < MAX_CALLS) {
        seen.calls[seen.count].client = camera->index;
        seen.calls[seen.count].status = status;
        seen.calls[seen.count].sequence = frame->sequence;
        snprintf(seen.calls[seen.count].message, 64, "%.63s", error->message);
        seen.count++;
    }
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.mutex);
    atomic_fetch_sub(&camera->inside, 1);
}

static void seen_await(int count)
{
    struct timespec until = patience();
    pthread_mutex_lock(&seen.mutex);
    while (seen.count < count)
        assert_int_equal(0, pthread_cond_timedwait(&seen.changed, &seen.mutex, &until));
    pthread_mutex_unlock(&seen.mutex);
}

static int set_up(void **state)
{
    (void)state;
    seen.count = 0;
    atomic_store(&opened_count, 0);
    atomic_store(&closed_count, 0);
    gate_set(true, 0);
    return 0;
}

static struct fw_pool *make_pool(int threads)
{
    static const struct fw_model_store_options models = {.offline = true};
    struct fw_pool *pool = fw_pool_create(threads, &models, NULL);
    assert_non_null(pool);
    return pool;
}

static struct fw_pool_client_options options_for(const char *model, struct camera *camera)
{
    return (struct fw_pool_client_options){.model = model,
                                           .input_size = 640,
                                           .parameters = {.min_score = 0.5F},
                                           .done = done,
                                           .opaque = camera};
}

static void add(struct fw_pool *pool, struct camera *camera, int index, const char *model,
                int64_t max_age_us)
{
    *camera = (struct camera){.index = index};
    struct fw_pool_client_options options = options_for(model, camera);
    options.max_age_us = max_age_us;
    camera->frame = fw_frame_create(FW_PIXEL_I420, 16, 16);
    camera->client = fw_pool_client_add(pool, &options);
    assert_non_null(camera->frame);
    assert_non_null(camera->client);
}

static void submit(struct camera *camera, uint64_t sequence, int64_t age_us)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, 16, 16);
    assert_non_null(frame);
    frame->sequence = sequence;
    frame->capture_mono_us = fw_monotonic_us() - age_us;
    fw_pool_submit(camera->client, frame);
    fw_frame_unref(frame);
}

static void drop(struct camera *camera)
{
    fw_pool_client_remove(camera->client);
    fw_frame_unref(camera->frame);
}

static void await_idle(struct camera *camera)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    int64_t until_us = fw_monotonic_us() + PATIENCE_S * FW_US_PER_S;
    while (fw_pool_client_is_busy(camera->client)) {
        assert_true(fw_monotonic_us() < until_us);
        nanosleep(&moment, NULL);
    }
}

static void every_camera_gets_the_same_share(void **state)
{
    (void)state;
    struct fw_pool *pool = make_pool(1);
    struct camera cameras[3];
    gate_set(false, 0);
    for (int i = 0; i < 3; i++) {
        add(pool, &cameras[i], i, "fake", 0);
        atomic_store(&cameras[i].again, 100);
    }
    // The first is in the detector before the others come, and is always quick to give more.
    submit(&cameras[0], 1, 0);
    gate_await(1);
    submit(&cameras[1], 1, 0);
    submit(&cameras[2], 1, 0);
    gate_set(false, 30);
    seen_await(30);
    int counts[3] = {0};
    for (int i = 0; i < 30; i++)
        counts[seen.calls[i].client]++;
    for (int i = 0; i < 3; i++)
        assert_int_equal(10, counts[i]);
    for (int i = 0; i < 3; i++)
        atomic_store(&cameras[i].again, 0);
    gate_set(true, 0);
    for (int i = 0; i < 3; i++)
        drop(&cameras[i]);
    assert_int_equal(1, atomic_load(&opened_count));
    assert_int_equal(FW_OK, fw_pool_destroy(pool, -1));
    assert_int_equal(1, atomic_load(&closed_count));
}

static void the_newest_picture_wins(void **state)
{
    (void)state;
    struct fw_pool *pool = make_pool(1);
    struct camera camera;
    gate_set(false, 0);
    add(pool, &camera, 0, "fake", 0);
    submit(&camera, 1, 0);
    gate_await(1);
    assert_true(fw_pool_client_is_busy(camera.client));
    for (uint64_t i = 2; i <= 4; i++)
        submit(&camera, i, 0);
    gate_set(true, 0);
    seen_await(2);
    await_idle(&camera);
    assert_int_equal(2, seen.count);
    assert_int_equal(1, seen.calls[0].sequence);
    assert_int_equal(4, seen.calls[1].sequence);
    struct fw_pool_stats stats = fw_pool_client_get_stats(camera.client);
    assert_int_equal(2, stats.analysed);
    assert_int_equal(2, stats.dropped_newer);
    assert_int_equal(0, stats.dropped_age + stats.failed);
    assert_true(stats.busy_us >= stats.last_us && stats.last_us >= 0);
    drop(&camera);
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
}

static void old_pictures_are_dropped(void **state)
{
    (void)state;
    struct fw_pool *pool = make_pool(1);
    struct camera camera;
    add(pool, &camera, 0, "fake", 10 * FW_US_PER_S);
    submit(&camera, 1, 11 * FW_US_PER_S);
    await_idle(&camera);
    submit(&camera, 2, 0);
    seen_await(1);
    await_idle(&camera);
    assert_int_equal(1, seen.count);
    assert_int_equal(2, seen.calls[0].sequence);
    struct fw_pool_stats stats = fw_pool_client_get_stats(camera.client);
    assert_int_equal(1, stats.dropped_age);
    assert_int_equal(1, stats.analysed);
    drop(&camera);
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
}

static atomic_bool gate_was_opened;

static void open_gate_later(void *opaque)
{
    (void)opaque;
    const struct timespec moment = {.tv_nsec = 100000000};
    nanosleep(&moment, NULL);
    atomic_store(&gate_was_opened, true);
    gate_set(true, 0);
}

static void removal_waits_for_the_callback(void **state)
{
    (void)state;
    struct fw_pool *pool = make_pool(2);
    struct camera camera;
    struct fw_thread *thread;
    gate_set(false, 0);
    atomic_store(&gate_was_opened, false);
    add(pool, &camera, 0, "fake", 0);
    submit(&camera, 1, 0);
    gate_await(1);
    submit(&camera, 2, 0);
    assert_int_equal(FW_OK, fw_thread_start(&thread, "opener", NULL, open_gate_later, NULL));
    drop(&camera);
    assert_true(atomic_load(&gate_was_opened));
    assert_int_equal(1, seen.count); // the second never ran
    assert_int_equal(FW_OK, fw_thread_join(thread, -1));
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
}

static void a_detector_that_fails_to_open_is_told_and_left_alone(void **state)
{
    (void)state;
    struct fw_pool *pool = make_pool(2);
    struct camera camera;
    add(pool, &camera, 0, "broken", 0);
    for (int i = 1; i <= 3; i++) {
        submit(&camera, (uint64_t)i, 0);
        seen_await(i);
        assert_int_equal(FW_EFORMAT, seen.calls[i - 1].status);
        assert_string_equal("it is broken; mend it", seen.calls[i - 1].message);
    }
    await_idle(&camera);
    assert_int_equal(1, atomic_load(&opened_count));
    assert_int_equal(3, fw_pool_client_get_stats(camera.client).failed);
    drop(&camera);
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
}

static void a_prepared_detector_is_used(void **state)
{
    (void)state;
    struct fw_pool *pool = make_pool(1);
    struct camera camera;
    const char *used = NULL;
    struct fw_error error = {0};
    struct fw_pool_client_options options = options_for("fake", &camera);
    assert_int_equal(FW_OK, fw_pool_prepare(pool, &options, NULL, &used, &error));
    assert_string_equal("fake", used);
    add(pool, &camera, 0, "fake", 0);
    submit(&camera, 1, 0);
    seen_await(1);
    drop(&camera);
    assert_int_equal(1, atomic_load(&opened_count));
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
    assert_int_equal(1, atomic_load(&closed_count));
}

static void the_second_choices_are_tried(void **state)
{
    (void)state;
    char folder[] = "/tmp/fw-pool-XXXXXX";
    char cascade[64];
    assert_non_null(mkdtemp(folder));
    snprintf(cascade, sizeof cascade, "%s/faces.xml", folder);
    FILE *file = fopen(cascade, "w");
    assert_non_null(file);
    fclose(file);
    const struct fw_model_store_options models = {
        .dir = folder, .offline = true, .cascade = cascade};
    struct fw_pool *pool = fw_pool_create(1, &models, NULL);
    assert_non_null(pool);
    const char *used = NULL;
    struct fw_error error = {0};
    struct fw_pool_client_options options = options_for("yunet", NULL);
    assert_int_equal(FW_OK, fw_pool_prepare(pool, &options, NULL, &used, &error));
    assert_string_equal("haar", used);
    options.model = "/nowhere/my.onnx";
    assert_int_equal(FW_ENOENT, fw_pool_prepare(pool, &options, NULL, &used, &error));
    assert_null(used);
    assert_non_null(strstr(error.message, "/nowhere/my.onnx"));
    options.model = "yunett";
    assert_int_equal(FW_EINVAL, fw_pool_prepare(pool, &options, NULL, &used, &error));
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
    unlink(cascade);
    rmdir(folder);
}

static void a_file_of_the_users_own_is_not_replaced(void **state)
{
    (void)state;
    const struct fw_model_store_options models = {.onnx = "/nowhere/my.onnx", .offline = true};
    struct fw_pool *pool = fw_pool_create(1, &models, NULL);
    assert_non_null(pool);
    const char *used = NULL;
    struct fw_error error = {0};
    struct fw_pool_client_options options = options_for("yunet", NULL);
    assert_int_equal(FW_ENOENT, fw_pool_prepare(pool, &options, NULL, &used, &error));
    assert_null(used);
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
}

static void nothing_is_lost_under_load(void **state)
{
    (void)state;
    enum { CAMERAS = 8, ROUNDS = 400 };
    struct fw_pool *pool = make_pool(4);
    struct camera cameras[CAMERAS];
    for (int i = 0; i < CAMERAS; i++)
        add(pool, &cameras[i], i, "fake", 0);
    for (uint64_t round = 1; round <= ROUNDS; round++)
        for (int i = 0; i < CAMERAS; i++)
            submit(&cameras[i], round, 0);
    for (int i = 0; i < CAMERAS; i++) {
        await_idle(&cameras[i]);
        struct fw_pool_stats stats = fw_pool_client_get_stats(cameras[i].client);
        assert_int_equal(ROUNDS, stats.analysed + stats.dropped_newer);
        assert_true(stats.analysed > 0);
    }
    uint64_t last[CAMERAS] = {0};
    for (int i = 0; i < seen.count; i++) {
        assert_true(seen.calls[i].sequence > last[seen.calls[i].client]);
        last[seen.calls[i].client] = seen.calls[i].sequence;
    }
    for (int i = 0; i < CAMERAS; i++) {
        assert_int_equal(ROUNDS, last[i]);
        drop(&cameras[i]);
    }
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
    assert_int_equal(atomic_load(&opened_count), atomic_load(&closed_count));
}

static void thread_counts(void **state)
{
    (void)state;
    struct fw_pool *pool = make_pool(3);
    assert_int_equal(3, fw_pool_threads(pool));
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
    pool = make_pool(0);
    assert_int_equal(sysconf(_SC_NPROCESSORS_ONLN), fw_pool_threads(pool));
    assert_int_equal(FW_OK, fw_pool_destroy(pool, 5000));
    assert_int_equal(FW_OK, fw_pool_destroy(NULL, 0));
    fw_pool_client_remove(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_camera_gets_the_same_share, set_up),
        cmocka_unit_test_setup(the_newest_picture_wins, set_up),
        cmocka_unit_test_setup(old_pictures_are_dropped, set_up),
        cmocka_unit_test_setup(removal_waits_for_the_callback, set_up),
        cmocka_unit_test_setup(a_detector_that_fails_to_open_is_told_and_left_alone, set_up),
        cmocka_unit_test_setup(a_prepared_detector_is_used, set_up),
        cmocka_unit_test_setup(the_second_choices_are_tried, set_up),
        cmocka_unit_test_setup(a_file_of_the_users_own_is_not_replaced, set_up),
        cmocka_unit_test_setup(nothing_is_lost_under_load, set_up),
        cmocka_unit_test_setup(thread_counts, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
