#include "cmocka_includes.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

struct fixture {
    int ends[2];
    struct fw_secrets *secrets;
    char text[8192];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    if (!fixture || pipe(fixture->ends) != 0)
        return -1;
    if (fcntl(fixture->ends[0], F_SETFL, O_NONBLOCK) != 0)
        return -1;
    fixture->secrets = fw_secrets_create();
    *state = fixture;
    return fixture->secrets ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    close(fixture->ends[0]);
    if (fixture->ends[1] >= 0)
        close(fixture->ends[1]);
    fw_secrets_destroy(fixture->secrets);
    free(fixture);
    return 0;
}

// What was written since the last call.
static const char *written(struct fixture *fixture)
{
    ssize_t length = read(fixture->ends[0], fixture->text, sizeof fixture->text - 1);
    fixture->text[length > 0 ? length : 0] = '\0';
    return fixture->text;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t compiled;
    assert_int_equal(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int result = regexec(&compiled, text, 0, NULL, 0);
    regfree(&compiled);
    if (result != 0)
        fail_msg("%s does not match %s", text, pattern);
}

static struct fw_logger *make(struct fixture *fixture, enum fw_log_format format)
{
    struct fw_logger *logger =
        fw_logger_create(fixture->ends[1], FW_LOG_INFO, format, fixture->secrets);
    assert_non_null(logger);
    return logger;
}

static void levels_are_parsed(void **state)
{
    (void)state;
    enum fw_log_level level = FW_LOG_DEBUG;
    assert_true(fw_log_level_parse("error", &level));
    assert_int_equal(level, FW_LOG_ERROR);
    assert_true(fw_log_level_parse("warning", &level));
    assert_int_equal(level, FW_LOG_WARNING);
    assert_true(fw_log_level_parse("info", &level));
    assert_int_equal(level, FW_LOG_INFO);
    assert_true(fw_log_level_parse("debug", &level));
    assert_int_equal(level, FW_LOG_DEBUG);
    assert_false(fw_log_level_parse("loud", &level));
    assert_false(fw_log_level_parse("", &level));
    assert_false(fw_log_level_parse(NULL, &level));
    assert_int_equal(level, FW_LOG_DEBUG);
}

static void text_lines(void **state)
{
    struct fixture *fixture = *state;
    struct fw_logger *logger = make(fixture, FW_LOG_TEXT);
    const struct fw_log camera = {logger, "front"}, bare = {logger, NULL};
    fw_log_info(&camera, "live, %d fps", 25);
    assert_matches(written(fixture), "^" TIME " info  \\[front\\] live, 25 fps\n$");
    fw_log_error(&bare, "bad");
    assert_matches(written(fixture), "^" TIME " error bad\n$");
    fw_log_warning(&bare, "hm");
    assert_matches(written(fixture), "^" TIME " warning hm\n$");
    fw_log_debug(&bare, "not shown");
    assert_string_equal(written(fixture), "");
    fw_logger_destroy(logger);
}

static void json_lines(void **state)
{
    struct fixture *fixture = *state;
    struct fw_logger *logger = make(fixture, FW_LOG_JSON);
    const struct fw_log camera = {logger, "a\"b"}, bare = {logger, NULL};
    fw_log_info(&camera, "two\nlines \x1b \xff");
    assert_matches(written(fixture),
                   "^\\{\"time\":\"" TIME "\",\"level\":\"info\",\"camera\":\"a\\\\\"b\","
                   "\"message\":\"two\\\\nlines \\\\u001b \xef\xbf\xbd\"\\}\n$");
    fw_log_warning(&bare, "x");
    assert_matches(written(fixture),
                   "^\\{\"time\":\"" TIME "\",\"level\":\"warning\",\"message\":\"x\"\\}\n$");
    fw_logger_destroy(logger);
}

static void nobody_forges_a_line(void **state)
{
    struct fixture *fixture = *state;
    struct fw_logger *logger = make(fixture, FW_LOG_TEXT);
    const struct fw_log log = {logger, "c\nam"};
    fw_log_info(&log, "a\n2026-01-01T00:00:00.000Z error forged\x1b[2J\r");
    assert_matches(written(fixture), " info  \\[c\\\\nam\\] a\\\\n2026-[^\n]*\\\\x1b\\[2J\\\\r\n$");
    fw_logger_destroy(logger);
}

static void secrets_are_masked(void **state)
{
    struct fixture *fixture = *state;
    struct fw_logger *logger = make(fixture, FW_LOG_JSON);
    assert_int_equal(fw_secrets_add(fixture->secrets, "can@ry:\"1\n"), 0);
    const struct fw_log log = {logger, "can@ry:\"1\n"};
    fw_log_info(&log, "it is can@ry:\"1\n and rtsp://u:unknown@h/");
    const char *text = written(fixture);
    assert_null(strstr(text, "ry:"));
    assert_null(strstr(text, "unknown"));
    assert_non_null(strstr(text, "it is *** and rtsp://***@h/"));
    assert_non_null(strstr(text, "\"camera\":\"***\""));
    fw_logger_destroy(logger);
}

static void level_and_format_change(void **state)
{
    struct fixture *fixture = *state;
    struct fw_logger *logger = make(fixture, FW_LOG_TEXT);
    const struct fw_log log = {logger, NULL};
    assert_true(fw_log_enabled(&log, FW_LOG_INFO));
    assert_false(fw_log_enabled(&log, FW_LOG_DEBUG));
    fw_logger_set(logger, FW_LOG_DEBUG, FW_LOG_JSON);
    assert_true(fw_log_enabled(&log, FW_LOG_DEBUG));
    fw_log_debug(&log, "deep");
    assert_matches(written(fixture), "^\\{.*\"level\":\"debug\",\"message\":\"deep\"");
    fw_logger_destroy(logger);
}

static void null_handles_drop_lines(void **state)
{
    (void)state;
    const struct fw_log log = {0};
    assert_false(fw_log_enabled(NULL, FW_LOG_ERROR));
    assert_false(fw_log_enabled(&log, FW_LOG_ERROR));
    fw_log_error(NULL, "x");
    fw_log_error(&log, "x");
    fw_logger_destroy(NULL);
}

static void repetitions_are_counted(void **state)
{
    struct fixture *fixture = *state;
    struct fw_logger *logger = make(fixture, FW_LOG_TEXT);
    const struct fw_log a = {logger, "a"}, b = {logger, "b"};
    fw_log_info(&a, "same");
    fw_log_info(&b, "same");
    assert_matches(written(fixture), "\\[a\\] same\n.*\\[b\\] same\n$");
    fw_log_info(&a, "same");
    fw_log_info(&a, "same");
    fw_log_info(&b, "same");
    assert_string_equal(written(fixture), "");
    fw_log_info(&a, "other");
    assert_matches(written(fixture),
                   "^[^\n]*\\[a\\] same \\(repeated 2 more times\\)\n[^\n]*\\[a\\] other\n$");
    fw_log_warning(&a, "other"); // another level is another line
    assert_matches(written(fixture), "^" TIME " warning \\[a\\] other\n$");
    fw_logger_destroy(logger);
    assert_matches(written(fixture), "^[^\n]*\\[b\\] same \\(repeated 1 more time\\)\n$");
}

static _Atomic int64_t clock_shift_us;

int64_t __real_fw_monotonic_us(void);
int64_t __wrap_fw_monotonic_us(void);
int64_t __wrap_fw_monotonic_us(void)
{
    return __real_fw_monotonic_us() + clock_shift_us;
}

static void repetitions_are_told_after_ten_seconds(void **state)
{
    struct fixture *fixture = *state;
    struct fw_logger *logger = make(fixture, FW_LOG_TEXT);
    const struct fw_log a = {logger, "a"}, b = {logger, "b"};
    fw_log_info(&a, "same");
    fw_log_info(&a, "same");
    written(fixture);
    clock_shift_us += 11 * FW_US_PER_S;
    fw_log_info(&b, "by another");
    assert_matches(written(fixture),
                   "^[^\n]*\\[a\\] same \\(repeated 1 more time\\)\n[^\n]*\\[b\\] by another\n$");
    fw_log_info(&a, "same"); // a new window, so it is written
    assert_matches(written(fixture), "^[^\n]*\\[a\\] same\n$");
    fw_log_info(&a, "same");
    clock_shift_us += 11 * FW_US_PER_S;
    fw_log_info(&a, "same");
    assert_matches(written(fixture),
                   "^[^\n]*\\[a\\] same \\(repeated 1 more time\\)\n[^\n]*\\[a\\] same\n$");
    fw_logger_destroy(logger);
}

static void more_names_than_places(void **state)
{
    struct fixture *fixture = *state;
    struct fw_logger *logger = make(fixture, FW_LOG_TEXT);
    for (int i = 0; i < 200; i++) {
        char *name = fw_strdup_printf("cam%d", i);
        const struct fw_log log = {logger, name};
        fw_log_info(&log, "same");
        fw_log_info(&log, "same");
        free(name);
        if (i % 20 == 19)
            assert_non_null(strstr(written(fixture), "same"));
    }
    fw_logger_destroy(logger);
    assert_non_null(strstr(written(fixture), "[cam199] same (repeated 1 more time)\n"));
}

static void errno_is_kept_and_a_full_disk_is_survived(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    struct fw_logger *logger = fw_logger_create(full, FW_LOG_INFO, FW_LOG_TEXT, NULL);
    const struct fw_log log = {logger, NULL};
    errno = ENOTTY;
    fw_log_info(&log, "nobody reads this");
    assert_int_equal(errno, ENOTTY);
    fw_logger_destroy(logger);
    close(full);
}

static void a_stuck_reader_costs_a_line_only(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fcntl(fixture->ends[1], F_SETFL, O_NONBLOCK), 0);
    char filler[4096];
    memset(filler, '.', sizeof filler);
    while (write(fixture->ends[1], filler, sizeof filler) > 0)
        ;
    struct fw_logger *logger = make(fixture, FW_LOG_TEXT);
    const struct fw_log log = {logger, NULL};
    int64_t began_us = fw_monotonic_us();
    fw_log_info(&log, "lost");
    assert_true(fw_monotonic_us() - began_us < 30 * FW_US_PER_S);
    while (read(fixture->ends[0], filler, sizeof filler) > 0)
        ;
    fw_log_info(&log, "found");
    assert_matches(written(fixture), "^\n" TIME " info  found\n$");
    fw_logger_destroy(logger);
}

