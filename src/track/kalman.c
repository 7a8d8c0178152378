#include "track/kalman.h"
#include <math.h>

// All noise is in units of the box's size (the root of its area), because a face's speed and its
// detector's jitter in pixels both shrink with its distance.
//
// Somebody who walks by at 1.4 m/s moves by about nine widths of his face (0.16 m) a second.
static const double INITIAL_SPEED_SIZES = 5.0;
static const double INITIAL_GROWTH_SIZES = 0.5;
// Power of the white noise that drives the velocity (Y. Bar-Shalom et al., "Estimation with
// Applications to Tracking and Navigation", 2001, §6.2.2): its integral over any two intervals is
// the same as over their sum, which irregular analyses need.
static const double MOTION_NOISE_SIZES = 6.0;
static const double GROWTH_NOISE_SIZES = 1.0;
static const double CENTRE_JITTER_SIZES = 0.05;
static const double SIZE_JITTER_SIZES = 0.08;
static const double MIN_JITTER_PX = 1.0;
// Velocities decay with these time constants, so that what is not seen does not fly away.
static const double MOTION_DECAY_S = 2.0;
static const double GROWTH_DECAY_S = 0.5;
static const double MIN_SIZE_PX = 1.0;

static double square(double value)
{
    return value * value;
}

static double size_of(double w, double h)
{
    return sqrt(fmax(w, MIN_SIZE_PX) * fmax(h, MIN_SIZE_PX));
}

static double jitter_variance(double size_px, double jitter_sizes)
{
    return square(fmax(MIN_JITTER_PX, jitter_sizes * size_px));
}

// How far a velocity of 1 carries in DT_S while it decays.
static double reach_s(double dt_s, double decay_s)
{
    return decay_s * (1.0 - exp(-dt_s / decay_s));
}

static void axis_init(struct fw_kalman_axis *axis, double x, double variance, double speed)
{
    axis->x = x;
    axis->v = 0.0;
    axis->p_xx = variance;
    axis->p_xv = 0.0;
    axis->p_vv = square(speed);
}

static void axis_predict(struct fw_kalman_axis *axis, double dt_s, double decay_s, double noise)
{
    double reach = reach_s(dt_s, decay_s);
    double left = exp(-dt_s / decay_s);

    axis->x += reach * axis->v;
    axis->v *= left;
    axis->p_xx += 2.0 * reach * axis->p_xv + reach * reach * axis->p_vv + noise * pow(dt_s, 3) / 3;
    axis->p_xv = left * (axis->p_xv + reach * axis->p_vv) + noise * dt_s * dt_s / 2;
    axis->p_vv = left * left * axis->p_vv + noise * dt_s;
}

static void axis_update(struct fw_kalman_axis *axis, double measured, double variance)
{
    double gain_x = axis->p_xx / (axis->p_xx + variance);
    double gain_v = axis->p_xv / (axis->p_xx + variance);
    double surprise = measured - axis->x;

    axis->x += gain_x * surprise;
    axis->v += gain_v * surprise;
    axis->p_vv -= gain_v * axis->p_xv;
    axis->p_xv *= 1.0 - gain_x;
    axis->p_xx *= 1.0 - gain_x;
}

static void keep_size(struct fw_kalman_axis *axis)
{
    if (axis->x < MIN_SIZE_PX) {
        axis->x = MIN_SIZE_PX;
        axis->v = 0.0;
    }
}

void fw_kalman_init(struct fw_kalman *kalman, const struct fw_box *box)
{
    double w = (double)box->w, h = (double)box->h;
    double size = size_of(w, h);
    double centre = jitter_variance(size, CENTRE_JITTER_SIZES);
    double extent = jitter_variance(size, SIZE_JITTER_SIZES);

    axis_init(&kalman->cx, (double)box->x + w / 2, centre, INITIAL_SPEED_SIZES * size);
    axis_init(&kalman->cy, (double)box->y + h / 2, centre, INITIAL_SPEED_SIZES * size);
    axis_init(&kalman->w, w, extent, INITIAL_GROWTH_SIZES * size);
    axis_init(&kalman->h, h, extent, INITIAL_GROWTH_SIZES * size);
}

void fw_kalman_predict(struct fw_kalman *kalman, double dt_s)
{
    double size = size_of(kalman->w.x, kalman->h.x);
    double motion = square(MOTION_NOISE_SIZES * size);
    double growth = square(GROWTH_NOISE_SIZES * size);

    axis_predict(&kalman->cx, dt_s, MOTION_DECAY_S, motion);
    axis_predict(&kalman->cy, dt_s, MOTION_DECAY_S, motion);
    axis_predict(&kalman->w, dt_s, GROWTH_DECAY_S, growth);
    axis_predict(&kalman->h, dt_s, GROWTH_DECAY_S, growth);
    keep_size(&kalman->w);
    keep_size(&kalman->h);
}

void fw_kalman_update(struct fw_kalman *kalman, const struct fw_box *box)
{
    double w = (double)box->w, h = (double)box->h;
    double size = size_of(w, h);
    double centre = jitter_variance(size, CENTRE_JITTER_SIZES);
    double extent = jitter_variance(size, SIZE_JITTER_SIZES);

    axis_update(&kalman->cx, (double)box->x + w / 2, centre);
    axis_update(&kalman->cy, (double)box->y + h / 2, centre);
    axis_update(&kalman->w, w, extent);
    axis_update(&kalman->h, h, extent);
    keep_size(&kalman->w);
    keep_size(&kalman->h);
}

static struct fw_box box_about(double cx, double cy, double w, double h)
{
    struct fw_box box = {
        .x = (float)(cx - w / 2), .y = (float)(cy - h / 2), .w = (float)w, .h = (float)h};

    return box;
}

struct fw_box fw_kalman_box(const struct fw_kalman *kalman)
{
    return box_about(kalman->cx.x, kalman->cy.x, kalman->w.x, kalman->h.x);
}

struct fw_box fw_kalman_shift(const struct fw_kalman *kalman, struct fw_box box, double dt_s)
{
    // Back in time the decay would grow without end: there the velocity is constant.
    double motion_s = dt_s > 0 ? reach_s(dt_s, MOTION_DECAY_S) : dt_s;
    double growth_s = dt_s > 0 ? reach_s(dt_s, GROWTH_DECAY_S) : dt_s;
    double w = (double)box.w, h = (double)box.h;
    double cx = (double)box.x + w / 2 + motion_s * kalman->cx.v;
    double cy = (double)box.y + h / 2 + motion_s * kalman->cy.v;

    return box_about(cx, cy, fmax(MIN_SIZE_PX, w + growth_s * kalman->w.v),
                     fmax(MIN_SIZE_PX, h + growth_s * kalman->h.v));
}
