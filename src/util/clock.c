#include "util/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_clock_us(clockid_t id)
{
    struct timespec now = {0};
    clock_gettime(id, &now); // cannot fail: the id is valid, the pointer too
    return (int64_t)now.tv_sec * FW_US_PER_S + now.tv_nsec / 1000;
}

int64_t fw_monotonic_us(void)
{
    return read_clock_us(CLOCK_MONOTONIC);
}

int64_t fw_utc_us(void)
{
    return read_clock_us(CLOCK_REALTIME);
}

void fw_utc_format(int64_t utc_us, char text[FW_UTC_TEXT_SIZE])
{
    int64_t seconds = utc_us / FW_US_PER_S;
    int64_t rest_us = utc_us % FW_US_PER_S;
    if (rest_us < 0) {
        rest_us += FW_US_PER_S;
        seconds--;
    }
    // RFC 3339 has four digits for the year; outside of that a clock is broken anyway.
    const int64_t year_0_s = -62167219200LL, year_9999_end_s = 253402300799LL;
    if (seconds < year_0_s)
        seconds = year_0_s;
    if (seconds > year_9999_end_s)
        seconds = year_9999_end_s;

    time_t whole = (time_t)seconds;
    struct tm parts = {0};
    gmtime_r(&whole, &parts);
    char line[96];
    snprintf(line, sizeof line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900,
             parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
             (int)(rest_us / FW_US_PER_MS));
    memcpy(text, line, FW_UTC_TEXT_SIZE - 1);
    text[FW_UTC_TEXT_SIZE - 1] = '\0';
}

// Days since 1970-01-01 of a date in the proleptic Gregorian calendar (H. Hinnant,
// "chrono-Compatible Low-Level Date Algorithms", days_from_civil, for years above 0).
static int64_t days_of(int year, int month, int day)
{
    int shifted_year = month <= 2 ? year - 1 : year; // a year that begins in March
    int era = shifted_year / 400, year_of_era = shifted_year % 400;
    int day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int64_t)era * 146097 + day_of_era - 719468;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap);
}

// COUNT digits at *AT, then AFTER (0: whatever comes). -1 if it is not so.
static int read_digits(const char **at, int count, char after)
{
    int value = 0;
    for (; count > 0; count--, (*at)++) {
        if (**at < '0' || **at > '9')
            return -1;
        value = value * 10 + (**at - '0');
    }
    if (after == '\0')
        return value;
    return *(*at)++ == after ? value : -1;
}

// ".123": in microseconds; further digits don't count.
static int64_t read_fraction_us(const char **at)
{
    int64_t us = 0, weight = FW_US_PER_S / 10;
    if (**at != '.')
        return 0;
    (*at)++;
    if (**at < '0' || **at > '9')
        return -1;
    for (; **at >= '0' && **at <= '9'; (*at)++, weight /= 10)
        us += (**at - '0') * weight;
    return us;
}

bool fw_utc_parse(const char *text, int64_t *utc_us)
{
    int year = read_digits(&text, 4, '-'), month = year < 0 ? -1 : read_digits(&text, 2, '-');
    int day = month < 0 ? -1 : read_digits(&text, 2, '\0');
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month))
        return false;
    int64_t days = days_of(year, month, day);
    if (*text == '\0') {
        *utc_us = days * 86400 * FW_US_PER_S;
        return true;
    }
    if (*text++ != 'T')
        return false;
    int hour = read_digits(&text, 2, ':'), minute = hour < 0 ? -1 : read_digits(&text, 2, ':');
    int second = minute < 0 ? -1 : read_digits(&text, 2, '\0');
    int64_t fraction_us = second < 0 ? -1 : read_fraction_us(&text);
    if (fraction_us < 0 || hour > 23 || minute > 59 || second > 60 || strcmp(text, "Z") != 0)
        return false;
    *utc_us = (((days * 24 + hour) * 60 + minute) * 60 + second) * FW_US_PER_S + fraction_us;
    return true;
}
