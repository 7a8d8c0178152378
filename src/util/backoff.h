// How long to wait before the next try, and how many may try at once.
#ifndef FW_UTIL_BACKOFF_H
#define FW_UTIL_BACKOFF_H

#include <stdint.h>

struct fw_cancel;

// Exponential backoff with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS 2015):
// a delay is uniform in [0, min(cap, base * 2^tries)]. Outages begin with a low cap, because most
// are short, and go on with a high one. Pure: the caller passes time and randomness in.
struct fw_backoff_options {
    int64_t base_ms;
    int64_t early_cap_ms; // while the outage is younger than early_ms
    int64_t early_ms;
    int64_t late_cap_ms;
};

struct fw_backoff {
    struct fw_backoff_options options;
    int tries;
    int64_t outage_began_us; // monotonic; 0: no outage
};

// DESIGN for cameras, outputs and peers alike: 0.25 s doubling, cap 3 s for 2 min, then 30 s.
extern const struct fw_backoff_options fw_backoff_default;
// For refused credentials, so that a camera does not lock the account: 5 s doubling, cap 5 min.
extern const struct fw_backoff_options fw_backoff_refused;

void fw_backoff_init(struct fw_backoff *backoff, const struct fw_backoff_options *options);
// Milliseconds to wait now. RANDOM is uniform over all 32 bits.
int64_t fw_backoff_next_ms(struct fw_backoff *backoff, int64_t now_us, uint32_t random);
// The peer is back, but has not proven itself: the next outage is a new one and begins with the low
// cap, while the delays go on where they were, so that a flapping peer is not stormed.
void fw_backoff_outage_over(struct fw_backoff *backoff);
// The peer is well: all is as at the beginning. For cameras only after 10 s of healthy pictures.
void fw_backoff_reset(struct fw_backoff *backoff);

// 32 random bits from the kernel. Any thread.
uint32_t fw_random_u32(void);

// At most LIMIT holders at once, served in the order of their coming. Thread-safe.
struct fw_limiter;
struct fw_limiter *fw_limiter_create(int limit);
void fw_limiter_destroy(struct fw_limiter *limiter);
// FW_OK (release it), FW_ECANCELED, or FW_EAGAIN (too many open files to wait). CANCEL may be NULL.
int fw_limiter_acquire(struct fw_limiter *limiter, struct fw_cancel *cancel);
void fw_limiter_release(struct fw_limiter *limiter);

#endif
