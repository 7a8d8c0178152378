// Schedules against libc's clock, on the days when clocks change, and as text; states of cameras.
#include "alert/presence.h"
#include "alert/schedule.h"
#include "policy_tests.h"
#include "util/clock.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MINUTE_US (60 * FW_US_PER_S)

static struct fw_schedule *schedule_of(const char *text, const char *zone)
{
    struct fw_schedule_span span;
    struct fw_schedule *schedule = NULL;
    struct fw_error error = {0};

    assert_int_equal(fw_schedule_span_parse(&span, text, &error), FW_OK);
    assert_int_equal(fw_schedule_create(&schedule, &span, 1, zone, &error), FW_OK);
    return schedule;
}

static int64_t utc_of(const char *text)
{
    int64_t utc_us = 0;

    assert_true(fw_utc_parse(text, &utc_us));
    return utc_us;
}

// How many minutes from FROM to TO the span is on, and that these are all in one piece.
static int minutes_on(const char *span, const char *zone, const char *from, const char *to)
{
    struct fw_schedule *schedule = schedule_of(span, zone);
    int minutes = 0, pieces = 0;
    bool was_on = false;

    for (int64_t at = utc_of(from); at < utc_of(to); at += MINUTE_US) {
        bool is_on = fw_schedule_is_on(schedule, at);
        minutes += is_on;
        pieces += is_on && !was_on;
        was_on = is_on;
    }
    assert_in_range(pieces, 0, 1);
    fw_schedule_destroy(schedule);
    return minutes;
}

