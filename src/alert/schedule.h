// When alerts are wanted: days and hours in a time zone.
#ifndef FW_ALERT_SCHEDULE_H
#define FW_ALERT_SCHEDULE_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Days as bits, Monday is 1 << 0. Minutes of the local day, TO not included; from >= to: over
// midnight, the day being the one that it begins on (so 00:00 to 00:00 is the whole day, as is
// 00:00 to 24:00). The clock on the wall decides: what lies in an hour that a change of the clocks
// leaves out does not come on that day, and in an hour that comes twice it comes twice.
struct fw_schedule_span {
    unsigned days;              // at least one
    int from_minute, to_minute; // 0 to 1439, 0 to 1440
};

// Reads "mon-fri 18:00-08:00", "sat,sun 00:00-24:00", "fri-mon 20:00-06:00", "daily 08:00-18:00".
// FW_OK or FW_EINVAL with a sentence for the author of a configuration; *SPAN is as it was then.
int fw_schedule_span_parse(struct fw_schedule_span *span, const char *text, struct fw_error *error);

struct fw_schedule;

// Copies SPANS (COUNT of them, at least 1). TIME_ZONE is an IANA name ("Europe/Berlin"); NULL: the
// machine's. FW_OK; FW_EINVAL (unknown zone, bad span), FW_ENOMEM.
int fw_schedule_create(struct fw_schedule **schedule, const struct fw_schedule_span *spans,
                       size_t count, const char *time_zone, struct fw_error *error);
void fw_schedule_destroy(struct fw_schedule *schedule);
// Whether UTC_US lies in one of the spans. Any thread.
bool fw_schedule_is_on(const struct fw_schedule *schedule, int64_t utc_us);

#endif
