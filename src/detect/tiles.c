#include "detect/tiles.h"

#include <math.h>
#include <stdlib.h>

// Neighbours share this part of a tile at least.
#define OVERLAP 0.25
// Faces that are this large in the network's input are found when the whole region is looked at;
// smaller ones are left to the tiles, and must fit into what neighbours share.
#define WELL_SEEN_PX 30
// A face is taken to be cut when less than this part of its size lies between it and the border.
#define CUT_MARGIN 0.1F
// Boxes of two looks are of one face when they share this part of the smaller box and their areas
// are less than so many times apart: a small face before or behind a large one is another.
#define SAME_SHARED  0.5F
#define SAME_AREAS   4.0F
#define MOST_FACES   5000
#define WHOLE_REGION 0

static int even_below(int value)
{
    return value & ~1;
}

static int clamp(long value, int low, int high)
{
    return value < low ? low : value > high ? high : (int)value;
}

// One side of the region: FIRST and LAST (exclusive) of SIDE pixels.
static void find_side(float begin, float length, int side, int *first, int *size)
{
    if (!(length > 0)) {
        begin = 0;
        length = 1;
    }
    *first = even_below(clamp(lroundf(begin * (float)side), 0, side - 1));
    int end = clamp(lroundf((begin + length) * (float)side), 0, side);
    *size = end > *first ? end - *first : 1;
}

// The size of COUNT tiles that cover SIDE and share SHARED_PX at least; of SIDE's parity, so that
// the last one begins on an even pixel.
static int tile_side(int side, int count, double shared_px)
{
    double shared = fmax(side / (count - (count - 1) * OVERLAP) * OVERLAP, shared_px);
    int tile = (int)ceil((side + (count - 1) * shared) / count);
    return tile < side ? side - even_below(side - tile) : side;
}

struct fw_tile_grid fw_tile_grid_for(int width, int height, int limit_px,
                                     const struct fw_detect_parameters *parameters)
{
    struct fw_tile_grid grid = {.columns = 1, .rows = 1};
    struct fw_tile *region = &grid.region;
    find_side(parameters->roi.x, parameters->roi.w, width, &region->x, &region->width);
    find_side(parameters->roi.y, parameters->roi.h, height, &region->y, &region->height);
    int longer = region->width > region->height ? region->width : region->height;
    if (longer > limit_px) {
        grid.columns = parameters->tile_columns > 1 ? parameters->tile_columns : 1;
        grid.rows = parameters->tile_rows > 1 ? parameters->tile_rows : 1;
    }
    // Room for the largest of them, and on both sides for what keeps it from being taken as cut.
    double shared_px = WELL_SEEN_PX * (1 + 2 * (double)CUT_MARGIN) * longer / limit_px;
    grid.tile_width = tile_side(region->width, grid.columns, shared_px);
    grid.tile_height = tile_side(region->height, grid.rows, shared_px);
    return grid;
}

static int tile_begin(int side, int tile, int count, int index)
{
    return count < 2 ? 0 : even_below((int)((int64_t)(side - tile) * index / (count - 1)));
}

struct fw_tile fw_tile_at(const struct fw_tile_grid *grid, int column, int row)
{
    const struct fw_tile *region = &grid->region;
    return (struct fw_tile){
        region->x + tile_begin(region->width, grid->tile_width, grid->columns, column),
        region->y + tile_begin(region->height, grid->tile_height, grid->rows, row),
        grid->tile_width,
        grid->tile_height,
    };
}

// Whether BOX, in pixels of the picture, is cut by a border of TILE inside the region. Borders of
// the region itself cut faces for every look.
static bool is_cut(const struct fw_box *box, const struct fw_tile *tile,
                   const struct fw_tile *region)
{
    float margin = CUT_MARGIN * fmaxf(box->w, box->h);
    float right = (float)(tile->x + tile->width), bottom = (float)(tile->y + tile->height);
    return (tile->x > region->x && box->x < (float)tile->x + margin) ||
           (tile->y > region->y && box->y < (float)tile->y + margin) ||
           (tile->x + tile->width < region->x + region->width &&
            box->x + box->w > right - margin) ||
           (tile->y + tile->height < region->y + region->height &&
            box->y + box->h > bottom - margin);
}

static void move(struct fw_face *face, float x, float y)
{
    face->box.x += x;
    face->box.y += y;
    for (int i = 0; i < FW_LANDMARKS && face->has_landmarks; i++) {
        face->landmarks[i].x += x;
        face->landmarks[i].y += y;
    }
}

static int add_found(struct fw_tiler *tiler, const struct fw_face *face, int look)
{
    if (tiler->count == tiler->capacity) {
        size_t wanted = tiler->capacity == 0 ? 64 : tiler->capacity * 2;
        struct fw_tile_face *grown = realloc(tiler->found, wanted * sizeof(*grown));
        if (grown == NULL) {
            return FW_ENOMEM;
        }
        tiler->found = grown;
        tiler->capacity = wanted;
    }
    tiler->found[tiler->count++] = (struct fw_tile_face){*face, look};
    return FW_OK;
}

