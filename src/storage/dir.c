// Snapshots in a local folder, one file a key.
//
// What is there is kept in an index, oldest first, so that no put has to walk the folder. Files
// older than the store are somebody else's and are neither counted nor removed.
#include "storage/index.h"
#include "storage/store.h"
#include "storage/tree.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"
#include <pthread.h>
#include <stdlib.h>

enum { MAX_REMOVALS = 256 };

struct dir_store {
    struct fw_tree *tree;
    int64_t max_bytes, max_age_us, min_free_bytes;
    const struct fw_log *log;
    bool has_mutex;
    pthread_mutex_t mutex; // guards the index
    struct fw_store_index index;
};

static bool is_bounded(const struct dir_store *store)
{
    return store->max_bytes > 0 || store->max_age_us > 0 || store->min_free_bytes > 0;
}

static bool is_one_too_many(const struct dir_store *store, int64_t now_us)
{
    const struct fw_store_index *index = &store->index;

    if (index->count == 0)
        return false;
    return (store->max_bytes > 0 && index->bytes > store->max_bytes) ||
           fw_tree_short_bytes(store->tree, store->min_free_bytes) > 0 ||
           (store->max_age_us > 0 &&
            fw_store_index_first(index)->time_us < now_us - store->max_age_us);
}

// The mutex is held.
static void remove_surplus(struct dir_store *store)
{
    int64_t now_us = fw_utc_us();

    for (int i = 0; i < MAX_REMOVALS && is_one_too_many(store, now_us); i++) {
        char *key = fw_store_index_take_first(&store->index);
        int status = fw_tree_remove(store->tree, key);
        if (status != FW_OK)
            fw_log_warning(store->log, "can't remove the old snapshot '%s/%s': %s",
                           fw_tree_path(store->tree), key, fw_status_text(status));
        free(key);
    }
}

static void dir_sweep(void *state)
{
    struct dir_store *store = state;

    pthread_mutex_lock(&store->mutex);
    remove_surplus(store);
    pthread_mutex_unlock(&store->mutex);
}

static int note_found(void *opaque, const char *key, int64_t time_us, int64_t bytes)
{
    struct dir_store *store = opaque;

    if (time_us < fw_tree_since_us(store->tree) || !is_bounded(store))
        return FW_OK;
    return fw_store_index_add(&store->index, key, time_us, bytes);
}

static int scan_all(struct dir_store *store, struct fw_error *error)
{
    if (fw_tree_scan(store->tree, note_found, store) != FW_OK)
        return fw_fail(error, FW_ENOMEM, "no memory for the list of snapshots in '%s'",
                       fw_tree_path(store->tree));
    fw_store_index_sort(&store->index);
    dir_sweep(store);
    return FW_OK;
}

static int dir_open(void **state, const struct fw_store_options *options, struct fw_error *error)
{
    struct dir_store *store;
    int status;

    if (options->dir == NULL || options->dir[0] == '\0')
        return fw_fail(error, FW_EINVAL, "no folder is named for the snapshots; name one");
    store = calloc(1, sizeof(*store));
    if (store == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the store of snapshots");
    *state = store;
    store->max_bytes = options->max_bytes;
    store->max_age_us = options->max_age_us;
    store->min_free_bytes = options->min_free_bytes;
    store->log = options->log;
    if (pthread_mutex_init(&store->mutex, NULL) != 0)
        return fw_fail(error, FW_ENOMEM, "no memory for the store of snapshots");
    store->has_mutex = true;
    status = fw_tree_open(&store->tree, options->dir, options->log, error);
    return status == FW_OK ? scan_all(store, error) : status;
}

static void dir_close(void *state)
{
    struct dir_store *store = state;

    fw_tree_close(store->tree);
    if (store->has_mutex)
        pthread_mutex_destroy(&store->mutex);
    fw_store_index_free(&store->index);
    free(store);
}

// Counts the file that has just got the name KEY. The mutex is held.
static int note(struct dir_store *store, const char *key, size_t length, bool was_there)
{
    if (!is_bounded(store))
        return FW_OK;
    if (was_there)
        fw_store_index_remove(&store->index, key);
    return fw_store_index_add(&store->index, key, fw_utc_us(), (int64_t)length);
}

static int dir_put(void *state, const char *key, const uint8_t *data, size_t length,
                   const char *content_type, struct fw_cancel *cancel, struct fw_error *error)
{
    struct dir_store *store = state;
    bool was_there = false;
    int status = fw_tree_write(store->tree, key, data, length, cancel, &was_there, error);
    (void)content_type; // the key's ending says it

    if (status == FW_EFULL) {
        dir_sweep(store);
        status = fw_tree_write(store->tree, key, data, length, cancel, &was_there, error);
    }
    if (status != FW_OK)
        return status;
    pthread_mutex_lock(&store->mutex);
    if (note(store, key, length, was_there) != FW_OK)
        fw_log_warning(store->log, "no memory to remember '%s'; it is kept until the next start",
                       key);
    remove_surplus(store);
    pthread_mutex_unlock(&store->mutex);
    return FW_OK;
}

static struct fw_tree *dir_tree(const void *state)
{
    const struct dir_store *store = state;

    return store->tree;
}

static char *dir_url(const void *state, const char *key)
{
    const struct dir_store *store = state;
    struct fw_text url = FW_TEXT_INIT;

    fw_text_append(&url, "file://");
    fw_text_append_percent(&url, fw_tree_path(store->tree), "/");
    fw_text_append(&url, "/");
    fw_text_append_percent(&url, key, "/");
    return fw_text_steal(&url);
}

const struct fw_store_backend fw_store_dir = {
    .name = "dir",
    .open = dir_open,
    .put = dir_put,
    .url = dir_url,
    .tree = dir_tree,
    .sweep = dir_sweep,
    .close = dir_close,
};
