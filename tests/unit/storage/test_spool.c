// The spool against a store that does as it is told: crashes, bounds, full disks, refusals.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "storage/spool.h"
#include "storage/tree.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/condition.h"
#include "util/thread.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SOON_MS = 10000, PICTURE_BYTES = 1000 };

// The store. What it takes lies as files in its folder, so that it outlives a killed process.
static struct {
    struct fw_condition condition; // guards what follows
    char folder[80];
    char poison[64]; // a key that gets `poison_status`
    int status, poison_status;
    bool is_held; // puts wait
    bool is_deaf; // and do not even look at their cancel object
    int puts, under_way, most_under_way;
    char order[1024]; // the keys that were taken, each with a blank
} fake;

static int fake_open(void **state, const struct fw_store_options *options, struct fw_error *error)
{
    (void)options;
    (void)error;
    *state = &fake;
    return FW_OK;
}

static void fake_close(void *state)
{
    (void)state;
}

// "cam/a.jpg" lies in "cam_a.jpg".
static void name_object(char path[512], const char *key)
{
    snprintf(path, 512, "%s/%s", fake.folder, key);
    for (char *at = path + strlen(fake.folder) + 1; *at != '\0'; at++)
        if (*at == '/')
            *at = '_';
}

static void write_object(const char *key, const uint8_t *data, size_t length)
{
    char path[512], temporary[600];
    FILE *file;

    name_object(path, key);
    snprintf(temporary, sizeof(temporary), "%s.%p", path, (void *)&file);
    file = fopen(temporary, "wb");
    if (file == NULL || fwrite(data, 1, length, file) != length || fclose(file) != 0 ||
        rename(temporary, path) != 0)
        abort();
}

static int fake_put(void *state, const char *key, const uint8_t *data, size_t length,
                    const char *content_type, struct fw_cancel *cancel, struct fw_error *error)
{
    int status;
    (void)state;

    pthread_mutex_lock(&fake.condition.mutex);
    fake.puts++;
    if (++fake.under_way > fake.most_under_way)
        fake.most_under_way = fake.under_way;
    while (fake.is_held && (fake.is_deaf || !fw_cancel_is_set(cancel)))
        (void)fw_condition_wait(&fake.condition, fw_condition_until_us(20));
    status = strcmp(key, fake.poison) == 0 ? fake.poison_status : fake.status;
    if (fw_cancel_is_set(cancel))
        status = FW_ECANCELED;
    if (status == FW_OK && strlen(fake.order) + strlen(key) + 2 < sizeof(fake.order)) {
        strcat(fake.order, key);
        strcat(fake.order, " ");
    }
    fake.under_way--;
    pthread_mutex_unlock(&fake.condition.mutex);
    if (strcmp(content_type, "image/jpeg") != 0)
        abort();
    if (status == FW_OK)
        write_object(key, data, length);
    return status == FW_OK ? FW_OK : fw_fail(error, status, "the fake says %d; ask it", status);
}

static char *fake_url(const void *state, const char *key)
{
    (void)state;
    (void)key;
    return NULL;
}

static const struct fw_store_backend fake_backend = {
    .name = "fake", .open = fake_open, .put = fake_put, .url = fake_url, .close = fake_close};

static void behave(int status)
{
    pthread_mutex_lock(&fake.condition.mutex);
    fake.status = status;
    pthread_mutex_unlock(&fake.condition.mutex);
}

static void hold(bool is_held)
{
    pthread_mutex_lock(&fake.condition.mutex);
    fake.is_held = is_held;
    pthread_mutex_unlock(&fake.condition.mutex);
}

static void poison(const char *key, int status)
{
    pthread_mutex_lock(&fake.condition.mutex);
    snprintf(fake.poison, sizeof(fake.poison), "%s", key);
    fake.poison_status = status;
    pthread_mutex_unlock(&fake.condition.mutex);
}

static int fake_value(const int *value)
{
    int copy;

    pthread_mutex_lock(&fake.condition.mutex);
    copy = *value;
    pthread_mutex_unlock(&fake.condition.mutex);
    return copy;
}

// The test's own folder, with the spool's in it.

static char folder[64];
static struct fw_store *store;

