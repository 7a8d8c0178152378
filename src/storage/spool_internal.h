// What the files of the spool share: spool.c (putting, asking, opening), spool_files.c (bounds and
// files), spool_upload.c (threads).
#ifndef FW_STORAGE_SPOOL_INTERNAL_H
#define FW_STORAGE_SPOOL_INTERNAL_H

#include "storage/spool.h"
#include "storage/spool_index.h"
#include "util/backoff.h"
#include "util/condition.h"

struct fw_cancel;
struct fw_thread;
struct fw_tree;

enum { FW_SPOOL_MAX_THREADS = 16 };

struct fw_spool {
    // Set before the threads start, never changed.
    struct fw_spool_options options; // without `dir`
    struct fw_tree *local;           // of a local store; else NULL
    struct fw_tree *tree;            // our own; NULL with a local store
    struct fw_cancel *cancel;        // ends uploads
    struct fw_thread *threads[FW_SPOOL_MAX_THREADS];
    int thread_count;
    bool has_condition;

    // Guards what follows, and which file has which name; waited on for any change of it.
    struct fw_condition condition;
    struct fw_spool_index index;
    int64_t reserved; // bytes of pictures that are being written
    int uploading;
    bool is_stopping;
    // The latest upload failed: one at a time, and not before that moment (monotonic).
    bool is_down;
    int64_t not_before_us;
    struct fw_backoff backoff, refused;
    uint64_t stored, failed, evicted, retried;
    bool is_refused;
    struct fw_error error; // of the latest upload; "" when all is well
    int64_t pruned_us;     // when empty folders were last looked for (monotonic)
    // Losses are logged together, and not one by one.
    uint64_t untold_losses;
    int64_t told_losses_us;
};

// Items whose state is to be told once the lock is no longer held. They are not freed until then.
struct fw_spool_telling {
    struct fw_spool_item *first;
};

// Where ITEM's file is; malloc'd, relative to the tree; NULL when memory is out.
char *fw_spool_file(const struct fw_spool_item *item);

// All of these want the lock held.

// Gives pictures up until there is room for BYTES more. False when that does not help. The items
// that failed by it are added to TELLING.
bool fw_spool_make_room(struct fw_spool *spool, int64_t bytes, struct fw_spool_telling *telling);
// Removes uploaded and rejected pictures of BYTES together. False when there was none.
bool fw_spool_drop_spare(struct fw_spool *spool, int64_t bytes);
// Removes uploaded and rejected pictures while the disk has less room than options.min_free_bytes.
void fw_spool_keep_free(struct fw_spool *spool);
// Removes what is too old, a bounded number a call.
void fw_spool_age(struct fw_spool *spool, struct fw_spool_telling *telling);
// Moves ITEM's file to FOLDER and settles it there; false when the file could not be moved.
bool fw_spool_move(struct fw_spool *spool, struct fw_spool_item *item, enum fw_spool_folder folder);
// Leaves a mark in place of ITEM's picture.
void fw_spool_give_up(struct fw_spool *spool, struct fw_spool_item *item);
// Removes ITEM's file, and ITEM. One whose state is being told stays as a mark that it was stored.
void fw_spool_forget(struct fw_spool *spool, struct fw_spool_item *item);
void fw_spool_tell_later(struct fw_spool_telling *telling, struct fw_spool_item *item);
// Logs how many pictures were lost, now and then, or AT_ONCE.
void fw_spool_log_losses(struct fw_spool *spool, bool at_once);

// Wants the lock free: calls options.changed for each item.
void fw_spool_tell(struct fw_spool *spool, const struct fw_spool_telling *telling,
                   enum fw_spool_state state);

// The body of an upload thread; OPAQUE is the spool.
void fw_spool_upload_all(void *opaque);

#endif
