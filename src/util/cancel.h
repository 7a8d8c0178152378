// A cancel object: one thread triggers it, every blocking call of another looks at it.
#ifndef FW_UTIL_CANCEL_H
#define FW_UTIL_CANCEL_H

#include <stdbool.h>
#include <stdint.h>

// Once triggered it stays triggered. Thread-safe; must outlive every thread that looks at it.
struct fw_cancel;

struct fw_cancel *fw_cancel_create(void);
void fw_cancel_destroy(struct fw_cancel *cancel);
// Any thread, and safe in a signal handler.
void fw_cancel_trigger(struct fw_cancel *cancel);
bool fw_cancel_is_set(const struct fw_cancel *cancel);
// Sleeps until triggered or TIMEOUT_MS passed (negative: for ever). True if triggered.
bool fw_cancel_wait(struct fw_cancel *cancel, int64_t timeout_ms);
// Becomes readable when triggered, for poll(2). Owned by CANCEL, never to be read.
int fw_cancel_fd(const struct fw_cancel *cancel);

// A cancel object with a time limit, for one blocking call. Plain data. `interrupted` tells after
// the call which of the two ended it: FW_OK, FW_ETIMEDOUT or FW_ECANCELED.
struct fw_deadline {
    const struct fw_cancel *cancel; // may be NULL
    int64_t at_us;                  // monotonic; INT64_MAX for none
    int interrupted;
};

void fw_deadline_set(struct fw_deadline *deadline, int64_t timeout_ms);
// 1 when the call must return now, else 0; it fits AVIOInterruptCB. OPAQUE is a struct fw_deadline,
// used by one thread at a time.
int fw_deadline_passed(void *opaque);
// Waits until FD is ready for EVENTS (poll(2)'s POLLIN, POLLOUT; errors and hang-ups count as
// ready). FW_OK, FW_ETIMEDOUT or FW_ECANCELED (in `interrupted` too), or FW_EIO.
int fw_deadline_poll(struct fw_deadline *deadline, int fd, short events);

#endif
