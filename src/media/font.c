#include "media/font.h"

#include <ft2build.h>
#include <stdlib.h>
#include <string.h>
#include FT_FREETYPE_H

#define BUCKETS          256
#define MAX_SIZE_PX      512
#define REPLACEMENT_CHAR 0xFFFDU

struct cached_glyph {
    struct fw_glyph glyph;
    uint32_t code_point;
    struct cached_glyph *next;
    uint8_t coverage[];
};

struct fw_font {
    FT_Library library;
    FT_Face face;
    struct cached_glyph *buckets[BUCKETS];
};

static const char *const regular_paths[] = {
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/share/fonts/truetype/liberation2/LiberationSans-Regular.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    NULL,
};

static const char *const bold_paths[] = {
    "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf",
    "/usr/share/fonts/truetype/liberation2/LiberationSans-Bold.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Bold.ttf",
    NULL,
};

static int status_of(FT_Error code)
{
    switch (code) {
    case FT_Err_Ok:
        return FW_OK;
    case FT_Err_Out_Of_Memory:
        return FW_ENOMEM;
    case FT_Err_Cannot_Open_Resource:
    case FT_Err_Cannot_Open_Stream:
        return FW_ENOENT;
    default:
        return FW_EFORMAT;
    }
}

// A font that is installed but broken stops the search: somebody should hear of it.
static int open_first(struct fw_font *font, const char *const *paths, const char **path)
{
    int status = FW_ENOENT;

    for (size_t i = 0; paths[i] && status == FW_ENOENT; i++) {
        *path = paths[i];
        status = status_of(FT_New_Face(font->library, paths[i], 0, &font->face));
    }
    return status;
}

static int fail_to_open(struct fw_error *error, int status, const char *path, bool is_given)
{
    if (status == FW_ENOMEM)
        return fw_fail(error, status, "no memory for a font; free some");
    if (status == FW_ENOENT && is_given)
        return fw_fail(error, status, "font file %s cannot be opened; check the path", path);
    if (status == FW_ENOENT)
        return fw_fail(error, status,
                       "no font for the text on the picture is installed; install the package "
                       "fonts-dejavu-core (apt install fonts-dejavu-core)");
    return fw_fail(error, status, "font file %s is no usable font; install it again", path);
}

// PATH is one file, or NULL for the first of CANDIDATES.
static int open_font(struct fw_font **out, const char *path, const char *const *candidates,
                     int size_px, struct fw_error *error)
{
    const char *given[] = {path, NULL};
    struct fw_font *font;
    const char *tried = path;
    int status;

    *out = NULL;
    if (size_px < 1 || size_px > MAX_SIZE_PX)
        return fw_fail(error, FW_EINVAL, "font size of %d px; use 1 to %d", size_px, MAX_SIZE_PX);
    font = calloc(1, sizeof(*font));
    if (!font)
        return fail_to_open(error, FW_ENOMEM, NULL, false);
    status = status_of(FT_Init_FreeType(&font->library));
    if (!status)
        status = open_first(font, path ? given : candidates, &tried);
    if (!status)
        status = status_of(FT_Set_Pixel_Sizes(font->face, 0, (FT_UInt)size_px));
    if (status) {
        fw_font_close(font);
        return fail_to_open(error, status, tried, path != NULL);
    }
    *out = font;
    return FW_OK;
}

int fw_font_open(struct fw_font **font, const char *path, int size_px, struct fw_error *error)
{
    return open_font(font, path, regular_paths, size_px, error);
}

int fw_font_open_bold(struct fw_font **font, int size_px, struct fw_error *error)
{
    return open_font(font, NULL, bold_paths, size_px, error);
}

void fw_font_close(struct fw_font *font)
{
    if (!font)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (font->buckets[i]) {
            struct cached_glyph *glyph = font->buckets[i];
            font->buckets[i] = glyph->next;
            free(glyph);
        }
    }
    if (font->face)
        FT_Done_Face(font->face);
    if (font->library)
        FT_Done_FreeType(font->library);
    free(font);
}

