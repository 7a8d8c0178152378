// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "storage/index.h"
#include "storage/store.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/thread.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fw-store-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;

    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static struct fw_store *open_with(int64_t max_bytes, int64_t max_age_us, const char *base_url)
{
    struct fw_store_options options = {.backend = "dir",
                                       .dir = folder,
                                       .public_base_url = base_url,
                                       .max_bytes = max_bytes,
                                       .max_age_us = max_age_us};
    struct fw_error error = {0};
    struct fw_store *store;

    if (fw_store_open(&store, &options, &error) != FW_OK)
        fail_msg("%s", error.message);
    return store;
}

static int put(struct fw_store *store, const char *key, size_t length)
{
    static const uint8_t data[4096] = "picture";

    return fw_store_put(store, key, data, length, "image/jpeg", NULL, NULL);
}

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

// Makes the file NAME of LENGTH bytes, AGE_S old.
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

static int count_files(const char *name)
{
    DIR *dir = opendir(path_of(name));
    int count = 0;
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' || strncmp(entry->d_name, ".faceworker-new", 15) == 0)
            count++;
    closedir(dir);
    return count;
}

static void stores_bytes_under_their_key(void **state)
{
    struct fw_store *store = open_with(0, 0, NULL);
    struct stat info;
    (void)state;

    assert_int_equal(put(store, "front-door/2026/01/a.jpg", 1000), FW_OK);
    assert_int_equal(stat(path_of("front-door/2026/01/a.jpg"), &info), 0);
    assert_int_equal(info.st_size, 1000);
    assert_int_equal(info.st_mode & 0777, 0644);
    assert_int_equal(put(store, "front-door/2026/01/a.jpg", 20), FW_OK); // in its place
    assert_int_equal(stat(path_of("front-door/2026/01/a.jpg"), &info), 0);
    assert_int_equal(info.st_size, 20);
    assert_int_equal(put(store, "empty", 0), FW_OK);
    assert_int_equal(count_files("front-door/2026/01"), 1);
    fw_store_close(store);
    fw_store_close(NULL);
}

static void refuses_keys_that_leave_the_folder(void **state)
{
    static const char *const bad[] = {
        "",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a/.",
        "a\nb",
        "a\x7f",
        ".faceworker-new-x",
        "a/.faceworker-x",
        "a/b/c/d/e/f/g/h/i/j/k/l/m",
    };
    struct fw_store *store = open_with(0, 0, NULL);
    char longest[1200];
    struct fw_error error = {0};
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(put(store, bad[i], 1), FW_EINVAL);
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(fw_store_put(store, longest, NULL, 0, NULL, NULL, &error), FW_EINVAL);
    assert_non_null(strchr(error.message, ';'));
    assert_int_equal(put(store, "..a/b..", 1), FW_OK); // odd, but harmless
    fw_store_close(store);
}

static void urls_are_encoded(void **state)
{
    struct fw_store *store = open_with(0, 0, "http://cdn.example/faces//");
    char expected[256], *url;
    (void)state;

    url = fw_store_url(store, "t\xc3\xbcr 1/a#b.jpg");
    assert_string_equal(url, "http://cdn.example/faces/t%C3%BCr%201/a%23b.jpg");
    free(url);
    fw_store_close(store);
    store = open_with(0, 0, NULL);
    url = fw_store_url(store, "a b.jpg");
    snprintf(expected, sizeof(expected), "file://%s/a%%20b.jpg", folder);
    assert_string_equal(url, expected);
    free(url);
    fw_store_close(store);
}

static void makes_its_folder(void **state)
{
    char dir[128];
    struct fw_store_options options = {.backend = "dir", .dir = dir};
    struct fw_store *store;
    (void)state;

    snprintf(dir, sizeof(dir), "%s/a/b/c", folder);
    assert_int_equal(fw_store_open(&store, &options, NULL), FW_OK);
    assert_int_equal(put(store, "x/y", 1), FW_OK);
    assert_true(exists("a/b/c/x/y"));
    fw_store_close(store);
}

