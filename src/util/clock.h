// The two clocks: monotonic time for durations and deadlines, UTC for what people read.
#ifndef FW_UTIL_CLOCK_H
#define FW_UTIL_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FW_US_PER_S  1000000LL
#define FW_US_PER_MS 1000LL

// "2026-01-31T23:59:59.123Z" and its terminator.
#define FW_UTC_TEXT_SIZE 25

// Microseconds of CLOCK_MONOTONIC. Any thread.
int64_t fw_monotonic_us(void);

// Microseconds since 1970-01-01T00:00:00Z. Any thread.
int64_t fw_utc_us(void);

// Writes UTC_US as RFC 3339 with milliseconds and "Z" into TEXT. Any thread.
void fw_utc_format(int64_t utc_us, char text[FW_UTC_TEXT_SIZE]);

// Reads what fw_utc_format() writes, with any number of decimals or none, or a date alone (its
// midnight). False, *UTC_US as it was, for anything else. Any thread.
bool fw_utc_parse(const char *text, int64_t *utc_us);

#endif