// FreeType's rows may be padded, or run upwards.
static void copy_coverage(uint8_t *to, const FT_Bitmap *bitmap)
{
    for (unsigned int row = 0; row < bitmap->rows; row++)
        memcpy(to + (size_t)row * bitmap->width, bitmap->buffer + (ptrdiff_t)row * bitmap->pitch,
               bitmap->width);
}

// A glyph that FreeType can't draw becomes an empty one, so that it is not tried again each time.
static struct cached_glyph *render(struct fw_font *font, uint32_t code_point)
{
    FT_UInt index = FT_Get_Char_Index(font->face, code_point);
    bool is_drawn = !FT_Load_Glyph(font->face, index, FT_LOAD_RENDER | FT_LOAD_TARGET_LIGHT);
    FT_GlyphSlot slot = font->face->glyph;
    bool has_bitmap = is_drawn && slot->bitmap.pixel_mode == FT_PIXEL_MODE_GRAY;
    size_t size = has_bitmap ? (size_t)slot->bitmap.rows * slot->bitmap.width : 0;
    struct cached_glyph *cached = calloc(1, sizeof(*cached) + size);

    if (!cached)
        return NULL;
    cached->code_point = code_point;
    cached->glyph.coverage = cached->coverage;
    if (is_drawn)
        cached->glyph.advance = (int)((slot->advance.x + 32) >> 6);
    if (has_bitmap) {
        cached->glyph.left = slot->bitmap_left;
        cached->glyph.top = slot->bitmap_top;
        cached->glyph.width = (int)slot->bitmap.width;
        cached->glyph.height = (int)slot->bitmap.rows;
        copy_coverage(cached->coverage, &slot->bitmap);
    }
    return cached;
}

const struct fw_glyph *fw_font_glyph(struct fw_font *font, uint32_t code_point)
{
    struct cached_glyph **bucket = &font->buckets[code_point % BUCKETS];
    struct cached_glyph *glyph;

    for (glyph = *bucket; glyph; glyph = glyph->next) {
        if (glyph->code_point == code_point)
            return &glyph->glyph;
    }
    glyph = render(font, code_point);
    if (!glyph)
        return NULL;
    glyph->next = *bucket;
    *bucket = glyph;
    return &glyph->glyph;
}

int fw_font_ascent_px(const struct fw_font *font)
{
    return (int)((font->face->size->metrics.ascender + 63) >> 6);
}

int fw_font_descent_px(const struct fw_font *font)
{
    return (int)((-font->face->size->metrics.descender + 63) >> 6);
}

int fw_font_text_width(struct fw_font *font, const char *text)
{
    int width = 0;
    uint32_t code_point;

    while ((code_point = fw_utf8_next(&text))) {
        const struct fw_glyph *glyph = fw_font_glyph(font, code_point);
        if (glyph)
            width += glyph->advance;
    }
    return width;
}

// Bytes that follow LEAD, or -1 where LEAD begins nothing; its own bits go to *BITS.
static int continuation_count(uint8_t lead, uint32_t *bits)
{
    if (lead >= 0xC2 && lead <= 0xDF) {
        *bits = lead & 0x1FU;
        return 1;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        *bits = lead & 0x0FU;
        return 2;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        *bits = lead & 0x07U;
        return 3;
    }
    return -1;
}

uint32_t fw_utf8_next(const char **text)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    const uint8_t *bytes = (const uint8_t *)*text;
    uint32_t code_point = bytes[0];
    int count;

    if (bytes[0] == 0)
        return 0;
    *text += 1;
    if (bytes[0] < 0x80)
        return code_point;
    count = continuation_count(bytes[0], &code_point);
    for (int i = 1; i <= count; i++) {
        if ((bytes[i] & 0xC0U) != 0x80U)
            return REPLACEMENT_CHAR;
        code_point = code_point << 6 | (bytes[i] & 0x3FU);
    }
    if (count < 0 || code_point < smallest[count] || code_point > 0x10FFFFU ||
        (code_point >= 0xD800U && code_point <= 0xDFFFU))
        return REPLACEMENT_CHAR;
    *text += count;
    return code_point;
}
