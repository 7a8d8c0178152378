// Reading what waits from the outbox, a portion at a time.
#include "alert/dispatcher_internal.h"
#include "util/clock.h"
#include "util/log.h"
#include <stdlib.h>

// A list longer than this has records that only other sinks still wait for; these are pushed out,
// and read again when it is their turn.
enum { LIST_MAX = 2048, LOAD_RETRY_MS = 1000, LOAD_AGAIN_MS = 20 };

// Waiting, and LANE's to try, now or later.
static size_t count_for(const struct fw_lane *lane)
{
    size_t count = 0;

    for (const struct fw_dispatch_entry *entry = lane->list->first;
         entry != NULL && entry->seq < lane->evicted_from && count < FW_LANE_LOAD;
         entry = entry->next)
        if (!fw_lane_has_rejected(lane, entry))
            count++;
    return count;
}

// Pushes the newest records that LANE has rejected out, for the other lanes to read again.
static void evict(struct fw_lane *lane)
{
    struct fw_dispatch_list *list = lane->list;
    struct fw_dispatcher *dispatcher = lane->dispatcher;
    struct fw_dispatch_entry *entry = list->last;

    while (entry != NULL && list->count > LIST_MAX - FW_LANE_LOAD) {
        struct fw_dispatch_entry *previous = entry->previous;
        if (fw_lane_has_rejected(lane, entry) && entry->taken_by == NULL && entry->ticket == 0) {
            for (size_t i = 0; i < dispatcher->lane_count; i++) {
                struct fw_lane *other = &dispatcher->lanes[i];
                if (!fw_lane_has_rejected(other, entry) && entry->seq < other->evicted_from)
                    other->evicted_from = entry->seq;
            }
            fw_dispatch_list_drop(list, entry);
        }
        entry = previous;
    }
}

static struct fw_outbox_ask ask_of(const struct fw_lane *lane, bool is_again)
{
    return (struct fw_outbox_ask){
        .queue = lane->list->queue,
        .skip_sink = is_again ? lane->index : FW_OUTBOX_NO_SINK,
        .after_seq = is_again ? lane->evicted_from - 1 : lane->list->cursor,
        .max = FW_LANE_LOAD,
    };
}

static struct fw_dispatch_entry *entry_of(struct fw_dispatcher *dispatcher,
                                          const struct fw_outbox_record *record)
{
    int64_t now_us = fw_monotonic_us(), age_us = fw_utc_us() - record->posted_utc_us;
    struct fw_dispatch_entry *entry = calloc(1, sizeof(*entry));

    if (entry == NULL)
        return NULL;
    if (age_us < 0)
        age_us = 0;
    entry->seq = record->seq;
    entry->rejected_by = record->rejected_by;
    entry->waits_since_us = entry->posted_us = now_us - age_us;
    entry->held_until_us = entry->posted_us + dispatcher->options.snapshot_wait_ms * FW_US_PER_MS;
    if (entry->posted_us < dispatcher->started_us || record->seq < dispatcher->first_seq)
        entry->posted_us = dispatcher->started_us;
    // Who has nothing to wait for is not held. The disk is not the only one that may be slow here.
    if (record->event == NULL || entry->held_until_us <= now_us ||
        fw_event_pictures_state(record->event, dispatcher->options.pictures) != FW_PICTURE_PENDING)
        entry->held_until_us = 0;
    return entry;
}

// Takes RECORDS, whose entries were made, over. False when memory is out.
static bool merge(struct fw_lane *lane, struct fw_dispatch_entry **entries, size_t count)
{
    struct fw_dispatcher *dispatcher = lane->dispatcher;

    for (size_t i = 0; i < count; i++) {
        struct fw_outbox_record *record = &lane->records[i];
        struct fw_dispatch_entry *entry = entries[i];
        if (entry != NULL)
            entry->camera = fw_dispatch_camera_of(
                dispatcher, record->event != NULL ? record->event->camera_id : "");
        if (entry == NULL || entry->camera == NULL)
            return false;
        entry->event = record->event;
        record->event = NULL;
        entries[i] = NULL;
        fw_dispatch_list_add(lane->list, entry);
        if (record->seq > lane->list->cursor)
            lane->list->cursor = record->seq;
    }
    return true;
}

// Where LANE reads on after it has read RECORDS again.
static void move_evicted(struct fw_lane *lane, size_t count, bool is_all)
{
    int64_t last = count > 0 ? lane->records[count - 1].seq : 0;

    lane->evicted_from = INT64_MAX;
    if (!is_all && count > 0 && last < lane->list->cursor)
        lane->evicted_from = last + 1;
}

