// Named threads that are joined within a deadline, or counted as lost.
#ifndef FW_UTIL_THREAD_H
#define FW_UTIL_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct fw_log;
struct fw_thread;

// Starts RUN(OPAQUE) on a thread named NAME (cut to 15 bytes: the kernel's limit) whose log handle
// is LOG (borrowed, outlives the thread). All signals are blocked in it. *THREAD is the caller's,
// to be ended with fw_thread_join(). FW_OK, FW_ENOMEM or FW_EAGAIN (too many threads).
int fw_thread_start(struct fw_thread **thread, const char *name, const struct fw_log *log,
                    void (*run)(void *opaque), void *opaque);

// True once RUN has returned.
bool fw_thread_has_ended(struct fw_thread *thread);

// Waits for RUN to return, TIMEOUT_MS at most (negative: for ever), and frees THREAD. FW_OK, or
// FW_ETIMEDOUT: then the thread runs on, detached, THREAD is no longer the caller's, and whatever
// RUN uses must never be freed: the caller leaks it on purpose and counts it. NULL is FW_OK.
int fw_thread_join(struct fw_thread *thread, int64_t timeout_ms);

#endif
