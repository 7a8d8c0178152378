// Letters: FreeType behind a glyph cache.
#ifndef FW_MEDIA_FONT_H
#define FW_MEDIA_FONT_H

#include "util/error.h"
#include <stdbool.h>
#include <stdint.h>

struct fw_font;

// One glyph: an 8-bit coverage bitmap. Owned by the font, valid as long as it.
struct fw_glyph {
    int left, top;           // px from the pen: bitmap's left edge, and its top above the base line
    int width, height;       // px
    int advance;             // px to the next pen position
    const uint8_t *coverage; // width * height, 0..255
};

// Opens PATH, or with NULL the first of the Debian fonts that is installed (DejaVu Sans, Liberation
// Sans, Noto Sans), at SIZE_PX. One font serves one thread. FW_OK, FW_ENOENT (ERROR says which
// package to install), FW_EFORMAT, FW_ENOMEM, FW_EINVAL (a size not in 1..512).
int fw_font_open(struct fw_font **font, const char *path, int size_px, struct fw_error *error);
// The same in bold.
int fw_font_open_bold(struct fw_font **font, int size_px, struct fw_error *error);
void fw_font_close(struct fw_font *font);
// The glyph of CODE_POINT, or the font's box for a missing one; NULL when memory is out.
const struct fw_glyph *fw_font_glyph(struct fw_font *font, uint32_t code_point);
int fw_font_ascent_px(const struct fw_font *font);
int fw_font_descent_px(const struct fw_font *font); // positive
// Width of UTF-8 TEXT in px.
int fw_font_text_width(struct fw_font *font, const char *text);
// The next code point of *TEXT, which moves past it; U+FFFD for a bad byte, 0 at the end.
uint32_t fw_utf8_next(const char **text);

#endif
