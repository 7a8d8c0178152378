// Spans of schedules: no crash, what is read makes a schedule, and what is refused says why.
#include "alert/schedule.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

// A week has as many minutes of it as its days and times make.
static void check_week(const struct fw_schedule_span *span)
{
    struct fw_schedule *schedule = NULL;
    int minutes = 0, days = 0, length = span->to_minute - span->from_minute;

    require(fw_schedule_create(&schedule, span, 1, "UTC", NULL) == FW_OK);
    for (int day = 0; day < 7; day++)
        days += span->days >> day & 1;
    for (int64_t minute = 0; minute < 7 * 24 * 60; minute++)
        minutes += fw_schedule_is_on(schedule, minute * 60000000);
    require(minutes == days * (length > 0 ? length : length + 24 * 60));
    fw_schedule_destroy(schedule);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fw_schedule_span span = {0};
    struct fw_error error = {0};
    char *text = malloc(size + 1);

    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (fw_schedule_span_parse(&span, text, &error) == FW_OK)
        check_week(&span);
    else
        require(span.days == 0 && error.message[0] != '\0');
    free(text);
    return 0;
}
