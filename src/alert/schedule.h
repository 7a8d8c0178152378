// When alerts are wanted: days and hours in a time zone.
#ifndef FW_ALERT_SCHEDULE_H
#define FW_ALERT_SCHEDULE_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Days as bits, Monday is 1 << 0. Minutes of the local day; from == to: the whole day; from > to: over
// midnight, the day being the one that it begins on.
struct fw_schedule_span {
    unsigned days;
    int from_minute, to_minute;
};

struct fw_schedule;

// Copies SPANS (COUNT of them, at least 1). TIME_ZONE is an IANA name ("Europe/Berlin"); NULL: the
// machine's. FW_OK; FW_EINVAL (unknown zone, bad span), FW_ENOMEM.
int fw_schedule_create(struct fw_schedule **schedule, const struct fw_schedule_span *spans,
                       size_t count, const char *time_zone, struct fw_error *error);
void fw_schedule_destroy(struct fw_schedule *schedule);
// Whether UTC_US lies in one of the spans. Any thread.
bool fw_schedule_is_on(const struct fw_schedule *schedule, int64_t utc_us);

#endif
