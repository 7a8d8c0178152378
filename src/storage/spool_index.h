// What the spool holds: found by key, and in the order in which it is uploaded and given up.
#ifndef FW_STORAGE_SPOOL_INDEX_H
#define FW_STORAGE_SPOOL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fw_spool_folder {
    FW_SPOOL_NOWHERE, // being written for the first time
    FW_SPOOL_IN_PENDING,
    FW_SPOOL_IN_CACHE,  // uploaded
    FW_SPOOL_IN_FAILED, // rejected by the store
};

// One picture. In exactly one of the index's lists unless it is nowhere; and in the queue while it
// waits for a thread to upload it. All fields but `key` change under the spool's lock.
struct fw_spool_item {
    char *key;
    enum fw_spool_folder folder;
    int64_t time_us;     // UTC, of its putting
    int64_t put_us;      // the same, monotonic; 0: before the start
    int64_t bytes;       // 0: given up, the empty file is a mark of that
    unsigned generation; // changes with every put
    int pins;            // uploads and puts under way: neither given up nor freed
    int writers;         // puts under way
    bool is_uploading, is_queued;
    bool is_telling; // not freed
    struct fw_spool_list *list;
    struct fw_spool_item *previous, *next;             // in `list`, by time
    struct fw_spool_item *queue_previous, *queue_next; // in the queue
    struct fw_spool_item *next_told;                   // see spool.c
};

struct fw_spool_list {
    struct fw_spool_item *first, *last;
    size_t count;
};

// Zero-initialise; fw_spool_index_free() at the end. One thread at a time.
struct fw_spool_index {
    void *root;                   // of tsearch(3)
    struct fw_spool_list waiting; // to be uploaded
    struct fw_spool_list spare;   // uploaded or rejected: the first to go
    struct fw_spool_list marks;   // given up
    struct fw_spool_item *queue_first, *queue_last;
    int64_t bytes; // of all items
};

// NULL when there is none.
struct fw_spool_item *fw_spool_index_find(const struct fw_spool_index *index, const char *key);
// A new item, nowhere yet; KEY must not be there. NULL when memory is out.
struct fw_spool_item *fw_spool_index_add(struct fw_spool_index *index, const char *key);
// ITEM lies in FOLDER now: into the list where it belongs, out of the queue.
void fw_spool_index_settle(struct fw_spool_index *index, struct fw_spool_item *item,
                           enum fw_spool_folder folder, int64_t bytes, int64_t time_us);
// Into the queue, which it must not be in; at its end or at its beginning.
void fw_spool_index_queue(struct fw_spool_index *index, struct fw_spool_item *item, bool is_last);
// The first of the queue, out of it; NULL when it is empty.
struct fw_spool_item *fw_spool_index_take(struct fw_spool_index *index);
// Forgets and frees ITEM.
void fw_spool_index_remove(struct fw_spool_index *index, struct fw_spool_item *item);
void fw_spool_index_free(struct fw_spool_index *index);

#endif
