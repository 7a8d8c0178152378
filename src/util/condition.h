// Waiting on a condition variable until a point of the monotonic clock.
#ifndef FW_UTIL_CONDITION_H
#define FW_UTIL_CONDITION_H

#include <pthread.h>
#include <stdint.h>

// A mutex and a condition variable on CLOCK_MONOTONIC that are made and gone together.
struct fw_condition {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

// FW_OK or FW_ENOMEM; nothing is left to destroy on failure.
int fw_condition_init(struct fw_condition *condition);
void fw_condition_destroy(struct fw_condition *condition);

// The monotonic time that lies TIMEOUT_MS from now; INT64_MAX when negative (for ever).
int64_t fw_condition_until_us(int64_t timeout_ms);
// Sleeps until signalled or UNTIL_US; the mutex is held. 0, or ETIMEDOUT once the time has come.
// Like pthread_cond_wait() it may wake for nothing.
int fw_condition_wait(struct fw_condition *condition, int64_t until_us);

#endif