static const char *path_of(const char *name)
{
    static _Thread_local char path[512];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int prepare(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fw-spool-XXXXXX");
    memset(&fake, 0, sizeof(fake));
    if (mkdtemp(folder) == NULL || fw_condition_init(&fake.condition) != FW_OK)
        return -1;
    snprintf(fake.folder, sizeof(fake.folder), "%s/store", folder);
    if (mkdir(fake.folder, 0755) != 0)
        return -1;
    return fw_store_open_backend(&store, &fake_backend, &(struct fw_store_options){0}, NULL);
}

static int clean(void **state)
{
    char command[128];
    (void)state;

    fw_store_close(store);
    fw_condition_destroy(&fake.condition);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

// Callbacks, counted.
static struct {
    pthread_mutex_t mutex;
    int stored, failed;
    struct fw_spool *asked; // by each callback, as the dispatcher does
} told = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void on_changed(void *opaque, const char *key, enum fw_spool_state state)
{
    assert_ptr_equal(opaque, &told);
    pthread_mutex_lock(&told.mutex);
    if (state == FW_SPOOL_STORED)
        told.stored++;
    else if (state == FW_SPOOL_FAILED)
        told.failed++;
    if (told.asked != NULL && fw_spool_state(told.asked, key) == FW_SPOOL_PENDING)
        told.failed += 1000;
    pthread_mutex_unlock(&told.mutex);
}

static int told_failed(void)
{
    int failed;

    pthread_mutex_lock(&told.mutex);
    failed = told.failed;
    pthread_mutex_unlock(&told.mutex);
    return failed;
}

static struct fw_spool *open_with(int64_t max_bytes, int64_t max_age_us, int threads)
{
    struct fw_spool_options options = {.dir = path_of("spool"),
                                       .store = store,
                                       .max_bytes = max_bytes,
                                       .max_age_us = max_age_us,
                                       .upload_threads = threads,
                                       .changed = on_changed,
                                       .opaque = &told};
    struct fw_error error = {0};
    struct fw_spool *spool;

    pthread_mutex_lock(&told.mutex);
    told.stored = told.failed = 0;
    told.asked = NULL;
    pthread_mutex_unlock(&told.mutex);
    if (fw_spool_open(&spool, &options, &error) != FW_OK)
        fail_msg("%s", error.message);
    pthread_mutex_lock(&told.mutex);
    told.asked = spool;
    pthread_mutex_unlock(&told.mutex);
    return spool;
}

static void close_spool(struct fw_spool *spool)
{
    pthread_mutex_lock(&told.mutex);
    told.asked = NULL;
    pthread_mutex_unlock(&told.mutex);
    assert_int_equal(fw_spool_close(spool, 2000), FW_OK);
}

// Bytes that tell which key and version they belong to.
static void fill(uint8_t *data, size_t length, const char *key, int version)
{
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)((size_t)key[i % strlen(key)] + i / 256 + (size_t)version);
}

static int put_version(struct fw_spool *spool, const char *key, size_t length, int version)
{
    uint8_t data[4096];

    fill(data, length, key, version);
    return fw_spool_put(spool, key, data, length, NULL);
}

static int put(struct fw_spool *spool, const char *key)
{
    return put_version(spool, key, PICTURE_BYTES, 0);
}

static void assert_copy(struct fw_spool *spool, const char *key, int version)
{
    uint8_t expected[PICTURE_BYTES], *data = NULL;
    size_t length = 0;

    fill(expected, sizeof(expected), key, version);
    assert_int_equal(fw_spool_read(spool, key, &data, &length), FW_OK);
    assert_int_equal(length, PICTURE_BYTES);
    assert_memory_equal(data, expected, PICTURE_BYTES);
    free(data);
}

static void assert_no_copy(struct fw_spool *spool, const char *key)
{
    uint8_t *data = NULL;
    size_t length = 0;

    assert_int_equal(fw_spool_read(spool, key, &data, &length), FW_ENOENT);
    assert_null(data);
    assert_null(fw_spool_path(spool, key));
}

// What the store has of KEY is right.
static void assert_object(const char *key, int version)
{
    uint8_t expected[PICTURE_BYTES], data[PICTURE_BYTES + 1];
    char path[512];
    FILE *file;

    name_object(path, key);
    file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("the store lacks %s", key);
    fill(expected, sizeof(expected), key, version);
    assert_int_equal(fread(data, 1, sizeof(data), file), PICTURE_BYTES);
    assert_memory_equal(data, expected, PICTURE_BYTES);
    assert_int_equal(fclose(file), 0);
}

static struct fw_spool_stats stats_of(struct fw_spool *spool)
{
    struct fw_spool_stats stats;

    fw_spool_get_stats(spool, &stats);
    return stats;
}

static void wait_until(bool (*is_so)(void *opaque), void *opaque, const char *what)
{
    struct timespec pause = {.tv_nsec = 5000000};
    int64_t until_us = fw_condition_until_us(SOON_MS);

    while (!is_so(opaque)) {
        if (fw_monotonic_us() > until_us)
            fail_msg("not in time: %s", what);
        assert_int_equal(nanosleep(&pause, NULL), 0);
    }
}

static bool is_under_way(void *opaque)
{
    (void)opaque;
    return fake_value(&fake.under_way) > 0;
}

static bool is_tried_again(void *opaque)
{
    return stats_of(opaque).retried > 0;
}

static void pictures_go_to_disk_then_to_the_store(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 0);
    struct fw_spool_stats stats;
    char expected[256], *path;
    (void)state;

    hold(true);
    assert_int_equal(put(spool, "cam/a b.jpg"), FW_OK);
    assert_true(exists("spool/pending/cam/a b.jpg"));
    assert_int_equal(fw_spool_state(spool, "cam/a b.jpg"), FW_SPOOL_PENDING);
    assert_copy(spool, "cam/a b.jpg", 0);
    path = fw_spool_path(spool, "cam/a b.jpg");
    snprintf(expected, sizeof(expected), "%s/spool/pending/cam/a b.jpg", folder);
    assert_string_equal(path, expected);
    free(path);
    assert_false(fw_spool_drain(spool, 10));
    hold(false);
    assert_true(fw_spool_drain(spool, SOON_MS));
    assert_int_equal(fw_spool_state(spool, "cam/a b.jpg"), FW_SPOOL_STORED);
    assert_false(exists("spool/pending/cam/a b.jpg"));
    assert_true(exists("spool/cache/cam/a b.jpg"));
    assert_copy(spool, "cam/a b.jpg", 0);
    stats = stats_of(spool);
    assert_int_equal(stats.stored, 1);
    assert_int_equal(stats.pending, 0);
    assert_int_equal(stats.bytes, PICTURE_BYTES);
    assert_string_equal(stats.last_error, "");
    close_spool(spool);
    assert_int_equal(told.stored, 1);
    assert_int_equal(told.failed, 0);
    assert_int_equal(fw_spool_close(NULL, 0), FW_OK);
}

