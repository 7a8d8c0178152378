#include "util/condition.h"

#include "util/clock.h"
#include "util/error.h"
#include <time.h>

int fw_condition_init(struct fw_condition *condition)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return FW_ENOMEM;
    int status = FW_ENOMEM;
    if (pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0)
        goto done;
    if (pthread_mutex_init(&condition->mutex, NULL) != 0)
        goto done;
    if (pthread_cond_init(&condition->changed, &attributes) != 0) {
        pthread_mutex_destroy(&condition->mutex);
        goto done;
    }
    status = FW_OK;
done:
    pthread_condattr_destroy(&attributes);
    return status;
}

void fw_condition_destroy(struct fw_condition *condition)
{
    pthread_cond_destroy(&condition->changed);
    pthread_mutex_destroy(&condition->mutex);
}

int64_t fw_condition_until_us(int64_t timeout_ms)
{
    const int64_t now_us = fw_monotonic_us();
    if (timeout_ms < 0 || timeout_ms > (INT64_MAX - now_us) / FW_US_PER_MS)
        return INT64_MAX;
    return now_us + timeout_ms * FW_US_PER_MS;
}

int fw_condition_wait(struct fw_condition *condition, int64_t until_us)
{
    if (until_us == INT64_MAX)
        return pthread_cond_wait(&condition->changed, &condition->mutex);
    struct timespec until = {
        .tv_sec = (time_t)(until_us / FW_US_PER_S),
        .tv_nsec = (long)(until_us % FW_US_PER_S) * 1000,
    };
    return pthread_cond_timedwait(&condition->changed, &condition->mutex, &until);
}
