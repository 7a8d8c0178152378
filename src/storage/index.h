// What a store holds, oldest first, so that bounds are kept without walking the folder.
#ifndef FW_STORAGE_INDEX_H
#define FW_STORAGE_INDEX_H

#include <stddef.h>
#include <stdint.h>

struct fw_store_item {
    char *key;
    int64_t time_us; // UTC
    int64_t bytes;
};

// Zero-initialise; fw_store_index_free() at the end. One thread at a time.
struct fw_store_index {
    struct fw_store_item *items; // the live ones begin at `begin`
    size_t begin, count, capacity;
    int64_t bytes; // of all items
};

// Appends a copy of KEY. FW_OK or FW_ENOMEM.
int fw_store_index_add(struct fw_store_index *index, const char *key, int64_t time_us,
                       int64_t bytes);
// Forgets KEY if it is there, looking at the newest first.
void fw_store_index_remove(struct fw_store_index *index, const char *key);
// By time, then by key.
void fw_store_index_sort(struct fw_store_index *index);
// The oldest; there must be one.
const struct fw_store_item *fw_store_index_first(const struct fw_store_index *index);
// Forgets the oldest and returns its key, which the caller free()s; there must be one.
char *fw_store_index_take_first(struct fw_store_index *index);
void fw_store_index_free(struct fw_store_index *index);

#endif