static void bad_keys_and_empty_pictures_are_refused(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 1);
    (void)state;

    assert_int_equal(put(spool, "../a.jpg"), FW_EINVAL);
    assert_int_equal(put(spool, "/a.jpg"), FW_EINVAL);
    assert_int_equal(put_version(spool, "a.jpg", 0, 0), FW_EINVAL);
    assert_no_copy(spool, "../store");
    assert_no_copy(spool, "never.jpg");
    assert_int_equal(fw_spool_state(spool, "never.jpg"), FW_SPOOL_STORED);
    close_spool(spool);
}

static void what_waits_is_found_again(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 0);
    (void)state;

    behave(FW_ECONNECT);
    assert_int_equal(put(spool, "a.jpg"), FW_OK);
    assert_int_equal(put(spool, "cam/b.jpg"), FW_OK);
    close_spool(spool);
    spool = open_with(0, 0, 0);
    assert_int_equal(stats_of(spool).pending, 2);
    assert_int_equal(fw_spool_state(spool, "cam/b.jpg"), FW_SPOOL_PENDING);
    behave(FW_OK);
    assert_true(fw_spool_drain(spool, SOON_MS));
    assert_object("a.jpg", 0);
    close_spool(spool);
    spool = open_with(0, 0, 0);
    assert_int_equal(fw_spool_state(spool, "a.jpg"), FW_SPOOL_STORED);
    assert_copy(spool, "a.jpg", 0);
    assert_int_equal(stats_of(spool).bytes, 2 * PICTURE_BYTES);
    close_spool(spool);
}

// What a killed process leaves

enum { CRASHES = 25, MAX_PUTS = 4000 };

// Puts until it is killed, and tells OUT of each put that returned FW_OK.
static _Noreturn void put_until_killed(int round, int out)
{
    struct fw_spool *spool = open_with(0, 0, 2);

    for (int i = 0; i < MAX_PUTS; i++) {
        char key[32];
        snprintf(key, sizeof(key), "cam%d/%d.jpg", round, i);
        if (put(spool, key) == FW_OK && write(out, &i, sizeof(i)) != sizeof(i))
            break;
    }
    pause();
    _exit(1);
}

// The number of puts that a child did before it was killed at a random moment: in every second
// round somewhere from its start on, in the others after its first put.
static int crash(int round)
{
    struct timespec life = {.tv_nsec = (long)(rand() % 40) * 1000000};
    int ends[2], last = -1, got;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        put_until_killed(round, ends[1]);
    assert_int_equal(close(ends[1]), 0);
    if (round % 2 == 1 && read(ends[0], &got, sizeof(got)) == sizeof(got))
        last = got;
    assert_int_equal(nanosleep(&life, NULL), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    while (read(ends[0], &got, sizeof(got)) == sizeof(got))
        last = got;
    assert_int_equal(close(ends[0]), 0);
    return last + 1;
}

static void nothing_that_was_put_is_lost_by_a_kill(void **state)
{
    int counts[CRASHES], sum = 0;
    struct fw_spool *spool;
    (void)state;

    srand((unsigned)time(NULL));
    for (int round = 0; round < CRASHES; round++) {
        counts[round] = crash(round);
        sum += counts[round];
    }
    print_message("%d puts survived %d kills\n", sum, CRASHES);
    assert_true(sum >= CRASHES / 2);
    spool = open_with(0, 0, 2);
    assert_true(fw_spool_drain(spool, SOON_MS));
    for (int round = 0; round < CRASHES; round++)
        for (int i = 0; i < counts[round]; i++) {
            char key[32];
            snprintf(key, sizeof(key), "cam%d/%d.jpg", round, i);
            assert_int_equal(fw_spool_state(spool, key), FW_SPOOL_STORED);
            assert_copy(spool, key, 0);
            assert_object(key, 0);
        }
    close_spool(spool);
    spool = open_with(0, 0, 2);
    assert_false(exists("spool/pending")); // empty folders go at a start
    close_spool(spool);
}

static void empty_folders_go_after_an_hour(void **state)
{
    static const char *const old[] = {"spool/pending/cam/2026/01", "spool/pending/cam/2026",
                                      "spool/pending/cam"};
    struct timespec times[2] = {{.tv_sec = time(NULL) - 4000}, {.tv_sec = time(NULL) - 4000}};
    struct fw_tree *tree;
    (void)state;

    assert_int_equal(fw_tree_open(&tree, path_of("spool"), NULL, NULL), FW_OK);
    assert_int_equal(
        fw_tree_write(tree, "pending/cam/2026/01/a", (const uint8_t *)"a", 1, NULL, NULL, NULL),
        FW_OK);
    assert_int_equal(fw_tree_move(tree, "pending/cam/2026/01/a", "pending/other/a"), FW_OK);
    assert_true(exists(old[0]));
    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
        assert_int_equal(utimensat(AT_FDCWD, path_of(old[i]), times, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, path_of("spool/pending/other"), times, 0), 0);
    fw_tree_prune(tree, "pending", fw_utc_us() - 5000 * FW_US_PER_S);
    assert_true(exists(old[0]));
    fw_tree_prune(tree, "pending", fw_utc_us() - 3600 * FW_US_PER_S);
    assert_false(exists(old[2]));
    assert_true(fw_tree_has(tree, "pending/other/a"));
    fw_tree_close(tree);
}

static void make_file(const char *name, size_t length, time_t age_s)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - age_s}, {.tv_sec = time(NULL) - age_s}};
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(fputc('x', file), 'x');
    assert_int_equal(fclose(file), 0);
    assert_int_equal(utimensat(AT_FDCWD, path_of(name), times, 0), 0);
}

