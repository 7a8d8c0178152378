#include "storage/spool_internal.h"
#include "storage/tree.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"
#include <stdlib.h>

enum { MAX_REMOVALS = 256, MAX_MARKS = 10000 };
static const int64_t LOSS_INTERVAL_US = 10 * FW_US_PER_S;

char *fw_spool_file(const struct fw_spool_item *item)
{
    static const char *const folders[] = {[FW_SPOOL_NOWHERE] = "pending",
                                          [FW_SPOOL_IN_PENDING] = "pending",
                                          [FW_SPOOL_IN_CACHE] = "cache",
                                          [FW_SPOOL_IN_FAILED] = "failed"};

    return fw_strdup_printf("%s/%s", folders[item->folder], item->key);
}

bool fw_spool_move(struct fw_spool *spool, struct fw_spool_item *item, enum fw_spool_folder folder)
{
    struct fw_spool_item moved = {.key = item->key, .folder = folder};
    char *from = fw_spool_file(item), *to = fw_spool_file(&moved);
    bool is_moved = from != NULL && to != NULL && fw_tree_move(spool->tree, from, to) == FW_OK;

    free(from);
    free(to);
    if (is_moved)
        fw_spool_index_settle(&spool->index, item, folder, item->bytes, item->time_us);
    return is_moved;
}

void fw_spool_give_up(struct fw_spool *spool, struct fw_spool_item *item)
{
    char *file = fw_spool_file(item);

    // A mark that can't be made is a mark until the next start.
    if (file == NULL || fw_tree_empty(spool->tree, file) != FW_OK)
        fw_log_warning(spool->options.log, "can't mark the lost picture '%s' as such", item->key);
    free(file);
    fw_spool_index_settle(&spool->index, item, item->folder, 0, fw_utc_us());
}

void fw_spool_forget(struct fw_spool *spool, struct fw_spool_item *item)
{
    char *file = fw_spool_file(item);
    int status = file != NULL ? fw_tree_remove(spool->tree, file) : FW_ENOMEM;

    if (status != FW_OK)
        fw_log_warning(spool->options.log, "can't remove the old snapshot '%s/%s': %s",
                       fw_tree_path(spool->tree), file != NULL ? file : item->key,
                       fw_status_text(status));
    free(file);
    if (item->is_telling) // its key is being read
        fw_spool_index_settle(&spool->index, item, FW_SPOOL_IN_CACHE, 0, fw_utc_us());
    else
        fw_spool_index_remove(&spool->index, item);
}

void fw_spool_tell_later(struct fw_spool_telling *telling, struct fw_spool_item *item)
{
    if (item->is_telling)
        return;
    item->is_telling = true;
    item->next_told = telling->first;
    telling->first = item;
}

void fw_spool_tell(struct fw_spool *spool, const struct fw_spool_telling *telling,
                   enum fw_spool_state state)
{
    struct fw_spool_item *item = telling->first;

    while (item != NULL) {
        if (spool->options.changed != NULL)
            spool->options.changed(spool->options.opaque, item->key, state);
        pthread_mutex_lock(&spool->condition.mutex);
        item->is_telling = false;
        item = item->next_told;
        pthread_mutex_unlock(&spool->condition.mutex);
    }
}

void fw_spool_log_losses(struct fw_spool *spool, bool at_once)
{
    int64_t now_us = fw_monotonic_us();

    if (spool->untold_losses == 0 || (!at_once && spool->told_losses_us != 0 &&
                                      now_us - spool->told_losses_us < LOSS_INTERVAL_US))
        return;
    fw_log_error(spool->options.log,
                 "%llu pictures were given up before they could be uploaded; raise "
                 "alerts.max_mb or alerts.max_age_days, or get the store back sooner",
                 (unsigned long long)spool->untold_losses);
    spool->untold_losses = 0;
    spool->told_losses_us = now_us;
}

// The first that is neither uploaded nor written just now.
static struct fw_spool_item *first_free(const struct fw_spool_list *list)
{
    struct fw_spool_item *item = list->first;

