#include "cmocka_includes.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/text.h"
#include <stdlib.h>
#include <string.h>

static void fail_fills_the_error_and_returns_the_code(void **state)
{
    (void)state;
    struct fw_error error = {0};
    assert_int_equal(fw_fail(&error, FW_EIO, "%s: %d; do", "disk", 7), FW_EIO);
    assert_int_equal(error.code, FW_EIO);
    assert_string_equal(error.message, "disk: 7; do");
    assert_int_equal(fw_fail(NULL, FW_ENOENT, "x"), FW_ENOENT);
}

static void fail_may_wrap_its_own_message(void **state)
{
    (void)state;
    struct fw_error error = {0};
    fw_fail(&error, FW_EIO, "inner");
    fw_fail(&error, FW_EFULL, "outer: %s", error.message);
    assert_string_equal(error.message, "outer: inner");
}

static void fail_cuts_a_long_message(void **state)
{
    (void)state;
    struct fw_error error = {0};
    char big[2000];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    fw_fail(&error, FW_EIO, "%s", big);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
}

static void status_text_knows_every_code_and_survives_others(void **state)
{
    (void)state;
    for (int code = FW_EREJECTED; code <= FW_OK; code++) {
        assert_non_null(fw_status_text(code));
        assert_true(strlen(fw_status_text(code)) > 0);
        assert_string_not_equal(fw_status_text(code), "unknown error");
    }
    assert_string_equal(fw_status_text(FW_ETIMEDOUT), "timed out");
    assert_string_equal(fw_status_text(-1000), "unknown error");
    assert_string_equal(fw_status_text(17), fw_status_text(FW_OK));
}

static void utc_is_formatted(void **state)
{
    (void)state;
    char text[FW_UTC_TEXT_SIZE];
    fw_utc_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    fw_utc_format(1769903999123456LL, text);
    assert_string_equal(text, "2026-01-31T23:59:59.123Z");
    fw_utc_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    fw_utc_format(951782400000000LL, text);
    assert_string_equal(text, "2000-02-29T00:00:00.000Z");
    fw_utc_format(INT64_MAX, text);
    assert_int_equal(strlen(text), FW_UTC_TEXT_SIZE - 1);
    fw_utc_format(INT64_MIN, text);
    assert_int_equal(strlen(text), FW_UTC_TEXT_SIZE - 1);
}

static void clocks_go_on(void **state)
{
    (void)state;
    int64_t first = fw_monotonic_us();
    assert_true(fw_monotonic_us() >= first);
    assert_true(fw_utc_us() > 1700000000LL * FW_US_PER_S);
}

static void text_grows_and_stays_terminated(void **state)
{
    (void)state;
    struct fw_text text = FW_TEXT_INIT;
    assert_string_equal(fw_text_get(&text), "");
    for (int i = 0; i < 1000; i++)
        fw_text_appendf(&text, "%d,", i % 10);
    fw_text_append(&text, NULL);
    fw_text_append_n(&text, "abcdef", 3);
    assert_int_equal(text.length, 2003);
    assert_int_equal(strlen(fw_text_get(&text)), 2003);
    assert_true(fw_ends_with(fw_text_get(&text), "8,9,abc"));
    fw_text_clear(&text);
    assert_string_equal(fw_text_get(&text), "");
    fw_text_append(&text, "x");
    assert_string_equal(fw_text_get(&text), "x");
    fw_text_free(&text);
    fw_text_free(&text);
    fw_text_free(NULL);
}

static void text_fails_once_and_stays_failed(void **state)
{
    (void)state;
    struct fw_text text = FW_TEXT_INIT;
    fw_text_append(&text, "a");
    fw_text_append_n(&text, "b", SIZE_MAX / 2);
    assert_true(text.failed);
    fw_text_append(&text, "c");
    assert_string_equal(fw_text_get(&text), "a");
    assert_null(fw_text_steal(&text));
    assert_int_equal(text.length, 0);
    assert_false(text.failed);
}

static void text_is_stolen(void **state)
{
    (void)state;
    struct fw_text text = FW_TEXT_INIT;
    char *empty = fw_text_steal(&text);
    assert_string_equal(empty, "");
    free(empty);
    fw_text_append(&text, "abc");
    char *string = fw_text_steal(&text);
    assert_string_equal(string, "abc");
    assert_string_equal(fw_text_get(&text), "");
    free(string);
    fw_text_free(&text);
}

static void check_json(const char *raw, const char *expected)
{
    struct fw_text text = FW_TEXT_INIT;
    fw_text_append_json(&text, raw);
    assert_string_equal(fw_text_get(&text), expected);
    fw_text_free(&text);
}

