#include "track/zones.h"
#include <math.h>

// W. R. Franklin's crossing test (PNPOLY): a ray to the right crosses an edge whose ends lie on two
// sides of it. The half-open comparison counts a corner once and gives a shared edge to one side.
static bool is_inside(const struct fw_zone *zone, double x, double y)
{
    bool inside = false;

    for (size_t i = 0, j = zone->point_count - 1; i < zone->point_count; j = i++) {
        double xi = (double)zone->points[i].x, yi = (double)zone->points[i].y;
        double xj = (double)zone->points[j].x, yj = (double)zone->points[j].y;

        if ((yi > y) != (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi)
            inside = !inside;
    }
    return inside;
}

static bool is_strong_enough(const struct fw_zone *zone, const struct fw_face *face)
{
    return face->score >= zone->min_score &&
           fmaxf(face->box.w, face->box.h) >= (float)zone->min_face_px;
}

enum fw_zone_verdict fw_zones_judge(const struct fw_zone *zones, size_t count,
                                    const struct fw_face *face, int width, int height, int *zone)
{
    double x = ((double)face->box.x + (double)face->box.w / 2) / width;
    double y = ((double)face->box.y + (double)face->box.h / 2) / height;
    enum fw_zone_verdict verdict = FW_ZONE_NONE;

    *zone = -1;
    for (size_t i = 0; i < count; i++) {
        if (!zones[i].is_exclude && verdict == FW_ZONE_NONE)
            verdict = FW_ZONE_OUTSIDE;
        if (!is_inside(&zones[i], x, y))
            continue;
        if (zones[i].is_exclude) {
            *zone = -1;
            return FW_ZONE_EXCLUDED;
        }
        if (verdict == FW_ZONE_INSIDE)
            continue;
        verdict = is_strong_enough(&zones[i], face) ? FW_ZONE_INSIDE : FW_ZONE_WEAK;
        if (verdict == FW_ZONE_INSIDE)
            *zone = (int)i;
    }
    return verdict;
}