    while (item != NULL && item->pins > 0)
        item = item->next;
    return item;
}

// After each mark that is made: sweeps alone would not keep up with an outage of days.
static void bound_marks(struct fw_spool *spool)
{
    for (int i = 0; i < 2 && spool->index.marks.count > MAX_MARKS; i++) {
        struct fw_spool_item *mark = first_free(&spool->index.marks);
        if (mark != NULL)
            fw_spool_forget(spool, mark);
    }
}

// A waiting picture goes by the bounds.
static void lose(struct fw_spool *spool, struct fw_spool_item *item,
                 struct fw_spool_telling *telling)
{
    fw_spool_give_up(spool, item);
    spool->failed++;
    spool->evicted++;
    spool->untold_losses++;
    fw_spool_tell_later(telling, item);
    bound_marks(spool);
}

// A rejected picture leaves a mark, too: its state must outlive its bytes.
static void drop(struct fw_spool *spool, struct fw_spool_item *item)
{
    if (item->folder != FW_SPOOL_IN_FAILED) {
        fw_spool_forget(spool, item);
        return;
    }
    fw_spool_give_up(spool, item);
    bound_marks(spool);
}

bool fw_spool_drop_spare(struct fw_spool *spool, int64_t bytes)
{
    int64_t wanted_bytes = spool->index.bytes - bytes;
    bool is_any = false;

    while (spool->index.bytes > wanted_bytes) {
        struct fw_spool_item *item = first_free(&spool->index.spare);
        if (item == NULL)
            break;
        drop(spool, item);
        is_any = true;
    }
    return is_any;
}

bool fw_spool_make_room(struct fw_spool *spool, int64_t bytes, struct fw_spool_telling *telling)
{
    int64_t surplus_bytes = spool->index.bytes + spool->reserved + bytes - spool->options.max_bytes;
    int64_t wanted_bytes = spool->index.bytes - surplus_bytes;

    if (spool->options.max_bytes <= 0 || surplus_bytes <= 0)
        return true;
    fw_spool_drop_spare(spool, surplus_bytes);
    while (spool->index.bytes > wanted_bytes) {
        struct fw_spool_item *item = first_free(&spool->index.waiting);
        if (item == NULL)
            return false;
        lose(spool, item, telling);
    }
    fw_spool_log_losses(spool, false);
    return true;
}

void fw_spool_keep_free(struct fw_spool *spool)
{
    int64_t short_bytes = fw_tree_short_bytes(spool->tree, spool->options.min_free_bytes);

    if (short_bytes > 0)
        (void)fw_spool_drop_spare(spool, short_bytes);
}

// The first of LIST that nothing holds and that is too old; NULL if there is none. What was put
// since the start is as old as the monotonic clock says: a clock that is set forward shall not
// throw away what has just come.
static struct fw_spool_item *first_old(const struct fw_spool *spool,
                                       const struct fw_spool_list *list)
{
    int64_t max_age_us = spool->options.max_age_us;
    struct fw_spool_item *item = first_free(list);

    if (max_age_us <= 0 || item == NULL || item->time_us >= fw_utc_us() - max_age_us ||
        (item->put_us != 0 && fw_monotonic_us() - item->put_us < max_age_us))
        return NULL;
    return item;
}

void fw_spool_age(struct fw_spool *spool, struct fw_spool_telling *telling)
{
    struct fw_spool_index *index = &spool->index;
    struct fw_spool_item *item;
    int left = MAX_REMOVALS;

    while (left-- > 0 && (item = first_old(spool, &index->spare)) != NULL)
        fw_spool_forget(spool, item);
    while (left-- > 0 && (item = first_old(spool, &index->waiting)) != NULL)
        lose(spool, item, telling);
    while (left-- > 0 &&
           (item = index->marks.count > MAX_MARKS ? first_free(&index->marks)
                                                  : first_old(spool, &index->marks)) != NULL)
        fw_spool_forget(spool, item);
    fw_spool_log_losses(spool, false);
}
