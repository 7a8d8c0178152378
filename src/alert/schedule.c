#include "alert/schedule.h"
#include "util/clock.h"
#include <ctype.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

enum { DAYS = 7, MINUTES = 24 * 60, SECONDS_PER_MINUTE = 60 };
static const unsigned ALL_DAYS = (1U << DAYS) - 1;

// Immutable once made, as GLib's time zones are.
struct fw_schedule {
    GTimeZone *zone;
    size_t count;
    struct fw_schedule_span spans[];
};

// Reading

static const char *const day_names[DAYS] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

// Skips WORD (in whatever case) at *AT. False: it is not there, *AT is as it was.
static bool skip(const char **at, const char *word)
{
    size_t length = strlen(word);

    for (size_t i = 0; i < length; i++)
        if (tolower((unsigned char)(*at)[i]) != word[i])
            return false;
    *at += length;
    return true;
}

static int read_day(const char **at)
{
    for (int day = 0; day < DAYS; day++)
        if (skip(at, day_names[day]))
            return day;
    return -1;
}

// "mon-fri" or "sat". 0: it is none.
static unsigned read_day_range(const char **at)
{
    int first = read_day(at), last = first;
    unsigned days = 0;

    if (first >= 0 && skip(at, "-"))
        last = read_day(at);
    if (first < 0 || last < 0)
        return 0;
    for (int day = first;; day = (day + 1) % DAYS) {
        days |= 1U << day;
        if (day == last)
            return days;
    }
}

static unsigned read_days(const char **at)
{
    unsigned days = 0;

    if (skip(at, "daily"))
        return ALL_DAYS;
    do {
        unsigned more = read_day_range(at);
        if (more == 0)
            return 0;
        days |= more;
    } while (skip(at, ","));
    return days;
}

// "08:30" in minutes, -1: it is none.
static int read_time(const char **at)
{
    const char *text = *at;
    int hours, minutes;

    for (int i = 0; i < 5; i++)
        if (i == 2 ? text[i] != ':' : !isdigit((unsigned char)text[i]))
            return -1;
    *at += 5;
    hours = (text[0] - '0') * 10 + (text[1] - '0');
    minutes = (text[3] - '0') * 10 + (text[4] - '0');
    if (hours > 24 || minutes > 59 || (hours == 24 && minutes > 0))
        return -1;
    return hours * 60 + minutes;
}

static int check(const struct fw_schedule_span *span, struct fw_error *error)
{
    if (span->days == 0 || span->days > ALL_DAYS)
        return fw_fail(error, FW_EINVAL, "a schedule's span has no days; name one at least");
    if (span->from_minute < 0 || span->from_minute >= MINUTES || span->to_minute < 0 ||
        span->to_minute > MINUTES)
        return fw_fail(error, FW_EINVAL,
                       "a schedule's span begins at 00:00 to 23:59 and ends at 00:00 to 24:00");
    return FW_OK;
}

int fw_schedule_span_parse(struct fw_schedule_span *span, const char *text, struct fw_error *error)
{
    struct fw_schedule_span read = {0};
    const char *at = text;

    read.days = read_days(&at);
    if (read.days == 0)
        return fw_fail(error, FW_EINVAL,
                       "\"%.40s\" does not begin with days; write them as in \"mon-fri "
                       "18:00-08:00\", \"sat,sun 00:00-24:00\" or \"daily 08:00-18:00\"",
                       text);
    if (!skip(&at, " "))
        at = ""; // which is no time
    while (skip(&at, " "))
        continue;
    read.from_minute = read_time(&at);
    read.to_minute = read.from_minute >= 0 && skip(&at, "-") ? read_time(&at) : -1;
    if (read.from_minute < 0 || read.to_minute < 0 || *at != '\0')
        return fw_fail(
            error, FW_EINVAL,
            "\"%.40s\" has no times from 00:00 to 24:00 after its days; write them as in \"mon-fri "
            "18:00-08:00\"",
            text);
    if (check(&read, error) != FW_OK)
        return FW_EINVAL;
    *span = read;
    return FW_OK;
}

// Asking

int fw_schedule_create(struct fw_schedule **schedule, const struct fw_schedule_span *spans,
                       size_t count, const char *time_zone, struct fw_error *error)
{
    size_t size = count * sizeof(*spans);
    struct fw_schedule *made;

    *schedule = NULL;
    if (count == 0)
        return fw_fail(error, FW_EINVAL, "a schedule has no spans; name one at least");
    for (size_t i = 0; i < count; i++)
        if (check(&spans[i], error) != FW_OK)
            return FW_EINVAL;
    made = calloc(1, sizeof(*made) + size);
    if (made == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for a schedule");
    made->count = count;
    memcpy(made->spans, spans, size);
    // The one place where GLib takes memory, which ends the process when there is none left.
    if (time_zone == NULL)
        made->zone = g_time_zone_new_local();
    else if (time_zone[0] != '\0')
        made->zone = g_time_zone_new_identifier(time_zone);
    if (made->zone == NULL) {
        free(made);
        return fw_fail(error, FW_EINVAL,
                       "there is no time zone \"%s\"; give a name like \"Europe/Berlin\" (the "
                       "package tzdata has them)",
                       time_zone);
    }
    *schedule = made;
    return FW_OK;
}

void fw_schedule_destroy(struct fw_schedule *schedule)
{
    if (schedule == NULL)
        return;
    g_time_zone_unref(schedule->zone);
    free(schedule);
}

static int64_t divide_down(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

// Whether SPAN holds MINUTE of the week, which begins with Monday 00:00.
static bool holds(const struct fw_schedule_span *span, int minute)
{
    int day = minute / MINUTES, of_day = minute % MINUTES, before = (day + DAYS - 1) % DAYS;
    bool begins_today = (span->days >> day & 1U) != 0;
    bool began_yesterday = (span->days >> before & 1U) != 0;

    if (span->from_minute < span->to_minute)
        return begins_today && of_day >= span->from_minute && of_day < span->to_minute;
    return (begins_today && of_day >= span->from_minute) ||
           (began_yesterday && of_day < span->to_minute);
}

bool fw_schedule_is_on(const struct fw_schedule *schedule, int64_t utc_us)
{
    enum { EPOCH_MINUTES = 3 * MINUTES }; // 1970-01-01 was a Thursday
    int64_t utc_s = divide_down(utc_us, FW_US_PER_S);
    int interval = g_time_zone_find_interval(schedule->zone, G_TIME_TYPE_UNIVERSAL, utc_s);
    int64_t local_s = utc_s + g_time_zone_get_offset(schedule->zone, interval);
    int64_t minutes = divide_down(local_s, SECONDS_PER_MINUTE) + EPOCH_MINUTES;
    int minute = (int)(minutes - divide_down(minutes, DAYS * MINUTES) * DAYS * MINUTES);

    for (size_t i = 0; i < schedule->count; i++)
        if (holds(&schedule->spans[i], minute))
            return true;
    return false;
}
