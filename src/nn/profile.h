// Where a network's time goes, for the two drivers: which part runs now, and what each took. A
// clock is read where one part gives way to another, if anybody wants to know.
#ifndef FW_NN_PROFILE_H
#define FW_NN_PROFILE_H

#include <stdint.h>
#include <stdio.h>
#include <time.h>

// The parts in their order; after the last unit comes what is left to do with the results.
enum { FW_STEM_PART, FW_FIRST_UNIT_PART, FW_PART_NAME_SIZE = 48 };

struct fw_profile {
    int64_t *part_ns; // borrowed; NULL: nobody wants to know
    int part;         // that runs now
    int64_t since_ns;
};

static inline int64_t fw_profile_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void fw_profile_begin(struct fw_profile *profile)
{
    profile->part = FW_STEM_PART;
    profile->since_ns = profile->part_ns == NULL ? 0 : fw_profile_now_ns();
}

// From now on PART runs. The part that ran before, to go back to.
static inline int fw_profile_switch(struct fw_profile *profile, int part)
{
    int before = profile->part;
    if (profile->part_ns != NULL) {
        int64_t now = fw_profile_now_ns();
        profile->part_ns[before] += now - profile->since_ns;
        profile->since_ns = now;
        profile->part = part;
    }
    return before;
}

static inline void fw_profile_name_stem(char name[FW_PART_NAME_SIZE], int width, int height)
{
    (void)snprintf(name, FW_PART_NAME_SIZE, "first layer: %dx%d", width, height);
}

static inline void fw_profile_name_unit(char name[FW_PART_NAME_SIZE], int index,
                                        const int channels[2], int width, int height)
{
    (void)snprintf(name, FW_PART_NAME_SIZE, "unit %d: %d to %d channels, %dx%d", index + 1,
                   channels[0], channels[1], width, height);
}

static inline void fw_profile_name_rest(char name[FW_PART_NAME_SIZE])
{
    (void)snprintf(name, FW_PART_NAME_SIZE, "results");
}

#endif