static void says_what_is_wrong_with_a_folder(void **state)
{
    char dir[128];
    struct fw_store_options options = {.backend = "dir", .dir = dir};
    struct fw_error error = {0};
    struct fw_store *store;
    (void)state;

    make_file("file", 1, 0);
    snprintf(dir, sizeof(dir), "%s/file/sub", folder);
    assert_int_equal(fw_store_open(&store, &options, &error), FW_EIO);
    assert_null(store);
    assert_non_null(strstr(error.message, "in the way"));
    snprintf(dir, sizeof(dir), "%s/file", folder);
    assert_int_equal(fw_store_open(&store, &options, &error), FW_EIO);
    snprintf(dir, sizeof(dir), "/proc/faces");
    assert_int_equal(fw_store_open(&store, &options, &error), FW_EIO);
    assert_non_null(strstr(error.message, "/proc/faces"));
    options.dir = "";
    assert_int_equal(fw_store_open(&store, &options, &error), FW_EINVAL);
    options.backend = "tape";
    assert_int_equal(fw_store_open(&store, &options, &error), FW_EINVAL);
    assert_non_null(strstr(error.message, "tape"));
}

static void says_who_may_not_write(void **state)
{
    struct fw_store_options options = {.backend = "dir", .dir = folder};
    struct fw_error error = {0};
    struct fw_store *store;
    (void)state;

    if (geteuid() == 0) // root may write anywhere: become somebody else for a moment
        assert_int_equal(seteuid(65534), 0);
    assert_int_equal(chmod(folder, 0555), geteuid() == 65534 ? -1 : 0);
    assert_int_equal(fw_store_open(&store, &options, &error), FW_EIO);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_non_null(strstr(error.message, "the right to write"));
}

static void two_processes_do_not_share_a_folder(void **state)
{
    struct fw_store_options options = {.backend = "dir", .dir = folder};
    struct fw_store *store = open_with(0, 0, NULL), *second = NULL;
    struct fw_error error = {0};
    int status = 0;
    pid_t child = fork();
    (void)state;

    assert_true(child >= 0);
    if (child == 0)
        _exit(fw_store_open(&second, &options, &error) == FW_EIO &&
                      strstr(error.message, "another faceworker stores its snapshots in")
                  ? 0
                  : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fw_store_close(store);
    fw_store_close(open_with(0, 0, NULL)); // free again
}

static void cleans_up_after_a_crash(void **state)
{
    struct fw_store *store;
    (void)state;

    assert_int_equal(mkdir(path_of("cam"), 0755), 0);
    make_file("cam/.faceworker-new-0198", 10, 0);
    make_file("cam/a.jpg", 10, 0);
    store = open_with(0, 0, NULL);
    assert_false(exists("cam/.faceworker-new-0198"));
    assert_true(exists("cam/a.jpg"));
    fw_store_close(store);
}

static void the_oldest_go_when_there_are_too_many_bytes(void **state)
{
    struct fw_store *store = open_with(3000, 0, NULL);
    char key[32];
    (void)state;

    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "cam%d/a.jpg", i);
        assert_int_equal(put(store, key, 1000), FW_OK);
    }
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "cam%d/a.jpg", i);
        assert_int_equal(exists(key), i >= 7);
        snprintf(key, sizeof(key), "cam%d", i);
        assert_int_equal(exists(key), i >= 7); // empty folders go too
    }
    assert_int_equal(put(store, "cam7/a.jpg", 500), FW_OK); // now the newest, and counted once
    assert_int_equal(put(store, "new/a.jpg", 500), FW_OK);
    assert_true(exists("cam8/a.jpg"));
    assert_int_equal(put(store, "new/b.jpg", 500), FW_OK);
    assert_false(exists("cam8/a.jpg"));
    assert_true(exists("cam7/a.jpg"));
    fw_store_close(store);
}

static void an_old_store_is_swept_at_its_opening(void **state)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - 10000}, {.tv_sec = time(NULL) - 10000}};
    struct fw_store *store = open_with(0, 0, NULL);
    (void)state;

    assert_int_equal(put(store, "cam/new.jpg", 10), FW_OK);
    fw_store_close(store);
    assert_int_equal(utimensat(AT_FDCWD, path_of(".faceworker-folder"), times, 0), 0);
    make_file("cam/old.jpg", 10, 5000);
    make_file("cam/foreign.jpg", 10, 20000); // older than the store: not ours
    store = open_with(0, 3600 * FW_US_PER_S, NULL);
    assert_false(exists("cam/old.jpg"));
    assert_true(exists("cam/new.jpg"));
    assert_true(exists("cam/foreign.jpg"));
    fw_store_close(store);
    make_file("cam/old.jpg", 10, 5000);
    store = open_with(15, 0, NULL);
    assert_false(exists("cam/old.jpg"));
    assert_true(exists("cam/new.jpg"));
    assert_true(exists("cam/foreign.jpg"));
    fw_store_close(store);
}

