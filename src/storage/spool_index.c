#include "storage/spool_index.h"

#include "util/text.h"
#include <search.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    const struct fw_spool_item *one = a, *other = b;

    return strcmp(one->key, other->key);
}

// tfind(3) takes the key as an item, and changes neither that nor the tree.
static struct fw_spool_item as_key(const char *key)
{
    union {
        const char *in;
        char *out;
    } pointer = {.in = key};

    return (struct fw_spool_item){.key = pointer.out};
}

struct fw_spool_item *fw_spool_index_find(const struct fw_spool_index *index, const char *key)
{
    const struct fw_spool_item wanted = as_key(key);
    void *const *found = tfind(&wanted, &index->root, compare);

    return found != NULL ? *found : NULL;
}

struct fw_spool_item *fw_spool_index_add(struct fw_spool_index *index, const char *key)
{
    struct fw_spool_item *item = calloc(1, sizeof(*item));

    if (item == NULL)
        return NULL;
    item->key = fw_strdup(key);
    if (item->key != NULL && tsearch(item, &index->root, compare) != NULL)
        return item;
    free(item->key);
    free(item);
    return NULL;
}

// Lists

static void unlink_item(struct fw_spool_item *item)
{
    struct fw_spool_list *list = item->list;

    if (list == NULL)
        return;
    *(item->previous != NULL ? &item->previous->next : &list->first) = item->next;
    *(item->next != NULL ? &item->next->previous : &list->last) = item->previous;
    item->previous = item->next = NULL;
    item->list = NULL;
    list->count--;
}

// Behind all that are not younger, looked for from the end: most come in order.
static void link_item(struct fw_spool_list *list, struct fw_spool_item *item)
{
    struct fw_spool_item *before = list->last;

    while (before != NULL && before->time_us > item->time_us)
        before = before->previous;
    item->previous = before;
    item->next = before != NULL ? before->next : list->first;
    *(item->previous != NULL ? &item->previous->next : &list->first) = item;
    *(item->next != NULL ? &item->next->previous : &list->last) = item;
    item->list = list;
    list->count++;
}

static struct fw_spool_list *list_for(struct fw_spool_index *index,
                                      const struct fw_spool_item *item)
{
    if (item->bytes == 0)
        return &index->marks;
    return item->folder == FW_SPOOL_IN_PENDING ? &index->waiting : &index->spare;
}

static void unqueue(struct fw_spool_index *index, struct fw_spool_item *item)
{
    struct fw_spool_item *previous = item->queue_previous, *next = item->queue_next;

    if (!item->is_queued)
        return;
    *(previous != NULL ? &previous->queue_next : &index->queue_first) = next;
    *(next != NULL ? &next->queue_previous : &index->queue_last) = previous;
    item->queue_previous = item->queue_next = NULL;
    item->is_queued = false;
}

void fw_spool_index_settle(struct fw_spool_index *index, struct fw_spool_item *item,
                           enum fw_spool_folder folder, int64_t bytes, int64_t time_us)
{
    unlink_item(item);
    unqueue(index, item);
    index->bytes += bytes - item->bytes;
    item->folder = folder;
    item->bytes = bytes;
    item->time_us = time_us;
    link_item(list_for(index, item), item);
}

void fw_spool_index_queue(struct fw_spool_index *index, struct fw_spool_item *item, bool is_last)
{
    item->queue_previous = is_last ? index->queue_last : NULL;
    item->queue_next = is_last ? NULL : index->queue_first;
    *(item->queue_previous != NULL ? &item->queue_previous->queue_next : &index->queue_first) =
        item;
    *(item->queue_next != NULL ? &item->queue_next->queue_previous : &index->queue_last) = item;
    item->is_queued = true;
}

struct fw_spool_item *fw_spool_index_take(struct fw_spool_index *index)
{
    struct fw_spool_item *item = index->queue_first;

    if (item != NULL)
        unqueue(index, item);
    return item;
}

void fw_spool_index_remove(struct fw_spool_index *index, struct fw_spool_item *item)
{
    unlink_item(item);
    unqueue(index, item);
    index->bytes -= item->bytes;
    (void)tdelete(item, &index->root, compare);
    free(item->key);
    free(item);
}

void fw_spool_index_free(struct fw_spool_index *index)
{
    struct fw_spool_list *const lists[] = {&index->waiting, &index->spare, &index->marks};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        while (lists[i]->first != NULL)
            fw_spool_index_remove(index, lists[i]->first);
}
