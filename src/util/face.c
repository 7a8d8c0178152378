#include "util/face.h"

#include "util/error.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int reserve(struct fw_faces *faces, size_t count)
{
    if (count <= faces->capacity)
        return FW_OK;
    size_t capacity = faces->capacity ? faces->capacity * 2 : 16;
    if (capacity < count)
        capacity = count;
    if (capacity > SIZE_MAX / sizeof *faces->items)
        return FW_ENOMEM;
    struct fw_face *items = realloc(faces->items, capacity * sizeof *items);
    if (!items)
        return FW_ENOMEM;
    faces->items = items;
    faces->capacity = capacity;
    return FW_OK;
}

int fw_faces_add(struct fw_faces *faces, const struct fw_face *face)
{
    // A copy first, since FACE may lie inside the list that moves.
    const struct fw_face copy = *face;
    int status = reserve(faces, faces->count + 1);
    if (status != FW_OK)
        return status;
    faces->items[faces->count++] = copy;
    return FW_OK;
}

void fw_faces_clear(struct fw_faces *faces)
{
    faces->count = 0;
}

void fw_faces_free(struct fw_faces *faces)
{
    if (!faces)
        return;
    free(faces->items);
    *faces = (struct fw_faces){0};
}

int fw_faces_copy(struct fw_faces *to, const struct fw_faces *from)
{
    if (to == from)
        return FW_OK;
    to->count = 0;
    int status = reserve(to, from->count);
    if (status != FW_OK)
        return status;
    if (from->count > 0)
        memcpy(to->items, from->items, from->count * sizeof *to->items);
    to->count = from->count;
    return FW_OK;
}

static float max_of(float a, float b)
{
    return a > b ? a : b;
}

static float min_of(float a, float b)
{
    return a < b ? a : b;
}

float fw_box_iou(const struct fw_box *a, const struct fw_box *b)
{
    float width = min_of(a->x + a->w, b->x + b->w) - max_of(a->x, b->x);
    float height = min_of(a->y + a->h, b->y + b->h) - max_of(a->y, b->y);
    if (!(width > 0.0f) || !(height > 0.0f))
        return 0.0f;
    float common = width * height;
    float both = a->w * a->h + b->w * b->h - common;
    return both > 0.0f ? min_of(common / both, 1.0f) : 0.0f;
}

struct fw_box fw_box_clip(struct fw_box box, int width, int height)
{
    float left = min_of(max_of(box.x, 0.0f), (float)width);
    float top = min_of(max_of(box.y, 0.0f), (float)height);
    float right = min_of(max_of(box.x + box.w, 0.0f), (float)width);
    float bottom = min_of(max_of(box.y + box.h, 0.0f), (float)height);
    return (struct fw_box){left, top, max_of(right - left, 0.0f), max_of(bottom - top, 0.0f)};
}
