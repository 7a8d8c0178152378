// From any colour description of YUV 4:2:0 to JFIF's: full-range BT.601.
#ifndef FW_MEDIA_YCC_H
#define FW_MEDIA_YCC_H

#include "media/frame.h"

// The conversion as tables. Plain data, read-only once made, for any number of threads.
struct fw_ycc {
    uint8_t luma[256];   // range alone
    uint8_t chroma[256]; // range alone
    bool is_identity;    // nothing to do at all
    bool has_matrix;     // BT.709: luma and chroma mix
    // Scaled by 65536, by a chroma sample's distance from 128, range included.
    int32_t luma_from_u, luma_from_v, u_from_u, u_from_v, v_from_u, v_from_v;
};

void fw_ycc_init(struct fw_ycc *ycc, enum fw_color_matrix matrix, bool full_range);

// Two rows of luma and the row of chroma that they share, WIDTH pixels each. Chroma samples lie
// CHROMA_STEP bytes apart; they come out next to each other.
struct fw_ycc_rows {
    const uint8_t *luma[2], *u, *v;
    int chroma_step;
    int width;
    uint8_t *out_luma[2], *out_u, *out_v;
};

void fw_ycc_convert(const struct fw_ycc *ycc, const struct fw_ycc_rows *rows);

#endif
