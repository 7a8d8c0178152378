// What waits, in memory: the oldest records of each queue of the outbox.
#include "alert/dispatcher_internal.h"
#include "util/cancel.h"
#include "util/clock.h"
#include <stdlib.h>
#include <string.h>

struct fw_dispatch_camera *fw_dispatch_camera_of(struct fw_dispatcher *dispatcher, const char *id)
{
    struct fw_dispatch_camera *camera = dispatcher->cameras;
    size_t size = strlen(id) + 1;

    while (camera != NULL && strcmp(camera->id, id) != 0)
        camera = camera->next;
    if (camera != NULL)
        return camera;
    camera = calloc(1, sizeof(*camera) + size);
    if (camera == NULL)
        return NULL;
    memcpy(camera->id, id, size);
    camera->next = dispatcher->cameras;
    dispatcher->cameras = camera;
    return camera;
}

// The list

static void free_entry(struct fw_dispatch_entry *entry)
{
    fw_event_unref(entry->event);
    free(entry);
}

static void free_entries(struct fw_dispatch_entry *entry)
{
    while (entry != NULL) {
        struct fw_dispatch_entry *next = entry->next;
        free_entry(entry);
        entry = next;
    }
}

void fw_dispatch_list_free(struct fw_dispatch_list *list)
{
    free_entries(list->first);
    free_entries(list->over);
}

static bool is_over(const struct fw_dispatch_list *list, int64_t seq)
{
    for (const struct fw_dispatch_entry *entry = list->over; entry != NULL; entry = entry->next)
        if (entry->seq == seq)
            return true;
    return false;
}

void fw_dispatch_list_add(struct fw_dispatch_list *list, struct fw_dispatch_entry *entry)
{
    struct fw_dispatch_entry *before = list->last;

    while (before != NULL && before->seq > entry->seq)
        before = before->previous;
    if ((before != NULL && before->seq == entry->seq) || is_over(list, entry->seq)) {
        free_entry(entry);
        return;
    }
    entry->previous = before;
    entry->next = before != NULL ? before->next : list->first;
    if (entry->next != NULL)
        entry->next->previous = entry;
    else
        list->last = entry;
    if (before != NULL)
        before->next = entry;
    else
        list->first = entry;
    list->count++;
}

static void take_out(struct fw_dispatch_list *list, struct fw_dispatch_entry *entry)
{
    if (entry->previous != NULL)
        entry->previous->next = entry->next;
    else
        list->first = entry->next;
    if (entry->next != NULL)
        entry->next->previous = entry->previous;
    else
        list->last = entry->previous;
    list->count--;
}

struct fw_dispatch_entry *fw_dispatch_list_find(const struct fw_dispatch_list *list, int64_t seq)
{
    struct fw_dispatch_entry *entry = list->first;

    while (entry != NULL && entry->seq < seq)
        entry = entry->next;
    return entry != NULL && entry->seq == seq ? entry : NULL;
}

void fw_dispatch_list_end(struct fw_dispatch_list *list, struct fw_dispatch_entry *entry,
                          uint64_t ticket)
{
    take_out(list, entry);
    fw_event_unref(entry->event);
    entry->event = NULL;
    entry->ticket = ticket;
    entry->next = list->over;
    list->over = entry;
}

// Following the outbox

void fw_dispatch_list_drop(struct fw_dispatch_list *list, struct fw_dispatch_entry *entry)
{
    take_out(list, entry);
    free_entry(entry);
}

void fw_dispatch_list_sweep(struct fw_dispatch_list *list, uint64_t marked)
{
    struct fw_dispatch_entry **link = &list->over;

    for (struct fw_dispatch_entry *entry = list->first; entry != NULL; entry = entry->next)
        if (entry->ticket <= marked)
            entry->ticket = 0;
    if (list->is_loading)
        return;
    while (*link != NULL) {
        struct fw_dispatch_entry *entry = *link;
        if (entry->ticket <= marked) {
            *link = entry->next;
            free_entry(entry);
        } else {
            link = &entry->next;
        }
    }
}