static void json_is_escaped(void **state)
{
    (void)state;
    check_json("", "");
    check_json("a\"b\\c/\b\f\n\r\t", "a\\\"b\\\\c/\\b\\f\\n\\r\\t");
    check_json("\x01\x1f\x7f", "\\u0001\\u001f\\u007f");
    check_json("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
               "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    // Stray, overlong, surrogate, beyond U+10FFFF, cut off.
    check_json("\x80", "\xef\xbf\xbd");
    check_json("\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd");
    check_json("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    check_json("\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    check_json("\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd");
    check_json("\xe2\x82\"", "\xef\xbf\xbd\xef\xbf\xbd\\\"");
}

static void visible_text_is_one_line(void **state)
{
    (void)state;
    struct fw_text text = FW_TEXT_INIT;
    fw_text_append_visible(&text, "a\nb\r\t\x1b[31m\x7f\xff\xc2\x9b\xc3\xa4");
    assert_string_equal(fw_text_get(&text), "a\\nb\\r\\t\\x1b[31m\\x7f\\xff\\x9b\xc3\xa4");
    fw_text_free(&text);
}

static void percent_goes_both_ways(void **state)
{
    (void)state;
    struct fw_text text = FW_TEXT_INIT;
    fw_text_append_percent(&text, "aZ9-._~/ @:%\xc3\xa4", NULL);
    assert_string_equal(fw_text_get(&text), "aZ9-._~%2F%20%40%3A%25%C3%A4");
    fw_percent_decode(text.data);
    assert_string_equal(text.data, "aZ9-._~/ @:%\xc3\xa4");
    fw_text_free(&text);

    fw_text_append_percent(&text, "a/b c", "/");
    assert_string_equal(fw_text_get(&text), "a/b%20c");
    fw_text_free(&text);

    char odd[] = "%zz%4%41%%41%00%2e%";
    assert_string_equal(fw_percent_decode(odd), "%zz%4A%A%00.%");
}

static void strings_are_copied(void **state)
{
    (void)state;
    assert_null(fw_strdup(NULL));
    char *copy = fw_strdup("abc");
    assert_string_equal(copy, "abc");
    free(copy);
    char *printed = fw_strdup_printf("%s-%03d", "x", 7);
    assert_string_equal(printed, "x-007");
    free(printed);
}

static void prefixes_and_suffixes(void **state)
{
    (void)state;
    assert_true(fw_starts_with("rtsp://x", "rtsp://"));
    assert_true(fw_starts_with("x", ""));
    assert_false(fw_starts_with("rt", "rtsp"));
    assert_true(fw_ends_with("a.jpg", ".jpg"));
    assert_true(fw_ends_with("a", ""));
    assert_false(fw_ends_with("jpg", "a.jpg"));
    assert_false(fw_ends_with("a.jpg", ".png"));
}

static void edit_distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(fw_edit_distance("", "", 3), 0);
    assert_int_equal(fw_edit_distance("camera", "camera", 3), 0);
    assert_int_equal(fw_edit_distance("camera", "cmaera", 3), 1); // a swap
    assert_int_equal(fw_edit_distance("camera", "camra", 3), 1);
    assert_int_equal(fw_edit_distance("camera", "cameras", 3), 1);
    assert_int_equal(fw_edit_distance("camera", "comera", 3), 1);
    assert_int_equal(fw_edit_distance("kitten", "sitting", 5), 3);
    assert_int_equal(fw_edit_distance("kitten", "sitting", 2), 3);
    assert_int_equal(fw_edit_distance("abc", "xyz", 1), 2);
    assert_int_equal(fw_edit_distance("", "abcdef", 2), 3);
    assert_int_equal(fw_edit_distance("abc", "", 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_fills_the_error_and_returns_the_code),
        cmocka_unit_test(fail_may_wrap_its_own_message),
        cmocka_unit_test(fail_cuts_a_long_message),
        cmocka_unit_test(status_text_knows_every_code_and_survives_others),
        cmocka_unit_test(utc_is_formatted),
        cmocka_unit_test(clocks_go_on),
        cmocka_unit_test(text_grows_and_stays_terminated),
        cmocka_unit_test(text_fails_once_and_stays_failed),
        cmocka_unit_test(text_is_stolen),
        cmocka_unit_test(json_is_escaped),
        cmocka_unit_test(visible_text_is_one_line),
        cmocka_unit_test(percent_goes_both_ways),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(prefixes_and_suffixes),
        cmocka_unit_test(edit_distance_counts_edits),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
