#include "detect/postprocess.h"

#include <math.h>
#include <stdlib.h>

// Positions in a row of the network's output.
enum { CLS, OBJ, DX, DY, LOG_WIDTH, LOG_HEIGHT, POINTS, ROW = 16 };

static int add_candidate(struct fw_postprocess *post, struct fw_candidate candidate)
{
    if (post->count == post->capacity) {
        size_t wanted = post->capacity == 0 ? 256 : post->capacity * 2;
        struct fw_candidate *grown = realloc(post->candidates, wanted * sizeof(*grown));
        if (grown == NULL) {
            return FW_ENOMEM;
        }
        post->candidates = grown;
        post->capacity = wanted;
    }
    post->candidates[post->count++] = candidate;
    return FW_OK;
}

static float unit_range(float value)
{
    value = value > 0 ? value : 0;
    return value < 1 ? value : 1;
}

// Nearly every cell ends at the first comparison: squares, so that no root is taken for it.
static int collect_level(struct fw_postprocess *post, const struct fw_yunet_level *levels,
                         int level, float min_score)
{
    int cells = levels[level].width * levels[level].height;
    float threshold = min_score > 0 ? min_score * min_score : 0;
    for (int cell = 0; cell < cells; cell++) {
        const float *row = levels[level].rows + (size_t)cell * ROW;
        float product = row[CLS] * row[OBJ];
        // Written so that NaN is left out.
        if (!(product >= threshold)) {
            continue;
        }
        float score = sqrtf(unit_range(row[CLS]) * unit_range(row[OBJ]));
        int status = add_candidate(post, (struct fw_candidate){score, level, cell});
        if (status != FW_OK) {
            return status;
        }
    }
    return FW_OK;
}

static int compare(const void *a, const void *b)
{
    const struct fw_candidate *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    if (x->level != y->level) {
        return x->level - y->level;
    }
    return x->cell - y->cell;
}

static bool decode(const struct fw_yunet_level *level, const struct fw_candidate *candidate,
                   float scale_x, float scale_y, struct fw_face *face)
{
    const float *row = level->rows + (size_t)candidate->cell * ROW;
    div_t position = div(candidate->cell, level->width);
    float column = (float)position.rem, line = (float)position.quot;
    float step_x = (float)level->stride_px * scale_x, step_y = (float)level->stride_px * scale_y;
    float width = expf(row[LOG_WIDTH]) * step_x, height = expf(row[LOG_HEIGHT]) * step_y;
    *face = (struct fw_face){
        .box = {(column + row[DX]) * step_x - width / 2, (line + row[DY]) * step_y - height / 2,
                width, height},
        .score = candidate->score,
        .has_landmarks = 1,
    };
    float sum = face->box.x + face->box.y + width + height;
    for (int i = 0; i < FW_LANDMARKS; i++) {
        face->landmarks[i].x = (column + row[POINTS + 2 * i]) * step_x;
        face->landmarks[i].y = (line + row[POINTS + 2 * i + 1]) * step_y;
        sum += face->landmarks[i].x + face->landmarks[i].y;
    }
    // One check for all: any NaN or infinity stays one in the sum.
    return isfinite(sum) != 0;
}

static bool overlaps_better(const struct fw_faces *faces, size_t first, const struct fw_box *box,
                            float nms_iou)
{
    for (size_t i = first; i < faces->count; i++) {
        if (fw_box_iou(&faces->items[i].box, box) > nms_iou) {
            return true;
        }
    }
    return false;
}

static bool is_large_enough(const struct fw_box *box, int min_face_px)
{
    float longer = box->w > box->h ? box->w : box->h;
    return longer >= (float)min_face_px;
}

int fw_postprocess_run(struct fw_postprocess *post, const struct fw_yunet_level levels[3],
                       float scale_x, float scale_y, const struct fw_detect_parameters *parameters,
                       struct fw_faces *faces)
{
    size_t first = faces->count;
    post->count = 0;
    for (int level = 0; level < 3; level++) {
        int status = collect_level(post, levels, level, parameters->min_score);
        if (status != FW_OK) {
            return status;
        }
    }
    if (post->count > 1) {
        qsort(post->candidates, post->count, sizeof(*post->candidates), compare);
    }
    size_t count = post->count < FW_MAX_CANDIDATES ? post->count : FW_MAX_CANDIDATES;
    for (size_t i = 0; i < count; i++) {
        struct fw_face face;
        const struct fw_candidate *candidate = &post->candidates[i];
        if (decode(&levels[candidate->level], candidate, scale_x, scale_y, &face) &&
            is_large_enough(&face.box, parameters->min_face_px) &&
            !overlaps_better(faces, first, &face.box, parameters->nms_iou) &&
            fw_faces_add(faces, &face) != FW_OK) {
            return FW_ENOMEM;
        }
    }
    return FW_OK;
}

void fw_postprocess_free(struct fw_postprocess *post)
{
    free(post->candidates);
    *post = (struct fw_postprocess){0};
}