// Drops what nobody is at work with, up to THROUGH.
static void drop_idle(struct fw_dispatch_list *list, int64_t through)
{
    struct fw_dispatch_entry *entry = list->first;

    while (entry != NULL && entry->seq <= through) {
        struct fw_dispatch_entry *next = entry->next;
        if (entry->taken_by == NULL && entry->ticket == 0)
            fw_dispatch_list_drop(list, entry);
        entry = next;
    }
}

static void start_anew(struct fw_dispatcher *dispatcher)
{
    for (size_t i = 0; i < dispatcher->list_count; i++) {
        drop_idle(&dispatcher->lists[i], INT64_MAX);
        dispatcher->lists[i].cursor = 0;
        dispatcher->lists[i].exhausted_at = 0;
    }
    for (size_t i = 0; i < dispatcher->lane_count; i++)
        dispatcher->lanes[i].evicted_from = INT64_MAX;
}

void fw_dispatcher_catch_up(struct fw_dispatcher *dispatcher)
{
    struct fw_outbox *outbox = dispatcher->options.outbox;
    uint64_t marked, version;
    int64_t expired_through;

    if (dispatcher->caught_up == dispatcher->changes)
        return;
    dispatcher->caught_up = dispatcher->changes;
    marked = fw_outbox_marked(outbox);
    version = fw_outbox_version(outbox);
    expired_through = fw_outbox_expired_through(outbox);
    for (size_t i = 0; i < dispatcher->list_count; i++) {
        fw_dispatch_list_sweep(&dispatcher->lists[i], marked);
        drop_idle(&dispatcher->lists[i], expired_through);
    }
    if (version != dispatcher->version)
        start_anew(dispatcher);
    dispatcher->version = version;
}

// Choosing

bool fw_lane_has_rejected(const struct fw_lane *lane, const struct fw_dispatch_entry *entry)
{
    return (entry->rejected_by >> lane->index & 1) != 0;
}

int64_t fw_lane_due_us(const struct fw_lane *lane, const struct fw_dispatch_entry *entry)
{
    int64_t due = entry->posted_us;

    if (lane->dispatcher->delivery == FW_DELIVERY_ALL)
        return due;
    for (size_t i = 0; i < lane->index; i++)
        if (!fw_lane_has_rejected(&lane->dispatcher->lanes[i], entry))
            due += lane->dispatcher->options.fallback_after_ms * FW_US_PER_MS;
    return due;
}

// Asks the lane before LANE whose time for ENTRY is over to give it up.
static void overtake(const struct fw_lane *lane, const struct fw_dispatch_entry *entry)
{
    struct fw_lane *holder = entry->taken_by;

    if (holder->index >= lane->index || holder->is_overtaken)
        return;
    holder->is_overtaken = true;
    fw_cancel_trigger(holder->cancel);
}

// When LANE may try ENTRY by time alone; 0: now.
static int64_t ready_us(const struct fw_lane *lane, const struct fw_dispatch_entry *entry,
                        int64_t now_us)
{
    int64_t ready = fw_lane_due_us(lane, entry);

    if (lane->waits_for_pictures && entry->held_until_us > ready)
        ready = entry->held_until_us;
    return ready > now_us ? ready : 0;
}

size_t fw_lane_take(struct fw_lane *lane, int64_t now_us, int64_t *wake_us)
{
    uint64_t walk = ++lane->dispatcher->walk;

    *wake_us = INT64_MAX;
    lane->batch_count = 0;
    for (struct fw_dispatch_entry *entry = lane->list->first;
         entry != NULL && entry->seq < lane->evicted_from && lane->batch_count < lane->max_batch;
         entry = entry->next) {
        int64_t ready;
        if (fw_lane_has_rejected(lane, entry) || entry->camera->blocked_walk == walk)
            continue;
        ready = ready_us(lane, entry, now_us);
        if (ready == 0 && entry->taken_by == NULL) {
            entry->taken_by = lane;
            lane->batch[lane->batch_count++] = entry;
            continue;
        }
        entry->camera->blocked_walk = walk;
        if (ready > 0 && ready < *wake_us)
            *wake_us = ready;
        else if (ready == 0)
            overtake(lane, entry);
    }
    return lane->batch_count;
}
