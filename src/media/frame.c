#include "media/frame.h"

#include "util/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT_BYTES 64

// What stands behind a picture. The count of references is all that threads share of it.
struct fw_frame_owner {
    struct fw_frame frame;
    atomic_int references;
    uint8_t *memory;               // of pictures made here; NULL for wrapped ones
    void (*release)(void *opaque); // of wrapped ones
    void *opaque;
    struct fw_frame_pool *pool;  // where the picture goes back to, or NULL
    struct fw_frame_owner *next; // while it lies in the pool; under the pool's lock
};

// FREE_LIST and REFERENCES (the maker's one, and one for each picture outside) are under LOCK.
struct fw_frame_pool {
    pthread_mutex_t lock;
    struct fw_frame_owner *free_list;
    int references;
    enum fw_pixel_format format;
    int width, height;
};

int fw_frame_plane_count(enum fw_pixel_format format)
{
    switch (format) {
    case FW_PIXEL_I420:
        return 3;
    case FW_PIXEL_NV12:
        return 2;
    case FW_PIXEL_BGR24:
        return 1;
    }
    return 0;
}

int fw_frame_row_bytes(const struct fw_frame *frame, int plane)
{
    int chroma_width = (frame->width + 1) / 2;

    switch (frame->format) {
    case FW_PIXEL_I420:
        return plane == 0 ? frame->width : chroma_width;
    case FW_PIXEL_NV12:
        return plane == 0 ? frame->width : 2 * chroma_width;
    case FW_PIXEL_BGR24:
        return 3 * frame->width;
    }
    return 0;
}

int fw_frame_row_count(const struct fw_frame *frame, int plane)
{
    return plane == 0 ? frame->height : (frame->height + 1) / 2;
}