static void doubles_of_a_crash_are_sorted_out(void **state)
{
    static const char *const folders[] = {"spool", "spool/pending", "spool/cache", "spool/failed"};
    struct fw_spool *spool;
    (void)state;

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        assert_int_equal(mkdir(path_of(folders[i]), 0755), 0);
    make_file("spool/cache/a.jpg", 10, 100); // put again
    make_file("spool/pending/a.jpg", 20, 50);
    make_file("spool/pending/b.jpg", 20, 100);
    make_file("spool/cache/b.jpg", 10, 50);
    make_file("spool/pending/c.jpg", 0, 100); // given up, put again, uploaded
    make_file("spool/cache/c.jpg", 10, 50);
    make_file("spool/pending/.faceworker-new-01", 10, 50);
    make_file("spool/foreign", 10, 50);
    hold(true);
    spool = open_with(0, 0, 1);
    assert_int_equal(fw_spool_state(spool, "a.jpg"), FW_SPOOL_PENDING);
    assert_int_equal(fw_spool_state(spool, "b.jpg"), FW_SPOOL_PENDING);
    assert_int_equal(fw_spool_state(spool, "c.jpg"), FW_SPOOL_STORED);
    assert_false(exists("spool/cache/a.jpg"));
    assert_false(exists("spool/cache/b.jpg"));
    assert_false(exists("spool/pending/c.jpg"));
    assert_false(exists("spool/pending/.faceworker-new-01"));
    assert_true(exists("spool/foreign"));
    assert_int_equal(stats_of(spool).bytes, 50);
    hold(false);
    assert_true(fw_spool_drain(spool, SOON_MS));
    assert_string_equal(fake.order, "b.jpg a.jpg "); // the oldest first
    close_spool(spool);
}

static void two_spools_do_not_share_a_folder(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 1), *second = NULL;
    struct fw_spool_options options = {.dir = path_of("spool"), .store = store};
    int result = 0;
    pid_t child = fork();
    (void)state;

    assert_true(child >= 0);
    if (child == 0)
        _exit(fw_spool_open(&second, &options, NULL) == FW_EIO && second == NULL ? 0 : 1);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    close_spool(spool);
    options.dir = "";
    assert_int_equal(fw_spool_open(&second, &options, NULL), FW_EINVAL);
    options.dir = "/proc/spool";
    assert_int_equal(fw_spool_open(&second, &options, NULL), FW_EIO);
}

// Bounds

static void uploaded_pictures_go_first_then_the_oldest_that_wait(void **state)
{
    struct fw_spool *spool = open_with(4 * PICTURE_BYTES, 0, 1);
    struct fw_spool_stats stats;
    (void)state;

    assert_int_equal(put(spool, "a.jpg"), FW_OK);
    assert_int_equal(put(spool, "b.jpg"), FW_OK);
    assert_true(fw_spool_drain(spool, SOON_MS));
    behave(FW_ECONNECT);
    assert_int_equal(put(spool, "c.jpg"), FW_OK);
    wait_until(is_tried_again, spool, "c.jpg's upload");
    assert_int_equal(put(spool, "d.jpg"), FW_OK);
    assert_copy(spool, "a.jpg", 0);
    assert_int_equal(put(spool, "e.jpg"), FW_OK);
    assert_no_copy(spool, "a.jpg");
    assert_int_equal(fw_spool_state(spool, "a.jpg"), FW_SPOOL_STORED);
    assert_int_equal(put(spool, "f.jpg"), FW_OK);
    assert_no_copy(spool, "b.jpg");
    assert_int_equal(stats_of(spool).failed, 0);
    while (fw_spool_state(spool, "c.jpg") == FW_SPOOL_PENDING) // unless it is on its way just now
        assert_int_equal(put(spool, "g.jpg"), FW_OK);
    assert_int_equal(fw_spool_state(spool, "c.jpg"), FW_SPOOL_FAILED);
    assert_no_copy(spool, "c.jpg");
    assert_int_equal(fw_spool_state(spool, "f.jpg"), FW_SPOOL_PENDING);
    stats = stats_of(spool);
    assert_true(stats.failed >= 1 && stats.evicted == stats.failed);
    assert_true(stats.bytes <= 4 * PICTURE_BYTES);
    assert_int_equal(told_failed(), (int)stats.failed);
    close_spool(spool);

    spool = open_with(4 * PICTURE_BYTES, 0, 1);
    assert_int_equal(fw_spool_state(spool, "c.jpg"), FW_SPOOL_FAILED); // for good
    assert_int_equal(fw_spool_state(spool, "a.jpg"), FW_SPOOL_STORED);
    assert_int_equal(fw_spool_state(spool, "f.jpg"), FW_SPOOL_PENDING);
    assert_int_equal(put(spool, "c.jpg"), FW_OK); // but not for ever
    assert_int_equal(fw_spool_state(spool, "c.jpg"), FW_SPOOL_PENDING);
    close_spool(spool);
}

