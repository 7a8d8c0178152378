#include "app/detect_targets.h"
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FIRST_CAPACITY 64 // a power of two

// An input's file, whatever its names.
struct source {
    dev_t device;
    ino_t file;
    const char *path;
};

struct fw_detect_targets {
    struct source *sources; // sorted; read-only
    size_t source_count;
    pthread_mutex_t lock;
    // Under LOCK: the hashes of paths that were taken, in a table of which half is empty at least.
    // 0 is an empty place.
    uint64_t *taken;
    size_t count, capacity;
};

static int compare(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return (x->file > y->file) - (x->file < y->file);
}

struct fw_detect_targets *fw_detect_targets_create(const struct fw_detect_inputs *inputs)
{
    struct fw_detect_targets *targets = calloc(1, sizeof(*targets));
    if (targets == NULL || pthread_mutex_init(&targets->lock, NULL) != 0) {
        free(targets);
        return NULL;
    }
    targets->sources = calloc(inputs->count + 1, sizeof(*targets->sources));
    targets->taken = calloc(FIRST_CAPACITY, sizeof(*targets->taken));
    targets->capacity = FIRST_CAPACITY;
    if (targets->sources == NULL || targets->taken == NULL) {
        fw_detect_targets_destroy(targets);
        return NULL;
    }
    for (size_t i = 0; i < inputs->count; i++) {
        const struct fw_detect_input *input = &inputs->items[i];
        targets->sources[i] = (struct source){input->device, input->file, input->path};
    }
    targets->source_count = inputs->count;
    qsort(targets->sources, targets->source_count, sizeof(*targets->sources), compare);
    return targets;
}

void fw_detect_targets_destroy(struct fw_detect_targets *targets)
{
    if (targets == NULL)
        return;
    pthread_mutex_destroy(&targets->lock);
    free(targets->sources);
    free(targets->taken);
    free(targets);
}

static bool is_source(const struct fw_detect_targets *targets, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    const struct source wanted = {info.st_dev, info.st_ino, NULL};
    const struct source *found = bsearch(&wanted, targets->sources, targets->source_count,
                                         sizeof(*targets->sources), compare);
    // An input that somebody has deleted since may have left its number to another file.
    return found != NULL && stat(found->path, &info) == 0 && info.st_dev == wanted.device &&
           info.st_ino == wanted.file;
}

// FNV-1a, never 0.
static uint64_t hash_of(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *path != '\0'; path++)
        hash = (hash ^ (unsigned char)*path) * 0x100000001b3u;
    return hash != 0 ? hash : 1;
}

// The place of HASH in TABLE, or the empty one where it belongs.
static uint64_t *place_of(uint64_t *table, size_t capacity, uint64_t hash)
{
    size_t at = (size_t)hash & (capacity - 1);
    while (table[at] != 0 && table[at] != hash)
        at = (at + 1) & (capacity - 1);
    return &table[at];
}

static int grow(struct fw_detect_targets *targets)
{
    size_t capacity = 2 * targets->capacity;
    uint64_t *table = calloc(capacity, sizeof(*table));
    if (table == NULL)
        return FW_ENOMEM;
    for (size_t i = 0; i < targets->capacity; i++) {
        if (targets->taken[i] != 0)
            *place_of(table, capacity, targets->taken[i]) = targets->taken[i];
    }
    free(targets->taken);
    targets->taken = table;
    targets->capacity = capacity;
    return FW_OK;
}

// FW_EINVAL when HASH is there already.
static int add(struct fw_detect_targets *targets, uint64_t hash)
{
    if (2 * (targets->count + 1) > targets->capacity && grow(targets) != FW_OK)
        return FW_ENOMEM;
    uint64_t *place = place_of(targets->taken, targets->capacity, hash);
    if (*place == hash)
        return FW_EINVAL;
    *place = hash;
    targets->count++;
    return FW_OK;
}

int fw_detect_targets_take(struct fw_detect_targets *targets, const char *path,
                           struct fw_error *error)
{
    if (is_source(targets, path))
        return fw_fail(error, FW_EINVAL,
                       "'%s' is one of the inputs and is not written over; choose another folder",
                       path);
    pthread_mutex_lock(&targets->lock);
    int status = add(targets, hash_of(path));
    pthread_mutex_unlock(&targets->lock);
    if (status == FW_EINVAL)
        return fw_fail(error, status,
                       "'%s' was written for another picture already; give each picture once, and "
                       "--crop and --annotate folders of their own",
                       path);
    return status == FW_OK ? FW_OK : fw_fail(error, status, "out of memory");
}
