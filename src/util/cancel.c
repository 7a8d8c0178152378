#include "util/cancel.h"

#include "util/clock.h"
#include "util/error.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

// The flag is for polling in tight loops, the file descriptor for sleeping; the flag is set first.
struct fw_cancel {
    atomic_bool set;
    int fd;
};

struct fw_cancel *fw_cancel_create(void)
{
    struct fw_cancel *cancel = calloc(1, sizeof *cancel);
    if (!cancel)
        return NULL;
    atomic_init(&cancel->set, false);
    cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cancel->fd < 0) {
        free(cancel);
        return NULL;
    }
    return cancel;
}

void fw_cancel_destroy(struct fw_cancel *cancel)
{
    if (!cancel)
        return;
    close(cancel->fd);
    free(cancel);
}

void fw_cancel_trigger(struct fw_cancel *cancel)
{
    int kept = errno; // a signal handler must leave it alone
    atomic_store(&cancel->set, true);
    const uint64_t one = 1;
    // Fails only with EAGAIN, when the counter is full: it is readable then.
    ssize_t written = write(cancel->fd, &one, sizeof one);
    (void)written;
    errno = kept;
}

bool fw_cancel_is_set(const struct fw_cancel *cancel)
{
    return atomic_load(&cancel->set);
}

// poll(2)'s timeout until AT_US: rounded up, so that it never spins through the last millisecond.
static int poll_timeout_ms(int64_t at_us)
{
    if (at_us == INT64_MAX)
        return -1;
    int64_t left_us = at_us - fw_monotonic_us();
    int64_t left_ms = left_us > 0 ? left_us / FW_US_PER_MS + 1 : 0;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

bool fw_cancel_wait(struct fw_cancel *cancel, int64_t timeout_ms)
{
    struct fw_deadline deadline = {0};
    fw_deadline_set(&deadline, timeout_ms);
    while (!fw_cancel_is_set(cancel)) {
        if (fw_deadline_passed(&deadline))
            return false;
        struct pollfd entry = {.fd = cancel->fd, .events = POLLIN};
        // An interrupted poll(2) is a reason to look again, nothing more.
        int ready = poll(&entry, 1, poll_timeout_ms(deadline.at_us));
        if (ready < 0 && errno != EINTR && errno != EAGAIN)
            return fw_cancel_is_set(cancel);
    }
    return true;
}

int fw_cancel_fd(const struct fw_cancel *cancel)
{
    return cancel->fd;
}

void fw_deadline_set(struct fw_deadline *deadline, int64_t timeout_ms)
{
    const int64_t now_us = fw_monotonic_us();
    deadline->interrupted = FW_OK;
    if (timeout_ms < 0 || timeout_ms > (INT64_MAX - now_us) / FW_US_PER_MS)
        deadline->at_us = INT64_MAX;
    else
        deadline->at_us = now_us + timeout_ms * FW_US_PER_MS;
}

int fw_deadline_passed(void *opaque)
{
    struct fw_deadline *deadline = opaque;
    if (deadline->cancel && fw_cancel_is_set(deadline->cancel)) {
        deadline->interrupted = FW_ECANCELED;
        return 1;
    }
    if (deadline->at_us != INT64_MAX && fw_monotonic_us() >= deadline->at_us) {
        deadline->interrupted = FW_ETIMEDOUT;
        return 1;
    }
    return 0;
}

int fw_deadline_poll(struct fw_deadline *deadline, int fd, short events)
{
    while (!fw_deadline_passed(deadline)) {
        struct pollfd entries[2] = {
            {.fd = fd, .events = events},
            {.fd = deadline->cancel ? fw_cancel_fd(deadline->cancel) : -1, .events = POLLIN},
        };
        int ready = poll(entries, 2, poll_timeout_ms(deadline->at_us));
        if (ready < 0 && errno != EINTR && errno != EAGAIN)
            return FW_EIO;
        if (ready > 0 && (entries[0].revents & POLLNVAL))
            return FW_EIO;
        if (ready > 0 && entries[0].revents)
            return FW_OK;
    }
    return deadline->interrupted;
}