static size_t align_up(size_t bytes)
{
    return (bytes + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
}

// Vector code of libswscale may write whole vectors at a row's end: strides are padded, and so is
// the last row.
static int allocate_planes(struct fw_frame_owner *owner)
{
    struct fw_frame *frame = &owner->frame;
    size_t offsets[3] = {0};
    size_t total = 0;
    int planes = fw_frame_plane_count(frame->format);

    for (int plane = 0; plane < planes; plane++) {
        size_t stride = align_up((size_t)fw_frame_row_bytes(frame, plane));
        offsets[plane] = total;
        frame->strides[plane] = (int)stride;
        total += stride * (size_t)fw_frame_row_count(frame, plane);
    }
    owner->memory = aligned_alloc(ALIGNMENT_BYTES, total + ALIGNMENT_BYTES);
    if (!owner->memory)
        return -1;
    for (int plane = 0; plane < planes; plane++)
        frame->planes[plane] = owner->memory + offsets[plane];
    return 0;
}

static struct fw_frame_owner *create_owner(void)
{
    struct fw_frame_owner *owner = calloc(1, sizeof(*owner));

    if (!owner)
        return NULL;
    atomic_init(&owner->references, 1);
    owner->frame.owner = owner;
    return owner;
}

static void destroy_owner(struct fw_frame_owner *owner)
{
    free(owner->memory);
    free(owner);
}

struct fw_frame *fw_frame_wrap(void (*release)(void *opaque), void *opaque)
{
    struct fw_frame_owner *owner = create_owner();

    if (!owner)
        return NULL;
    owner->release = release;
    owner->opaque = opaque;
    return &owner->frame;
}

struct fw_frame *fw_frame_create(enum fw_pixel_format format, int width, int height)
{
    struct fw_frame_owner *owner;

    if (width < 1 || height < 1 || width > FW_FRAME_MAX_SIDE_PX || height > FW_FRAME_MAX_SIDE_PX)
        return NULL;
    owner = create_owner();
    if (!owner)
        return NULL;
    owner->frame.format = format;
    owner->frame.width = width;
    owner->frame.height = height;
    if (allocate_planes(owner)) {
        destroy_owner(owner);
        return NULL;
    }
    return &owner->frame;
}

struct fw_frame *fw_frame_ref(struct fw_frame *frame)
{
    atomic_fetch_add_explicit(&frame->owner->references, 1, memory_order_relaxed);
    return frame;
}

static void destroy_pool(struct fw_frame_pool *pool)
{
    while (pool->free_list) {
        struct fw_frame_owner *owner = pool->free_list;
        pool->free_list = owner->next;
        destroy_owner(owner);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

// Drops one reference to POOL, and puts OWNER (may be NULL) into its list.
static void leave_pool(struct fw_frame_pool *pool, struct fw_frame_owner *owner)
{
    bool is_last;

    pthread_mutex_lock(&pool->lock);
    if (owner) {
        owner->next = pool->free_list;
        pool->free_list = owner;
    }
    is_last = --pool->references == 0;
    pthread_mutex_unlock(&pool->lock);
    if (is_last)
        destroy_pool(pool);
}

void fw_frame_unref(struct fw_frame *frame)
{
    struct fw_frame_owner *owner;

    if (!frame)
        return;
    owner = frame->owner;
    // The last holder must see what the others did with the pixels before they let go.
    if (atomic_fetch_sub_explicit(&owner->references, 1, memory_order_acq_rel) != 1)
        return;
    if (owner->pool) {
        leave_pool(owner->pool, owner);
        return;
    }
    if (owner->release)
        owner->release(owner->opaque);
    destroy_owner(owner);
}

bool fw_frame_is_writable(const struct fw_frame *frame)
{
    return frame->owner->memory &&
           atomic_load_explicit(&frame->owner->references, memory_order_acquire) == 1;
}

struct fw_frame_pool *fw_frame_pool_create(enum fw_pixel_format format, int width, int height)
{
    struct fw_frame_pool *pool;

    if (width < 1 || height < 1 || width > FW_FRAME_MAX_SIDE_PX || height > FW_FRAME_MAX_SIDE_PX)
        return NULL;
    pool = calloc(1, sizeof(*pool));
    if (!pool)
        return NULL;
    if (pthread_mutex_init(&pool->lock, NULL)) {
        free(pool);
        return NULL;
    }
    pool->references = 1;
    pool->format = format;
    pool->width = width;
    pool->height = height;
    return pool;
}

void fw_frame_pool_unref(struct fw_frame_pool *pool)
{
    if (pool)
        leave_pool(pool, NULL);
}

// A picture from the list, as blank as a new one; NULL when the list is empty.
static struct fw_frame *take_from_pool(struct fw_frame_pool *pool)
{
    struct fw_frame_owner *owner;

    pthread_mutex_lock(&pool->lock);
    owner = pool->free_list;
    if (owner) {
        pool->free_list = owner->next;
        pool->references++;
    }
    pthread_mutex_unlock(&pool->lock);
    if (!owner)
        return NULL;
    owner->next = NULL;
    atomic_store_explicit(&owner->references, 1, memory_order_relaxed);
    owner->frame.matrix = FW_MATRIX_BT601;
    owner->frame.full_range = false;
    owner->frame.capture_utc_us = 0;
    owner->frame.capture_mono_us = 0;
    owner->frame.sequence = 0;
    return &owner->frame;
}

struct fw_frame *fw_frame_pool_get(struct fw_frame_pool *pool)
{
    struct fw_frame *frame = take_from_pool(pool);

    if (frame)
        return frame;
    frame = fw_frame_create(pool->format, pool->width, pool->height);
    if (!frame)
        return NULL;
    frame->owner->pool = pool;
    pthread_mutex_lock(&pool->lock);
    pool->references++;
    pthread_mutex_unlock(&pool->lock);
    return frame;
}

static void copy_plane(struct fw_frame *to, const struct fw_frame *from, int plane)
{
    size_t row_bytes = (size_t)fw_frame_row_bytes(to, plane);
    int rows = fw_frame_row_count(to, plane);

    for (int row = 0; row < rows; row++)
        memcpy(to->planes[plane] + (ptrdiff_t)row * to->strides[plane],
               from->planes[plane] + (ptrdiff_t)row * from->strides[plane], row_bytes);
}

int fw_frame_copy(struct fw_frame *to, const struct fw_frame *from)
{
    if (to->format != from->format || to->width != from->width || to->height != from->height ||
        !fw_frame_is_writable(to))
        return FW_EINVAL;
    for (int plane = 0; plane < fw_frame_plane_count(to->format); plane++)
        copy_plane(to, from, plane);
    fw_frame_copy_description(to, from);
    return FW_OK;
}

struct fw_frame fw_frame_view(const struct fw_frame *frame, int x, int y, int width, int height)
{
    struct fw_frame view = *frame;

    view.owner = NULL;
    view.width = width;
    view.height = height;
    for (int plane = 0; plane < fw_frame_plane_count(frame->format); plane++) {
        int column = x;

        if (frame->format == FW_PIXEL_BGR24)
            column = 3 * x;
        else if (frame->format == FW_PIXEL_I420 && plane > 0)
            column = x / 2;
        // Chroma of NV12 comes in pairs, half as many: the column stays.
        view.planes[plane] += (ptrdiff_t)(plane > 0 ? y / 2 : y) * frame->strides[plane] + column;
    }
    return view;
}

void fw_frame_copy_description(struct fw_frame *to, const struct fw_frame *from)
{
    to->matrix = from->matrix;
    to->full_range = from->full_range;
    to->capture_utc_us = from->capture_utc_us;
    to->capture_mono_us = from->capture_mono_us;
    to->sequence = from->sequence;
}
