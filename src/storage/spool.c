// What lies on the disk is the truth; the index in memory answers questions about it.
//
// A name changes (a move, a mark, a removal) only under the lock, and only of an item that nobody
// uploads or writes: such an item is pinned. A put writes its file without the lock, and takes part
// in the index when it is done.
#include "storage/spool.h"
#include "storage/index.h"
#include "storage/spool_internal.h"
#include "storage/tree.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"
#include "util/thread.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_THREADS = 2, MAX_READ_TRIES = 3 };
static const int64_t PRUNE_INTERVAL_US = 3600 * FW_US_PER_S;

// Opening

// Removes one of two files that have one key.
static int remove_double(struct fw_spool *spool, const char *file)
{
    return file == NULL || fw_tree_remove(spool->tree, file) == FW_ENOMEM ? FW_ENOMEM : FW_OK;
}

// One of the files that the last run left, the oldest first. A crash can leave two with one key:
// the one that waits wins, else the newer.
static int take_file(struct fw_spool *spool, const char *key, enum fw_spool_folder folder,
                     const struct fw_store_item *file)
{
    struct fw_spool_index *index = &spool->index;
    struct fw_spool_item *item = fw_spool_index_find(index, key);
    int status = FW_OK;

    if (item != NULL && item->is_queued)
        return remove_double(spool, file->key);
    if (item != NULL) {
        char *old = fw_spool_file(item);
        status = remove_double(spool, old);
        free(old);
    } else {
        item = fw_spool_index_add(index, key);
    }
    if (item == NULL || status != FW_OK)
        return FW_ENOMEM;
    fw_spool_index_settle(index, item, folder, file->bytes, file->time_us);
    if (folder == FW_SPOOL_IN_PENDING && file->bytes > 0)
        fw_spool_index_queue(index, item, true);
    return FW_OK;
}

static int take_found(struct fw_spool *spool, const struct fw_store_item *file)
{
    static const struct {
        const char *prefix;
        enum fw_spool_folder folder;
    } folders[] = {{"pending/", FW_SPOOL_IN_PENDING},
                   {"cache/", FW_SPOOL_IN_CACHE},
                   {"failed/", FW_SPOOL_IN_FAILED}};

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        if (fw_starts_with(file->key, folders[i].prefix))
            return take_file(spool, file->key + strlen(folders[i].prefix), folders[i].folder, file);
    return FW_OK; // not ours
}

static int note_found(void *opaque, const char *key, int64_t time_us, int64_t bytes)
{
    return fw_store_index_add(opaque, key, time_us, bytes);
}

static int scan(struct fw_spool *spool, struct fw_error *error)
{
    struct fw_store_index found = {0};
    int status = fw_tree_scan(spool->tree, note_found, &found);

    fw_store_index_sort(&found);
    for (size_t i = 0; i < found.count && status == FW_OK; i++)
        status = take_found(spool, &found.items[found.begin + i]);
    fw_store_index_free(&found);
    if (status != FW_OK)
        return fw_fail(error, FW_ENOMEM, "no memory for the list of snapshots in '%s'",
                       fw_tree_path(spool->tree));
    if (spool->index.waiting.count > 0)
        fw_log_info(spool->options.log, "%llu snapshots of before wait to be stored",
                    (unsigned long long)spool->index.waiting.count);
    return FW_OK;
}

static int start_threads(struct fw_spool *spool, struct fw_error *error)
{
    int wanted =
        spool->options.upload_threads > 0 ? spool->options.upload_threads : DEFAULT_THREADS;

    while (spool->thread_count < wanted && spool->thread_count < FW_SPOOL_MAX_THREADS) {
        char name[32];
        int status;
        snprintf(name, sizeof(name), "upload-%d", spool->thread_count + 1);
        status = fw_thread_start(&spool->threads[spool->thread_count], name, spool->options.log,
                                 fw_spool_upload_all, spool);
        if (status != FW_OK)
            return fw_fail(error, status, "can't start an upload thread: %s",
                           fw_status_text(status));
        spool->thread_count++;
    }
    return FW_OK;
}

