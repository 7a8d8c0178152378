// Areas of the picture with rules of their own.
//
// Points are shares of the picture's width and height (0 to 1), so that a zone survives a change of
// resolution. A face lies where the centre of its box lies. A centre on the edge that two polygons
// share lies in exactly one of them.
#ifndef FW_TRACK_ZONES_H
#define FW_TRACK_ZONES_H

#include "util/face.h"
#include <stdbool.h>
#include <stddef.h>

#define FW_ZONE_MAX_POINTS 64
#define FW_ZONES_MAX       32

struct fw_zone {
    const char *name;
    bool is_exclude;               // faces in it are ignored, whatever the other zones say
    const struct fw_point *points; // a simple or self-crossing polygon (even-odd rule), 3 at least
    size_t point_count;
    float min_score; // of an including zone, on top of the camera's; 0: none
    int min_face_px; // likewise; of the longer side
};

// What the zones say of a face in a picture of WIDTH x HEIGHT px.
enum fw_zone_verdict {
    FW_ZONE_INSIDE,   // *ZONE (index) is the first including zone that takes it
    FW_ZONE_NONE,     // there are no including zones, and no excluding one holds it: *ZONE is -1
    FW_ZONE_OUTSIDE,  // there are including zones, and none holds it
    FW_ZONE_EXCLUDED, // an excluding zone holds it
    FW_ZONE_WEAK,     // an including zone holds it, but its score or size is below that zone's
};

// Pure; any thread. A face whose box is no number lies nowhere.
enum fw_zone_verdict fw_zones_judge(const struct fw_zone *zones, size_t count,
                                    const struct fw_face *face, int width, int height, int *zone);

#endif