static void talk(void *opaque)
{
    for (int i = 0; i < 50; i++)
        fw_log_info(opaque, "line %d of fifty", i);
}

static void lines_of_threads_do_not_mix(void **state)
{
    struct fixture *fixture = *state;
    struct fw_logger *logger = make(fixture, FW_LOG_TEXT);
    const char *names[3] = {"a", "b", "c"};
    struct fw_log logs[3];
    struct fw_thread *threads[3];
    for (int i = 0; i < 3; i++) {
        logs[i] = (struct fw_log){logger, names[i]};
        assert_int_equal(fw_thread_start(&threads[i], "talk", &logs[i], talk, &logs[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(fw_thread_join(threads[i], -1), 0);
    fw_logger_destroy(logger);
    close(fixture->ends[1]);
    fixture->ends[1] = -1;
    char *all = calloc(1, 65536);
    assert_non_null(all);
    size_t length = 0;
    ssize_t got;
    while ((got = read(fixture->ends[0], all + length, 65535 - length)) > 0)
        length += (size_t)got;
    int lines = 0;
    char *rest = NULL;
    for (char *line = strtok_r(all, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        assert_matches(line, "^" TIME " info  \\[[abc]\\] line [0-9]+ of fifty$");
        lines++;
    }
    assert_int_equal(lines, 150);
    free(all);
}

static void a_handle_is_bound_to_its_thread(void **state)
{
    (void)state;
    const struct fw_log log = {0};
    assert_null(fw_log_of_thread());
    fw_log_bind_thread(&log);
    assert_ptr_equal(fw_log_of_thread(), &log);
    fw_log_bind_thread(NULL);
    assert_null(fw_log_of_thread());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_parsed),
        cmocka_unit_test_setup_teardown(text_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(json_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_forges_a_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secrets_are_masked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(level_and_format_change, set_up, tear_down),
        cmocka_unit_test(null_handles_drop_lines),
        cmocka_unit_test_setup_teardown(repetitions_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(repetitions_are_told_after_ten_seconds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_names_than_places, set_up, tear_down),
        cmocka_unit_test(errno_is_kept_and_a_full_disk_is_survived),
        cmocka_unit_test_setup_teardown(a_stuck_reader_costs_a_line_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, set_up, tear_down),
        cmocka_unit_test(a_handle_is_bound_to_its_thread),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
