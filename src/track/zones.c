#include "track/zones.h"
#include <math.h>

// Whether the ray from (x, y) to the right crosses the edge from A to B. The half-open comparison
// counts a corner once (W. R. Franklin, PNPOLY); taking the upper end first gives the same rounding
// to both polygons that share the edge.
static bool crosses(struct fw_point a, struct fw_point b, double x, double y)
{
    struct fw_point upper = a.y < b.y ? a : b, lower = a.y < b.y ? b : a;
    double height = (double)lower.y - (double)upper.y;

    if (!((double)upper.y <= y && y < (double)lower.y))
        return false;
    return x <
           ((double)lower.x - (double)upper.x) * ((y - (double)upper.y) / height) + (double)upper.x;
}

static bool is_inside(const struct fw_zone *zone, double x, double y)
{
    bool inside = false;

    for (size_t i = 0, j = zone->point_count - 1; i < zone->point_count; j = i++) {
        if (crosses(zone->points[j], zone->points[i], x, y))
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
