// The measures are those that video face logs have long been built on (size, sharpness, brightness
// and pose: K. Nasrollahi, T. B. Moeslund, "Face Quality Assessment System in Video Sequences",
// BIOID 2008; ISO/IEC 29794-5 names the same ones):
//
//     total = size^0.5 * (0.1 + 0.9 frontal) * sharp^0.5 * exposed^0.5 * inside^2
//
// The pose and a cut-off face can't be mended later and weigh most; size, sharpness and light trade
// against each other. A profile keeps a tenth, so that of many profiles the best one wins.
#include "track/quality.h"
#include <math.h>

static const float FULL_SIZE_PX = 160.0F;
// Where the sharpness is 0.5. The variance of the Laplacian at 64 px is some tens for faces out of
// focus or smeared by motion, and some hundreds for sharp ones.
static const float HALF_SHARPNESS = 100.0F;
// Luma between these is right; outside it falls linearly to 0 at 0 and 255.
static const float DARK_LUMA = 60.0F, BRIGHT_LUMA = 190.0F;
static const float UNKNOWN_FRONTAL = 0.5F;
static const float PROFILE_WORTH = 0.1F;
// Eyes nearer to each other than this share of the box's width: a profile.
static const float PROFILE_EYES = 0.1F;
static const float MARGIN = 0.1F;

// As MIN and MAX bound it; 0 for what is not a number.
static float bounded(float value, float min, float max)
{
    if (isnan(value))
        return 0.0F;
    return fminf(fmaxf(value, min), max);
}

static float unit(float value)
{
    return bounded(value, 0.0F, 1.0F);
}

// 1 where POINT lies over the middle of A and B, along their line; 0 where it is over one of them
// or beyond.
static float symmetry(struct fw_point point, struct fw_point a, struct fw_point b)
{
    float dx = b.x - a.x, dy = b.y - a.y;
    float length2 = dx * dx + dy * dy;
    float along;

    if (!(length2 > 0.0F))
        return 0.0F;
    along = ((point.x - a.x) * dx + (point.y - a.y) * dy) / length2;
    return unit(1.0F - fabsf(2.0F * along - 1.0F));
}

static float frontal_of(const struct fw_face *face)
{
    const struct fw_point *points = face->landmarks;
    float eyes;

    if (!face->has_landmarks)
        return UNKNOWN_FRONTAL;
    eyes = hypotf(points[1].x - points[0].x, points[1].y - points[0].y);
    if (!(eyes > PROFILE_EYES * face->box.w))
        return 0.0F;
    return 0.5F * symmetry(points[2], points[0], points[1]) +
           0.5F * symmetry(points[2], points[3], points[4]);
}

static float exposed_of(float luma)
{
    if (luma < DARK_LUMA)
        return unit(luma / DARK_LUMA);
    return unit((255.0F - luma) / (255.0F - BRIGHT_LUMA));
}

static float inside_of(struct fw_box box, int width, int height)
{
    struct fw_box grown = {.x = box.x - MARGIN * box.w,
                           .y = box.y - MARGIN * box.h,
                           .w = box.w * (1 + 2 * MARGIN),
                           .h = box.h * (1 + 2 * MARGIN)};
    float w = fminf(grown.x + grown.w, (float)width) - fmaxf(grown.x, 0.0F);
    float h = fminf(grown.y + grown.h, (float)height) - fmaxf(grown.y, 0.0F);

    if (!(grown.w > 0.0F && grown.h > 0.0F && w > 0.0F && h > 0.0F))
        return 0.0F;
    return unit(w * h / (grown.w * grown.h));
}

struct fw_quality fw_face_quality(const struct fw_quality_input *input)
{
    const struct fw_box box = input->face->box;
    float sharpness = bounded(input->sharpness, 0.0F, 1e9F);
    struct fw_quality quality = {
        .size = unit(fmaxf(box.w, box.h) / FULL_SIZE_PX),
        .frontal = unit(frontal_of(input->face)),
        .sharp = unit(sharpness / (sharpness + HALF_SHARPNESS)),
        .exposed = exposed_of(input->brightness),
        .inside = inside_of(box, input->frame_width, input->frame_height),
    };

    quality.total = unit(sqrtf(quality.size * quality.sharp * quality.exposed) *
                         (PROFILE_WORTH + (1.0F - PROFILE_WORTH) * quality.frontal) *
                         quality.inside * quality.inside);
    return quality;
}
