#include "app/told.h"
#include "util/error.h"
#include <stdlib.h>
#include <string.h>

int fw_told_add(struct fw_told *told, const void *camera, uint64_t track, const char *appeared_id)
{
    if (told->count == told->capacity) {
        size_t capacity = told->capacity == 0 ? 16 : 2 * told->capacity;
        struct fw_told_track *items = realloc(told->items, capacity * sizeof *items);
        if (!items)
            return FW_ENOMEM;
        told->items = items;
        told->capacity = capacity;
    }
    struct fw_told_track *item = &told->items[told->count++];
    *item = (struct fw_told_track){.camera = camera, .track = track};
    memcpy(item->appeared_id, appeared_id, sizeof item->appeared_id);
    return FW_OK;
}

bool fw_told_take(struct fw_told *told, const void *camera, uint64_t track, char appeared_id[37])
{
    for (size_t i = 0; i < told->count; i++) {
        struct fw_told_track *item = &told->items[i];
        if (item->camera != camera || item->track != track)
            continue;
        memcpy(appeared_id, item->appeared_id, sizeof item->appeared_id);
        *item = told->items[--told->count];
        return true;
    }
    return false;
}
