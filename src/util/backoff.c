#include "util/backoff.h"

#include "util/cancel.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/random.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

const struct fw_backoff_options fw_backoff_default = {
    .base_ms = 250,
    .early_cap_ms = 3000,
    .early_ms = 120000,
    .late_cap_ms = 30000,
};

const struct fw_backoff_options fw_backoff_refused = {
    .base_ms = 5000,
    .early_cap_ms = 300000,
    .early_ms = 0,
    .late_cap_ms = 300000,
};

void fw_backoff_init(struct fw_backoff *backoff, const struct fw_backoff_options *options)
{
    *backoff = (struct fw_backoff){.options = *options};
}

// min(CAP_MS, BASE_MS * 2^TRIES), without overflow.
static int64_t ceiling_ms(int64_t base_ms, int tries, int64_t cap_ms)
{
    int64_t ceiling = base_ms;
    for (int i = 0; i < tries && ceiling > 0 && ceiling < cap_ms; i++)
        ceiling = ceiling > INT64_MAX / 2 ? INT64_MAX : ceiling * 2;
    if (ceiling > cap_ms)
        ceiling = cap_ms;
    if (ceiling > UINT32_MAX)
        ceiling = UINT32_MAX;
    return ceiling < 0 ? 0 : ceiling;
}

int64_t fw_backoff_next_ms(struct fw_backoff *backoff, int64_t now_us, uint32_t random)
{
    const struct fw_backoff_options *options = &backoff->options;
    if (backoff->outage_began_us == 0)
        backoff->outage_began_us = now_us != 0 ? now_us : 1;
    const int64_t age_us = now_us - backoff->outage_began_us;
    bool is_early = age_us / FW_US_PER_MS < options->early_ms;
    int64_t cap_ms = is_early ? options->early_cap_ms : options->late_cap_ms;
    int64_t ceiling = ceiling_ms(options->base_ms, backoff->tries, cap_ms);
    if (backoff->tries < 62)
        backoff->tries++;
    return (int64_t)((uint64_t)random * ((uint64_t)ceiling + 1) >> 32);
}

void fw_backoff_outage_over(struct fw_backoff *backoff)
{
    backoff->outage_began_us = 0;
}

void fw_backoff_reset(struct fw_backoff *backoff)
{
    backoff->tries = 0;
    fw_backoff_outage_over(backoff);
}

void fw_random_bytes(void *bytes, size_t size)
{
    ssize_t got;
    do
        got = getrandom(bytes, size, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0 || (size_t)got != size) {
        fputs("the kernel gives no random numbers (getrandom); run Linux 3.17 or later\n", stderr);
        abort();
    }
}

uint32_t fw_random_u32(void)
{
    uint32_t random = 0;
    fw_random_bytes(&random, sizeof random);
    return random;
}

// One that waits; it lies on its own stack. `granted` hands over a holder's place.
struct waiter {
    struct fw_cancel *granted;
    struct waiter *next;
};

struct fw_limiter {
    pthread_mutex_t lock; // guards what follows
    int free_places;
    struct waiter *first, **last; // in the order of their coming
};

struct fw_limiter *fw_limiter_create(int limit)
{
    if (limit < 1)
        return NULL;
    struct fw_limiter *limiter = calloc(1, sizeof *limiter);
    if (!limiter)
        return NULL;
    if (pthread_mutex_init(&limiter->lock, NULL) != 0) {
        free(limiter);
        return NULL;
    }
    limiter->free_places = limit;
    limiter->last = &limiter->first;
    return limiter;
}

void fw_limiter_destroy(struct fw_limiter *limiter)
{
    if (!limiter)
        return;
    pthread_mutex_destroy(&limiter->lock);
    free(limiter);
}

// The lock is held.
static void give_place(struct fw_limiter *limiter)
{
    struct waiter *waiter = limiter->first;
    if (!waiter) {
        limiter->free_places++;
        return;
    }
    limiter->first = waiter->next;
    if (!limiter->first)
        limiter->last = &limiter->first;
    fw_cancel_trigger(waiter->granted);
}

// The lock is held.
static void remove_waiter(struct fw_limiter *limiter, const struct waiter *waiter)
{
    struct waiter **link = &limiter->first;
    while (*link != waiter)
        link = &(*link)->next;
    *link = waiter->next;
    if (!*link)
        limiter->last = link;
}

// Waits for the place that WAITER, which is in the list, shall be given.
static int wait_for_place(struct fw_limiter *limiter, const struct waiter *waiter,
                          const struct fw_cancel *cancel)
{
    struct fw_deadline deadline = {.cancel = cancel, .at_us = INT64_MAX};
    int status = fw_deadline_poll(&deadline, fw_cancel_fd(waiter->granted), POLLIN);
    if (status == FW_OK)
        return FW_OK;
    pthread_mutex_lock(&limiter->lock);
    if (fw_cancel_is_set(waiter->granted))
        give_place(limiter); // it came at the same moment: on to the next
    else
        remove_waiter(limiter, waiter);
    pthread_mutex_unlock(&limiter->lock);
    return status == FW_ECANCELED ? status : FW_EAGAIN;
}

int fw_limiter_acquire(struct fw_limiter *limiter, struct fw_cancel *cancel)
{
    if (cancel && fw_cancel_is_set(cancel))
        return FW_ECANCELED;
    pthread_mutex_lock(&limiter->lock);
    struct waiter waiter = {0};
    int status = FW_OK;
    if (limiter->free_places > 0) {
        limiter->free_places--;
        goto done;
    }
    waiter.granted = fw_cancel_create();
    if (!waiter.granted) {
        status = FW_EAGAIN;
        goto done;
    }
    // The waiter is out of the list again before this function returns.
    // cppcheck-suppress autoVariables
    *limiter->last = &waiter;
    // cppcheck-suppress autoVariables
    limiter->last = &waiter.next;
    pthread_mutex_unlock(&limiter->lock);

    status = wait_for_place(limiter, &waiter, cancel);

    // The giver triggers under the lock: once it is ours, nobody looks at the waiter any more.
    pthread_mutex_lock(&limiter->lock);
done:
    pthread_mutex_unlock(&limiter->lock);
    fw_cancel_destroy(waiter.granted);
    return status;
}

void fw_limiter_release(struct fw_limiter *limiter)
{
    pthread_mutex_lock(&limiter->lock);
    give_place(limiter);
    pthread_mutex_unlock(&limiter->lock);
}
