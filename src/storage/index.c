#include "storage/index.h"
#include "util/error.h"
#include "util/text.h"
#include <stdlib.h>
#include <string.h>

enum { MIN_CAPACITY = 64 };

// Room for one item more: what was taken from the front is used again before more is asked for.
static int make_room(struct fw_store_index *index)
{
    struct fw_store_item *items;
    size_t capacity;

    if (index->begin + index->count < index->capacity)
        return FW_OK;
    if (index->begin > index->capacity / 2) {
        memmove(index->items, index->items + index->begin, index->count * sizeof(*index->items));
        index->begin = 0;
        return FW_OK;
    }
    capacity = index->capacity > 0 ? 2 * index->capacity : MIN_CAPACITY;
    items = realloc(index->items, capacity * sizeof(*items));
    if (items == NULL)
        return FW_ENOMEM;
    index->items = items;
    index->capacity = capacity;
    return FW_OK;
}

int fw_store_index_add(struct fw_store_index *index, const char *key, int64_t time_us,
                       int64_t bytes)
{
    struct fw_store_item item = {fw_strdup(key), time_us, bytes};

    if (item.key == NULL || make_room(index) != FW_OK) {
        free(item.key);
        return FW_ENOMEM;
    }
    index->items[index->begin + index->count++] = item;
    index->bytes += bytes;
    return FW_OK;
}

void fw_store_index_remove(struct fw_store_index *index, const char *key)
{
    struct fw_store_item *items = index->items + index->begin;

    for (size_t i = index->count; i-- > 0;) {
        if (strcmp(items[i].key, key) != 0)
            continue;
        index->bytes -= items[i].bytes;
        free(items[i].key);
        memmove(&items[i], &items[i + 1], (index->count - i - 1) * sizeof(*items));
        index->count--;
        return;
    }
}

static int compare(const void *a, const void *b)
{
    const struct fw_store_item *one = a, *other = b;

    if (one->time_us != other->time_us)
        return one->time_us < other->time_us ? -1 : 1;
    return strcmp(one->key, other->key);
}

void fw_store_index_sort(struct fw_store_index *index)
{
    if (index->count > 1)
        qsort(index->items + index->begin, index->count, sizeof(*index->items), compare);
}

const struct fw_store_item *fw_store_index_first(const struct fw_store_index *index)
{
    return &index->items[index->begin];
}

char *fw_store_index_take_first(struct fw_store_index *index)
{
    struct fw_store_item item = index->items[index->begin];

    index->begin++;
    index->count--;
    index->bytes -= item.bytes;
    return item.key;
}

void fw_store_index_free(struct fw_store_index *index)
{
    for (size_t i = 0; i < index->count; i++)
        free(index->items[index->begin + i].key);
    free(index->items);
    *index = (struct fw_store_index){0};
}
