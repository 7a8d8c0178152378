// Which tracks were told to have appeared and not yet to have left. One thread's.
#ifndef FW_APP_TOLD_H
#define FW_APP_TOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_told_track {
    const void *camera;
    uint64_t track;
    char appeared_id[37]; // of its event
};

// Zero-initialise; free() `items` at the end.
struct fw_told {
    struct fw_told_track *items;
    size_t count, capacity;
};

// FW_OK or FW_ENOMEM.
int fw_told_add(struct fw_told *told, const void *camera, uint64_t track, const char *appeared_id);
// Copies the id of the event that told of TRACK and forgets the track. False if it was not told.
bool fw_told_take(struct fw_told *told, const void *camera, uint64_t track, char appeared_id[37]);

#endif