static void bounds_hold_at_opening(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 1);
    char key[32];
    (void)state;

    behave(FW_ECONNECT);
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "%d.jpg", i);
        assert_int_equal(put(spool, key), FW_OK);
    }
    close_spool(spool);
    hold(true);
    spool = open_with(3 * PICTURE_BYTES, 0, 1);
    assert_int_equal(stats_of(spool).pending, 3);
    assert_int_equal(stats_of(spool).evicted, 7);
    assert_int_equal(fw_spool_state(spool, "6.jpg"), FW_SPOOL_FAILED);
    assert_int_equal(fw_spool_state(spool, "7.jpg"), FW_SPOOL_PENDING);
    close_spool(spool);
}

static void a_picture_above_the_bound_costs_no_other(void **state)
{
    struct fw_spool *spool = open_with(2 * PICTURE_BYTES, 0, 1);
    (void)state;

    assert_int_equal(put(spool, "a.jpg"), FW_OK);
    assert_true(fw_spool_drain(spool, SOON_MS));
    assert_int_equal(put_version(spool, "big.jpg", 2 * PICTURE_BYTES + 1, 0), FW_EFULL);
    assert_copy(spool, "a.jpg", 0);
    // What is on its way just now can't go.
    hold(true);
    assert_int_equal(put_version(spool, "b.jpg", 2 * PICTURE_BYTES, 0), FW_OK);
    wait_until(is_under_way, NULL, "an upload");
    assert_int_equal(put(spool, "c.jpg"), FW_EFULL);
    assert_int_equal(fw_spool_state(spool, "b.jpg"), FW_SPOOL_PENDING);
    hold(false);
    assert_true(fw_spool_drain(spool, SOON_MS));
    close_spool(spool);
}

static int count_files(const char *name)
{
    DIR *dir = opendir(path_of(name));
    int count = -2; // "." and ".."

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

// A long outage of the store must not use the disk's inodes up.
static void marks_are_bounded_without_a_sweep(void **state)
{
    enum { MARKS = 10400 };
    struct fw_spool *spool;
    char name[64];
    (void)state;

    assert_int_equal(mkdir(path_of("spool"), 0755), 0);
    assert_int_equal(mkdir(path_of("spool/pending"), 0755), 0);
    for (int i = 0; i < MARKS; i++) {
        int fd;
        snprintf(name, sizeof(name), "spool/pending/old%d.jpg", i);
        fd = open(path_of(name), O_WRONLY | O_CREAT, 0644);
        assert_true(fd >= 0);
        close(fd);
    }
    behave(FW_ECONNECT);
    spool = open_with(4 * PICTURE_BYTES, 0, 1);
    for (int i = 0; i < 400; i++) {
        snprintf(name, sizeof(name), "%d.jpg", i);
        assert_int_equal(put(spool, name), FW_OK);
    }
    assert_true(stats_of(spool).evicted > 390);
    assert_in_range(count_files("spool/pending"), 9000, 10010);
    assert_int_equal(told_failed(), (int)stats_of(spool).failed);
    close_spool(spool);
}

static void pictures_age_out(void **state)
{
    struct timespec pause = {.tv_nsec = 60000000};
    struct fw_spool *spool = open_with(0, 50 * FW_US_PER_MS, 1);
    (void)state;

    assert_int_equal(put(spool, "a.jpg"), FW_OK);
    assert_true(fw_spool_drain(spool, SOON_MS));
    behave(FW_EAUTH);
    assert_int_equal(put(spool, "b.jpg"), FW_OK);
    wait_until(is_tried_again, spool, "b.jpg's upload");
    assert_int_equal(nanosleep(&pause, NULL), 0);
    fw_spool_sweep(spool);
    assert_false(exists("spool/cache"));
    assert_int_equal(fw_spool_state(spool, "b.jpg"), FW_SPOOL_FAILED);
    assert_true(exists("spool/pending/b.jpg")); // the mark
    assert_int_equal(stats_of(spool).bytes, 0);
    assert_int_equal(stats_of(spool).evicted, 1);
    assert_int_equal(nanosleep(&pause, NULL), 0);
    fw_spool_sweep(spool);
    assert_false(exists("spool/pending"));
    close_spool(spool);
}

// Trouble with the store

static void a_refusal_holds_all_and_loses_nothing(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 2);
    struct fw_spool_stats stats;
    (void)state;

    behave(FW_EAUTH);
    assert_int_equal(put(spool, "a.jpg"), FW_OK);
    wait_until(is_tried_again, spool, "a refusal");
    assert_int_equal(put(spool, "b.jpg"), FW_OK);
    stats = stats_of(spool);
    assert_true(stats.is_refused);
    assert_non_null(strstr(stats.last_error, "; ask it"));
    assert_int_equal(stats.pending, 2);
    behave(FW_OK);
    assert_true(fw_spool_drain(spool, 2 * SOON_MS)); // the ladder begins with 5 s
    stats = stats_of(spool);
    assert_false(stats.is_refused);
    assert_string_equal(stats.last_error, "");
    assert_object("a.jpg", 0);
    close_spool(spool);
}

