#include "alert/sink.h"
#include "sink_tests.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fw-sink-XXXXXX");
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
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static struct fw_sink *opened(const char *path)
{
    struct fw_sink_options options = {.type = "file", .name = "alerts", .path = path};
    struct fw_error error = {0};
    struct fw_sink *sink;

    if (fw_sink_open(&sink, &options, &error) != FW_OK)
        fail_msg("%s", error.message);
    return sink;
}

static char *content(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int deliver(struct fw_sink *sink, const struct fw_message *message, struct fw_error *error)
{
    int result = FW_ECANCELED, status = fw_sink_deliver(sink, message, 1, &result, NULL, error);

    assert_int_equal(result, status);
    return status;
}

static void assert_delivered(struct fw_sink *sink, const struct fw_message *message)
{
    struct fw_error error = {0};

    if (deliver(sink, message, &error) != FW_OK)
        fail_msg("%s", error.message);
}

static void appends_a_line_an_event_and_makes_the_folder(void **state)
{
    const char *path = path_of("a/b/alerts.jsonl");
    struct fw_sink *sink = opened(path);
    const struct fw_message first = message_of(1), second = message_of(2);
    char *text, *newline;
    (void)state;

    assert_delivered(sink, &first);
    fw_sink_close(sink);
    sink = opened(path);
    assert_delivered(sink, &second);
    fw_sink_close(sink);
    text = content(path);
    newline = strchr(text, '\n');
    assert_non_null(newline);
    *newline = '\0';
    assert_string_equal(text, first.body);
    assert_int_equal(strlen(newline + 1), second.length + 1);
    assert_memory_equal(newline + 1, second.body, second.length);
}

static void a_batch_is_appended_whole_or_not_at_all(void **state)
{
    const char *path = path_of("alerts.jsonl");
    struct fw_sink *sink = opened(path);
    struct fw_message batch[3] = {message_of(1), message_of(2), message_of(3)};
    struct fw_error error = {0};
    struct rlimit before, limit;
    int results[3];
    size_t length;
    char *text;
    (void)state;

    assert_true(fw_sink_max_batch(sink) >= 3);
    assert_int_equal(fw_sink_deliver(sink, batch, 3, results, NULL, &error), FW_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(results[i], FW_OK);
    text = content(path);
    for (int i = 0; i < 3; i++, text += batch[0].length + 1) {
        assert_memory_equal(text, batch[i].body, batch[i].length);
        assert_int_equal(text[batch[i].length], '\n');
    }
    assert_int_equal(*text, '\0');

    length = strlen(content(path));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    limit = before;
    limit.rlim_cur = length + 2 * batch[0].length + 10; // room for two and a half
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(fw_sink_deliver(sink, batch, 3, results, NULL, &error), FW_EFULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(results[i], FW_EFULL);
    assert_int_equal(strlen(content(path)), length);
    assert_int_equal(fw_sink_deliver(sink, batch, 3, results, NULL, &error), FW_OK);
    fw_sink_close(sink);
}

static void nothing_and_too_much_are_not_delivered(void **state)
{
    struct fw_sink *sink = opened(path_of("alerts.jsonl"));
    struct fw_error error = {0};
    int result;
    (void)state;

    assert_int_equal(fw_sink_deliver(sink, NULL, 0, &result, NULL, &error), FW_OK);
    assert_int_equal(fw_sink_idle(sink, NULL, &error), FW_OK);
    {
        size_t count = fw_sink_max_batch(sink) + 1;
        struct fw_message *messages = calloc(count, sizeof(*messages));
        int *results = calloc(count, sizeof(*results));
        assert_int_equal(fw_sink_deliver(sink, messages, count, results, NULL, &error), FW_EINVAL);
        assert_int_equal(results[0], FW_EAGAIN);
        free(messages);
        free(results);
    }
    fw_sink_close(sink);
}

static void a_torn_last_line_spoils_no_other(void **state)
{
    const char *path = path_of("alerts.jsonl");
    const struct fw_message message = message_of(1);
    struct fw_sink *sink;
    char *text;
    (void)state;

    write_file(path, "{\"a\":1}\n{\"half");
    sink = opened(path);
    assert_delivered(sink, &message);
    fw_sink_close(sink);
    text = content(path);
    assert_memory_equal(text, "{\"a\":1}\n{\"half\n", 15);
    assert_memory_equal(text + 15, message.body, message.length);
}

static void a_rotated_file_is_begun_anew(void **state)
{
    const char *path = path_of("alerts.jsonl");
    struct fw_sink *sink = opened(path);
    const struct fw_message message = message_of(1);
    char moved[160];
    (void)state;

    assert_delivered(sink, &message);
    snprintf(moved, sizeof(moved), "%s.1", path);
    assert_int_equal(rename(path, moved), 0);
    assert_delivered(sink, &message);
    assert_int_equal(strlen(content(path)), message.length + 1);
    assert_int_equal(strlen(content(moved)), message.length + 1);
    assert_int_equal(unlink(path), 0);
    assert_delivered(sink, &message);
    assert_int_equal(strlen(content(path)), message.length + 1);
    fw_sink_close(sink);
}

// A file size limit cuts a write short exactly as a full disk does.
static void a_full_disk_leaves_no_half_line(void **state)
{
    const char *path = path_of("alerts.jsonl");
    const struct fw_message message = message_of(1);
    struct fw_sink *sink = opened(path);
    struct rlimit before, limit;
    struct fw_error error = {0};
    (void)state;

    assert_delivered(sink, &message);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    limit = before;
    limit.rlim_cur = message.length + 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(deliver(sink, &message, &error), FW_EFULL);
    assert_non_null(strstr(error.message, "free some space"));
    assert_int_equal(strlen(content(path)), message.length + 1);
    assert_int_equal(deliver(sink, &message, &error), FW_EFULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_delivered(sink, &message);
    assert_int_equal(strlen(content(path)), 2 * (message.length + 1));
    fw_sink_close(sink);
}

static void says_what_is_wrong_with_a_path(void **state)
{
    struct fw_sink_options options = {.type = "file", .name = "alerts", .path = folder};
    struct fw_error error = {0};
    struct fw_sink *sink;
    (void)state;

    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EIO); // a folder
    assert_null(sink);
    assert_non_null(strstr(error.message, folder));
    options.path = path_of("pipe");
    assert_int_equal(mkfifo(options.path, 0600), 0);
    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EINVAL);
    options.path = "/proc/nowhere/alerts.jsonl";
    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EIO);
    options.path = "/sys/nowhere/alerts.jsonl"; // where nobody may make folders
    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EIO);
    assert_null(strstr(error.message, "No such file"));
    options.path = "";
    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EINVAL);
    options.path = NULL;
    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EINVAL);
    options.type = "pigeon";
    assert_int_equal(fw_sink_open(&sink, &options, &error), FW_EINVAL);
    assert_non_null(strstr(error.message, "pigeon"));
}

