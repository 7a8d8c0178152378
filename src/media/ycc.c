#include "media/ycc.h"

#include <math.h>
#include <string.h>

static uint8_t clamp_byte(int value)
{
    if (value < 0)
        return 0;
    return value > 255 ? 255 : (uint8_t)value;
}

// The share of luma and the scale of the differences of ITU-R BT.601-7 §2.5 and BT.709-6 §3.
struct matrix {
    double kr, kg, kb;
};

static const struct matrix bt601 = {0.299, 0.587, 0.114};
static const struct matrix bt709 = {0.2126, 0.7152, 0.0722};

// What one unit of BT.709's U or V alone (U and V, full range; luma 0) is in BT.601.
static void mix_of(double u, double v, double out[3])
{
    double r = 2.0 * (1.0 - bt709.kr) * v;
    double b = 2.0 * (1.0 - bt709.kb) * u;
    double g = -(bt709.kr * r + bt709.kb * b) / bt709.kg;
    double luma = bt601.kr * r + bt601.kg * g + bt601.kb * b;

    out[0] = luma;
    out[1] = (b - luma) / (2.0 * (1.0 - bt601.kb));
    out[2] = (r - luma) / (2.0 * (1.0 - bt601.kr));
}

void fw_ycc_init(struct fw_ycc *ycc, enum fw_color_matrix matrix, bool full_range)
{
    double luma_gain = full_range ? 1.0 : 255.0 / 219.0;
    double chroma_gain = full_range ? 1.0 : 255.0 / 224.0;
    double from_u[3];
    double from_v[3];

    ycc->has_matrix = matrix != FW_MATRIX_BT601;
    ycc->is_identity = !ycc->has_matrix && full_range;
    for (int i = 0; i < 256; i++) {
        ycc->luma[i] = clamp_byte((int)lround((i - (full_range ? 0 : 16)) * luma_gain));
        ycc->chroma[i] = clamp_byte((int)lround((i - 128) * chroma_gain) + 128);
    }
    mix_of(65536.0 * chroma_gain, 0.0, from_u);
    mix_of(0.0, 65536.0 * chroma_gain, from_v);
    ycc->luma_from_u = (int32_t)lround(from_u[0]);
    ycc->luma_from_v = (int32_t)lround(from_v[0]);
    ycc->u_from_u = (int32_t)lround(from_u[1]);
    ycc->u_from_v = (int32_t)lround(from_v[1]);
    ycc->v_from_u = (int32_t)lround(from_u[2]);
    ycc->v_from_v = (int32_t)lround(from_v[2]);
}

static void copy_rows(const struct fw_ycc_rows *rows)
{
    for (int i = 0; i < 2; i++)
        memcpy(rows->out_luma[i], rows->luma[i], (size_t)rows->width);
    for (int x = 0; x < (rows->width + 1) / 2; x++) {
        rows->out_u[x] = rows->u[x * rows->chroma_step];
        rows->out_v[x] = rows->v[x * rows->chroma_step];
    }
}

static void convert_range(const struct fw_ycc *ycc, const struct fw_ycc_rows *rows)
{
    for (int i = 0; i < 2; i++) {
        for (int x = 0; x < rows->width; x++)
            rows->out_luma[i][x] = ycc->luma[rows->luma[i][x]];
    }
    for (int x = 0; x < (rows->width + 1) / 2; x++) {
        rows->out_u[x] = ycc->chroma[rows->u[x * rows->chroma_step]];
        rows->out_v[x] = ycc->chroma[rows->v[x * rows->chroma_step]];
    }
}

static int round_fixed(int32_t value)
{
    return (value + 32768) >> 16;
}

static void convert_matrix(const struct fw_ycc *ycc, const struct fw_ycc_rows *rows)
{
    for (int x = 0; x < rows->width; x += 2) {
        int u = rows->u[x / 2 * rows->chroma_step] - 128;
        int v = rows->v[x / 2 * rows->chroma_step] - 128;
        int shift = round_fixed(u * ycc->luma_from_u + v * ycc->luma_from_v);

        rows->out_u[x / 2] = clamp_byte(128 + round_fixed(u * ycc->u_from_u + v * ycc->u_from_v));
        rows->out_v[x / 2] = clamp_byte(128 + round_fixed(u * ycc->v_from_u + v * ycc->v_from_v));
        for (int i = 0; i < 2; i++) {
            rows->out_luma[i][x] = clamp_byte(ycc->luma[rows->luma[i][x]] + shift);
            if (x + 1 < rows->width)
                rows->out_luma[i][x + 1] = clamp_byte(ycc->luma[rows->luma[i][x + 1]] + shift);
        }
    }
}

void fw_ycc_convert(const struct fw_ycc *ycc, const struct fw_ycc_rows *rows)
{
    if (ycc->is_identity)
        copy_rows(rows);
    else if (ycc->has_matrix)
        convert_matrix(ycc, rows);
    else
        convert_range(ycc, rows);
}