static void one_upload_at_a_time_while_the_store_is_down(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 4);
    char key[32];
    (void)state;

    behave(FW_ECONNECT);
    assert_int_equal(put(spool, "first.jpg"), FW_OK);
    wait_until(is_tried_again, spool, "a failure");
    pthread_mutex_lock(&fake.condition.mutex);
    fake.most_under_way = 0;
    pthread_mutex_unlock(&fake.condition.mutex);
    hold(true);
    for (int i = 0; i < 8; i++) {
        snprintf(key, sizeof(key), "%d.jpg", i);
        assert_int_equal(put(spool, key), FW_OK);
    }
    wait_until(is_under_way, NULL, "an upload");
    assert_int_equal(nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL), 0);
    assert_int_equal(fake_value(&fake.most_under_way), 1);
    hold(false);
    behave(FW_OK);
    assert_true(fw_spool_drain(spool, SOON_MS));
    close_spool(spool);
}

static void one_picture_that_fails_lets_others_pass(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 1);
    (void)state;

    poison("bad.jpg", FW_EIO);
    assert_int_equal(put(spool, "bad.jpg"), FW_OK);
    for (int i = 0; i < 5; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%d.jpg", i);
        assert_int_equal(put(spool, key), FW_OK);
    }
    assert_false(fw_spool_drain(spool, 2000));
    assert_int_equal(stats_of(spool).pending, 1);
    assert_int_equal(stats_of(spool).stored, 5);
    assert_int_equal(fw_spool_state(spool, "bad.jpg"), FW_SPOOL_PENDING);
    poison("", 0);
    assert_true(fw_spool_drain(spool, SOON_MS));
    close_spool(spool);
}

static void a_rejected_picture_is_kept_apart(void **state)
{
    struct fw_spool *spool = open_with(3 * PICTURE_BYTES, 0, 1);
    (void)state;

    poison("cam/bad.jpg", FW_EREJECTED);
    assert_int_equal(put(spool, "cam/bad.jpg"), FW_OK);
    assert_int_equal(put(spool, "good.jpg"), FW_OK);
    assert_true(fw_spool_drain(spool, SOON_MS));
    assert_int_equal(fw_spool_state(spool, "cam/bad.jpg"), FW_SPOOL_FAILED);
    assert_copy(spool, "cam/bad.jpg", 0);
    assert_int_equal(stats_of(spool).failed, 1);
    assert_int_equal(stats_of(spool).evicted, 0);
    assert_int_equal(stats_of(spool).retried, 0);
    assert_int_equal(told_failed(), 1);
    close_spool(spool);
    spool = open_with(3 * PICTURE_BYTES, 0, 1);
    assert_int_equal(fw_spool_state(spool, "cam/bad.jpg"), FW_SPOOL_FAILED);
    assert_copy(spool, "cam/bad.jpg", 0);
    for (int i = 0; i < 3; i++) { // its bytes may go, its state stays
        char key[32];
        snprintf(key, sizeof(key), "%d.jpg", i);
        assert_int_equal(put(spool, key), FW_OK);
        assert_true(fw_spool_drain(spool, SOON_MS));
    }
    assert_no_copy(spool, "cam/bad.jpg");
    close_spool(spool);
    spool = open_with(3 * PICTURE_BYTES, 0, 1);
    assert_int_equal(fw_spool_state(spool, "cam/bad.jpg"), FW_SPOOL_FAILED);
    close_spool(spool);
}

static void a_picture_put_again_is_uploaded_again(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 2);
    (void)state;

    hold(true);
    assert_int_equal(put(spool, "a.jpg"), FW_OK);
    wait_until(is_under_way, NULL, "an upload");
    assert_int_equal(put_version(spool, "a.jpg", PICTURE_BYTES, 1), FW_OK); // while it is uploaded
    hold(false);
    assert_true(fw_spool_drain(spool, SOON_MS));
    assert_object("a.jpg", 1);
    assert_copy(spool, "a.jpg", 1);
    assert_int_equal(put_version(spool, "a.jpg", PICTURE_BYTES, 2), FW_OK); // after it
    assert_true(fw_spool_drain(spool, SOON_MS));
    assert_object("a.jpg", 2);
    assert_copy(spool, "a.jpg", 2);
    assert_int_equal(stats_of(spool).bytes, PICTURE_BYTES);
    close_spool(spool);
}

static void a_file_that_somebody_removed_is_given_up(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 1);
    (void)state;

    behave(FW_ECONNECT);
    assert_int_equal(put(spool, "a.jpg"), FW_OK);
    wait_until(is_tried_again, spool, "a failure");
    assert_int_equal(unlink(path_of("spool/pending/a.jpg")), 0);
    assert_true(fw_spool_drain(spool, SOON_MS));
    assert_int_equal(fw_spool_state(spool, "a.jpg"), FW_SPOOL_FAILED);
    assert_no_copy(spool, "a.jpg");
    assert_int_equal(stats_of(spool).failed, 1);
    close_spool(spool);
}

static void closing_is_quick_whatever_the_store_does(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 2);
    int64_t began_us;
    (void)state;

    hold(true);
    assert_int_equal(put(spool, "a.jpg"), FW_OK);
    wait_until(is_under_way, NULL, "an upload");
    began_us = fw_monotonic_us();
    close_spool(spool);
    assert_true(fw_monotonic_us() - began_us < 1000000);
    assert_true(exists("spool/pending/a.jpg"));
}

static bool is_idle(void *opaque)
{
    (void)opaque;
    return fake_value(&fake.under_way) == 0;
}