static int open_uploading(struct fw_spool *spool, const char *dir, struct fw_error *error)
{
    int status;

    if (dir == NULL || dir[0] == '\0')
        return fw_fail(error, FW_EINVAL, "no folder is named for snapshots that wait; name one");
    spool->cancel = fw_cancel_create();
    if (spool->cancel == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the spool of snapshots");
    status = fw_tree_open(&spool->tree, dir, spool->options.log, error);
    if (status == FW_OK)
        status = scan(spool, error);
    if (status != FW_OK)
        return status;
    fw_spool_sweep(spool); // the bounds may be narrower than they were
    return start_threads(spool, error);
}

int fw_spool_open(struct fw_spool **spool, const struct fw_spool_options *options,
                  struct fw_error *error)
{
    struct fw_spool *made = calloc(1, sizeof(*made));
    int status = FW_OK;

    *spool = NULL;
    if (made == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the spool of snapshots");
    made->options = *options;
    made->options.dir = NULL; // the caller's may go
    made->local = fw_store_tree(options->store);
    fw_backoff_init(&made->backoff, &fw_backoff_default);
    fw_backoff_init(&made->refused, &fw_backoff_refused);
    made->has_condition = fw_condition_init(&made->condition) == FW_OK;
    if (!made->has_condition)
        status = fw_fail(error, FW_ENOMEM, "no memory for the spool of snapshots");
    else if (made->local == NULL)
        status = open_uploading(made, options->dir, error);
    if (status != FW_OK) {
        (void)fw_spool_close(made, -1);
        return status;
    }
    *spool = made;
    return FW_OK;
}

static void free_spool(struct fw_spool *spool)
{
    fw_spool_index_free(&spool->index);
    fw_tree_close(spool->tree);
    fw_cancel_destroy(spool->cancel);
    if (spool->has_condition)
        fw_condition_destroy(&spool->condition);
    free(spool);
}

static void stop(struct fw_spool *spool)
{
    if (!spool->has_condition)
        return;
    pthread_mutex_lock(&spool->condition.mutex);
    spool->is_stopping = true;
    fw_spool_log_losses(spool, true);
    pthread_cond_broadcast(&spool->condition.changed);
    pthread_mutex_unlock(&spool->condition.mutex);
    if (spool->cancel != NULL)
        fw_cancel_trigger(spool->cancel);
}

int fw_spool_close(struct fw_spool *spool, int64_t timeout_ms)
{
    int64_t until_us = fw_condition_until_us(timeout_ms);
    bool is_lost = false;

    if (spool == NULL)
        return FW_OK;
    stop(spool);
    for (int i = 0; i < spool->thread_count; i++) {
        int64_t left_us = until_us - fw_monotonic_us();
        int64_t left_ms = left_us > 0 ? left_us / FW_US_PER_MS : 0;
        if (fw_thread_join(spool->threads[i], until_us == INT64_MAX ? -1 : left_ms) != FW_OK)
            is_lost = true;
    }
    if (is_lost)
        return FW_ETIMEDOUT;
    free_spool(spool);
    return FW_OK;
}

// Putting

// Counts LENGTH bytes for KEY before they are written, and pins its item.
static int reserve(struct fw_spool *spool, const char *key, size_t length,
                   struct fw_spool_item **reserved, struct fw_spool_telling *telling,
                   struct fw_error *error)
{
    struct fw_spool_item *item;

    fw_spool_keep_free(spool);
    if ((spool->options.max_bytes > 0 && (int64_t)length > spool->options.max_bytes) ||
        !fw_spool_make_room(spool, (int64_t)length, telling))
        return fw_fail(error, FW_EFULL,
                       "there is no room for a picture of %zu bytes below the bound of %lld "
                       "bytes; raise alerts.max_mb",
                       length, (long long)spool->options.max_bytes);
    item = fw_spool_index_find(&spool->index, key);
    if (item == NULL)
        item = fw_spool_index_add(&spool->index, key);
    if (item == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to store a snapshot");
    item->pins++;
    item->writers++;
    item->generation++;
    spool->reserved += (int64_t)length;
    *reserved = item;
    return FW_OK;
}

// The file has been written: it takes the place of what was there before.
static void settle(struct fw_spool *spool, struct fw_spool_item *item, size_t length)
{
    char *old = item->folder == FW_SPOOL_IN_CACHE || item->folder == FW_SPOOL_IN_FAILED
                    ? fw_spool_file(item)
                    : NULL;

    if (old != NULL)
        (void)fw_tree_remove(spool->tree, old); // a copy too many does no harm
    free(old);
    item->generation++;
    fw_spool_index_settle(&spool->index, item, FW_SPOOL_IN_PENDING, (int64_t)length, fw_utc_us());
    item->put_us = fw_monotonic_us();
}

static void release(struct fw_spool *spool, struct fw_spool_item *item, size_t length,
                    bool is_written)
{
    item->pins--;
    item->writers--;
    spool->reserved -= (int64_t)length;
    if (is_written)
        settle(spool, item, length);
    if (item->folder == FW_SPOOL_NOWHERE) {
        if (item->writers == 0)
            fw_spool_index_remove(&spool->index, item);
    } else if (item->list == &spool->index.waiting && !item->is_uploading && !item->is_queued) {
        fw_spool_index_queue(&spool->index, item, true);
        pthread_cond_broadcast(&spool->condition.changed);
    }
}

// Writes the file; on a full disk copies of uploaded pictures go until there is room, or none left.
static int write_pending(struct fw_spool *spool, const char *key, const uint8_t *data,
                         size_t length, struct fw_error *error)
{
    char *file = fw_strdup_printf("pending/%s", key);
    bool is_worth_trying = true;
    int status = FW_EFULL;

    if (file == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to store a snapshot");
    while (status == FW_EFULL && is_worth_trying) {
        status = fw_tree_write(spool->tree, file, data, length, NULL, NULL, error);
        if (status != FW_EFULL)
            break;
        pthread_mutex_lock(&spool->condition.mutex);
        is_worth_trying = fw_spool_drop_spare(spool, (int64_t)length);
        pthread_mutex_unlock(&spool->condition.mutex);
    }
    free(file);
    return status;
}

static int put_local(struct fw_spool *spool, const char *key, const uint8_t *data, size_t length,
                     struct fw_error *error)
{
    int status = fw_store_put(spool->options.store, key, data, length, NULL, NULL, error);

    pthread_mutex_lock(&spool->condition.mutex);
    if (status == FW_OK)
        spool->stored++;
    pthread_mutex_unlock(&spool->condition.mutex);
    return status;
}

int fw_spool_put(struct fw_spool *spool, const char *key, const uint8_t *data, size_t length,
                 struct fw_error *error)
{
    struct fw_spool_telling telling = {0};
    struct fw_spool_item *item = NULL;
    int status;

    if (!fw_store_is_key(key) || length == 0)
        return fw_fail(error, FW_EINVAL,
                       "a snapshot without bytes, or with a key that is no clean relative path; "
                       "check the camera's id for odd characters");
    if (spool->local != NULL)
        return put_local(spool, key, data, length, error);
    pthread_mutex_lock(&spool->condition.mutex);
    status = reserve(spool, key, length, &item, &telling, error);
    pthread_mutex_unlock(&spool->condition.mutex);
    fw_spool_tell(spool, &telling, FW_SPOOL_FAILED);
    if (item == NULL)
        return status;
    status = write_pending(spool, key, data, length, error);
    pthread_mutex_lock(&spool->condition.mutex);
    release(spool, item, length, status == FW_OK);
    pthread_mutex_unlock(&spool->condition.mutex);
    return status;
}

// Asking

static enum fw_spool_state state_of_item(const struct fw_spool_item *item)
{
    if (item == NULL || item->folder == FW_SPOOL_IN_CACHE)
        return FW_SPOOL_STORED;
    if (item->folder == FW_SPOOL_NOWHERE ||
        (item->folder == FW_SPOOL_IN_PENDING && item->bytes > 0))
        return FW_SPOOL_PENDING;
    return FW_SPOOL_FAILED;
}

// The relative path of KEY's copy, malloc'd. FW_OK, FW_ENOENT, FW_ENOMEM.
static int find_copy(struct fw_spool *spool, const char *key, char **file)
{
    const struct fw_spool_item *item;
    bool is_there;

    *file = NULL;
    pthread_mutex_lock(&spool->condition.mutex);
    item = fw_spool_index_find(&spool->index, key);
    is_there = item != NULL && item->bytes > 0;
    if (is_there)
        *file = fw_spool_file(item);
    pthread_mutex_unlock(&spool->condition.mutex);
    if (!is_there)
        return FW_ENOENT;
    return *file != NULL ? FW_OK : FW_ENOMEM;
}

char *fw_spool_path(struct fw_spool *spool, const char *key)
{
    char *path = NULL, *file;

    if (!fw_store_is_key(key))
        return NULL;
    if (spool->local != NULL)
        return fw_tree_has(spool->local, key) ? fw_tree_path_of(spool->local, key) : NULL;
    if (find_copy(spool, key, &file) == FW_OK)
        path = fw_tree_path_of(spool->tree, file);
    free(file);
    return path;
}

enum fw_spool_state fw_spool_state(struct fw_spool *spool, const char *key)
{
    enum fw_spool_state state;

    if (spool->local != NULL)
        return fw_store_is_key(key) && fw_tree_has(spool->local, key) ? FW_SPOOL_STORED
                                                                      : FW_SPOOL_FAILED;
    pthread_mutex_lock(&spool->condition.mutex);
    state = state_of_item(fw_spool_index_find(&spool->index, key));
    pthread_mutex_unlock(&spool->condition.mutex);
    return state;
}

static int read_once(struct fw_spool *spool, const char *key, uint8_t **data, size_t *length)
{
    char *file;
    int status = find_copy(spool, key, &file);

    if (status == FW_OK)
        status = fw_tree_read(spool->tree, file, data, length);
    free(file);
    if (status == FW_OK && *length == 0) { // given up at this moment
        free(*data);
        *data = NULL;
        status = FW_ENOENT;
    }
    return status;
}

int fw_spool_read(struct fw_spool *spool, const char *key, uint8_t **data, size_t *length)
{
    int status = FW_ENOENT;

    *data = NULL;
    if (!fw_store_is_key(key))
        return FW_ENOENT;
    if (spool->local != NULL)
        return fw_tree_read(spool->local, key, data, length);
    // It may be on its way from one folder to another.
    for (int i = 0; i < MAX_READ_TRIES && status == FW_ENOENT; i++)
        status = read_once(spool, key, data, length);
    return status;
}

char *fw_spool_url(struct fw_spool *spool, const char *key)
{
    return fw_store_url(spool->options.store, key);
}

char *fw_spool_plain_url(struct fw_spool *spool, const char *key)
{
    return fw_store_plain_url(spool->options.store, key);
}

void fw_spool_get_stats(struct fw_spool *spool, struct fw_spool_stats *stats)
{
    pthread_mutex_lock(&spool->condition.mutex);
    *stats = (struct fw_spool_stats){.stored = spool->stored,
                                     .failed = spool->failed,
                                     .evicted = spool->evicted,
                                     .retried = spool->retried,
                                     .pending = spool->index.waiting.count,
                                     .bytes = spool->index.bytes,
                                     .is_refused = spool->is_refused};
    snprintf(stats->last_error, sizeof(stats->last_error), "%.*s",
             (int)sizeof(stats->last_error) - 1, spool->error.message);
    pthread_mutex_unlock(&spool->condition.mutex);
}

bool fw_spool_drain(struct fw_spool *spool, int64_t timeout_ms)
{
    int64_t until_us = fw_condition_until_us(timeout_ms);
    bool is_drained;

    pthread_mutex_lock(&spool->condition.mutex);
    while (spool->index.waiting.count > 0 && fw_monotonic_us() < until_us)
        (void)fw_condition_wait(&spool->condition, until_us);
    is_drained = spool->index.waiting.count == 0;
    pthread_mutex_unlock(&spool->condition.mutex);
    return is_drained;
}

// Folders are by camera and day, as a rule: each day leaves some behind.
static void prune(struct fw_spool *spool)
{
    int64_t now_us = fw_monotonic_us();
    bool is_due;

    pthread_mutex_lock(&spool->condition.mutex);
    is_due = spool->pruned_us == 0 || now_us - spool->pruned_us >= PRUNE_INTERVAL_US;
    if (is_due)
        spool->pruned_us = now_us;
    pthread_mutex_unlock(&spool->condition.mutex);
    if (is_due)
        fw_tree_prune(spool->tree, "pending", fw_utc_us() - PRUNE_INTERVAL_US);
}

void fw_spool_sweep(struct fw_spool *spool)
{
    struct fw_spool_telling telling = {0};

    if (spool->local != NULL) {
        fw_store_sweep(spool->options.store);
        return;
    }
    pthread_mutex_lock(&spool->condition.mutex);
    fw_spool_age(spool, &telling);
    (void)fw_spool_make_room(spool, 0, &telling);
    fw_spool_keep_free(spool);
    pthread_mutex_unlock(&spool->condition.mutex);
    fw_spool_tell(spool, &telling, FW_SPOOL_FAILED);
    prune(spool);
}