static void the_clock_on_the_wall_decides_when_clocks_change(void **state)
{
    static const struct {
        const char *span, *from, *to;
        int minutes;
    } rows[] = {
        // 29 March 2026: 02:00 to 03:00 is left out. 25 October 2026: it comes twice.
        {"sun 02:00-03:00", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", 0},
        {"sun 02:00-03:00", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", 120},
        {"sun 02:00-03:00", "2026-03-21T12:00:00Z", "2026-03-22T12:00:00Z", 60},
        {"sun 00:00-24:00", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", 23 * 60},
        {"sun 00:00-24:00", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", 25 * 60},
        {"sat 22:00-06:00", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", 7 * 60},
        {"sat 22:00-06:00", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", 9 * 60},
        {"sat 22:00-02:30", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", 4 * 60},
        // The day is the one that it begins on.
        {"sun 22:00-06:00", "2026-06-06T12:00:00Z", "2026-06-07T19:59:00Z", 0},
        {"sun 22:00-06:00", "2026-06-07T12:00:00Z", "2026-06-08T12:00:00Z", 8 * 60},
        {"mon 08:00-08:00", "2026-06-07T12:00:00Z", "2026-06-10T12:00:00Z", 24 * 60},
        {"mon 00:00-00:00", "2026-06-07T12:00:00Z", "2026-06-10T12:00:00Z", 24 * 60},
        {"sun-mon 12:00-12:00", "2026-06-06T00:00:00Z", "2026-06-13T00:00:00Z", 48 * 60},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(minutes_on(rows[i].span, "Europe/Berlin", rows[i].from, rows[i].to),
                         rows[i].minutes);
}

// The same by libc's clock.
static bool is_on_by_libc(const struct fw_schedule_span *spans, size_t count, time_t time)
{
    struct tm local;

    assert_non_null(localtime_r(&time, &local));
    for (size_t i = 0; i < count; i++) {
        int minute = local.tm_hour * 60 + local.tm_min, day = (local.tm_wday + 6) % 7;
        bool today = spans[i].days >> day & 1, yesterday = spans[i].days >> (day + 6) % 7 & 1;
        if (spans[i].from_minute < spans[i].to_minute
                ? today && minute >= spans[i].from_minute && minute < spans[i].to_minute
                : (today && minute >= spans[i].from_minute) ||
                      (yesterday && minute < spans[i].to_minute))
            return true;
    }
    return false;
}

static void schedules_agree_with_libc(void **state)
{
    static const char *const zones[] = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
                                        "Asia/Kathmandu", "UTC"};
    uint32_t random = 3;
    int on = 0;
    (void)state;

    for (size_t zone = 0; zone < sizeof(zones) / sizeof(zones[0]); zone++) {
        assert_int_equal(setenv("TZ", zones[zone], 1), 0);
        tzset();
        for (int round = 0; round < 200; round++) {
            struct fw_schedule_span spans[2];
            struct fw_schedule *schedule = NULL;
            for (int i = 0; i < 2; i++)
                spans[i] = (struct fw_schedule_span){1 + next_random(&random) % 127,
                                                     (int)(next_random(&random) % 1440),
                                                     (int)(next_random(&random) % 1441)};
            // Now and then the machine's own zone.
            assert_int_equal(
                fw_schedule_create(&schedule, spans, 2, round % 4 == 0 ? NULL : zones[zone], NULL),
                FW_OK);
            for (int i = 0; i < 100; i++) { // 1938 to 2040
                time_t time = (time_t)next_random(&random) * 193 - INT64_C(1000000000);
                bool expected = is_on_by_libc(spans, 2, time);
                assert_int_equal(
                    fw_schedule_is_on(schedule, time * FW_US_PER_S + next_random(&random) % 999999),
                    expected);
                on += expected;
            }
            fw_schedule_destroy(schedule);
        }
    }
    assert_in_range(on, 20000, 80000);
    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
}

static void what_is_no_schedule_is_refused(void **state)
{
    static const struct fw_schedule_span good = {1, 0, 1440};
    static const struct fw_schedule_span bad[] = {{0, 0, 60},    {128, 0, 60}, {1, -1, 60},
                                                  {1, 1440, 60}, {1, 0, 1441}, {1, 0, -1}};
    static const char *const zones[] = {"Mars/Olympus", "", "Europe", "europe/berlin2"};
    struct fw_schedule *schedule = NULL;
    struct fw_error error = {0};
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(fw_schedule_create(&schedule, &bad[i], 1, "UTC", &error), FW_EINVAL);
    assert_int_equal(fw_schedule_create(&schedule, &good, 0, "UTC", &error), FW_EINVAL);
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        assert_int_equal(fw_schedule_create(&schedule, &good, 1, zones[i], &error), FW_EINVAL);
        assert_null(schedule);
        assert_non_null(strstr(error.message, "time zone"));
    }
    fw_schedule_destroy(NULL);
}

static void spans_are_read(void **state)
{
    static const struct {
        const char *text;
        struct fw_schedule_span span;
    } good[] = {
        {"mon-fri 18:00-08:00", {0x1f, 1080, 480}},
        {"sat,sun 00:00-24:00", {0x60, 0, 1440}},
        {"daily 08:00-18:30", {0x7f, 480, 1110}},
        {"Sat-Mon  09:05-09:06", {0x61, 545, 546}},
        {"sun-sat 00:00-00:00", {0x7f, 0, 0}},
        {"mon,wed-thu,MON 23:59-00:00", {0x0d, 1439, 0}},
        {"fri-fri 01:00-02:00", {0x10, 60, 120}},
    };
    static const char *const bad[] = {"",
                                      " ",
                                      "mon",
                                      "mon ",
                                      "mon 08:00",
                                      "mon 08:00-",
                                      "mon 08:00-18:00 ",
                                      "mon 8:00-18:00",
                                      "mon 08:00-18:60",
                                      "mon 24:00-08:00",
                                      "mon 08:00-24:01",
                                      "mon 08:00-25:00",
                                      "mon08:00-18:00",
                                      "monday 08:00-18:00",
                                      "mon- 08:00-18:00",
                                      "mon, 08:00-18:00",
                                      ",mon 08:00-18:00",
                                      "daily,mon 08:00-18:00",
                                      "mo 08:00-18:00",
                                      "08:00-18:00",
                                      "mon 08:00 - 18:00",
                                      "mon 08.00-18.00",
                                      "mon 08:00-18:00x",
                                      "mon -8:00-18:00"};
    (void)state;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct fw_schedule_span span = {0};
        assert_int_equal(fw_schedule_span_parse(&span, good[i].text, NULL), FW_OK);
        assert_memory_equal(&span, &good[i].span, sizeof(span));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct fw_schedule_span span = {1, 2, 3};
        struct fw_error error = {0};
        assert_int_equal(fw_schedule_span_parse(&span, bad[i], &error), FW_EINVAL);
        assert_true(strlen(error.message) > 20);
        assert_int_equal(span.to_minute, 3);
    }
}

// Presence: "STATE:MILLISECONDS" one after the other; then what was told and when.

enum { U = FW_PRESENCE_UNKNOWN, ON, ST, OFF };

static const struct {
    const char *what;
    struct {
        int state, ms;
    } steps[8];
    struct {
        int told, before, at_ms;
    } told[5];
    int debounce_ms;
} presence_rows[] = {
    {"the first online comes after a second", {{ON, 9000}}, {{ON, U, 1000}}, 10000},
    {"a camera that never comes", {{OFF, 20000}}, {{OFF, U, 10000}}, 10000},
    {"connecting for a while", {{OFF, 8000}, {ON, 5000}}, {{ON, U, 9000}}, 10000},
    {"a short outage is nothing", {{ON, 5000}, {OFF, 9000}, {ON, 5000}}, {{ON, U, 1000}}, 10000},
    {"a long one is told, and its end",
     {{ON, 5000}, {OFF, 20000}, {ON, 5000}},
     {{ON, U, 1000}, {OFF, ON, 15000}, {ON, OFF, 26000}},
     10000},
    {"stalled, then away: one outage",
     {{ON, 5000}, {ST, 4000}, {OFF, 9000}},
     {{ON, U, 1000}, {OFF, ON, 15000}},
     10000},
    {"another kind of outage has to last, too",
     {{ON, 5000}, {ST, 12000}, {OFF, 3000}, {ST, 3000}, {OFF, 20000}},
     {{ON, U, 1000}, {ST, ON, 15000}, {OFF, ST, 33000}},
     10000},
    {"flashes of pictures end no outage",
     {{ON, 5000}, {OFF, 4000}, {ON, 500}, {OFF, 4000}, {ON, 500}, {OFF, 4000}},
     {{ON, U, 1000}, {OFF, ON, 15000}},
     10000},
    {"pictures for two seconds do",
     {{ON, 5000}, {OFF, 9000}, {ON, 2000}, {OFF, 9000}, {ON, 5000}},
     {{ON, U, 1000}},
     10000},
    {"flashes do not end a told one",
     {{ON, 5000}, {OFF, 12000}, {ON, 500}, {OFF, 12000}, {ON, 900}, {OFF, 5000}},
     {{ON, U, 1000}, {OFF, ON, 15000}},
     10000},
    {"without debouncing",
     {{ON, 5000}, {OFF, 100}, {ON, 5000}},
     {{ON, U, 1000}, {OFF, ON, 5000}, {ON, OFF, 6100}},
     0},
    {"nothing known, nothing told", {{U, 60000}}, {{0, 0, 0}}, 0},
};

static void play_presence(size_t row)
{
    struct fw_presence_filter filter = {0};
    const int64_t start_ms = 1000000;
    int64_t now_ms = start_ms, until_ms = start_ms;
    int told = 0;

    for (int step = 0; step < 8 && presence_rows[row].steps[step].ms > 0; step++) {
        fw_presence_set(&filter, (enum fw_presence)presence_rows[row].steps[step].state,
                        now_ms * 1000);
        for (until_ms += presence_rows[row].steps[step].ms; now_ms < until_ms; now_ms += 100) {
            enum fw_presence before = FW_PRESENCE_UNKNOWN;
            // Told again by a camera that says the same twice.
            fw_presence_set(&filter, filter.current, now_ms * 1000);
            if (!fw_presence_due(&filter, now_ms * 1000, presence_rows[row].debounce_ms * 1000,
                                 &before))
                continue;
            assert_in_range(told, 0, 4);
            if ((int)filter.told != presence_rows[row].told[told].told ||
                (int)before != presence_rows[row].told[told].before ||
                now_ms - start_ms != presence_rows[row].told[told].at_ms)
                fail_msg("%s: state %d after %d at %d ms", presence_rows[row].what, filter.told,
                         before, (int)(now_ms - start_ms));
            told++;
        }
    }
    if (presence_rows[row].told[told].told != U)
        fail_msg("%s: told only %d times", presence_rows[row].what, told);
}

static void states_are_told_debounced(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof(presence_rows) / sizeof(presence_rows[0]); row++)
        play_presence(row);
}

int run_schedule_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_on_the_wall_decides_when_clocks_change),
        cmocka_unit_test(schedules_agree_with_libc),
        cmocka_unit_test(what_is_no_schedule_is_refused),
        cmocka_unit_test(spans_are_read),
        cmocka_unit_test(states_are_told_debounced),
    };

    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
