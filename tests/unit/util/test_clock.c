// Times as text.
#include "cmocka_includes.h"
#include "util/clock.h"
#include <stdlib.h>

static void times_are_read_as_they_are_written(void **state)
{
    (void)state;
    // Every leap rule, both ends of the format, and now.
    const int64_t seconds[] = {0,
                               951782399,
                               951782400,
                               4107542399,
                               4107542400,
                               1709164800,
                               1709251199,
                               253402300799,
                               -62135596800,
                               -1,
                               fw_utc_us() / FW_US_PER_S};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        char text[FW_UTC_TEXT_SIZE];
        int64_t wanted_us = seconds[i] * FW_US_PER_S + 123 * FW_US_PER_MS, read_us = -2;
        fw_utc_format(wanted_us, text);
        assert_true(fw_utc_parse(text, &read_us));
        assert_int_equal(read_us, wanted_us);
    }
}

static void dates_and_decimals_are_read(void **state)
{
    (void)state;
    int64_t us = 0;
    assert_true(fw_utc_parse("2026-01-31", &us));
    assert_int_equal(us, 1769817600 * FW_US_PER_S);
    assert_true(fw_utc_parse("2026-01-31T00:00:00Z", &us));
    assert_int_equal(us, 1769817600 * FW_US_PER_S);
    assert_true(fw_utc_parse("2026-01-31T23:59:59.0000019Z", &us));
    assert_int_equal(us, 1769903999 * FW_US_PER_S + 1);
    assert_true(fw_utc_parse("2024-02-29", &us));
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "yesterday",
                                        "2026",
                                        "2026-1-31",
                                        "2026-13-01",
                                        "2026-00-01",
                                        "2026-02-29",
                                        "2100-02-29",
                                        "2026-01-32",
                                        "2026-01-31 00:00:00Z",
                                        "2026-01-31T00:00:00",
                                        "2026-01-31T00:00:00.Z",
                                        "2026-01-31T24:00:00Z",
                                        "2026-01-31T00:60:00Z",
                                        "2026-01-31T00:00:61Z",
                                        "2026-01-31T00:00:00Zx",
                                        "2026-01-31T00:00:00+01:00",
                                        "-026-01-31",
                                        "0000-01-31"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t us = 42;
        if (fw_utc_parse(texts[i], &us))
            fail_msg("'%s' was read", texts[i]);
        assert_int_equal(us, 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read_as_they_are_written),
        cmocka_unit_test(dates_and_decimals_are_read),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
