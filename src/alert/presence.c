#include "alert/presence.h"
#include "util/clock.h"

// So long pictures have to flow before a camera counts as online.
static const int64_t STEADY_US = FW_US_PER_S;

void fw_presence_set(struct fw_presence_filter *filter, enum fw_presence state, int64_t now_us)
{
    bool was_online = filter->current == FW_PRESENCE_ONLINE;

    if (state == filter->current)
        return;
    if (filter->current == FW_PRESENCE_UNKNOWN ||
        (was_online && now_us - filter->current_since_us >= STEADY_US))
        filter->away_since_us = now_us;
    filter->current = state;
    filter->current_since_us = now_us;
}

bool fw_presence_due(struct fw_presence_filter *filter, int64_t now_us, int64_t debounce_us,
                     enum fw_presence *previous)
{
    int64_t held_us = now_us - filter->current_since_us;
    bool is_outage_told =
        filter->told == FW_PRESENCE_STALLED || filter->told == FW_PRESENCE_OFFLINE;
    bool is_due;

    if (filter->current == FW_PRESENCE_UNKNOWN || filter->current == filter->told)
        return false;
    if (filter->current == FW_PRESENCE_ONLINE)
        is_due = held_us >= STEADY_US;
    else if (is_outage_told)
        is_due = held_us >= debounce_us;
    else
        is_due = now_us - filter->away_since_us >= debounce_us;
    if (!is_due)
        return false;
    *previous = filter->told;
    filter->told = filter->current;
    return true;
}