static void two_processes_do_not_share_a_file(void **state)
{
    const char *path = path_of("alerts.jsonl");
    struct fw_sink_options options = {.type = "file", .name = "alerts", .path = path};
    struct fw_sink *sink = opened(path), *second = NULL;
    struct fw_error error = {0};
    int status = 0;
    pid_t child = fork();
    (void)state;

    assert_true(child >= 0);
    if (child == 0)
        _exit(fw_sink_open(&second, &options, &error) == FW_EIO &&
                      strstr(error.message, "another faceworker writes its alerts to")
                  ? 0
                  : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fw_sink_close(sink);
    sink = opened(path); // free again
    fw_sink_close(sink);
}

static void waits_for_a_path_that_became_impossible(void **state)
{
    const char *path = path_of("sub/alerts.jsonl");
    struct fw_sink *sink = opened(path);
    const struct fw_message message = message_of(1);
    struct fw_error error = {0};
    (void)state;

    assert_delivered(sink, &message);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(deliver(sink, &message, &error), FW_EIO);
    assert_int_equal(rmdir(path), 0);
    assert_delivered(sink, &message);
    fw_sink_close(sink);
}

int run_sink_file_tests(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(appends_a_line_an_event_and_makes_the_folder),
        TEST(a_batch_is_appended_whole_or_not_at_all),
        TEST(nothing_and_too_much_are_not_delivered),
        TEST(a_torn_last_line_spoils_no_other),
        TEST(a_rotated_file_is_begun_anew),
        TEST(a_full_disk_leaves_no_half_line),
        TEST(says_what_is_wrong_with_a_path),
        TEST(waits_for_a_path_that_became_impossible),
        TEST(two_processes_do_not_share_a_file),
    };
#undef TEST

    return cmocka_run_group_tests_name("file sink", tests, NULL, NULL);
}