// The look number NUMBER, at TILE. Cut faces are left out: a neighbour or the look at the whole
// region sees them uncut.
static int look_at(struct fw_tiler *tiler, const struct fw_tile_grid *grid,
                   const struct fw_tile_look *look, const struct fw_frame *frame,
                   const struct fw_detect_parameters *parameters, const struct fw_tile *tile,
                   int number, struct fw_error *error)
{
    struct fw_frame view = fw_frame_view(frame, tile->x, tile->y, tile->width, tile->height);
    fw_faces_clear(&tiler->piece);
    int status = look->detect(look->state, &view, parameters, &tiler->piece, error);
    for (size_t i = 0; i < tiler->piece.count && status == FW_OK; i++) {
        struct fw_face *face = &tiler->piece.items[i];
        move(face, (float)tile->x, (float)tile->y);
        if (number == WHOLE_REGION || !is_cut(&face->box, tile, &grid->region)) {
            status = add_found(tiler, face, number);
        }
    }
    return status;
}

static int look_at_all(struct fw_tiler *tiler, const struct fw_tile_grid *grid,
                       const struct fw_tile_look *look, const struct fw_frame *frame,
                       const struct fw_detect_parameters *parameters, struct fw_error *error)
{
    tiler->count = 0;
    int number = WHOLE_REGION;
    int status = look_at(tiler, grid, look, frame, parameters, &grid->region, number, error);
    for (int row = 0; row < grid->rows; row++) {
        for (int column = 0; column < grid->columns && status == FW_OK; column++) {
            struct fw_tile tile = fw_tile_at(grid, column, row);
            status = look_at(tiler, grid, look, frame, parameters, &tile, ++number, error);
        }
    }
    return status;
}

// Best score first; equal ones in the order of the looks and of their places, so that a result
// never depends on the sorting.
static int compare(const void *a, const void *b)
{
    const struct fw_tile_face *x = a, *y = b;
    if (x->face.score != y->face.score) {
        return x->face.score > y->face.score ? -1 : 1;
    }
    if (x->look != y->look) {
        return x->look - y->look;
    }
    if (x->face.box.y != y->face.box.y) {
        return x->face.box.y < y->face.box.y ? -1 : 1;
    }
    return (x->face.box.x > y->face.box.x) - (x->face.box.x < y->face.box.x);
}

static bool is_same(const struct fw_tile_face *a, const struct fw_tile_face *b, float nms_iou)
{
    const struct fw_box *p = &a->face.box, *q = &b->face.box;
    float iou = fw_box_iou(p, q);
    if (iou > nms_iou) {
        return true;
    }
    if (a->look == b->look || !(iou > 0)) {
        return false;
    }
    float area_p = p->w * p->h, area_q = q->w * q->h;
    float shared = iou * (area_p + area_q) / (1 + iou);
    float smaller = fminf(area_p, area_q), larger = fmaxf(area_p, area_q);
    return shared > SAME_SHARED * smaller && larger < SAME_AREAS * smaller;
}

// Sorts what was found and adds each face once. Those that stay move to the front of the list.
static int merge(struct fw_tiler *tiler, float nms_iou, struct fw_faces *faces)
{
    size_t kept = 0;
    if (tiler->count > 1) {
        qsort(tiler->found, tiler->count, sizeof(*tiler->found), compare);
    }
    size_t count = tiler->count < MOST_FACES ? tiler->count : MOST_FACES;
    for (size_t i = 0; i < count; i++) {
        bool is_new = true;
        for (size_t j = 0; j < kept && is_new; j++) {
            is_new = !is_same(&tiler->found[j], &tiler->found[i], nms_iou);
        }
        if (is_new) {
            tiler->found[kept++] = tiler->found[i];
            if (fw_faces_add(faces, &tiler->found[i].face) != FW_OK) {
                return FW_ENOMEM;
            }
        }
    }
    return FW_OK;
}

static int look_once(const struct fw_tile *region, const struct fw_tile_look *look,
                     const struct fw_frame *frame, const struct fw_detect_parameters *parameters,
                     struct fw_faces *faces, struct fw_error *error)
{
    struct fw_frame view =
        fw_frame_view(frame, region->x, region->y, region->width, region->height);
    size_t first = faces->count;
    int status = look->detect(look->state, &view, parameters, faces, error);
    for (size_t i = first; i < faces->count; i++) {
        move(&faces->items[i], (float)region->x, (float)region->y);
    }
    return status;
}

int fw_tiler_detect(struct fw_tiler *tiler, const struct fw_tile_grid *grid,
                    const struct fw_tile_look *look, const struct fw_frame *frame,
                    const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                    struct fw_error *error)
{
    if (grid->columns * grid->rows == 1) {
        return look_once(&grid->region, look, frame, parameters, faces, error);
    }
    int status = look_at_all(tiler, grid, look, frame, parameters, error);
    if (status == FW_OK) {
        status = merge(tiler, parameters->nms_iou, faces);
    }
    return status == FW_ENOMEM ? fw_fail(error, status, "out of memory while collecting the faces")
                               : status;
}

void fw_tiler_free(struct fw_tiler *tiler)
{
    fw_faces_free(&tiler->piece);
    free(tiler->found);
    *tiler = (struct fw_tiler){0};
}
