// Looks at a part of a picture, in one piece or in overlapping tiles, with any detector; for this
// room alone (detector.h's parameters ask for it).
//
// A tile is scaled down less than the whole, so that small and distant faces are large enough for
// the network. All tiles have one size (detectors keep buffers for few sizes), and neighbours
// overlap so far that each face which the look at the whole can't be trusted with lies wholly
// within one of them.
#ifndef FW_DETECT_TILES_H
#define FW_DETECT_TILES_H

#include "detect/detector.h"
#include "media/frame.h"

// A rectangle of a picture's pixels, its corner on even ones.
struct fw_tile {
    int x, y, width, height;
};

// The region and how it is cut. Tiles lie in COLUMNS x ROWS, TILE_WIDTH x TILE_HEIGHT px each.
struct fw_tile_grid {
    struct fw_tile region;
    int columns, rows; // 1 x 1: the region is looked at in one piece only
    int tile_width, tile_height;
};

// What PARAMETERS ask of a picture of WIDTH x HEIGHT px, for a detector that scales pictures down
// to LIMIT_PX at the longer side: what isn't larger than that is not cut.
struct fw_tile_grid fw_tile_grid_for(int width, int height, int limit_px,
                                     const struct fw_detect_parameters *parameters);
struct fw_tile fw_tile_at(const struct fw_tile_grid *grid, int column, int row);

// How a piece is looked at: appends to FACES, in pixels of VIEW.
struct fw_tile_look {
    int (*detect)(void *state, const struct fw_frame *view,
                  const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                  struct fw_error *error);
    void *state;
};

// A face and the look that found it.
struct fw_tile_face {
    struct fw_face face;
    int look;
};

// Working memory, kept from call to call. Zero-initialise; one thread at a time.
struct fw_tiler {
    struct fw_faces piece;
    struct fw_tile_face *found;
    size_t count, capacity;
};

// Appends to FACES what LOOK finds in GRID's region and tiles, in pixels of FRAME, best score
// first, each face once. FW_OK, FW_ENOMEM, or LOOK's failure.
int fw_tiler_detect(struct fw_tiler *tiler, const struct fw_tile_grid *grid,
                    const struct fw_tile_look *look, const struct fw_frame *frame,
                    const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                    struct fw_error *error);
void fw_tiler_free(struct fw_tiler *tiler);

#endif