static void report_failure(struct fw_lane *lane, const struct fw_error *error)
{
    struct fw_dispatcher *dispatcher = lane->dispatcher;

    lane->list->next_load_us = fw_monotonic_us() + LOAD_RETRY_MS * FW_US_PER_MS;
    if (!dispatcher->is_stopping)
        fw_log_warning(dispatcher->options.log, "%s: %s", lane->status.name, error->message);
}

static void load(struct fw_lane *lane, bool is_again)
{
    struct fw_dispatcher *dispatcher = lane->dispatcher;
    struct fw_dispatch_list *list = lane->list;
    struct fw_dispatch_entry *entries[FW_LANE_LOAD] = {NULL};
    const struct fw_outbox_ask ask = ask_of(lane, is_again);
    uint64_t changes = dispatcher->changes, version = dispatcher->version;
    uint64_t generation = dispatcher->pictures_generation;
    struct fw_error error = {.code = FW_ENOMEM, .message = "no memory to read what waits"};
    size_t count = 0;
    bool is_all = false, is_good;

    list->is_loading = true;
    pthread_mutex_unlock(&dispatcher->sync.mutex);
    is_good = fw_outbox_fetch(dispatcher->options.outbox, &ask, lane->records, &count, &is_all,
                              &error) == FW_OK;
    for (size_t i = 0; i < count; i++) {
        entries[i] = entry_of(dispatcher, &lane->records[i]);
        if (entries[i] != NULL)
            entries[i]->pictures_seen = generation;
    }
    pthread_mutex_lock(&dispatcher->sync.mutex);
    // What was read before a change from outside may be gone.
    if (is_good && version == dispatcher->version && !dispatcher->is_stopping) {
        is_good = merge(lane, entries, count);
        if (is_good && is_again)
            move_evicted(lane, count, is_all);
        else if (is_good && is_all)
            list->exhausted_at = changes;
    }
    if (!is_good)
        report_failure(lane, &error);
    else if (count == 0 && !is_all) // in the midst of a commit, or no more room for marks
        list->next_load_us = fw_monotonic_us() + LOAD_AGAIN_MS * FW_US_PER_MS;
    list->is_loading = false;
    if (!dispatcher->is_abandoned)
        fw_dispatch_list_sweep(list, fw_outbox_marked(dispatcher->options.outbox));
    pthread_cond_broadcast(&dispatcher->sync.changed);
    for (size_t i = 0; i < count; i++) {
        fw_event_unref(lane->records[i].event);
        free(entries[i]);
    }
}

bool fw_lane_load(struct fw_lane *lane)
{
    struct fw_dispatch_list *list = lane->list;
    bool is_again = lane->evicted_from != INT64_MAX;

    if (list->is_loading || fw_monotonic_us() < list->next_load_us ||
        (!is_again && list->exhausted_at == lane->dispatcher->changes) ||
        count_for(lane) >= FW_LANE_LOAD / 2)
        return false;
    if (list->count > LIST_MAX)
        evict(lane);
    if (list->count > LIST_MAX + FW_LANE_LOAD)
        return false; // until marks are committed
    load(lane, is_again);
    return true;
}

bool fw_lane_look_after_pictures(struct fw_lane *lane)
{
    struct fw_dispatcher *dispatcher = lane->dispatcher;
    uint64_t generation = dispatcher->pictures_generation;
    struct fw_dispatch_entry *entry = lane->list->first;
    enum fw_picture_state state;
    struct fw_event *event;
    int64_t seq;

    while (entry != NULL && (entry->held_until_us == 0 || entry->pictures_seen == generation ||
                             entry->taken_by != NULL))
        entry = entry->next;
    if (entry == NULL || !lane->waits_for_pictures)
        return false;
    seq = entry->seq;
    event = fw_event_ref(entry->event);
    pthread_mutex_unlock(&dispatcher->sync.mutex);
    state = fw_event_pictures_state(event, dispatcher->options.pictures);
    fw_event_unref(event);
    pthread_mutex_lock(&dispatcher->sync.mutex);
    entry = fw_dispatch_list_find(lane->list, seq);
    if (entry == NULL)
        return true;
    entry->pictures_seen = generation;
    if (state != FW_PICTURE_PENDING)
        entry->held_until_us = 0;
    return true;
}