static void a_deaf_store_is_left_behind(void **state)
{
    static struct fw_spool *spool; // leaked on purpose: LeakSanitizer finds it here
    int64_t began_us;
    (void)state;

    spool = open_with(0, 0, 1);
    pthread_mutex_lock(&fake.condition.mutex);
    fake.is_held = fake.is_deaf = true;
    pthread_mutex_unlock(&fake.condition.mutex);
    assert_int_equal(put(spool, "a.jpg"), FW_OK);
    wait_until(is_under_way, NULL, "an upload");
    began_us = fw_monotonic_us();
    assert_int_equal(fw_spool_close(spool, 100), FW_ETIMEDOUT);
    assert_true(fw_monotonic_us() - began_us < 1000000);
    hold(false);
    wait_until(is_idle, NULL, "the end of the upload");
    assert_int_equal(nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL), 0);
}

// Many at once

struct putter {
    struct fw_spool *spool;
    int number, failures;
};

static void put_many(void *opaque)
{
    struct putter *putter = opaque;
    char key[32];

    for (int i = 0; i < 60; i++) {
        uint8_t *data = NULL;
        size_t length;
        snprintf(key, sizeof(key), "cam%d/%d-%d.jpg", i % 3, putter->number, i);
        if (put(putter->spool, key) != FW_OK)
            putter->failures++;
        (void)fw_spool_state(putter->spool, key);
        if (fw_spool_read(putter->spool, key, &data, &length) == FW_OK)
            free(data);
        if (i % 10 == 0)
            fw_spool_sweep(putter->spool);
    }
}

static void many_threads_put_while_others_upload(void **state)
{
    struct fw_spool *spool = open_with(20 * PICTURE_BYTES, 0, 3);
    struct fw_spool_stats stats;
    struct putter putters[4];
    struct fw_thread *threads[4];
    (void)state;

    for (int i = 0; i < 4; i++) {
        putters[i] = (struct putter){spool, i, 0};
        assert_int_equal(fw_thread_start(&threads[i], "putter", NULL, put_many, &putters[i]),
                         FW_OK);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fw_thread_join(threads[i], -1), FW_OK);
        assert_int_equal(putters[i].failures, 0);
    }
    assert_true(fw_spool_drain(spool, SOON_MS));
    stats = stats_of(spool);
    assert_int_equal(stats.stored + stats.failed, 240);
    assert_true(stats.bytes <= 20 * PICTURE_BYTES);
    close_spool(spool);
    assert_int_equal(told.stored, stats.stored);
    assert_int_equal(told.failed, stats.failed);
}

// Full disks

// A file size limit cuts a write short exactly as a full disk does.
static void a_disk_without_room_costs_the_cache_alone(void **state)
{
    struct fw_spool *spool = open_with(0, 0, 1);
    struct rlimit before, limit;
    struct fw_error error = {0};
    static const uint8_t data[4096] = "picture";
    (void)state;

    assert_int_equal(put(spool, "old.jpg"), FW_OK);
    assert_true(fw_spool_drain(spool, SOON_MS));
    behave(FW_ECONNECT);
    assert_int_equal(put(spool, "waits.jpg"), FW_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    limit = before;
    limit.rlim_cur = 2000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(fw_spool_put(spool, "new.jpg", data, sizeof(data), &error), FW_EFULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(strstr(error.message, "free some space"));
    assert_no_copy(spool, "old.jpg");
    assert_copy(spool, "waits.jpg", 0);
    assert_no_copy(spool, "new.jpg");
    assert_int_equal(put(spool, "new.jpg"), FW_OK);
    behave(FW_OK);
    assert_true(fw_spool_drain(spool, SOON_MS));
    close_spool(spool);
}

static bool mount_small_disk(const char *where)
{
    assert_int_equal(mkdir(where, 0755), 0);
    return mount("tmpfs", where, "tmpfs", 0, "size=128k,nr_inodes=200") == 0;
}

static void a_really_full_disk_recovers(void **state)
{
    char disk[80], key[32];
    struct fw_spool *spool;
    int taken = 0;
    (void)state;

    snprintf(disk, sizeof(disk), "%s/spool", folder);
    if (!mount_small_disk(disk))
        skip(); // only root may, and not in every container
    spool = open_with(0, 0, 2);
    for (int i = 0; i < 100; i++) { // uploaded ones make room for new ones
        snprintf(key, sizeof(key), "cam/a%d.jpg", i);
        assert_int_equal(put(spool, key), FW_OK);
        assert_true(fw_spool_drain(spool, SOON_MS));
    }
    behave(FW_ECONNECT);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "cam/b%d.jpg", i);
        if (put(spool, key) == FW_OK)
            assert_int_equal(taken++, i); // from the first refusal on none is taken
    }
    assert_true(taken > 20 && taken < 40);
    close_spool(spool);
    spool = open_with(8 * PICTURE_BYTES, 0, 2); // giving up works on a full disk, too
    assert_int_equal(stats_of(spool).evicted, (uint64_t)taken - 8);
    close_spool(spool);
    spool = open_with(0, 0, 2);
    assert_int_equal(fw_spool_state(spool, "cam/b0.jpg"), FW_SPOOL_FAILED);
    snprintf(key, sizeof(key), "cam/b%d.jpg", taken - 1);
    assert_int_equal(fw_spool_state(spool, key), FW_SPOOL_PENDING);
    behave(FW_OK);
    assert_true(fw_spool_drain(spool, SOON_MS));
    close_spool(spool);
    assert_int_equal(umount(disk), 0);
}

