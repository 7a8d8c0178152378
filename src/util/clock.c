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
