#include "storage/spool_internal.h"
#include "storage/tree.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"
#include <stdlib.h>
#include <string.h>

static const char *content_type_of(const char *key)
{
    static const struct {
        const char *ending, *type;
    } types[] = {{".jpg", "image/jpeg"}, {".jpeg", "image/jpeg"}, {".png", "image/png"}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (fw_ends_with(key, types[i].ending))
            return types[i].type;
    return "application/octet-stream";
}

// Whether ITEM was put again since its upload began, or is about to be.
static bool is_outdated(const struct fw_spool_item *item, unsigned generation)
{
    return item->generation != generation || item->writers > 0;
}

// The outcome of one upload. The functions that follow want the lock held.

static void note_well(struct fw_spool *spool)
{
    if (spool->is_down)
        fw_log_info(spool->options.log, "the store takes pictures again; %llu wait",
                    (unsigned long long)spool->index.waiting.count);
    spool->is_down = false;
    spool->is_refused = false;
    spool->error.message[0] = '\0';
    fw_backoff_reset(&spool->backoff);
    fw_backoff_reset(&spool->refused);
}

static void note_trouble(struct fw_spool *spool, int status, const struct fw_error *error)
{
    int64_t now_us = fw_monotonic_us();
    struct fw_backoff *backoff = status == FW_EAUTH ? &spool->refused : &spool->backoff;

    if (strcmp(error->message, spool->error.message) != 0)
        fw_log_warning(spool->options.log, "snapshots stay on this disk for now: %s",
                       error->message);
    spool->retried++;
    spool->is_down = true;
    spool->is_refused = status == FW_EAUTH;
    spool->error = *error;
    spool->not_before_us =
        now_us + fw_backoff_next_ms(backoff, now_us, fw_random_u32()) * FW_US_PER_MS;
}

static void note_stored(struct fw_spool *spool, struct fw_spool_item *item,
                        struct fw_spool_telling *telling)
{
    note_well(spool);
    spool->stored++;
    fw_spool_tell_later(telling, item);
    if (!fw_spool_move(spool, item, FW_SPOOL_IN_CACHE))
        fw_spool_forget(spool, item); // the copy is for the page alone
}

static void note_rejected(struct fw_spool *spool, struct fw_spool_item *item, int status,
                          const struct fw_error *error, struct fw_spool_telling *telling)
{
    fw_log_error(spool->options.log, "the picture '%s' is not stored: %s", item->key,
                 error->message);
    if (status == FW_EREJECTED)
        note_well(spool); // it answers
    spool->failed++;
    fw_spool_tell_later(telling, item);
    if (!fw_spool_move(spool, item, FW_SPOOL_IN_FAILED))
        fw_spool_give_up(spool, item);
}

// What a failed upload means for ITEM: uploaded again, sooner or later. An answer may be about this
// very picture, so others get their turn first.
static void note_failed(struct fw_spool *spool, struct fw_spool_item *item, int status,
                        const struct fw_error *error)
{
    if (status != FW_ECANCELED)
        note_trouble(spool, status, error);
    fw_spool_index_queue(&spool->index, item, status == FW_EIO || status == FW_ETIMEDOUT);
}

static void note_outcome(struct fw_spool *spool, struct fw_spool_item *item, unsigned generation,
                         int status, const struct fw_error *error)
{
    struct fw_spool_telling telling = {0};
    bool is_rejected = status == FW_EREJECTED || status == FW_EINVAL || status == FW_ENOENT;
    enum fw_spool_state state = status == FW_OK ? FW_SPOOL_STORED : FW_SPOOL_FAILED;

    spool->uploading--;
    item->is_uploading = false;
    item->pins--;
    if (is_outdated(item, generation)) {
        if (item->writers == 0) // else a writer queues it
            fw_spool_index_queue(&spool->index, item, true);
    } else if (status == FW_OK) {
        note_stored(spool, item, &telling);
    } else if (is_rejected) {
        note_rejected(spool, item, status, error, &telling);
    } else {
        note_failed(spool, item, status, error);
    }
    pthread_cond_broadcast(&spool->condition.changed);
    pthread_mutex_unlock(&spool->condition.mutex);
    fw_spool_tell(spool, &telling, state);
    pthread_mutex_lock(&spool->condition.mutex);
}

static int read_picture(const struct fw_spool *spool, const char *file, uint8_t **data,
                        size_t *length, struct fw_error *error)
{
    int status = fw_tree_read(spool->tree, file, data, length);

    if (status == FW_OK && *length == 0) {
        free(*data);
        *data = NULL;
        status = FW_ENOENT;
    }
    if (status == FW_ENOENT)
        return fw_fail(error, status, "its file is gone; leave the spool's folder to faceworker");
    if (status != FW_OK)
        return fw_fail(error, status, "can't read '%s/%s': %s; look at the disk",
                       fw_tree_path(spool->tree), file, fw_status_text(status));
    return FW_OK;
}

static int send_picture(const struct fw_spool *spool, const char *key, const char *file,
                        struct fw_error *error)
{
    uint8_t *data = NULL;
    size_t length = 0;
    int status;

    if (file == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for an upload");
    status = read_picture(spool, file, &data, &length, error);
    if (status == FW_OK)
        status = fw_store_put(spool->options.store, key, data, length, content_type_of(key),
                              spool->cancel, error);
    free(data);
    return status;
}

// The lock is held, but not while the picture is sent.
static void upload(struct fw_spool *spool, struct fw_spool_item *item)
{
    struct fw_error error = {0};
    unsigned generation = item->generation;
    char *file = fw_spool_file(item);
    int status;

    spool->uploading++;
    item->is_uploading = true;
    item->pins++;
    pthread_mutex_unlock(&spool->condition.mutex);
    status = send_picture(spool, item->key, file, &error);
    pthread_mutex_lock(&spool->condition.mutex);
    free(file);
    note_outcome(spool, item, generation, status, &error);
}

// Whether an upload may begin; else *UNTIL_US is when to look again.
static bool may_begin(const struct fw_spool *spool, int64_t *until_us)
{
    *until_us = INT64_MAX;
    if (spool->index.queue_first == NULL)
        return false;
    if (!spool->is_down)
        return true;
    if (spool->uploading > 0)
        return false; // one finds out for all
    *until_us = spool->not_before_us;
    return fw_monotonic_us() >= spool->not_before_us;
}

void fw_spool_upload_all(void *opaque)
{
    struct fw_spool *spool = opaque;
    int64_t until_us;

    pthread_mutex_lock(&spool->condition.mutex);
    while (!spool->is_stopping) {
        if (may_begin(spool, &until_us))
            upload(spool, fw_spool_index_take(&spool->index));
        else
            (void)fw_condition_wait(&spool->condition, until_us);
    }
    pthread_mutex_unlock(&spool->condition.mutex);
}