// What others on the disk need more is left to them: copies of uploaded pictures go, and nothing
// else. More than any disk has means an eighth of it.
static void room_is_left_to_others(void **state)
{
    struct fw_spool_options options = {.dir = path_of("spool"), .store = store};
    char disk[80], dir[100], key[32];
    struct fw_store_options local = {.backend = "dir", .dir = dir, .min_free_bytes = 1 << 30};
    struct fw_store *opened;
    struct fw_spool *spool;
    (void)state;

    snprintf(disk, sizeof(disk), "%s/spool", folder);
    snprintf(dir, sizeof(dir), "%s/spool/local", folder);
    if (!mount_small_disk(disk))
        skip();
    options.min_free_bytes = 1 << 30;
    assert_int_equal(fw_spool_open(&spool, &options, NULL), FW_OK);
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "a%d.jpg", i);
        assert_int_equal(put(spool, key), FW_OK);
        assert_true(fw_spool_drain(spool, SOON_MS));
    }
    fw_spool_sweep(spool);
    assert_true(count_files("spool/cache") <= 28);
    assert_no_copy(spool, "a0.jpg");
    assert_copy(spool, "a39.jpg", 0);
    assert_int_equal(stats_of(spool).failed, 0);
    close_spool(spool);

    assert_int_equal(fw_store_open(&opened, &local, NULL), FW_OK);
    for (int i = 0; i < 40; i++) {
        uint8_t data[PICTURE_BYTES] = {0};
        snprintf(key, sizeof(key), "b%d.jpg", i);
        (void)fw_store_put(opened, key, data, sizeof(data), NULL, NULL, NULL);
    }
    assert_in_range(count_files("spool/local"), 0, 28);
    fw_store_close(opened);
    assert_int_equal(umount(disk), 0);
}

// A store on this machine

static void a_local_store_needs_no_spool(void **state)
{
    char dir[80];
    struct fw_store_options local = {.backend = "dir", .dir = dir, .max_bytes = 2500};
    struct fw_spool_options options = {.dir = "/nowhere/at/all"};
    struct fw_spool *spool;
    char expected[128], *text;
    struct fw_store *opened;
    (void)state;

    snprintf(dir, sizeof(dir), "%s/local", folder);
    assert_int_equal(fw_store_open(&opened, &local, NULL), FW_OK);
    options.store = opened;
    assert_int_equal(fw_spool_open(&spool, &options, NULL), FW_OK);
    assert_int_equal(fw_spool_state(spool, "cam/a.jpg"), FW_SPOOL_FAILED);
    assert_int_equal(put(spool, "cam/a.jpg"), FW_OK);
    assert_int_equal(fw_spool_state(spool, "cam/a.jpg"), FW_SPOOL_STORED);
    assert_copy(spool, "cam/a.jpg", 0);
    snprintf(expected, sizeof(expected), "%s/cam/a.jpg", dir);
    text = fw_spool_path(spool, "cam/a.jpg");
    assert_string_equal(text, expected);
    free(text);
    text = fw_spool_url(spool, "cam/a.jpg");
    assert_non_null(strstr(text, "file:///"));
    free(text);
    assert_true(fw_spool_drain(spool, 0));
    assert_int_equal(put(spool, "b.jpg"), FW_OK);
    assert_int_equal(put(spool, "c.jpg"), FW_OK); // the first goes by the store's own bound
    assert_no_copy(spool, "cam/a.jpg");
    assert_int_equal(fw_spool_state(spool, "cam/a.jpg"), FW_SPOOL_FAILED);
    assert_int_equal(stats_of(spool).stored, 3);
    fw_spool_sweep(spool);
    assert_int_equal(fw_spool_close(spool, 100), FW_OK);
    fw_store_close(opened);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean)
    const struct CMUnitTest tests[] = {
        TEST(pictures_go_to_disk_then_to_the_store),
        TEST(bad_keys_and_empty_pictures_are_refused),
        TEST(what_waits_is_found_again),
        TEST(nothing_that_was_put_is_lost_by_a_kill),
        TEST(empty_folders_go_after_an_hour),
        TEST(doubles_of_a_crash_are_sorted_out),
        TEST(two_spools_do_not_share_a_folder),
        TEST(uploaded_pictures_go_first_then_the_oldest_that_wait),
        TEST(bounds_hold_at_opening),
        TEST(a_picture_above_the_bound_costs_no_other),
        TEST(marks_are_bounded_without_a_sweep),
        TEST(pictures_age_out),
        TEST(a_refusal_holds_all_and_loses_nothing),
        TEST(one_upload_at_a_time_while_the_store_is_down),
        TEST(one_picture_that_fails_lets_others_pass),
        TEST(a_rejected_picture_is_kept_apart),
        TEST(a_picture_put_again_is_uploaded_again),
        TEST(a_file_that_somebody_removed_is_given_up),
        TEST(closing_is_quick_whatever_the_store_does),
        TEST(a_deaf_store_is_left_behind),
        TEST(many_threads_put_while_others_upload),
        TEST(a_disk_without_room_costs_the_cache_alone),
        TEST(a_really_full_disk_recovers),
        TEST(room_is_left_to_others),
        TEST(a_local_store_needs_no_spool),
    };
#undef TEST

    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