static void files_age_out_while_nothing_is_put(void **state)
{
    struct fw_store *store = open_with(0, 50 * FW_US_PER_MS, NULL);
    struct timespec pause = {.tv_nsec = 100000000};
    (void)state;

    assert_int_equal(put(store, "cam/a.jpg", 10), FW_OK);
    assert_true(exists("cam/a.jpg"));
    assert_int_equal(nanosleep(&pause, NULL), 0);
    fw_store_sweep(store);
    assert_false(exists("cam"));
    fw_store_close(store);
}

// A file size limit cuts a write short exactly as a full disk does.
static void a_full_disk_leaves_nothing_half_written(void **state)
{
    struct fw_store *store = open_with(0, 0, NULL);
    static const uint8_t data[4096];
    struct rlimit before, limit;
    struct fw_error error = {0};
    (void)state;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    limit = before;
    limit.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(fw_store_put(store, "cam/a", data, sizeof(data), NULL, NULL, &error),
                     FW_EFULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(strstr(error.message, "free some space"));
    assert_int_equal(count_files("cam"), 0);
    assert_int_equal(put(store, "cam/a", 4096), FW_OK);
    fw_store_close(store);
}

static void a_cancel_leaves_nothing(void **state)
{
    struct fw_store *store = open_with(0, 0, NULL);
    struct fw_cancel *cancel = fw_cancel_create();
    uint8_t byte = 1;
    (void)state;

    assert_non_null(cancel);
    fw_cancel_trigger(cancel);
    assert_int_equal(fw_store_put(store, "cam/a", &byte, 1, NULL, cancel, NULL), FW_ECANCELED);
    assert_int_equal(count_files("cam"), 0);
    fw_cancel_destroy(cancel);
    fw_store_close(store);
}

// One of several threads that put at once.
struct putter {
    struct fw_store *store;
    int number, failures;
};

static void put_many(void *opaque)
{
    struct putter *putter = opaque;
    char key[32];

    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "cam%d/%d.jpg", i % 3, putter->number * 1000 + i);
        if (put(putter->store, key, 100) != FW_OK)
            putter->failures++;
    }
}

static void many_threads_put_and_sweep_at_once(void **state)
{
    struct fw_store *store = open_with(500, 0, NULL);
    struct putter putters[4];
    struct fw_thread *threads[4];
    (void)state;

    for (int i = 0; i < 4; i++) {
        putters[i] = (struct putter){store, i, 0};
        assert_int_equal(fw_thread_start(&threads[i], "putter", NULL, put_many, &putters[i]),
                         FW_OK);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fw_thread_join(threads[i], -1), FW_OK);
        assert_int_equal(putters[i].failures, 0);
    }
    assert_true(count_files(".") >= 1 && count_files(".") <= 3);
    fw_store_close(store);
}

static void the_index_forgets_in_order(void **state)
{
    struct fw_store_index index = {0};
    char key[32], *first;
    (void)state;

    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(fw_store_index_add(&index, key, i, 10), FW_OK);
        if (i >= 100) {
            first = fw_store_index_take_first(&index);
            snprintf(key, sizeof(key), "%d", i - 100);
            assert_string_equal(first, key);
            free(first);
        }
    }
    assert_true(index.capacity <= 512);
    fw_store_index_remove(&index, "950");
    fw_store_index_remove(&index, "not there");
    assert_int_equal(index.count, 99);
    assert_int_equal(index.bytes, 990);
    assert_int_equal(fw_store_index_add(&index, "late", 5, 10), FW_OK);
    fw_store_index_sort(&index);
    assert_string_equal(fw_store_index_first(&index)->key, "late");
    fw_store_index_free(&index);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(stores_bytes_under_their_key),
        TEST(refuses_keys_that_leave_the_folder),
        TEST(urls_are_encoded),
        TEST(makes_its_folder),
        TEST(says_what_is_wrong_with_a_folder),
        TEST(says_who_may_not_write),
        TEST(cleans_up_after_a_crash),
        TEST(two_processes_do_not_share_a_folder),
        TEST(the_oldest_go_when_there_are_too_many_bytes),
        TEST(an_old_store_is_swept_at_its_opening),
        TEST(files_age_out_while_nothing_is_put),
        TEST(a_full_disk_leaves_nothing_half_written),
        TEST(a_cancel_leaves_nothing),
        TEST(many_threads_put_and_sweep_at_once),
        cmocka_unit_test(the_index_forgets_in_order),
    };
#undef TEST

    return cmocka_run_group_tests_name("storage", tests, NULL, NULL);
}
